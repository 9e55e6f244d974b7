"""chat.*: a person's words on their way to an agent, and everything that clients see of it."""

import base64
import itertools
from pathlib import Path

import pytest

from tests.gateway.client import Device, Refusal
from tests.gateway.host import Start
from tests.gateway.talking import GUEST, admit_guest, heard, last, mock, said, send, text_of

SLOW = "=== turn repeat\nsay: Hello\nwait 30\nsay: never\n"


async def test_a_prompt_is_run_told_and_remembered(start: Start, tmp_path: Path):
    agent = mock(tmp_path, "=== turn repeat\nsay: Hello there, you\n")
    async with start(agent=agent) as gateway, gateway.client() as one:
        assert await send(one, "k1") == {"runId": "k1", "status": "started"}
        assert text_of(await last(one, "k1")) == "Hello there, you"
        streams = [it["payload"]["stream"] for it in one.named("agent")]
        assert streams == ["lifecycle", "assistant", "assistant", "assistant", "lifecycle"]
        history = await one.request("chat.history", {"sessionKey": "main"})
        assert [it["content"][0]["text"] for it in history["messages"]] == ["hi", "Hello there, you"]


async def test_deltas_are_cumulative_at_most_one_in_150_ms_and_the_last_one_is_whole(start: Start, tmp_path: Path):
    words = "\n".join(f"say: w{n}\nwait 0.02" for n in range(25))
    async with start(agent=mock(tmp_path, f"=== turn repeat\n{words}\n")) as gateway, gateway.client() as one:
        await send(one, "k1")
        final = await last(one, "k1")
        deltas = said(one, "k1", "delta")
        texts = [text_of(it) for it in deltas]
        assert 2 <= len(texts) < 25
        assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(texts))
        assert texts[-1] == text_of(final)
        times = [it["message"]["timestamp"] for it in deltas[:-1]]
        assert all(after - before >= 140 for before, after in itertools.pairwise(times))


async def test_the_text_goes_on_behind_a_tool_call_and_tools_are_told_where_they_are_wanted(
    start: Start, tmp_path: Path
):
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state/workspace").mkdir()
    (tmp_path / "state/workspace/a.txt").write_text("inside")
    agent = mock(tmp_path, "=== turn repeat\nsay: Reading.\nread a.txt\nsay: It says $result.\n")
    async with (
        start(agent=agent) as gateway,
        gateway.client() as quiet,
        gateway.client(caps=["tool-events"]) as one,
    ):
        await send(one, "k1", key="agent:main:tools")
        assert text_of(await last(one, "k1")) == "Reading.\n\nIt says inside."
        await last(quiet, "k1")
        tools = [it["payload"]["data"] for it in one.named("agent") if it["payload"]["stream"] == "tool"]
        assert tools[0]["phase"] == "start"
        assert tools[-1]["phase"] == "result"
        assert "tool" not in {it["payload"]["stream"] for it in quiet.named("agent")}
        await one.request("sessions.patch", {"key": "agent:main:tools", "verboseLevel": "on"})
        await send(one, "k2", key="agent:main:tools")
        await last(quiet, "k2")
        assert "tool" in {it["payload"]["stream"] for it in quiet.named("agent")}


async def test_events_name_the_session_as_the_client_wrote_it(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, "=== turn repeat\nsay: ok\n")) as gateway, gateway.client() as one:
        await send(one, "k1", key="ACP:0A1b")
        assert (await last(one, "k1"))["sessionKey"] == "ACP:0A1b"
        assert {it["payload"]["sessionKey"] for it in one.named("agent")} == {"ACP:0A1b"}
        assert (await one.request("sessions.resolve", {"key": "acp:0a1B"}))["key"] == "agent:main:acp:0a1b"


# ── keys ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_same_key_again_is_the_same_run(start: Start, tmp_path: Path):
    agent = mock(tmp_path, "=== turn repeat\nwait 0.2\nsay: ok\n")
    async with start(agent=agent) as gateway, gateway.client() as one:
        told = [(await send(one, "k1"))["status"], (await send(one, "k1"))["status"]]
        await last(one, "k1")
        told.append((await send(one, "k1"))["status"])
        assert told == ["started", "in_flight", "ok"]
        with pytest.raises(Refusal, match="another request"):
            await send(one, "k1", "something else")
        assert len(heard(tmp_path)) == 1


async def test_another_principal_has_keys_sessions_and_events_of_its_own(start: Start, tmp_path: Path):
    agent = mock(tmp_path, "=== turn repeat\nsay: You said: $told\n")
    async with start(agent=agent) as gateway:
        admit_guest(gateway)
        async with gateway.client() as one, gateway.client(token=GUEST) as guest:
            await send(one, "k1", "mine")
            await send(guest, "k1", "theirs")
            assert text_of(await last(one, "k1")) == "You said: mine"
            assert text_of(await last(guest, "k1")) == "You said: theirs"
            assert len(said(one, "k1", "final")) == len(said(guest, "k1", "final")) == 1
            mine = await one.request("sessions.list", {})
            theirs = await guest.request("sessions.list", {})
            assert mine["count"] == theirs["count"] == 1
            assert mine["sessions"][0]["sessionId"] != theirs["sessions"][0]["sessionId"]
            answer = await guest.request("agent.wait", {"runId": "k9", "timeoutMs": 1})
            assert answer == {"runId": "k9", "status": "timeout"}


# ── one after the other, and stopping ───────────────────────────────────────────────────────────────────────────────


async def test_a_second_prompt_of_a_busy_session_waits(start: Start, tmp_path: Path):
    agent = mock(tmp_path, "=== turn repeat\nwait 0.1\nsay: $prompt\n")
    async with start(agent=agent) as gateway, gateway.client() as one:
        for run in ("a", "b", "c"):
            assert (await send(one, run, run))["status"] == "started"
        assert [text_of(await last(one, run)) for run in ("a", "b", "c")] == ["a", "b", "c"]
        phases = [
            (it["payload"]["runId"], it["payload"]["data"]["phase"])
            for it in one.named("agent")
            if it["payload"]["stream"] == "lifecycle"
        ]
        assert phases == [(run, phase) for run in ("a", "b", "c") for phase in ("start", "end")]


async def test_a_run_is_aborted_at_once_and_the_next_prompt_is_served(start: Start, tmp_path: Path):
    agent = mock(tmp_path, f'=== turn if "slow"\nsay: Hello\nwait 30\n{"=== turn repeat"}\nsay: $prompt\n')
    async with start(agent=agent) as gateway, gateway.client() as one:
        nothing = {"ok": True, "aborted": False, "runIds": []}
        assert await one.request("chat.abort", {"sessionKey": "main"}) == nothing
        assert await one.request("chat.abort", {"sessionKey": "main", "runId": "nope"}) == nothing
        await send(one, "k1", "slow")
        await send(one, "k2", "waits")
        await last(one, "k1", "delta")
        with pytest.raises(Refusal, match="runId does not match sessionKey"):
            await one.request("chat.abort", {"sessionKey": "agent:main:other", "runId": "k1"})
        stopped = await one.request("chat.abort", {"sessionKey": "main", "runId": "k1"})
        assert stopped == {"ok": True, "aborted": True, "runIds": ["k1"]}
        assert (await last(one, "k1", "aborted"))["stopReason"] == "rpc"
        assert text_of(await last(one, "k2")) == "waits"
        assert (await send(one, "k1", "slow"))["status"] == "aborted"


async def test_a_word_that_stops_ends_all_runs_of_its_session_and_no_other(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, SLOW)) as gateway, gateway.client() as one:
        await send(one, "other", key="other")
        for word in ("/stop", "STOP ", "esc", "abort", "wait", "exit", "interrupt"):
            runs = [f"{word} 1", f"{word} 2"]
            for run in runs:
                await send(one, run)
            assert await send(one, "k", word) == {"ok": True, "aborted": True, "runIds": runs}
            assert (await last(one, runs[1], "aborted"))["stopReason"] == "stop"
        assert not said(one, "other", "aborted")


async def test_a_run_that_takes_too_long_is_aborted(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, SLOW)) as gateway, gateway.client() as one:
        await send(one, "warm", "/stop")
        await send(one, "k1", timeoutMs=1500)
        assert (await last(one, "k1", "aborted"))["stopReason"] == "timeout"
        assert await one.request("agent.wait", {"runId": "k1"}) == {"runId": "k1", "status": "timeout"}


# ── coming back ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_run_goes_on_when_its_client_leaves(start: Start, tmp_path: Path):
    agent = mock(tmp_path, "=== turn repeat\nsay: Hello\nwait 0.3\nsay: there\n")
    async with start(agent=agent) as gateway, gateway.client() as watching:
        async with gateway.client() as one:
            await send(one, "k1")
            await last(one, "k1", "delta")
        await last(watching, "k1")
        async with gateway.client() as back:
            assert (await send(back, "k1"))["status"] == "ok"
            assert (await back.request("agent.wait", {"runId": "k1", "timeoutMs": 0}))["status"] == "ok"
            history = await back.request("chat.history", {"sessionKey": "main"})
            assert history["messages"][-1]["content"][0]["text"] == "Hellothere"


async def test_an_agents_error_stays_an_error(start: Start, tmp_path: Path):
    data = '{"code": "LLM_ERROR", "retryable": true, "retryAfterMs": 700}'
    agent = mock(
        tmp_path, f'=== turn repeat\nsay: Half\nerror {{"code": -32603, "message": "overloaded", "data": {data}}}\n'
    )
    async with start(agent=agent) as gateway, gateway.client() as one:
        await send(one, "k1")
        assert "overloaded" in (await last(one, "k1", "error"))["errorMessage"]
        assert text_of(said(one, "k1", "delta")[-1]) == "Half"
        with pytest.raises(Refusal, match="overloaded") as refused:
            await send(one, "k1")
        assert refused.value.code == "UNAVAILABLE"
        assert (refused.value.error["retryable"], refused.value.error["retryAfterMs"]) == (True, 700)
        assert refused.value.payload["status"] == "error"
        waited = await one.request("agent.wait", {"runId": "k1"})
        assert waited["status"] == "error"
        assert "overloaded" in waited["error"]


# ── what is sent, what is injected, what was said ───────────────────────────────────────────────────────────────────


async def test_what_is_injected_is_told_kept_and_known_to_the_agent(start: Start, tmp_path: Path):
    agent = mock(tmp_path, "=== turn repeat\nsay: $told\n")
    async with start(agent=agent) as gateway, gateway.client() as one:
        with pytest.raises(Refusal, match="session not found"):
            await one.request("chat.inject", {"sessionKey": "main", "message": "x"})
        await send(one, "k1", "first")
        await last(one, "k1")
        answer = await one.request("chat.inject", {"sessionKey": "main", "message": "a note", "label": "sys"})
        injected = await last(one, f"inject-{answer['messageId']}")
        assert (text_of(injected), injected["seq"]) == ("[sys]\n\na note", 0)
        assert injected["message"]["stopReason"] == "injected"
        await send(one, "k2", "second")
        assert "a note" in text_of(await last(one, "k2"))
        texts = [it["content"][0]["text"] for it in (await history(one))["messages"]]
        assert texts[2:4] == ["[sys]\n\na note", "second"]


async def history(one, **more):  # type: ignore[no-untyped-def]
    return await one.request("chat.history", {"sessionKey": "main", **more})


async def test_attachments_are_checked_and_passed_on(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, "=== turn repeat\nsay: ok\n")) as gateway, gateway.client() as one:
        for wrong in ({"mimeType": "image/png"}, {"mimeType": "image/png", "content": "not base64"}):
            with pytest.raises(Refusal, match="attachment"):
                await send(one, "k1", attachments=[wrong])
        picture = {"mimeType": "image/png", "content": base64.b64encode(b"png").decode(), "fileName": "a.png"}
        await send(one, "k2", attachments=[picture, {**picture, "mimeType": "text/plain"}])
        await last(one, "k2")
        shown = (await history(one))["messages"][0]["content"]
        assert [it.get("mimeType") or it["text"] for it in shown] == ["hi", "image/png", "[attachment:a.png]"]
        # The mock agent takes no audio, and says so: nothing of that is sent.
        await send(one, "k3", attachments=[{**picture, "mimeType": "audio/wav"}])
        assert "audio" in (await last(one, "k3", "error"))["errorMessage"]


async def test_history_is_empty_before_anything_was_said(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, SLOW)) as gateway, gateway.client() as one:
        empty = {"sessionKey": "agent:main:new", "messages": [], "thinkingLevel": "off"}
        assert await one.request("chat.history", {"sessionKey": "agent:main:new"}) == empty


async def test_a_session_that_may_not_be_sent_to_is_not(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, SLOW)) as gateway, gateway.client() as one:
        await one.request("sessions.patch", {"key": "main", "sendPolicy": "deny"})
        with pytest.raises(Refusal, match="send blocked by session policy"):
            await send(one, "k1")


async def test_an_unknown_agent_and_a_key_that_is_none_are_refused(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, SLOW)) as gateway, gateway.client() as one:
        for key, why in (
            ("agent:nobody:main", "unknown agent id"),
            ("agent:::", "no session key"),
            ("a\0b", "control"),
        ):
            with pytest.raises(Refusal, match=why):
                await send(one, "k1", key=key)


async def test_a_person_has_the_same_sessions_from_each_of_their_devices(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, "=== turn repeat\nsay: ok\n")) as gateway:
        phone = Device()
        async with gateway.client(device=phone) as one:
            token = one.hello["auth"]["deviceToken"]
            await send(one, "k1")
            await last(one, "k1")
        async with gateway.client(device=phone, token=token) as back:
            assert (await back.request("sessions.list", {}))["count"] == 1
