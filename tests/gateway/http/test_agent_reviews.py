"""A patch that a person has reviewed in an HTTP client, which the agent then applies in the gateway's workspace."""

from pathlib import Path
from typing import Any

import pytest

from ars_gateway.access.auth import Credential, Credentials, digest
from ars_gateway.access.scopes import READ, WRITE, closure
from ars_gateway.talks.hands import result_of
from tests.gateway.client import Refusal
from tests.gateway.conftest import Start
from tests.gateway.host import TOKEN
from tests.gateway.http.asking import asking, error_of
from tests.gateway.http.events import Event, message, told, until
from tests.gateway.talking import GUEST
from tests.gateway.test_ars import ars

PATCH = "--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-one\n+two\n"
INDENTED = "".join(f"    {line}\n" for line in PATCH.splitlines())
SCRIPT = f"""\
=== turn repeat
call apply_patch_review
  patch:
{INDENTED}--- step
call apply_patch
  patch:
{INDENTED}--- step
say: $result
"""


async def reviewed(start: Start, directory: Path, result: dict[str, Any], policy: str = "ask") -> tuple[list[str], str]:
    """What was asked in a turn whose review has this result, each time answered no; and what the file then holds."""
    seen: list[Event] = []
    async with start(agent=ars(directory, SCRIPT)) as gateway, asking(gateway, timeout=20) as client:
        gateway.gateway.talks.agents.policy = policy
        file = directory / "state/workspace/a.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("one\n")
        body = message("s", "m1", tools=["apply_patch_review"])
        async with told(client, "POST", "/agent/message/stream", json=body) as found:
            async for it in found:
                seen.append(it)
                if it.name == "tool_call":
                    said = {"session_id": "s", "call_id": it.data["call_id"], "result": result}
                    assert (await client.post("/agent/tool_result", json=said)).status_code == 200
                elif it.name == "approval":
                    said = {"session_id": "s", "approval_id": it.data["approval_id"], "decision": "deny"}
                    assert (await client.post("/agent/approval", json=said)).status_code == 200
        assert seen[-1].name == "complete"
        return [it.name for it in seen if it.name in ("tool_call", "approval")], file.read_text()


async def test_what_was_accepted_there_is_not_asked_about_once_more(start: Start, tmp_path: Path):
    assert await reviewed(start, tmp_path, {"content": PATCH}) == (["tool_call"], "two\n")


@pytest.mark.parametrize(
    "result",
    [{"content": PATCH, "decision": "rejected"}, {"content": ""}, {"content": "no"}, {"patch": PATCH}],
    ids=["more was said", "nothing accepted", "a word", "another member"],
)
async def test_an_answer_that_is_no_patch_alone_is_asked_about(start: Start, tmp_path: Path, result: dict[str, Any]):
    assert await reviewed(start, tmp_path, result) == (["tool_call", "approval"], "one\n")


async def test_where_nobody_may_allow_anything_a_review_allows_nothing(start: Start, tmp_path: Path):
    assert await reviewed(start, tmp_path, {"content": PATCH}, policy="deny") == (["tool_call"], "one\n")


def test_only_who_may_decide_what_agents_do_accepts_a_patch():
    said = {"result": {"content": PATCH}}
    assert result_of(said, accepts=True) == {"ok": True, "content": PATCH, "raw": said["result"], "approved": True}
    assert "approved" not in result_of(said)


async def test_who_may_not_approve_accepts_no_review_in_a_form(start: Start, tmp_path: Path):
    async with start(agent=ars(tmp_path, SCRIPT)) as gateway, asking(gateway, timeout=20) as client:
        file = tmp_path / "state/workspace/a.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("one\n")
        held = (Credential("owner", digest(TOKEN)), Credential("owner", digest(GUEST), closure({WRITE})))
        gateway.gateway.credentials = Credentials("token", held)
        async with (
            asking(gateway, headers={"authorization": f"Bearer {GUEST}"}) as writer,
            gateway.client(READ, WRITE, caps=["elicitation"]) as socket,
            told(client, "POST", "/agent/message/stream", json=message("s", "m1", forms=True)) as found,
        ):
            form = (await until(found, "form")).data
            [(name, field)] = form["schema"]["properties"].items()
            everything = {name: [it["const"] for it in field["items"]["anyOf"]]}
            accepted = {"session_id": "s", "form_id": form["form_id"], "action": "accept", "content": everything}
            refused = await writer.post("/agent/form", json=accepted)
            assert (refused.status_code, error_of(refused)["details"]) == (403, {"scope": "operator.approvals"})
            answer = {"id": form["form_id"], "action": "accept", "content": everything}
            with pytest.raises(Refusal, match=r"missing scope: operator\.approvals"):
                await socket.request("_ars.elicitation.resolve", answer)
            assert file.read_text() == "one\n"
            assert (await client.post("/agent/form", json=accepted)).status_code == 200
            assert [it.name async for it in found][-1] == "complete"
        assert file.read_text() == "two\n"
