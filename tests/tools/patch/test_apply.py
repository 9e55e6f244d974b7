"""Patches as models write them: sloppy ones that can only mean one thing, and those that could mean another."""

import pytest

from ars_acp.tools.patch.apply import apply
from ars_acp.tools.patch.match import Haystack
from ars_acp.tools.patch.model import Applied, FilePatch, Hunk, PatchError
from ars_acp.tools.patch.parse import parse
from ars_acp.tools.patch.render import render

OLD = """\
import os

class A:
    def run(self):
        x = 1
        return x

class B:
    def run(self):
        x = 1
        return x
"""


def one(patch: str) -> FilePatch:
    (file,) = parse(patch)
    return file


def new_text(patch: str, old: str | None = OLD) -> str | None:
    return apply(one(patch), old, "a.py").change.new_text


def changed(line: int, text: str, old: str = OLD) -> str:
    lines = old.split("\n")
    lines[line - 1] = text
    return "\n".join(lines)


HEAD = "--- a/a.py\n+++ b/a.py\n"
SWAP = "-import os\n+import sys\n"


@pytest.mark.parametrize(
    "patch",
    [
        pytest.param(HEAD + "@@ -1,3 +1,3 @@\n" + SWAP + " \n class A:\n", id="correct"),
        pytest.param(HEAD + "@@ -1,9 +1,2 @@\n" + SWAP + " \n class A:\n", id="wrong counts"),
        pytest.param(HEAD + "@@ -1 +1 @@\n" + SWAP + " \n class A:\n", id="no counts"),
        pytest.param(HEAD + "@@ -90,3 +90,3 @@\n" + SWAP + " \n class A:\n", id="wrong line"),
        pytest.param(HEAD + "@@ -1,3 +1,3\n" + SWAP + " \n class A:\n", id="half an @@"),
        pytest.param(HEAD + "@@\n" + SWAP + " \n class A:\n", id="bare @@"),
        pytest.param(HEAD + "@@ ... @@\n" + SWAP + " \n class A:\n", id="dots"),
        pytest.param(HEAD + "@@ -1,3 +1,3 @@\n" + SWAP + "\n class A:\n", id="bare blank context line"),
        pytest.param(HEAD + "@@ -1,3 +1,3 @@\n" + SWAP + "\nclass A:\n", id="context without its blank"),
        pytest.param(HEAD + "@@ -1,3 +1,3 @@\n-import os  \n+import sys\n \n class A:\t\n", id="trailing blanks"),
        pytest.param(HEAD + "@@ -1,3 +1,3 @@\n-import  os\n+import sys\n \n class A:\n", id="inner blanks"),
        pytest.param(HEAD + "@@ -1,3 +1,3 @@\n" + SWAP + " \n class A:", id="no newline at its end"),
        pytest.param("\n\n" + HEAD + "@@ -1,2 +1,2 @@\n" + SWAP + " \n\n\n", id="blank lines around"),
        pytest.param("```diff\n" + HEAD + "@@ -1,2 +1,2 @@\n" + SWAP + " \n```\n", id="fenced"),
        pytest.param("Here you are:\n\n" + HEAD + "@@ -1,2 +1,2 @@\n" + SWAP + " \n", id="prose before"),
        pytest.param((HEAD + "@@ -1,2 +1,2 @@\n" + SWAP + " \n").replace("\n", "\r\n"), id="CRLF transport"),
        pytest.param("--- a.py\n+++ a.py\n@@ -1,2 +1,2 @@\n" + SWAP + " \n", id="no prefixes"),
        pytest.param("--- a/a.py\n+++ a.py\n@@ -1,2 +1,2 @@\n" + SWAP + " \n", id="one prefix"),
        pytest.param("--- a.py\t2024-01-01 10:00:00\n+++ a.py\t2024-01-01 10:00:01\n@@ -1 +1 @@\n" + SWAP,
                     id="dates"),
        pytest.param("Index: a.py\n=====\n" + HEAD + "@@ -1 +1 @@\n" + SWAP, id="Index"),
        pytest.param("diff --git a/a.py b/a.py\nindex 1f..2e 100644\n" + HEAD + "@@ -1 +1 @@\n" + SWAP,
                     id="git"),
        pytest.param("diff --git i/a.py w/a.py\n--- i/a.py\n+++ w/a.py\n@@ -1 +1 @@\n" + SWAP,
                     id="mnemonic prefixes"),
        pytest.param(HEAD + "@@ -1 +1 @@\n" + SWAP + "-- \n2.39.5\n", id="mail signature"),
        pytest.param("*** Begin Patch\n*** Update File: a.py\n@@\n" + SWAP + "*** End Patch\n", id="begin"),
        pytest.param("*** Begin Patch\n*** Update File: a.py\n" + SWAP + "*** End Patch", id="begin without @@"),
        pytest.param("*** Begin Patch\n*** Update File: a.py\n@@ -1,1 +1,1 @@\n" + SWAP + "\n\n*** End Patch\n",
                     id="begin with numbers"),
        pytest.param("```\n*** Begin Patch\n*** Update File: a.py\n@@\n" + SWAP + "*** End Patch\n```",
                     id="begin in a fence"),
    ],
)  # fmt: skip
def test_patch_that_can_only_mean_one_thing_is_applied(patch: str) -> None:
    assert one(patch).path == "a.py"
    assert new_text(patch) == changed(1, "import sys")


def test_stated_line_tells_equal_places_apart() -> None:
    assert new_text(HEAD + "@@ -5,1 +5,1 @@\n-        x = 1\n+        x = 2\n") == changed(5, "        x = 2")
    assert new_text(HEAD + "@@ -10,1 +10,1 @@\n-        x = 1\n+        x = 2\n") == changed(10, "        x = 2")


def test_ambiguous_hunk_is_refused_with_the_number_of_places() -> None:
    with pytest.raises(PatchError, match=r"hunk 1 fits 2 places \(lines 5, 10\)"):
        new_text(HEAD + "@@ -7,1 +7,1 @@\n-        x = 1\n+        x = 2\n")


def test_ambiguous_hunk_with_other_blanks_is_refused_too() -> None:
    with pytest.raises(PatchError, match="fits 2 places"):
        new_text(HEAD + "@@ -5,1 +5,1 @@\n-      x = 1\n+      x = 2\n")


@pytest.mark.parametrize("header", ["class B:", "class B:\n@@     def run(self):", " class  B:"])
def test_header_tells_equal_places_apart(header: str) -> None:
    patch = f"*** Begin Patch\n*** Update File: a.py\n@@ {header}\n-        x = 1\n+        x = 2\n*** End Patch"
    assert new_text(patch) == changed(10, "        x = 2")


def test_header_of_the_first_block_does_not_reach_into_the_second() -> None:
    patch = "*** Begin Patch\n*** Update File: a.py\n@@ class A:\n-        x = 1\n+        x = 2\n*** End Patch"
    assert new_text(patch) == changed(5, "        x = 2")


def test_header_that_stands_twice_leaves_it_ambiguous() -> None:
    patch = "*** Begin Patch\n*** Update File: a.py\n@@ def run(self):\n-        x = 1\n+        x = 2\n*** End Patch"
    with pytest.raises(PatchError, match="fits 2 places"):
        new_text(patch)


def test_header_that_is_not_in_the_file_decides_nothing() -> None:
    patch = "*** Begin Patch\n*** Update File: a.py\n@@ class C:\n-        x = 1\n+        x = 2\n*** End Patch"
    with pytest.raises(PatchError, match="fits 2 places"):
        new_text(patch)


def test_end_of_file_marks_the_last_place() -> None:
    patch = "*** Begin Patch\n*** Update File: a.py\n@@\n-        return x\n+        return 2\n"
    patch += "*** End of File\n*** End Patch"
    assert new_text(patch) == changed(11, "        return 2")


def test_end_of_file_without_context_appends() -> None:
    patch = "*** Begin Patch\n*** Update File: a.py\n@@\n+# end\n*** End of File\n*** End Patch"
    assert new_text(patch) == OLD + "# end\n"


def test_addition_that_does_not_say_where_is_refused() -> None:
    for patch in (
        "*** Begin Patch\n*** Update File: a.py\n@@ class A:\n+    y = 1\n*** End Patch",
        HEAD + "@@ -3,2 +3,3 @@\n+    y = 1\n",
        HEAD + "@@ -30,0 +31,1 @@\n+    y = 1\n",
    ):
        with pytest.raises(PatchError, match="does not say where"):
            new_text(patch)


def test_several_hunks_apply_to_the_text_as_it_was() -> None:
    patch = HEAD + (
        "@@ -1,3 +1,4 @@\n import os\n+import sys\n \n class A:\n"
        "@@ -3,4 +4,4 @@\n class A:\n     def run(self):\n-        x = 1\n+        x = 2\n         return x\n"
        "@@ -11 +12,2 @@\n         return x\n+\n"
    )
    assert new_text(patch) == OLD.replace("import os\n", "import os\nimport sys\n").replace("x = 1", "x = 2", 1) + "\n"


def test_hunks_in_the_wrong_order_are_put_right() -> None:
    patch = HEAD + "@@ -8 +8 @@\n-class B:\n+class C:\n@@ -1 +1 @@\n-import os\n+import sys\n"
    applied = apply(one(patch), OLD, "a.py")
    assert applied.change.new_text == changed(1, "import sys", changed(8, "class C:"))
    assert [it.start for it in applied.hunks] == [1, 8]


def test_hunks_that_change_the_same_lines_are_refused() -> None:
    patch = HEAD + "@@ -1 +1 @@\n-import os\n+import sys\n@@ -1 +1 @@\n-import os\n+import re\n"
    with pytest.raises(PatchError, match="hunks 1 and 2 change the same lines"):
        new_text(patch)


def test_shared_context_of_neighbouring_hunks_is_no_conflict() -> None:
    patch = (
        HEAD
        + "@@ -1,3 +1,3 @@\n-import os\n+import sys\n \n class A:\n"
        + "@@ -2,3 +2,3 @@\n \n-class A:\n+class Z:\n     def run(self):\n"
    )
    assert new_text(patch) == changed(1, "import sys", changed(3, "class Z:"))


def test_applied_hunk_is_told_as_such() -> None:
    patch = HEAD + "@@ -1,2 +1,2 @@\n-import os\n+import sys\n \n"
    with pytest.raises(PatchError, match="hunk 1 is already applied"):
        new_text(patch, changed(1, "import sys"))


def test_appended_lines_are_not_appended_twice() -> None:
    patch = HEAD + "@@ -10,2 +10,3 @@\n         x = 1\n         return x\n+# end\n"
    once = new_text(patch)
    assert once == OLD + "# end\n"
    with pytest.raises(PatchError, match="already applied"):
        new_text(patch, once)


def test_applied_hunk_whose_old_lines_are_nearly_there_is_not_applied_again() -> None:
    patch = HEAD + "@@ -1 +1,2 @@\n-a:\n+a: \n+b\n"
    once = new_text(patch, "a:\n")
    assert once == "a: \nb\n"
    with pytest.raises(PatchError, match="already applied"):
        new_text(patch, once)


def test_prepended_lines_are_not_prepended_twice() -> None:
    patch = HEAD + "@@ -1,2 +1,3 @@\n+# top\n import os\n \n"
    with pytest.raises(PatchError, match="already applied"):
        new_text(patch, "# top\n" + OLD)


def test_hunk_that_fits_nowhere_says_what_stands_there() -> None:
    patch = HEAD + "@@ -3,3 +3,3 @@\n class A:\n     def run(self):\n-        x = 7\n+        x = 8\n"
    with pytest.raises(
        PatchError, match=r"matches 2 lines from line 3 on, then expects '        x = 7' where there is '        x = 1'"
    ):
        new_text(patch)
    with pytest.raises(PatchError, match="the file has no line 'nothing'"):
        new_text(HEAD + "@@ -3 +3 @@\n-nothing\n+something\n")


def test_other_indentation_is_carried_over() -> None:
    patch = HEAD + "@@ -8,4 +8,5 @@\n class B:\n   def run(self):\n     x = 1\n+    y = 2\n     return x\n"
    assert (
        new_text(patch) == OLD + ""
        if False
        else new_text(patch) == OLD[: -len("        return x\n")] + ("        y = 2\n        return x\n")
    )


def test_patch_without_the_indentation_of_the_block_is_indented_like_it() -> None:
    old = "def f():\n    if a:\n        b()\n        c()\n"
    patch = HEAD + "@@ -2,3 +2,4 @@\n if a:\n     b()\n+    if d:\n+        e()\n     c()\n"
    assert new_text(patch, old) == "def f():\n    if a:\n        b()\n        if d:\n            e()\n        c()\n"


def test_patch_indented_deeper_than_the_file_is_set_back() -> None:
    patch = HEAD + "@@ -1,2 +1,3 @@\n     a\n     b\n+    c\n"
    assert new_text(patch, "a\nb\n") == "a\nb\nc\n"


def test_indentation_that_cannot_be_known_is_refused() -> None:
    patch = HEAD + "@@ -1,2 +1,3 @@\n a:\n   b\n+      c\n"
    with pytest.raises(PatchError, match="indentation"):
        new_text(patch, "a:\n\tb\n")


def test_tabs_for_blanks_are_carried_over() -> None:
    patch = HEAD + "@@ -1,3 +1,4 @@\n a:\n     b\n+    c\n     d\n"
    assert new_text(patch, "a:\n\tb\n\td\n") == "a:\n\tb\n\tc\n\td\n"


@pytest.mark.parametrize(
    ("old", "hunk", "new"),
    [
        ("a\nb", "@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+c\n\\ No newline at end of file\n", "a\nc"),
        ("a\nb", "@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+b\n", "a\nb\n"),
        ("a\nb\n", "@@ -1,2 +1,2 @@\n a\n-b\n+b\n\\ No newline at end of file\n", "a\nb"),
        ("a\nb", "@@ -1,2 +1,2 @@\n-a\n+c\n b\n\\ No newline at end of file\n", "c\nb"),
        ("a\nb", "@@ -1,2 +1,2 @@\n a\n-b\n+c\n", "a\nc"),  # the marks forgotten: the state stays
        ("a\nb", "@@ -1,2 +1,3 @@\n a\n b\n+c\n", "a\nb\nc"),
        ("a\nb", "@@ -1,2 +1,1 @@\n a\n-b\n", "a\n"),
        ("a\nb\n", "@@ -1,2 +1,2 @@\n-a\n+c\n b\n\\ No newline at end of file\n", "c\nb\n"),  # a mark that is not true
        ("a\nb\nc\n", "@@ -1,2 +1,2 @@\n-a\n+x\n b\n\\ No newline at end of file\n", "x\nb\nc\n"),
        ("", "@@ -0,0 +1 @@\n+a\n", "a\n"),
        ("", "@@ -0,0 +1 @@\n+a\n\\ No newline at end of file\n", "a"),
        ("a\n", "@@ -1 +0,0 @@\n-a\n", ""),
    ],
)  # fmt: skip
def test_last_newline(old: str, hunk: str, new: str) -> None:
    assert new_text(HEAD + hunk, old) == new


@pytest.mark.parametrize(
    ("old", "hunk", "new"),
    [
        ("a\r\nb\r\n", " a\n-b\n+c\n+d\n", "a\r\nc\r\nd\r\n"),
        ("a\r\nb\r\n", " a\r\n-b\r\n+c\r\n", "a\r\nc\r\n"),
        ("a\nb\n", " a\r\n-b\r\n+c\r\n", "a\nc\n"),
        ("a\r\nb", " a\n b\n+c\n", "a\r\nb\r\nc"),
        ("a\r\nb\n", " a\n+x\n b\n+y\n", "a\r\nx\r\nb\ny\n"),
        ("a\r\nb\r\n", " a\r\n-b\r\n+b\n", "a\r\nb\n"),  # about line ends: meant
        ("a\r\nb\r\n", "-a\r\n-b\r\n+a\n+b\n", "a\nb\n"),
        ("a\nb\n", "-a\n-b\n+a\r\n+b\r\n", "a\r\nb\r\n"),
        ("a\nb\n", " a\r\n-b\n+c\n", "a\nc\n"),  # mixed by accident
        ("", "+a\r\n+b\r\n", "a\r\nb\r\n"),
        ("a\rb\n", "-a\rb\n+a\rc\n", "a\rc\n"),
    ],
)  # fmt: skip
def test_line_ends(old: str, hunk: str, new: str) -> None:
    assert new_text(HEAD + "@@ -1,2 +1,2 @@\n" + hunk, old) == new


def test_new_file() -> None:
    for patch in (
        "diff --git a/n b/n\nnew file mode 100644\n--- /dev/null\n+++ b/n\n@@ -0,0 +1,2 @@\n+a\n+b\n",
        "--- /dev/null\n+++ b/n\n@@ -0,0 +1,9 @@\n+a\n+b\n",
        "--- a/n\n+++ b/n\n@@ -0,0 +1,2 @@\n+a\n+b\n",
        "*** Begin Patch\n*** Add File: n\n+a\n+b\n\n*** End Patch",
    ):
        assert new_text(patch, None) == "a\nb\n"
        assert one(patch).path == "n"
    assert new_text("diff --git a/n b/n\nnew file mode 100644\nindex 0..e69\n", None) == ""
    assert new_text("*** Begin Patch\n*** Add File: n\n+a\n\n+b\n*** End Patch", None) == "a\n\nb\n"


def test_new_file_that_exists_is_refused() -> None:
    with pytest.raises(PatchError, match="exists"):
        new_text("*** Begin Patch\n*** Add File: n\n+a\n*** End Patch", "")


def test_executable_bit_is_noted() -> None:
    patch = "diff --git a/n b/n\nnew file mode 100755\n--- /dev/null\n+++ b/n\n@@ -0,0 +1 @@\n+a\n"
    assert apply(one(patch), None, "n").executable
    patch = f"diff --git a/a.py b/a.py\nold mode 100644\nnew mode 100755\n{HEAD}@@ -1 +1 @@\n-a\n+b\n"
    assert apply(one(patch), "a\n", "n").executable


def test_change_of_a_file_that_is_not_there_is_refused() -> None:
    for patch in (
        HEAD + "@@ -1 +1 @@\n-a\n+b\n",
        HEAD + "@@ -40,0 +41 @@\n+b\n",
        "*** Begin Patch\n*** Delete File: a\n*** End Patch",
    ):
        with pytest.raises(PatchError, match="no such file"):
            new_text(patch, None)


def test_deleted_file() -> None:
    for patch in (
        "diff --git a/n b/n\ndeleted file mode 100644\n--- a/n\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-a\n-b\n",
        "--- a/n\n+++ /dev/null\n@@ -1,7 +0,0 @@\n-a\n-b\n",
        "*** Begin Patch\n*** Delete File: n\n*** End Patch",
    ):
        applied = apply(one(patch), "a\nb\n", "n")
        assert applied.change.new_text is None
        assert applied.hunks[0].old == ["a", "b"]


def test_deletion_of_other_lines_than_the_file_has_is_refused() -> None:
    with pytest.raises(PatchError, match="other lines"):
        new_text("--- a/n\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n", "a\nb\n")


def test_moved_file() -> None:
    git = "diff --git a/a.py b/b c.py\nsimilarity index 90%\nrename from a.py\nrename to b c.py\n"
    assert apply(one(git), OLD, "a.py").change.move_to == "b c.py"
    assert apply(one(git), OLD, "a.py").change.new_text == OLD
    edited = git + "--- a/a.py\n+++ b/b c.py\t\n@@ -1 +1 @@\n-import os\n+import sys\n"
    assert apply(one(edited), OLD, "a.py").change.new_text == changed(1, "import sys")
    begin = "*** Begin Patch\n*** Update File: a.py\n*** Move to: b c.py\n@@\n-import os\n+import sys\n*** End Patch"
    assert apply(one(begin), OLD, "a.py").change == apply(one(edited), OLD, "a.py").change
    pure = "*** Begin Patch\n*** Update File: a.py\n*** Move to: b c.py\n*** End Patch"
    assert apply(one(pure), OLD, "a.py").change == apply(one(git), OLD, "a.py").change


def test_names_with_blanks_quotes_and_other_letters() -> None:
    for header, name in (
        ("diff --git a/a b/c.py b/a b/c.py\n--- a/a b/c.py\t\n+++ b/a b/c.py\t\n", "a b/c.py"),
        ('diff --git "a/\\303\\251.py" "b/\\303\\251.py"\n--- "a/\\303\\251.py"\n+++ "b/\\303\\251.py"\n', "é.py"),
        ('diff --git "a/x\\"y" "b/x\\"y"\n--- "a/x\\"y"\n+++ "b/x\\"y"\n', 'x"y'),
        ("--- a//abs/x\n+++ b//abs/x\n", "/abs/x"),
    ):
        assert one(header + "@@ -1 +1 @@\n-a\n+b\n").path == name


@pytest.mark.parametrize(
    ("patch", "reason"),
    [
        ("", "no change"),
        ("please", "no change"),
        (HEAD, "changes nothing"),
        (HEAD + "@@ -1 +1 @@\n a\n", "changes nothing"),
        ("@@ -1 +1 @@\n-a\n+b\n", "without the --- and"),
        ("--- a/x\n+++ b/y\n@@ -1 +1 @@\n-a\n+b\n", "two files"),
        ("--- /dev/null\n+++ /dev/null\n@@ -1 +1 @@\n-a\n+b\n", "both sides"),
        ("diff --git a/x b/x\n--- a/y\n+++ b/y\n@@ -1 +1 @@\n-a\n+b\n", "names another file"),
        ("diff --git a/x b/x\nrename from x\nrename to y\n", "other files"),
        ("diff --git a/x b/y\nrename from x\nrename to y\n--- a/x\n+++ b/z\n@@ -1 +1 @@\n-a\n+b\n", "other files"),
        ("diff --git a/x b/y\nrename from x\n", "belong together"),
        ("diff --git a/x b/y\ncopy from x\ncopy to y\n", "copies"),
        ("diff --git a/x b/y\n", "cannot be told apart"),
        ('diff --git "a/x b/y\n', "closing quote"),
        ('diff --git a/x "b/y\n', "closing quote"),
        ('diff --git "a/x"b/y\n', "cannot be read"),
        ('--- "a/x\n+++ "b/x\n@@ -1 +1 @@\n-a\n+b\n', "closing quote"),
        ('--- "a/\\377"\n+++ "b/\\377"\n@@ -1 +1 @@\n-a\n+b\n', "not UTF-8"),
        ("diff --git a/x b/x\nold mode 100644\nnew mode 100755\n", "only the file's mode"),
        ("diff --git a/x b/x\nindex 1..2 100644\n", "changes nothing"),
        ("diff --git a/x b/x\nnew file mode 120000\n--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+/etc/passwd\n", "symbolic"),
        ("diff --git a/x b/x\nindex 1..2 160000\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n", "submodules"),
        ("diff --git a/x b/x\nindex 1..2\nGIT binary patch\nliteral 3\n", "only text"),
        ("Binary files a/x and b/x differ\n", "only text"),
        ("diff --cc x\n@@@ -1,1 -1,1 +1,1 @@@\n- a\n", "only text"),
        (HEAD + "@@@ -1,1 -1,1 +1,1 @@@\n- a\n", "combined"),
        (HEAD + "@@ -1 +1 @@\n-a\n+b\n\n*** Begin Patch\n", "not fit|only text"),
        ("--- /dev/null\n+++ b/x\n@@ -0,0 +1,2 @@\n a\n+b\n", "only \\+ lines"),
        ("--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+a\n@@ -3,0 +4 @@\n+b\n", "one hunk"),
        ("*** Begin Patch\n*** End Patch", "no change"),
        ("*** Begin Patch\n*** Update File: x\n-a\n+b\n", "cut short"),
        ("*** Begin Patch\n*** Update File: x\n*** End Patch", "changes nothing"),
        ("*** Begin Patch\n*** Update File: x\n@@\n a\n*** End Patch", "no \\+ and no - lines"),
        ("*** Begin Patch\n*** Add File: x\na\n*** End Patch", "starts with \\+"),
        ("*** Begin Patch\n*** Delete File: x\n-a\n*** End Patch", "nothing may follow"),
        ("*** Begin Patch\nfoo\n*** Delete File: x\n*** End Patch", "line 2"),
        ("*** Begin Patch\n*** Rename File: x\n*** End Patch", "line 2"),
        ("*** Begin Patch\n*** Update File: x\n@@\n-a\n*** Move to: y\n*** End Patch", "not understood"),
    ],
)  # fmt: skip
def test_patch_that_is_not_one_is_refused_with_a_reason(patch: str, reason: str) -> None:
    with pytest.raises(PatchError, match=reason):
        [apply(file, "a\n", "x") for file in parse(patch)]


def test_too_many_files_are_refused() -> None:
    parts = "".join(f"*** Delete File: {number}\n" for number in range(600))
    with pytest.raises(PatchError, match="too large"):
        parse(f"*** Begin Patch\n{parts}*** End Patch")


def test_line_that_looks_like_a_header_is_content_where_the_counts_say_so() -> None:
    old = "-- a/x\nb\n"
    patch = HEAD + "@@ -1,2 +1,2 @@\n--- a/x\n+++ b/x\n b\n@@ -9 +9 @@\n"
    with pytest.raises(PatchError):  # a hunk without lines is nothing that could be meant
        new_text(patch.replace("\n@@ -9 +9 @@", "\n@@ -9 +9 @@\n-zzz"), old)
    assert new_text(patch.removesuffix("@@ -9 +9 @@\n"), old) == "++ b/x\nb\n"


def test_file_of_equal_lines_costs_no_square() -> None:
    haystack = Haystack("a", ["x"] * 300_000)
    hunk = Hunk(tuple([(" ", "x")] * 2000 + [("-", "y")]))
    with pytest.raises(PatchError, match="does not fit"):
        haystack.place(hunk, 1)
    with pytest.raises(PatchError, match="fits 1000 places"):
        haystack.place(Hunk(tuple([(" ", "x")] * 2000 + [("-", "x")])), 1)


def test_rendered_patches_read_like_git_s() -> None:
    def show(path: str) -> str:
        return path

    assert render([apply(one("*** Begin Patch\n*** Add File: n\n+a\n*** End Patch"), None, "n")], show) == (
        "diff --git a/n b/n\nnew file mode 100644\n--- /dev/null\n+++ b/n\n@@ -0,0 +1,1 @@\n+a\n"
    )
    assert render([apply(one("*** Begin Patch\n*** Delete File: n\n*** End Patch"), "a", "n")], show) == (
        "diff --git a/n b/n\ndeleted file mode 100644\n--- a/n\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-a\n"
        "\\ No newline at end of file\n"
    )
    moved = "*** Begin Patch\n*** Update File: n o\n*** Move to: m\n@@\n a\n+b\n*** End Patch"
    assert render([apply(one(moved), "a", "n o")], show) == (
        "diff --git a/n o b/m\nrename from n o\nrename to m\n--- a/n o\t\n+++ b/m\n@@ -1,1 +1,2 @@\n-a\n"
        "\\ No newline at end of file\n+a\n+b\n\\ No newline at end of file\n"
    )


@pytest.mark.parametrize(
    ("patch", "old"),
    [
        ("*** Begin Patch\n*** Add File: n\n+a\n+b\n*** End Patch", None),
        ("*** Begin Patch\n*** Add File: n\n*** End Patch", None),
        ("*** Begin Patch\n*** Delete File: n\n*** End Patch", "a\nb"),
        ("*** Begin Patch\n*** Delete File: n\n*** End Patch", ""),
        ('*** Begin Patch\n*** Update File: a "b" c\n*** Move to: b/d e\n*** End Patch', "a\nb"),
        ('*** Begin Patch\n*** Update File: a "b" c\n@@\n-a\n*** End Patch', "a\r\nb"),
        ("diff --git a/n b/n\nnew file mode 100755\n--- /dev/null\n+++ b/n\n@@ -0,0 +1 @@\n+a\n", None),
        (HEAD + "@@ -1,2 +1,3 @@\n a\n b\n+c\n", "a\r\nb"),
        (HEAD + "@@ -1,2 +1,2 @@\n a\n-b\n+c\n", "a\r\nb"),
        (HEAD + "@@ -1,2 +1,2 @@\n a\n-b\n+c\n\\ No newline at end of file\n", "a\r\nb\r\n"),
    ],
)  # fmt: skip
def test_rendered_patch_is_read_back_as_the_same(patch: str, old: str | None) -> None:
    first: Applied = apply(one(patch), old, "n")
    again = apply(one(render([first], lambda path: path)), old, "n")
    assert (again.change, again.executable) == (first.change, first.executable)
