"""apply_patch_review: the person chooses hunks; exactly what they accepted is then applied without another question."""

from typing import Any

import pytest

from ars_acp.hands import Form, Timeout
from ars_acp.tools.patch.model import PatchError
from ars_acp.tools.tool import ToolLimits
from tests.support.fake_hands import ALL
from tests.support.schema import check
from tests.tools.conftest import Bench

OLD = "".join(f"line {number}\n" for number in range(1, 31))
PATCH = """\
--- a/a.txt
+++ b/a.txt
@@ -1,3 +1,3 @@
 line 1
-line 2
+LINE 2
 line 3
@@ -9,4 +9,5 @@
 line 10
+line 10 1/2
 line 11
@@ -20,3 +21,2 @@
 line 20
-line 21
 line 22
"""
FILES = """\
*** Begin Patch
*** Add File: new.txt
+new
*** Delete File: old.txt
*** Update File: a.txt
*** Move to: b.txt
@@
-line 2
+LINE 2
@@
-line 9
+LINE 9
*** End Patch
"""


@pytest.fixture
def project(bench: Bench) -> Bench:
    bench.write("a.txt", OLD)
    bench.write("old.txt", "old\n")
    return bench


def patch_in(text: str) -> str:
    return text[text.index("diff --git") :]


def choosing(*numbers: str, action: str = "accept") -> Any:
    return lambda _message, _schema: Form(action, {"hunks": list(numbers)})  # type: ignore[arg-type]


def answering(*answers: str | None) -> Any:
    left = list(answers)
    return lambda _call, _options: left.pop(0)


async def test_plan_asks_nothing_and_shows_the_whole_patch(project: Bench) -> None:
    act = await project.plan("apply_patch_review", patch=PATCH)
    assert (act.title, act.kind, act.effects) == ("Review: Edit a.txt", "other", "none")
    assert act.content[0]["type"] == "diff"
    assert project.hands.made("form") == project.hands.made("ask") == []


async def test_form_offers_every_hunk_all_chosen(project: Bench) -> None:
    project.hands.fill = choosing("1")
    await project.call("apply_patch_review", patch=PATCH)
    ((_, message, schema, call_id),) = [it for it in project.hands.calls if it[0] == "form"]
    check("ElicitationSchema", schema)
    hunks = schema["properties"]["hunks"]
    assert hunks["default"] == ["1", "2", "3"]
    assert [it["title"] for it in hunks["items"]["anyOf"]] == [
        "1: a.txt, line 1 (+1 -1)",
        "2: a.txt, line 10 (+1 -0)",
        "3: a.txt, line 20 (+0 -1)",
    ]
    for line in ("-line 2\n+LINE 2", "+line 10 1/2", "-line 21"):
        assert line in message
    assert call_id == "call-1"


async def test_accepted_hunks_come_back_as_a_patch_with_true_numbers(project: Bench) -> None:
    project.hands.fill = choosing("1", "3")
    result = await project.call("apply_patch_review", patch=PATCH)
    assert result.ok
    assert result.raw == {"accepted": 2, "of": 3}
    assert result.text.startswith("rejected: a.txt, line 10 (+1 -0)\nthe person accepted 2 of 3;")
    assert patch_in(result.text) == (
        "diff --git a/a.txt b/a.txt\n--- a/a.txt\n+++ b/a.txt\n"
        "@@ -1,3 +1,3 @@\n line 1\n-line 2\n+LINE 2\n line 3\n"
        "@@ -20,3 +20,2 @@\n line 20\n-line 21\n line 22\n"
    )
    assert project.read("a.txt") == OLD


async def test_accepted_patch_is_applied_without_a_question_and_once(project: Bench) -> None:
    project.hands.fill = choosing("1", "3")
    accepted = patch_in((await project.call("apply_patch_review", patch=PATCH)).text)
    act = await project.plan("apply_patch", patch=accepted)
    twin = await project.plan("apply_patch", patch=accepted)
    assert act.approved
    assert twin.approved
    assert (await act.do()).ok
    assert project.read("a.txt") == OLD.replace("line 2\n", "LINE 2\n", 1).replace("line 21\n", "")
    assert project.approved == set()
    project.write("a.txt", OLD)
    assert (await twin.do()).code == "REFUSED"
    assert not (await project.plan("apply_patch", patch=accepted)).approved


async def test_any_other_patch_asks(project: Bench) -> None:
    project.hands.fill = choosing("1", "3")
    accepted = patch_in((await project.call("apply_patch_review", patch=PATCH)).text)
    names = "diff --git a/a.txt b/{0}\n{1}--- a/a.txt\n+++ b/{0}\n"
    renamed = names.format("c.txt", "rename from a.txt\nrename to c.txt\n")
    for other in (
        PATCH,
        accepted.replace("+LINE 2", "+LINE 2 "),
        accepted[: accepted.index("@@ -20")],
        accepted + "--- /dev/null\n+++ b/more.txt\n@@ -0,0 +1 @@\n+x\n",
        accepted.replace(names.format("a.txt", ""), renamed),
    ):
        act = await project.plan("apply_patch", patch=other)
        assert not act.approved
    assert (await project.plan("apply_patch", patch=accepted)).approved


async def test_accepted_patch_asks_again_when_the_file_has_changed(project: Bench) -> None:
    project.hands.fill = choosing("1", "2", "3")
    accepted = patch_in((await project.call("apply_patch_review", patch=PATCH)).text)
    project.write("a.txt", OLD.replace("line 30", "line thirty"))
    assert not (await project.plan("apply_patch", patch=accepted)).approved


async def test_accepted_deletion_is_of_the_text_that_was_shown(project: Bench) -> None:
    patch = "*** Begin Patch\n*** Delete File: old.txt\n*** End Patch"
    project.hands.fill = choosing("1")
    await project.call("apply_patch_review", patch=patch)
    assert (await project.plan("apply_patch", patch=patch)).approved
    project.write("old.txt", "new and precious\n")
    assert not (await project.plan("apply_patch", patch=patch)).approved


@pytest.mark.parametrize(
    "form",
    [
        Form("decline"), Form("cancel"), Form("accept"), Form("accept", {"hunks": []}), Form("accept", {"hunks": "1"}),
        Form("accept", {"hunks": ["4", "0", 1, None, "1 "]}), Form("decline", {"hunks": ["1"]}),
    ],
)  # fmt: skip
async def test_form_without_a_choice_accepts_nothing(project: Bench, form: Form) -> None:
    project.hands.fill = lambda _message, _schema: form
    result = await project.call("apply_patch_review", patch=PATCH)
    assert result.text == "the person rejected all of it: nothing is to be applied"
    assert project.approved == set()


async def test_without_forms_each_hunk_is_a_permission_request_with_itself_as_diff(project: Bench) -> None:
    project.hands.can = ALL - {"form"}
    project.hands.answer = answering("accept", "reject", "accept")
    result = await project.call("apply_patch_review", patch=PATCH)
    asked = [it for it in project.hands.calls if it[0] == "ask"]
    for _, call, options in asked:
        check("RequestPermissionRequest", {"sessionId": "s", "toolCall": call, "options": options})
    path = str(project.root / "a.txt")
    assert [call["title"] for _, call, _ in asked] == [
        "Hunk 1 of 3: a.txt, line 1 (+1 -1)",
        "Hunk 2 of 3: a.txt, line 10 (+1 -0)",
        "Hunk 3 of 3: a.txt, line 20 (+0 -1)",
    ]
    diff = {"type": "diff", "path": path, "oldText": "line 1\nline 2\nline 3\n", "newText": "line 1\nLINE 2\nline 3\n"}
    assert asked[0][1]["content"] == [diff]
    assert asked[0][1]["locations"] == [{"path": path, "line": 1}]
    kinds = [(it["optionId"], it["kind"]) for it in asked[0][2]]
    assert kinds == [
        ("accept", "allow_once"), ("accept-rest", "allow_once"),
        ("reject", "reject_once"), ("reject-rest", "reject_once"),
    ]  # fmt: skip
    assert [it["optionId"] for it in asked[2][2]] == ["accept", "reject"]
    assert result.raw == {"accepted": 2, "of": 3}
    assert (await project.plan("apply_patch", patch=patch_in(result.text))).approved


@pytest.mark.parametrize(
    ("answers", "accepted"),
    [
        (["accept-rest"], 3), (["reject", "accept-rest"], 2), (["accept", "reject-rest"], 1), (["reject-rest"], 0),
        (["accept", "accept", "reject"], 2), (["accept", None], 0), ([None], 0), (["made up"], 0),
    ],
)  # fmt: skip
async def test_rest_is_answered_at_once_and_a_closed_question_is_a_no(
    project: Bench, answers: list[str | None], accepted: int
) -> None:
    project.hands.can = ALL - {"form"}
    project.hands.answer = answering(*answers)
    result = await project.call("apply_patch_review", patch=PATCH)
    assert result.raw == {"accepted": accepted, "of": 3}
    assert len(project.hands.made("ask")) == len(answers)


async def test_files_that_come_go_and_move_are_chosen_as_such(project: Bench) -> None:
    titles = [
        "Create new.txt",
        "Delete old.txt",
        "Move a.txt to b.txt",
        "a.txt, line 2 (+1 -1)",
        "a.txt, line 9 (+1 -1)",
    ]
    project.hands.can = ALL - {"form"}
    project.hands.answer = answering("accept", "reject", "reject", "accept", "reject")
    result = await project.call("apply_patch_review", patch=FILES)
    asked = project.hands.made("ask")
    assert [it["title"].partition(": ")[2] for it in asked] == titles
    assert {"path": str(project.root / "b.txt")} in asked[2]["locations"]
    act = await project.plan("apply_patch", patch=patch_in(result.text))
    assert act.approved
    assert (await act.do()).ok
    changed = OLD.replace("line 2\n", "LINE 2\n", 1).encode()
    assert project.files() == {"a.txt": changed, "new.txt": b"new\n", "old.txt": b"old\n"}


async def test_everything_accepted_is_everything_applied(project: Bench) -> None:
    project.hands.fill = choosing("1", "2", "3", "4", "5")
    result = await project.call("apply_patch_review", patch=FILES)
    act = await project.plan("apply_patch", patch=patch_in(result.text))
    assert act.approved
    assert (await act.do()).ok
    assert project.files() == {
        "b.txt": OLD.replace("line 2\n", "LINE 2\n", 1).replace("line 9", "LINE 9").encode(),
        "new.txt": b"new\n",
    }


async def test_original_patch_needs_no_question_either_when_all_of_it_was_accepted(project: Bench) -> None:
    project.hands.fill = choosing("1", "2", "3", "4", "5")
    await project.call("apply_patch_review", patch=FILES)
    assert (await project.plan("apply_patch", patch=FILES)).approved


@pytest.mark.parametrize("can", [ALL, ALL - {"form"}])
async def test_review_that_nobody_answers_is_a_time_out_and_ends_the_step(project: Bench, can: frozenset[str]) -> None:
    def nobody(_message: Any, _options: Any) -> Any:
        raise Timeout("no answer")

    project.hands.can = can
    project.hands.answer = project.hands.fill = nobody
    result = await project.call("apply_patch_review", patch=PATCH)
    assert (result.ok, result.code, result.end_turn_step) == (False, "TOOL_TIMEOUT", True)
    assert project.approved == set()


async def test_patch_that_does_not_fit_is_not_shown_to_anybody(project: Bench) -> None:
    with pytest.raises(PatchError, match="does not fit"):
        await project.plan("apply_patch_review", patch=PATCH.replace("-line 21", "-line 99"))


async def test_patch_that_nobody_could_review_is_refused(project: Bench) -> None:
    project.limits = ToolLimits(output_bytes=100)
    with pytest.raises(PatchError, match="too large"):
        await project.plan("apply_patch_review", patch=PATCH)


async def test_crlf_file_is_reviewed_and_patched_as_it_is(project: Bench) -> None:
    project.write("a.txt", OLD.replace("\n", "\r\n"))
    project.hands.fill = choosing("2", "3")
    result = await project.call("apply_patch_review", patch=PATCH)
    for patch in (patch_in(result.text), patch_in(result.text).replace("\r", "")):
        assert (await project.plan("apply_patch", patch=patch)).approved
