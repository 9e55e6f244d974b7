"""How large, how commented, how tested things may be; and what no file may name."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.tidy.tree import Tree, docstring_lines, dotted

MOST_CODE_LINES = 400
MOST_FUNCTION_LINES = 60
MOST_COMMENTS_PER_100 = 15
FREE_COMMENTS = 4  # that even a short file may have
MOST_PATCHES_PER_100_TESTS = 5

# In halves, as this file is searched too.
REGISTRIES = [
    "".join(halves)
    for halves in (
        ("pypi", ".org"),
        ("python", "hosted.org"),
        ("npm", "js.org"),
        ("npm", "js.com"),
        ("yarn", "pkg.com"),
        ("npm", "mirror.com"),
        ("proxy.", "golang.org"),
        ("crates", ".io"),
        ("index", "-url http"),
    )
]
_PATCHES = re.compile(r"\bmonkeypatch\.\w+\(|\bpatch(\.object|\.dict)?\(|\bMock\(|\bAsyncMock\(")


def files_are_short(tree: Tree) -> Iterator[str]:
    """At most 400 lines of code a file."""
    for source in tree.sources:
        if source.code_lines > MOST_CODE_LINES:
            yield f"{source.path}: {source.code_lines} lines of code, {MOST_CODE_LINES} allowed"


def functions_are_short(tree: Tree) -> Iterator[str]:
    """At most 60 lines a function, its docstring not counted."""
    for source in tree.sources:
        for node in source.nodes:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1 - len(docstring_lines(node))
                if lines > MOST_FUNCTION_LINES:
                    yield f"{source.path}:{node.lineno}: {node.name} has {lines} lines, {MOST_FUNCTION_LINES} allowed"


def comments_are_few(tree: Tree) -> Iterator[str]:
    """At most 15 comment lines for 100 lines of code."""
    for source in tree.sources:
        allowed = max(FREE_COMMENTS, source.code_lines * MOST_COMMENTS_PER_100 // 100)
        if source.comment_lines > allowed:
            yield f"{source.path}: {source.comment_lines} comment lines, {allowed} allowed"


def modules_say_what_they_are_for(tree: Tree) -> Iterator[str]:
    """Every module of the packages that is not empty has a docstring."""
    for source in tree.product:
        if source.tree.body and not ast.get_docstring(source.tree):
            yield f"{source.path}:1: no docstring"


def tests_do_not_sleep(tree: Tree) -> Iterator[str]:
    """A test waits for an event, not for a time; `sleep(0)` gives way and is none."""
    for source in tree.tests:
        for node in source.nodes:
            if isinstance(node, ast.Call) and dotted(node.func) in {
                "time.sleep",
                "anyio.sleep",
                "asyncio.sleep",
                "sleep",
            }:
                given = node.args[0] if node.args else None
                if not (isinstance(given, ast.Constant) and given.value == 0):
                    yield f"{source.path}:{node.lineno}: {dotted(node.func)} in a test"


def doubles_are_not_patches(tree: Tree) -> Iterator[str]:
    """At most 5 lines that patch something for 100 tests."""
    tests = patches = 0
    for source in tree.tests:
        if source.path.startswith("tests/tidy/"):
            continue
        tests += len(re.findall(r"^\s*(?:async )?def test_", source.text, re.MULTILINE))
        patches += sum(1 for line in source.text.splitlines() if _PATCHES.search(line))
    if patches * 100 > tests * MOST_PATCHES_PER_100_TESTS:
        yield f"{patches} lines that patch, in {tests} tests"


def no_file_names_a_registry_or_this_machine(tree: Tree) -> Iterator[str]:
    """No file has the host of a package registry, or a path outside the checkout, or a lock's download addresses."""
    here = [f"{tree.root}/", *(f"{home}/" for home in [Path.home()] if len(home.parts) > 2)]
    for path in tree.paths:
        content = (tree.root / path).read_bytes()
        if b"\0" in content:
            continue
        text = content.decode(errors="replace")
        found = [word for word in [*REGISTRIES, *here] if word in text]
        if path.endswith("package-lock.json") and '"resolved"' in text:
            found.append('"resolved"')
        if found:
            yield f"{path}: names {', '.join(found)}"
