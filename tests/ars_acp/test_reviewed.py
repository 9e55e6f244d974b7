"""A patch that a person has reviewed in their client, applied by the agent's own hands: not asked about twice, and
nothing else is let through for it."""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from acp_wire.build_extensions import tool_result
from tests.ars_acp.test_by_client import Doer, doing
from tests.support.in_memory import FILES, House

Json = dict[str, Any]

TEXT = "".join(f"line {number}\n" for number in range(1, 21))
FIRST = "@@ -1,3 +1,3 @@\n line 1\n-line 2\n+LINE 2\n line 3\n"
SECOND = "@@ -18,3 +18,3 @@\n line 18\n-line 19\n+LINE 19\n line 20\n"
A, B = "--- a/a.py\n+++ b/a.py\n", "--- a/b.py\n+++ b/b.py\n"
BOTH = A + FIRST + SECOND + B + FIRST
PART = A + FIRST


def called(name: str, patch: str) -> str:
    return f"call {name}\n  patch:\n" + "".join(f"    {line}\n" for line in patch.splitlines())


def turn(*steps: str) -> str:
    return "=== turn\n" + "--- step\n".join([*steps, "say: done\n"])


REVIEW, APPLY = called("apply_patch_review", BOTH), called("apply_patch", PART)


class Reviewer(Doer):
    """Answers each review with the next of `answers`; who is asked for a permission says no."""

    def __init__(self, *answers: Json) -> None:
        kept = iter(answers)
        super().__init__(lambda call: next(kept))
        self.files |= {"/project/a.py": TEXT, "/project/b.py": TEXT}
        self.permission = lambda params: "reject_once"

    def changed_files(self) -> list[str]:
        return [path for path, text in self.files.items() if text != TEXT]


@contextlib.asynccontextmanager
async def reviewing(play: str, client: Reviewer, capabilities: Json = FILES, **settings: Any) -> AsyncIterator[House]:
    async with doing(play, ["apply_patch_review"], client, capabilities=capabilities, **settings) as it:
        yield it


def accepted(patch: str) -> Json:
    return tool_result(patch, approved=True)


@pytest.mark.parametrize(
    "kept",
    [PART, BOTH, A + SECOND, B + FIRST, f"diff --git a/a.py b/a.py\nindex 1..2 100644\n{PART}", f"\n{PART}\n"],
)
async def test_what_the_person_kept_of_the_patch_is_applied_without_another_question(kept: str) -> None:
    client = Reviewer(accepted(kept))
    async with reviewing(turn(REVIEW, called("apply_patch", kept.strip("\n"))), client) as it:
        assert await it.prompt() == "end_turn"
    assert client.asked == []
    assert client.changed_files()


async def test_the_same_patch_written_in_another_way_is_the_same_patch() -> None:
    client = Reviewer(accepted(PART))
    begin = "*** Begin Patch\n*** Update File: a.py\n@@\n line 1\n-line 2\n+LINE 2\n line 3\n*** End Patch\n"
    async with reviewing(turn(REVIEW, called("apply_patch", begin)), client) as it:
        await it.prompt()
    assert (client.asked, client.changed_files()) == ([], ["/project/a.py"])


@pytest.mark.parametrize(
    "patch",
    [
        pytest.param(A + FIRST.replace("+LINE 2", "+evil"), id="other text"),
        pytest.param(A + FIRST + SECOND, id="more of the file"),
        pytest.param(B + FIRST, id="another file"),
        pytest.param(PART + "--- /dev/null\n+++ b/c.py\n@@ -0,0 +1 @@\n+new\n", id="one file more"),
    ],
)
async def test_any_other_patch_is_asked_about(patch: str) -> None:
    client = Reviewer(accepted(PART))
    async with reviewing(turn(REVIEW, called("apply_patch", patch)), client) as it:
        await it.prompt()
    assert len(client.asked) == 1
    assert client.changed_files() == []


async def test_an_approval_is_good_for_one_time() -> None:
    client = Reviewer(accepted(PART))
    back = A + FIRST.replace("-line 2\n+LINE 2", "-LINE 2\n+line 2")
    async with reviewing(turn(REVIEW, APPLY, called("apply_patch", back), APPLY), client) as it:
        client.permission = lambda params: "allow_once"
        await it.prompt()
    assert len(client.asked) == 2


async def test_a_file_that_has_changed_since_is_asked_about() -> None:
    client = Reviewer(accepted(PART))
    more = f"call write_file {json.dumps({'path': 'a.py', 'content': f'{TEXT}more'})}\n"
    async with reviewing(turn(REVIEW, more, APPLY), client) as it:
        client.permission = lambda params: "allow_once"
        await it.prompt()
    assert [asked["toolCall"]["title"] for asked in client.asked] == ["Write a.py", "Edit a.py"]


async def test_the_approval_ends_with_its_turn() -> None:
    client = Reviewer(accepted(PART))
    async with reviewing(turn(REVIEW) + turn(APPLY), client) as it:
        await it.prompt()
        await it.prompt("and now apply it")
    assert len(client.asked) == 1
    assert client.changed_files() == []


async def test_the_approval_is_of_its_session_alone() -> None:
    client = Reviewer(accepted(PART))
    other = turn(APPLY).replace("turn", 'turn if "apply"')
    async with reviewing(other + turn(REVIEW), client) as it:
        await it.prompt("review it")
        await it.new_session(_meta={"ars/tools": ["apply_patch_review"]})
        await it.prompt("apply it")
    assert [asked["sessionId"] for asked in client.asked] == [it.session]
    assert client.changed_files() == []


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(tool_result(PART), id="nobody says that a person accepts it"),
        pytest.param(tool_result(PART, ok=False, approved=True), id="the review failed"),
        pytest.param(accepted(""), id="nothing was kept"),
        pytest.param(accepted("rejected:\n" + PART), id="prose before it"),
        pytest.param(accepted(PART + "I do not want this\n"), id="prose behind it"),
        pytest.param(accepted(f"```diff\n{PART}```\n"), id="a quotation"),
        pytest.param(accepted(A + FIRST.replace("LINE 2", "evil")), id="what was not reviewed"),
        pytest.param(accepted(PART + "--- /dev/null\n+++ b/c.py\n@@ -0,0 +1 @@\n+new\n"), id="a file besides"),
        pytest.param(accepted(A + FIRST.replace("line 3", "line 4")), id="what fits nowhere"),
    ],
)
async def test_what_is_no_clear_yes_to_what_was_shown_approves_nothing(answer: Json) -> None:
    client = Reviewer(answer)
    tried = [called("apply_patch", A + FIRST.replace("LINE 2", "evil")), APPLY]
    async with reviewing(turn(REVIEW, *tried), client) as it:
        await it.prompt()
    assert len(client.asked) == 2
    assert client.changed_files() == []


async def test_only_a_review_approves() -> None:
    client = Reviewer(accepted(PART))
    play = turn('call prompt_user {"question": "Sure?"}\n', APPLY)
    async with doing(play, ["prompt_user"], client, capabilities=FILES) as it:
        await it.prompt()
    assert len(client.asked) == 1


async def test_a_read_only_session_stays_so() -> None:
    client = Reviewer(accepted(PART))
    async with reviewing(turn(REVIEW, APPLY), client, mode="read-only") as it:
        await it.prompt()
    assert (client.asked, client.changed_files()) == ([], [])


async def test_a_client_whose_files_we_cannot_read_is_not_asked_for_them() -> None:
    client = Reviewer(accepted(PART))
    async with reviewing(turn(REVIEW), client, capabilities={}) as it:
        assert await it.prompt() == "end_turn"
    assert not client.reading.is_set()
