"""_ars.chat.*: a session as a page shows it, followed from any moment on, with nothing twice and nothing missing."""

from pathlib import Path
from typing import Any

import pytest

from tests.gateway.client import Client, Refusal
from tests.gateway.conftest import Start
from tests.gateway.host import program
from tests.gateway.talking import last, mock, send
from tests.gateway.test_ars import ars

Json = dict[str, Any]
PAGE = {"caps": ["tool-events", "elicitation", "ars"]}


def told(client: Client) -> list[Json]:
    """The entries of all feed events, in order."""
    return [entry for event in client.named("_ars.feed") for entry in event["payload"].get("entries", ())]


def over(client: Client, run: str) -> bool:
    return any(it["kind"] == "end" and it["run"] == run for it in told(client))


def text_of(entries: list[Json]) -> str:
    return "".join(it["data"] for it in entries if it["kind"] == "text")


async def opened(client: Client, key: str = "main", **more: Any) -> Json:
    answer: Json = await client.request("_ars.chat.open", {"sessionKey": key, **more})
    return answer


async def test_a_session_is_followed_from_before_its_beginning(start: Start, tmp_path: Path):
    async with start(agent=ars(tmp_path)) as gateway, gateway.client(**PAGE) as one:
        first = await opened(one)
        assert (first["key"], first["sessionId"], first["feed"], first["entries"]) == (
            "agent:main:main",
            None,
            None,
            [],
        )
        await send(one, "k1")
        await one.until(lambda: over(one, "k1"), 15)
        kinds = [it["kind"] for it in told(one) if it["kind"] != "update"]
        assert kinds[:2] == ["prompt", "begun"]
        assert kinds[-1] == "end"
        assert text_of(told(one)) == "Hello word1 word2"
        numbers = [it["n"] for it in told(one)]
        assert numbers == sorted(set(numbers))

        again = await opened(one)
        assert [(it["run"], it["kind"]) for it in again["entries"] if it["kind"] != "update"] == [
            ("k1", "prompt"),
            ("k1", "text"),
            ("k1", "end"),
        ]
        assert (again["last"], again["older"], again["live"]) == (numbers[-1], None, [])


async def test_old_turns_are_shown_as_live_ones_are(start: Start, tmp_path: Path):
    async with start(agent=ars(tmp_path)) as gateway, gateway.client(**PAGE) as one:
        await send(one, "k1")
        await last(one, "k1")
        await send(one, "k2", "write a file")
        asked = (await one.event("exec.approval.requested"))["payload"]
        await one.request("exec.approval.resolve", {"id": asked["id"], "decision": "allow-once"})
        await last(one, "k2")
        live = (await opened(one))["entries"]
    async with start(agent=ars(tmp_path)) as gateway, gateway.client(**PAGE) as one:
        old = (await opened(one))["entries"]

    def shown(entries: list[Json]) -> list[tuple[str, str, Any]]:
        kept = [it for it in entries if it["kind"] not in ("question", "answered", "end")]
        return [(it["run"], it["kind"], it["data"]) for it in kept if it["kind"] != "prompt"]

    assert shown(old) == shown(live)
    [call] = [it["data"] for it in old if it["kind"] == "update" and it["data"]["sessionUpdate"] == "tool_call"]
    assert (call["name"], call["status"]) == ("write_file", "completed")
    assert call["content"][0]["newText"] == "Hello.\n"
    assert [it["data"]["state"] for it in old if it["kind"] == "end"] == ["ok", "ok"]
    [answered] = [it["data"] for it in old if it["kind"] == "answered"]
    assert answered["decision"] == "allow-once"


async def test_a_page_that_comes_back_is_told_what_it_missed_and_nothing_else(start: Start, tmp_path: Path):
    async with start(agent=ars(tmp_path)) as gateway:
        async with gateway.client(**PAGE) as one:
            await opened(one)
            await send(one, "k1")
            await one.until(lambda: over(one, "k1"), 15)
            seen = told(one)
            feed = one.named("_ars.feed")[0]["payload"]["feed"]
        middle = seen[2]["n"]
        async with gateway.client(**PAGE) as two:
            answer = await opened(two, after={"feed": feed, "n": middle})
            assert (answer["resumed"], answer["entries"], answer["last"]) == (True, [], middle)
            await two.until(lambda: over(two, "k1"))
            assert [it["n"] for it in told(two)][-1] == seen[-1]["n"]
            assert min(it["n"] for it in told(two)) > middle
            assert text_of(told(two)) == text_of(seen[3:])


@pytest.mark.parametrize("after", [("other", 1), ("same", 10**9), ("same", 2**62)])
async def test_a_place_that_is_not_known_is_answered_with_everything(
    start: Start, tmp_path: Path, after: tuple[str, int]
):
    async with start(agent=ars(tmp_path)) as gateway, gateway.client(**PAGE) as one:
        await send(one, "k1")
        await last(one, "k1")
        feed = (await opened(one))["feed"] if after[0] == "same" else after[0]
        answer = await opened(one, after={"feed": feed, "n": after[1]})
        assert answer["resumed"] is False
        assert text_of(answer["entries"]) == "Hello word1 word2"


async def test_a_place_before_the_first_is_no_place(running):
    async with running.client(**PAGE) as one:
        with pytest.raises(Refusal, match="must be >= 0"):
            await opened(one, after={"feed": "f", "n": -1})


async def test_sessions_are_followed_by_clients_that_say_they_can(running):
    async with running.client() as one:
        with pytest.raises(Refusal, match="caps"):
            await opened(one)


async def test_who_follows_is_told_that_the_session_begins_anew(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, "=== turn repeat\nsay: Hi.\n")) as gateway, gateway.client(**PAGE) as one:
        await send(one, "k1", key="agent:main:two")
        await last(one, "k1")
        before = await opened(one, "agent:main:two")
        await one.request("sessions.reset", {"key": "agent:main:two"})
        said = (await one.event("_ars.feed"))["payload"]
        assert said == {"key": "agent:main:two", "feed": before["feed"], "over": "reset"}
        after = await opened(one, "agent:main:two")
        assert (after["entries"], after["sessionId"] != before["sessionId"]) == ([], True)
        await one.request("sessions.delete", {"key": "agent:main:two"})
        assert (await one.event("_ars.feed", 2))["payload"]["over"] == "deleted"


RUNS = """\
=== turn
say: Running.
call run_command
  command: for n in 1 2 3; do echo line$n; done
--- step
say: Done.
"""


async def test_what_a_command_shows_is_told_live_and_kept(start: Start, tmp_path: Path):
    async with start(agent=ars(tmp_path, RUNS)) as gateway, gateway.client(**PAGE) as one:
        await opened(one)
        await send(one, "k1")
        asked = (await one.event("exec.approval.requested"))["payload"]
        await one.request("exec.approval.resolve", {"id": asked["id"], "decision": "allow-once"})
        await one.until(lambda: over(one, "k1"), 15)
        live = [it["data"] for it in told(one) if it["kind"] == "terminal"]
        assert "".join(it["data"] for it in live) == "line1\nline2\nline3\n"
        calls = [it["data"] for it in told(one) if it["kind"] == "update" and "content" in it["data"]]
        assert {"type": "terminal", "terminalId": live[0]["terminalId"]} in calls[-1]["content"]
        [asking] = [it for it in told(one) if it["kind"] == "question"]
        assert asking["data"]["request"]["_ars"]["toolCallId"] == calls[-1]["toolCallId"]
    async with start(agent=ars(tmp_path, RUNS)) as gateway, gateway.client(**PAGE) as one:
        [kept] = [it["data"] for it in (await opened(one))["entries"] if it["kind"] == "terminal"]
        assert kept == {"terminalId": live[0]["terminalId"], "data": "line1\nline2\nline3\n"}


async def test_what_is_put_into_a_session_is_shown_once_where_it_was_put(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, "=== turn repeat\nsay: Hi.\n")) as gateway, gateway.client(**PAGE) as one:
        await opened(one)
        await send(one, "k1")
        await one.until(lambda: over(one, "k1"), 15)
        await one.request("chat.inject", {"sessionKey": "main", "message": "psst"})
        await one.until(lambda: told(one)[-1]["kind"] == "injected")
        assert told(one)[-1]["data"] == {"text": "psst"}
        await send(one, "k2")
        await one.until(lambda: over(one, "k2"), 15)
        kinds = [it["kind"] for it in (await opened(one))["entries"] if it["kind"] != "update"]
        assert kinds == ["prompt", "text", "end", "injected", "prompt", "text", "end"]


BROKEN_OFF = """\
=== turn
say: So far so good.
call prompt_user {"question": "And now?", "choices": ["a", "b"]}
--- step
say: Never said.
"""


@pytest.mark.e2e
async def test_a_turn_that_a_killed_gateway_left_is_shown_as_far_as_it_came(tmp_path: Path):
    (tmp_path / "state").mkdir(mode=0o700)
    given = ("--agent", ars(tmp_path, BROKEN_OFF))
    async with program(tmp_path / "state", *given) as first, first.client(**PAGE) as one:
        await opened(one)
        await send(one, "k1")
        await one.event("_ars.elicitation.requested")
        place = {"feed": one.named("_ars.feed")[0]["payload"]["feed"], "n": told(one)[-1]["n"]}
        first.process.kill()
        await one.ended()
    async with program(tmp_path / "state", *given) as again, again.client(**PAGE) as one:
        answer = await opened(one, after=place)
        assert answer["resumed"] is False
        kinds = [(it["run"], it["kind"]) for it in answer["entries"] if it["kind"] != "update"]
        assert kinds == [("k1", "prompt"), ("k1", "text"), ("k1", "end")]
        assert text_of(answer["entries"]) == "So far so good."
        assert answer["entries"][-1]["data"]["error"]["message"].startswith("the gateway was restarted")
        assert answer["live"] == []
