"""What an agent asks to be permitted, answered over HTTP by any of the options that it offers."""

import json
from typing import Any

import pytest

from ars_gateway.access.auth import Credential, Credentials, digest
from ars_gateway.access.scopes import WRITE, closure
from ars_gateway.http.agent_events import Names
from ars_gateway.http.agent_events import told as words
from ars_gateway.sessions.feed import Entry
from tests.gateway.conftest import Running, Start
from tests.gateway.host import TOKEN
from tests.gateway.http.asking import asking, error_of
from tests.gateway.http.events import Event, message, text_of, told
from tests.gateway.talking import GUEST
from tests.gateway.test_approvals import OBEYS, SEVERAL

ASKS = json.dumps([["ask", "session/request_permission", SEVERAL]])
ONCE = {"optionId": "once", "name": "Once", "kind": "allow_once", "decision": "allow-once"}
NEVER = {"optionId": "no", "name": "No", "kind": "reject_once", "decision": "deny"}
HERE = {"optionId": "here", "name": "Always here", "kind": "allow_always"}


@pytest.mark.parametrize(("option", "decision"), [("here", "allow-always"), ("never", "deny")])
async def test_any_option_that_an_agent_offers_can_be_picked(start: Start, option: str, decision: str):
    async with start(agent=OBEYS) as gateway, asking(gateway) as client:
        held = (Credential("owner", digest(TOKEN)), Credential("owner", digest(GUEST), closure({WRITE})))
        gateway.gateway.credentials = Credentials("token", held)
        seen: list[Event] = []
        async with told(client, "POST", "/agent/message/stream", json=message("s", "m1", ASKS)) as found:
            async for it in found:
                seen.append(it)
                if it.name == "approval":
                    assert [one["optionId"] for one in it.data["options"]] == ["here", "all", "once", "never"]
                    answer = {"session_id": "s", "approval_id": it.data["approval_id"], "option_id": option}
                    async with asking(gateway, headers={"authorization": f"Bearer {GUEST}"}) as writer:
                        assert (await writer.post("/agent/approval", json=answer)).status_code == 403
                    wrong = await client.post("/agent/approval", json=answer | {"option_id": "none"})
                    assert (wrong.status_code, error_of(wrong)["message"]) == (400, "no such option")
                    for _ in range(2):
                        assert (await client.post("/agent/approval", json=answer)).json() == {"status": "received"}
                    late = await client.post("/agent/approval", json=answer | {"option_id": "once"})
                    assert (late.status_code, error_of(late)["code"]) == (409, "CONFLICT")
                    assert error_of(late)["details"].items() >= {"decision": decision, "option_id": option}.items()
        assert json.loads(text_of(seen)) == [{"outcome": {"outcome": "selected", "optionId": option}}]
        (resolved,) = [it.data for it in seen if it.name == "approval_resolved"]
        assert (resolved["decision"], resolved["option_id"]) == (decision, option)


@pytest.mark.parametrize("said", [{}, {"decision": "deny", "option_id": "never"}])
async def test_an_answer_is_either_a_decision_or_an_option(running: Running, said: dict[str, str]):
    async with asking(running) as client:
        answer = await client.post("/agent/approval", json={"session_id": "s", "approval_id": "a", **said})
        assert answer.status_code == 400
        assert error_of(answer)["message"] == "invalid body: must have exactly one of 'decision', 'option_id'"


@pytest.mark.parametrize(
    ("offered", "decisions"),
    [
        ([ONCE, NEVER], ["allow-once", "deny"]),
        ([HERE, ONCE, NEVER], ["allow-once", "deny"]),
        ([{**HERE, "decision": "allow-always"}, NEVER], ["allow-always", "deny"]),
        ([HERE, {"decision": "deny", "name": ""}], ["deny"]),
    ],
    ids=["one of each kind", "several of a kind", "always alone", "no refusal"],
)
def test_only_decisions_that_pick_something_are_told_and_only_options_that_have_an_id(
    offered: list[dict[str, Any]], decisions: list[str]
):
    request = {"command": "c", "cwd": None, "_ars": {"options": offered}}
    asked = Entry(1, "r", "question", {"id": "q", "request": request, "expiresAtMs": 1})
    _, data = words(asked, Names("s", "m")) or ("", {})
    assert data["decisions"] == decisions
    assert data["options"] == [one for one in offered if "optionId" in one]
