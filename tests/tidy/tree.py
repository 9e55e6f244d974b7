"""The repository as the rules see it: its text files, its Python sources parsed once, and who imports what."""

import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("acp_wire", "event_log", "ars_acp", "connector", "acp_check", "ars_gateway", "ars_cli")

EXAMPLE_PROJECTS = ("fixtures/projects/", "ars_cli/demo/")  # what an agent works on: data, not code of ours

_NOT_OURS = {".git", ".venv", ".hypothesis", "node_modules", "__pycache__", "build", "dist", "htmlcov"}


@dataclass(frozen=True)
class Import:
    """One name that a file imports: `when` is "start", "typing" (under TYPE_CHECKING) or "late" (inside a function)."""

    line: int
    name: str
    when: str

    @property
    def top(self) -> str:
        return self.name.partition(".")[0]


@dataclass
class Source:
    """One Python file, by its path from the root."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    @property
    def package(self) -> str:
        return self.path.partition("/")[0]

    @property
    def module(self) -> str:
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @cached_property
    def imports(self) -> list[Import]:
        return list(_imports(self.tree.body, "start", self))

    @cached_property
    def docstring_lines(self) -> set[int]:
        return {line for node in self.nodes for line in docstring_lines(node)}

    @cached_property
    def string_lines(self) -> set[int]:
        """The lines of strings that go over several: what looks like a comment or is blank there is neither."""
        found: set[int] = set()
        for node in self.nodes:
            if isinstance(node, ast.Constant | ast.JoinedStr) and (node.end_lineno or node.lineno) > node.lineno:
                found.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        return found

    @cached_property
    def code_lines(self) -> int:
        """How many lines hold code: not blank, not only a comment, not a docstring."""
        return sum(
            at in self.string_lines or line.strip()[:1] not in ("", "#")
            for at, line in self._lines
            if at not in self.docstring_lines
        )

    @cached_property
    def comment_lines(self) -> int:
        """How many lines are nothing but a comment."""
        return sum(line.lstrip()[:1] == "#" and at not in self.string_lines for at, line in self._lines)

    @property
    def _lines(self) -> list[tuple[int, str]]:
        return list(enumerate(self.text.split("\n"), 1))

    def is_one_of(self, patterns: object) -> bool:
        return any(fnmatch(self.path, pattern) for pattern in patterns)  # type: ignore[attr-defined]


@dataclass
class Tree:
    """All files below a root that are ours."""

    root: Path = ROOT
    paths: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.paths = sorted(_walk(self.root))

    @cached_property
    def sources(self) -> list[Source]:
        """Every Python file but the example projects, which are data."""
        return [
            Source(path, (self.root / path).read_text(encoding="utf-8"))
            for path in self.paths
            if path.endswith(".py") and not path.startswith(EXAMPLE_PROJECTS)
        ]

    @property
    def product(self) -> list[Source]:
        """The Python files of the packages that people install."""
        return [source for source in self.sources if source.package in PACKAGES]

    @property
    def tests(self) -> list[Source]:
        return [source for source in self.sources if source.package == "tests"]


def docstring_lines(node: ast.AST) -> range:
    """The lines of the docstring of a module, class or function; none for anything else."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            return range(first.lineno, (first.end_lineno or first.lineno) + 1)
    return range(0)


def dotted(node: ast.AST) -> str:
    """`os.path.join` for the expression that says so, "" for other expressions."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (owner := dotted(node.value)):
        return f"{owner}.{node.attr}"
    return ""


def _walk(root: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in _NOT_OURS and not name.endswith(("_cache", ".egg-info"))]
        yield from (Path(folder, name).relative_to(root).as_posix() for name in files)


def _imports(body: list[ast.stmt], when: str, source: Source) -> Iterator[Import]:
    for node in body:
        if isinstance(node, ast.If) and dotted(node.test).endswith("TYPE_CHECKING"):
            yield from _imports(node.body, "typing", source)
            yield from _imports(node.orelse, when, source)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _imports(node.body, "late", source)
        else:
            yield from _imports_of(node, when, source)


def _imports_of(node: ast.AST, when: str, source: Source) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(node.lineno, alias.name, when) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            folder = source.path.split("/")[: -node.level]
            base = ".".join([*folder, *filter(None, [base])])
        yield from (Import(node.lineno, f"{base}.{alias.name}", when) for alias in node.names)
    elif isinstance(node, ast.Call) and dotted(node.func).endswith("import_module") and node.args:
        named = node.args[0]
        if isinstance(named, ast.Constant) and isinstance(named.value, str):
            yield Import(node.lineno, named.value, "late")
    else:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt):
                yield from _imports([child], when, source)
            else:
                yield from _imports_of(child, when, source)
