"""For any two texts: their diff, read and applied, gives the new one. Also when the counts are wrong."""

import os
import re
from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ars_acp.tools.patch.apply import apply
from ars_acp.tools.patch.model import Applied, PatchError, approval
from ars_acp.tools.patch.parse import parse
from ars_acp.tools.patch.render import render
from tests.tools.patch.diffs import unified

FULL = os.environ.get("FAULTS") == "full"
MANY = settings(max_examples=4000 if FULL else 100, deadline=None)

# fmt: off
WORDS = [
    "", " ", "a", "b", "c", "\ta", "  b", "x = 1", "}", "+", "-", "--", "++ q", "-- q", "\\ no", "@@ @@", "é",
    "\u2028x", "\x0cy", "diff --git a/x b/x", "*** End Patch", "--- a", "+++ b", "\ud800",
    "Index: x", "GIT binary patch",
]
HEADERS = [
    "--- a/x", "+++ b/x", "@@ -1 +1 @@", "@@", "@@ -0,0 +1,9 @@", "*** Begin Patch", "*** Update File: x", "+a", "-a",
    " a", "*** Add File: y", "*** Delete File: z", "*** Move to: w", "*** End of File", "rename from q", "rename to r",
    "```",
    "new file mode 100644", "deleted file mode 100644", "old mode 100644", "index 1..2 100644", "diff --git a/x b/y",
    "\\ No newline at end of file", "--- /dev/null", "+++ /dev/null", '--- "a/\\303"', 'diff --git "a/x b',
    "Binary files a/x and b/x differ",
]
# fmt: on
PLAIN = [word for word in WORDS if not word.startswith(("-- ", "++ ", "--- ", "+++ "))]


def texts(words: list[str]) -> st.SearchStrategy[str]:
    lines = st.lists(st.sampled_from(words) | st.integers(0, 99).map(str), max_size=30)
    return st.builds(lambda it, end: "\n".join(it) + end, lines, st.sampled_from(["", "\n"]))


@st.composite
def edits(draw: st.DrawFn, words: list[str] = WORDS) -> tuple[str, str]:
    """An old text, and a new one that differs here and there."""
    old = draw(texts(words))
    lines = old.split("\n")
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(lines)))
        gone = draw(st.integers(0, 3))
        lines[at : at + gone] = draw(st.lists(st.sampled_from(words), max_size=3))
    new = "\n".join(lines)
    assume(new != old)
    return old, new


def applied(patch: str, old: str) -> Applied:
    (file,) = parse(patch)
    return apply(file, old, "a.txt")


@MANY
@given(edits(), st.integers(0, 4))
def test_diff_applied_gives_the_new_text(pair: tuple[str, str], context: int) -> None:
    old, new = pair
    assert applied(unified(old, new, context=context), old).change.new_text == new


@MANY
@given(edits(), st.integers(1, 4))
def test_rendered_patch_makes_the_same_change(pair: tuple[str, str], context: int) -> None:
    old, new = pair
    first = applied(unified(old, new, context=context), old)
    again = applied(render([first], lambda path: path), old)
    assert again.change == first.change
    assert render([again], lambda path: path) == render([first], lambda path: path)
    assert approval([again.change]) == approval([first.change])


@MANY
@given(edits(PLAIN), st.randoms(use_true_random=False), st.integers(1, 4))
def test_wrong_counts_are_repaired(pair: tuple[str, str], random: Random, context: int) -> None:
    old, new = pair

    def mangled(found: re.Match[str]) -> str:
        # The line number stays: alone it tells equal places apart. An empty side keeps its zero for the same reason.
        counts = [it if it == "0" else str(random.choice([1, 2, 3, 5, 8, 400])) for it in found.group(2, 4)]
        return f"@@ -{found[1]},{counts[0]} +{found[3]},{counts[1]} @@"

    patch = unified(old, new, context=context)
    header = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@$", re.MULTILINE)
    spoiled = header.sub(lambda it: mangled(it) if it[2] and it[4] else it[0], patch)
    assert applied(spoiled, old).change.new_text == new


@MANY
@given(edits(PLAIN), st.integers(1, 4), st.integers(-30, 30))
def test_shifted_line_numbers_give_the_new_text_or_a_refusal(pair: tuple[str, str], context: int, shift: int) -> None:
    old, _ = pair
    # Every line is its own: then a hunk can only go where it belongs.
    old = "".join(f"{number}:{line}\n" for number, line in enumerate(old.split("\n")))
    new = old.replace("1:", "one:", 3).replace("4:", "", 1)
    assume(new != old)
    patch = re.sub(
        r"^@@ -(\d+)", lambda it: f"@@ -{max(1, int(it[1]) + shift)}", unified(old, new, context=context), flags=re.M
    )
    assert applied(patch, old).change.new_text == new


@MANY
@given(edits(PLAIN), st.integers(1, 4))
def test_crlf_file_stays_crlf_when_the_patch_has_plain_newlines(pair: tuple[str, str], context: int) -> None:
    old, new = (text if text.endswith("\n") or not text else text + "\n" for text in pair)
    assume(old != new and old)
    patch = unified(old, new, context=context)
    assert applied(patch, old.replace("\n", "\r\n")).change.new_text == new.replace("\n", "\r\n")


@MANY
@given(edits(PLAIN), st.integers(1, 4))
def test_git_diff_of_crlf_files_applies(pair: tuple[str, str], context: int) -> None:
    old, new = (text.replace("\n", "\r\n") for text in pair)
    first = applied(unified(old, new, context=context), old)
    assert first.change.new_text == new
    assert applied(render([first], lambda path: path), old).change == first.change


@MANY
@given(edits([*PLAIN, "a\r", "\r", "b\r"]), st.integers(3, 4))
def test_rendered_patch_of_mixed_line_ends_makes_the_same_change(pair: tuple[str, str], context: int) -> None:
    old, new = pair
    try:
        first = applied(unified(old, new, context=context), old)
    except PatchError:  # a change of nothing but line ends may read as no change
        assume(False)
        return
    assert applied(render([first], lambda path: path), old).change == first.change


@MANY
@given(edits(PLAIN), st.integers(1, 4))
def test_applied_patch_is_never_applied_twice_unnoticed(pair: tuple[str, str], context: int) -> None:
    old, new = ("".join(f"{n}:{it}\n" for n, it in enumerate(text.split("\n"))) for text in pair)
    assume(old != new)
    with pytest.raises(PatchError):
        applied(unified(old, new, context=context), new)


@settings(max_examples=20_000 if FULL else 500, deadline=None)
@given(st.lists(st.sampled_from([*WORDS, *HEADERS]), max_size=25))
def test_anything_else_is_understood_or_refused_but_never_crashes(lines: list[str]) -> None:
    try:
        files = parse("\n".join(lines))
    except PatchError:
        return
    for file in files:
        try:
            apply(file, "a\nb\n", file.path)
        except PatchError:
            continue
