"""Forms over HTTP: an agent asks, a client without a page or a socket answers."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ars_gateway.talks import forms
from ars_gateway.talks.forms import problems
from tests.gateway.client import Refusal
from tests.gateway.conftest import Start
from tests.gateway.http.asking import asking, error_of
from tests.gateway.http.events import Event, all_told, message, text_of, told, until
from tests.gateway.talking import GUEST, admit_guest
from tests.gateway.test_ars import ars

SEVERAL = {"type": "array"}
ASKS = """\
=== turn
call prompt_user {"question": "Which?", "choices": ["a", "b"]}
--- step
say: So be it.
"""


def answer(form: Event, action: str = "accept", **more: Any) -> dict[str, Any]:
    """The body that answers a form."""
    return {"session_id": form.data["session_id"], "form_id": form.data["form_id"], "action": action, **more}


async def shown(found: AsyncIterator[Event]) -> Event:
    """The form that the agent waits for; it has one field."""
    return await until(found, "form")


def field_of(form: Event) -> str:
    """The name of its field."""
    (name,) = form.data["schema"]["properties"]
    return str(name)


async def test_a_form_is_told_and_answered_once(start: Start, tmp_path: Path):
    async with start(agent=ars(tmp_path, ASKS)) as gateway, asking(gateway) as client:
        gateway.gateway.talks.rooms.open("owner", "agent:main:other", str(tmp_path))
        async with told(client, "POST", "/agent/message/stream", json=message("s", "m1", forms=True)) as found:
            form = await shown(found)
            name = field_of(form)
            assert "Which?" in form.data["message"]
            right = answer(form, content={name: "a"})
            elsewhere = await client.post("/agent/form", json=right | {"session_id": "other"})
            assert (elsewhere.status_code, error_of(elsewhere)["code"]) == (404, "NOT_FOUND")
            for wrong in ({name: "c"}, {name: 1}, {name: None}, {}, {name: "a", "more": 1}):
                refused = await client.post("/agent/form", json=right | {"content": wrong})
                assert (refused.status_code, error_of(refused)["code"]) == (400, "INVALID_MESSAGE"), wrong
            assert (
                f"at /{name}: must be"
                in error_of(await client.post("/agent/form", json=right | {"content": {name: "c"}}))["message"]
            )
            for _ in range(2):
                received = await client.post("/agent/form", json=right)
                assert (received.status_code, received.json()) == (200, {"status": "received"})
            for other in ({"content": {name: "b"}}, {"action": "decline"}):
                late = await client.post("/agent/form", json=right | other)
                assert (late.status_code, error_of(late)["code"]) == (409, "CONFLICT")
                assert error_of(late)["details"]["action"] == "accept"
            rest = [it async for it in found]
        assert text_of(rest) == "So be it."
        assert [it.data["action"] for it in rest if it.name == "form_resolved"] == ["accept"]


@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_who_does_not_answer_a_form_says_so(start: Start, tmp_path: Path, action: str):
    async with (
        start(agent=ars(tmp_path, ASKS)) as gateway,
        asking(gateway) as client,
        told(client, "POST", "/agent/message/stream", json=message("s", "m1", forms=True)) as found,
    ):
        form = await shown(found)
        for _ in range(2):
            assert (await client.post("/agent/form", json=answer(form, action))).status_code == 200
        assert (await until(found, "form_resolved")).data["action"] == action
        assert [it.name async for it in found][-1] == "complete"


async def test_no_agent_asks_a_client_that_has_not_said_that_it_answers(start: Start, tmp_path: Path):
    async with start(agent=ars(tmp_path, ASKS)) as gateway, asking(gateway) as client:
        gateway.gateway.talks.approvals.seconds = 0.1
        seen = await all_told(client, message("s", "m1"))
        assert not [it for it in seen if it.name == "form"]


async def test_a_form_that_nobody_answers_in_time_is_answered_no_more(start: Start, tmp_path: Path):
    async with start(agent=ars(tmp_path, ASKS)) as gateway, asking(gateway) as client:
        gateway.gateway.talks.forms._seconds = 0.1
        seen = await all_told(client, message("s", "m1", forms=True))
        form = next(it for it in seen if it.name == "form")
        late = await client.post("/agent/form", json=answer(form, content={field_of(form): "a"}))
        assert (late.status_code, error_of(late)["details"]) == (409, {"action": "cancel", "resolved_by": None})


async def test_another_principals_form_is_as_unknown_as_none(start: Start, tmp_path: Path):
    async with start(agent=ars(tmp_path, ASKS)) as gateway, asking(gateway) as client:
        admit_guest(gateway)
        gateway.gateway.talks.rooms.open("guest", "agent:main:s", str(tmp_path))
        async with (
            asking(gateway, headers={"authorization": f"Bearer {GUEST}"}) as guest,
            told(client, "POST", "/agent/message/stream", json=message("s", "m1", forms=True)) as found,
        ):
            decline = answer(await shown(found), "decline")
            before = await guest.post("/agent/form", json=decline)
            assert (await client.post("/agent/form", json=decline)).status_code == 200
            after = await guest.post("/agent/form", json=decline)
            assert [(it.status_code, error_of(it)["code"]) for it in (before, after)] == [(404, "NOT_FOUND")] * 2
            assert [it.name async for it in found][-1] == "complete"


async def test_a_socket_that_answers_late_is_told_what_was_answered(start: Start, tmp_path: Path):
    async with (
        start(agent=ars(tmp_path, ASKS)) as gateway,
        gateway.client(caps=["elicitation"]) as one,
        asking(gateway) as client,
    ):
        await client.post("/agent/message", json=message("s", "m1"))
        form = (await one.event(forms.REQUESTED, within=15))["payload"]
        (name,) = form["requestedSchema"]["properties"]
        answered = {"id": form["id"], "action": "accept", "content": {name: "c"}}
        with pytest.raises(Refusal, match=f"invalid content: at /{name}"):
            await one.request("_ars.elicitation.resolve", answered)
        body = {"session_id": "s", "form_id": form["id"], "action": "accept", "content": {name: "b"}}
        assert (await client.post("/agent/form", json=body)).status_code == 200
        with pytest.raises(Refusal, match="unknown elicitation id") as late:
            await one.request("_ars.elicitation.resolve", {"id": form["id"], "action": "cancel"})
        assert late.value.error["details"]["action"] == "accept"


@pytest.mark.parametrize(
    ("field", "right", "wrong"),
    [
        ({"type": "string", "minLength": 2, "maxLength": 3}, ["ab", "äöü"], ["a", "abcd", 1, None, ["ab"]]),
        ({"type": "string", "enum": ["a", "b"]}, ["a"], ["c", ""]),
        ({"type": "string", "oneOf": [{"const": "a", "title": "A"}]}, ["a"], ["A"]),
        ({"type": "string", "pattern": "^(a+)+$", "format": "email"}, ["a" * 40 + "b"], []),
        ({"type": "number", "minimum": 0, "maximum": 1.5}, [0, 1.5], [-1, 2, "1", True]),
        ({"type": "integer"}, [7], [1.5, True]),
        ({"type": "boolean"}, [True, False], [0, "true"]),
        ({"type": "array", "items": {"type": "string", "enum": ["a"]}, "minItems": 1}, [["a"]], [[], ["b"], "a", [1]]),
        (
            {"type": "array", "items": {"anyOf": [{"const": "a", "title": "A"}]}, "maxItems": 1},
            [["a"], []],
            [["a", "a"]],
        ),
        ({"type": "array", "items": {"type": "color"}}, [["red"]], [[{}]]),
        ({"type": "color"}, ["red", 3, ["x"], True], [{}, None, [1]]),
    ],
)
def test_a_content_has_to_be_as_its_form_asks(field: Any, right: list[Any], wrong: list[Any]):
    schema = {"type": "object", "properties": {"f": field}, "required": ["f"]}
    assert [it for it in right if problems(schema, {"f": it})] == []
    assert [it for it in wrong if not problems(schema, {"f": it})] == []
    assert problems(schema, {}) == ["must have required property 'f'"]
    assert problems(schema, {"f": right[0], "g": 1})
