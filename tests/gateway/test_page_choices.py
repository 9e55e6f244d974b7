"""_ars.session.*, _ars.chat.steer and _ars.state: having a say in a session, and how the gateway is."""

import os
from pathlib import Path

import pytest

from tests.gateway.client import Client, Device, Json, Refusal
from tests.gateway.conftest import Start
from tests.gateway.talking import GUEST, admit_guest, last, mock, send
from tests.gateway.test_ars import ars
from tests.gateway.test_page import PAGE, opened, over, told

WORKS = """\
=== turn
say: One moment.
call prompt_user {"question": "Which?", "choices": ["a", "b"]}
--- step
say: So be it.
"""


async def asked(client: Client) -> Json:
    """The form that the agent waits for."""
    form: Json = (await client.event("_ars.elicitation.requested"))["payload"]
    return form


async def test_what_an_agent_offers_is_shown_and_chosen_and_stays_chosen(start: Start, tmp_path: Path):
    async with start(agent=ars(tmp_path)) as gateway, gateway.client(**PAGE) as one, gateway.client(**PAGE) as two:
        closed = await one.request("_ars.session.options", {"sessionKey": "main"}, within=15)
        assert (closed["open"], closed["modes"]["current"], closed["models"]["current"]) == (False, "ask", "scripted")
        chosen = await one.request("_ars.session.choose", {"sessionKey": "main", "id": "mode", "value": "read-only"})
        assert chosen["open"] is True
        assert chosen["modes"]["current"] == "read-only"
        mode = next(it for it in chosen["options"] if it["category"] == "mode")
        assert (mode["value"], mode["type"]) == ("read-only", "select")
        assert {"value", "name", "description", "group"} == mode["choices"][0].keys()
        assert chosen["models"]["current"] == "scripted"
        assert await two.request("_ars.session.options", {"sessionKey": "agent:main:main"}) == chosen
        await send(one, "k1")
        await last(one, "k1")
        after = await two.request("_ars.session.options", {"sessionKey": "main"})
        assert after["modes"]["current"] == "read-only"
        assert [it for it in after["commands"] if it["name"] == "compact"]


async def test_of_a_session_that_is_not_open_it_is_told_what_is_offered_but_no_mode_that_nobody_knows(
    start: Start, tmp_path: Path
):
    async with start(agent=ars(tmp_path)) as gateway, gateway.client(**PAGE) as one:
        chosen = {"sessionKey": "main", "id": "mode", "value": "read-only"}
        offered = await one.request("_ars.session.choose", chosen, within=15)
        [room] = gateway.gateway.talks.rooms.all()
        await gateway.gateway.talks.agents.close_session(room)
        async with gateway.client("operator.read", caps=["ars"]) as reader:
            closed = await reader.request("_ars.session.options", {"sessionKey": "main"})
        assert closed["open"] is False
        assert closed["modes"] == {**offered["modes"], "current": None}
        assert closed["models"] == offered["models"]
        assert [(it["id"], it["value"]) for it in closed["options"] if it["category"] in ("mode", "model")] == [
            *(("mode", None), ("model", "scripted")),
        ]


@pytest.mark.parametrize(
    ("id", "value", "why"),
    [
        ("mode", "no-such", "no-such"),
        ("model", "no-such", "cannot be .no-such"),
        ("nothing", "x", "offers nothing called"),
        ("mode", True, "cannot be"),
        ("__proto__", "x", "offers nothing called"),
    ],
)
async def test_what_is_not_offered_cannot_be_chosen(start: Start, tmp_path: Path, id: str, value: str | bool, why: str):
    async with start(agent=ars(tmp_path)) as gateway, gateway.client(**PAGE) as one:
        with pytest.raises(Refusal, match=why):
            await one.request("_ars.session.choose", {"sessionKey": "main", "id": id, "value": value})


async def test_a_message_joins_the_run_that_is_at_work_once(start: Start, tmp_path: Path):
    async with start(agent=ars(tmp_path, WORKS)) as gateway, gateway.client(**PAGE) as one:
        said = {"sessionKey": "main", "message": "take b", "idempotencyKey": "s1"}
        assert await one.request("_ars.chat.steer", said) == {"outcome": "noRun"}
        await opened(one)
        await send(one, "k1")
        form = await asked(one)
        await one.request("sessions.patch", {"key": "main", "sendPolicy": "deny"})
        with pytest.raises(Refusal, match="send blocked"):
            await one.request("_ars.chat.steer", said)
        await one.request("sessions.patch", {"key": "main", "sendPolicy": None})
        assert await one.request("_ars.chat.steer", said) == {"outcome": "injected"}
        assert await one.request("_ars.chat.steer", said) == {"outcome": "injected"}
        [entry] = [it for it in told(one) if it["kind"] == "form"]
        assert entry["data"] == form
        assert form["toolCallId"]
        await one.request("_ars.elicitation.resolve", {"id": form["id"], "action": "cancel"})
        await one.until(lambda: over(one, "k1"), 15)
        steered = [it["data"] for it in told(one) if it["kind"] == "steer"]
        assert steered == [{"text": "take b"}]
        shown = [it["data"] for it in (await opened(one))["entries"] if it["kind"] == "steer"]
        assert shown == [{"text": "take b"}]
    async with start(agent=ars(tmp_path, WORKS)) as gateway, gateway.client(**PAGE) as one:
        assert [it["data"] for it in (await opened(one))["entries"] if it["kind"] == "steer"] == steered


async def test_an_agent_that_takes_no_message_at_work_says_so(start: Start, tmp_path: Path):
    script = '=== turn\nask edit "Change?"\n=== turn repeat\nsay: Hi.\n'
    async with start(agent=mock(tmp_path, script, "claude")) as gateway, gateway.client(**PAGE) as one:
        await send(one, "k1")
        await one.event("exec.approval.requested")
        said = {"sessionKey": "main", "message": "b", "idempotencyKey": "s1"}
        assert await one.request("_ars.chat.steer", said) == {"outcome": "unsupported"}
        await one.request("chat.abort", {"sessionKey": "main"})


async def test_how_the_gateway_is_as_far_as_it_is_the_callers(start: Start, tmp_path: Path):
    async with start(agent=ars(tmp_path, WORKS)) as gateway:
        admit_guest(gateway)
        page = {**PAGE, "client": {"id": "webchat-ui", "version": "1", "platform": "web", "mode": "ui"}}
        origin = {"origin": gateway.url.replace("ws://", "http://")}
        async with (
            gateway.client(**page, options=origin, device=Device()) as one,
            gateway.client(token=GUEST, **PAGE) as guest,
        ):
            await opened(one)
            await send(one, "k1")
            form = await asked(one)
            gateway.gateway.gauges.sample()
            told = await one.request("_ars.state", {})
            [main] = [it for it in told["agents"] if it["id"] == "main"]
            assert (main["state"], main["restarts"]) == ("busy", 0)
            assert main["rssBytes"] > 10_000_000
            assert main["model"]["reachable"] in (True, None)
            assert [(it["runId"], it["waiting"]) for it in told["runs"]] == [("k1", False)]
            assert (told["forms"], told["questions"], told["sessions"]["count"], told["pid"]) == (1, 0, 1, os.getpid())
            assert told["connections"]["count"] == 2
            assert told["connections"]["pages"] == 1
            assert [(it["client"], it["you"]) for it in told["connections"]["list"]] == [("webchat-ui", True)]
            assert told["store"]["writable"] is True
            assert {name: len(it) for name, it in told["series"].items() if name != "seconds"} == dict.fromkeys(
                ("loopLagMs", "firstTokenMs", "deliverMs", "rssBytes", "cpuPercent"), 1
            )
            assert told["series"]["deliverMs"][0] < 1_000
            assert told["series"]["firstTokenMs"][0] > 0
            assert told["memory"]["rssBytes"] > 10_000_000

            seen = await guest.request("_ars.state", {})
            assert (seen["runs"], seen["forms"], seen["sessions"]["count"]) == ([], 0, 0)
            assert [it["you"] for it in seen["connections"]["list"]] == [True]
            shown = [it for it in await guest.request("system-presence") if it.get("mode") == "ui"]
            assert [it["reason"] for it in shown] == ["connect"]
            await one.request("_ars.elicitation.resolve", {"id": form["id"], "action": "cancel"})
            await last(one, "k1")
