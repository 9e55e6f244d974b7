"""Long conversations: a summary in their place, before a request that is too long, and after a refused one."""

from typing import Any

import anyio
import pytest

from acp_wire import methods
from acp_wire.errors import RpcError
from ars_acp.compaction import LONGEST, Size, size_of, transcript
from ars_acp.models.model import Usage
from ars_acp.session import SUMMARY, UNDERSTOOD, Facts, History
from tests.support.in_memory import FILES, House, house

COMPACTIONS = {**FILES, "session": {"compaction": {}, "notices": {}}}
LONG = "a long story " * 100
# A scripted model looks for the turn that fits each user message in order: first the request for a summary, which
# comes alone, then what is said before and after the summary has taken the place of the first prompt.
BEGIN = f"""
=== turn if "Sum up"
say: the gist of it
usage 70 7
=== turn if "first"
say: {LONG}
"""
AFTER = """
=== turn if "the gist"
say: not asked
=== turn
say: going on
"""
REFUSED = f"""{BEGIN}
=== turn if "second"
fail LLM_ERROR context_length "too long"
{AFTER}
=== turn repeat
say: and on
"""
FULL = f"""{BEGIN}
usage 120000 500
{AFTER}
=== turn repeat
say: and on
"""


def session_of(it: House) -> Any:
    return it.agent._sessions.active[it.session]


def messages_of(it: House) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = session_of(it).history.messages
    return found


def compactions(it: House) -> list[dict[str, Any]]:
    updates = [params["update"] for params in it.client.updates]
    return [update for update in updates if update["sessionUpdate"].startswith("compaction")]


@pytest.mark.parametrize("script", [REFUSED, FULL])
async def test_a_conversation_that_is_too_long_is_summed_up_and_the_turn_goes_on(script: str) -> None:
    async with house(script, capabilities=COMPACTIONS) as it:
        await it.prompt("first")
        assert await it.prompt("second") == "end_turn"
        assert it.said().endswith("going on")
        assert messages_of(it) == [
            {"role": "user", "content": f"{SUMMARY}the gist of it"},
            UNDERSTOOD,
            {"role": "user", "content": "second"},
            {"role": "assistant", "content": "going on"},
        ]
        first, *chunks, last = compactions(it)
        assert {update["compactionId"] for update in (first, *chunks, last)} == {first["compactionId"]}
        assert (first["status"], last["status"]) == ("in_progress", "completed")
        assert "".join(chunk["content"]["text"] for chunk in chunks) == "the gist of it"
        assert await it.prompt("third") == "end_turn"


async def test_a_second_refusal_is_a_typed_error_and_the_session_goes_on() -> None:
    script = f"""{BEGIN}
=== turn if "second"
fail LLM_ERROR context_length "too long"
=== turn if "the gist"
say: not asked
=== turn if "second"
fail LLM_ERROR context_length "still too long"
=== turn
say: short again
"""
    async with house(script, capabilities=COMPACTIONS) as it:
        await it.prompt("first")
        with pytest.raises(RpcError, match="still too long") as caught:
            await it.prompt("second")
        assert caught.value.data["code"] == "LLM_ERROR"
        assert len([update for update in compactions(it) if update.get("status") == "completed"]) == 1
        assert await it.prompt("third") == "end_turn"


async def test_a_prompt_that_is_too_long_by_itself_is_refused_without_a_summary() -> None:
    async with house('=== turn\nfail LLM_ERROR context_length "too long"\n', capabilities=COMPACTIONS) as it:
        with pytest.raises(RpcError, match="too long"):
            await it.prompt("first")
        assert compactions(it) == []


async def test_a_reply_that_has_begun_is_not_asked_for_again() -> None:
    script = f'{BEGIN}\n=== turn if "second"\nsay: half\nfail LLM_ERROR context_length "too long"\n'
    async with house(script, capabilities=COMPACTIONS) as it:
        await it.prompt("first")
        with pytest.raises(RpcError, match="too long"):
            await it.prompt("second")
        assert compactions(it) == []


@pytest.mark.parametrize(
    ("summary", "why"),
    [
        ('fail LLM_ERROR "no luck"', "no luck"),
        (f"say: {LONG} {LONG}", "no shorter"),
        ("finish refusal", "no summary"),
    ],
)
async def test_a_summary_that_fails_changes_nothing(summary: str, why: str) -> None:
    script = f"""
=== turn if "Sum up"
{summary}
=== turn if "first"
say: {LONG}
=== turn if "second"
fail LLM_ERROR context_length "too long"
=== turn
say: fine
"""
    async with house(script, capabilities=COMPACTIONS) as it:
        await it.prompt("first")
        with pytest.raises(RpcError, match="too long"):
            await it.prompt("second")
        assert [message["role"] for message in messages_of(it)[:2]] == ["user", "assistant"]
        assert messages_of(it)[0]["content"] == "first"
        last = compactions(it)[-1]
        assert last["status"] == "failed"
        assert why in last["error"]
        assert await it.prompt("third") == "end_turn"


@pytest.mark.parametrize("capable", [True, False])
async def test_a_loaded_session_shows_the_summary_where_the_client_can_and_goes_on_from_it(capable: bool) -> None:
    async with house(REFUSED, capabilities=COMPACTIONS if capable else FILES) as it:
        await it.prompt("first")
        await it.prompt("second")
        kept = messages_of(it)
        await it.wire.request(methods.SESSION_CLOSE, {"sessionId": it.session})
        it.client.updates.clear()
        await it.wire.request(methods.SESSION_LOAD, {"sessionId": it.session, "cwd": "/project", "mcpServers": []})
        assert [(update["status"], update["summary"][0]["text"]) for update in compactions(it)] == [
            ("completed", "the gist of it")
        ] * capable
        assert LONG.strip() in it.said()
        assert messages_of(it) == kept


async def test_a_client_without_compaction_reads_a_notice() -> None:
    async with house(REFUSED) as it:
        await it.prompt("first")
        await it.prompt("second")
        assert compactions(it) == []
        notice = await it.update(lambda update: update["sessionUpdate"] == "notice")
        assert "summed up" in notice["title"]


async def test_a_cancelled_summary_changes_nothing_and_is_told() -> None:
    script = f"""
=== turn if "Sum up"
say: a beginning
wait 60
=== turn if "first"
say: {LONG}
=== turn if "second"
fail LLM_ERROR context_length "too long"
=== turn
say: fine
"""
    async with house(script, capabilities=COMPACTIONS) as it:
        await it.prompt("first")
        answer: list[str] = []
        async with anyio.create_task_group() as tasks:

            async def second() -> None:
                answer.append(await it.prompt("second"))

            tasks.start_soon(second)
            await it.update(lambda update: update["sessionUpdate"] == "compaction_summary_chunk")
            it.cancel()
        assert answer == ["cancelled"]
        assert compactions(it)[-1]["status"] == "cancelled"
        assert messages_of(it)[0]["content"] == "first"
        assert await it.prompt("third") == "end_turn"


async def test_a_turn_whose_own_results_fill_the_window_keeps_its_prompt_and_no_call() -> None:
    script = """
=== turn if "Sum up"
say: the gist of it
=== turn if "read it"
call read_file {"path": "a.txt"}
--- step
fail LLM_ERROR context_length "too long"
=== turn if "the gist"
say: not asked
=== turn
say: done
"""
    async with house(script, capabilities=COMPACTIONS) as it:
        it.client.files["/project/a.txt"] = LONG
        assert await it.prompt("read it") == "end_turn"
        assert [message["content"] for message in messages_of(it)[2:]] == ["read it", "done"]
        stored = session_of(it)
        again = type(stored)(stored.id, stored.log, "ask")
        again.fold()
        assert again.history.messages == messages_of(it)


def test_what_a_summary_cost_counts_and_its_tokens_are_none_of_the_context() -> None:
    facts = Facts()
    cost = {"amount": 0.5, "currency": "USD"}
    facts.apply({"type": "reply", "usage": {"input": 100, "output": 10, "cost": cost}})
    facts.apply({"type": "compaction", "usage": {"input": 7000, "output": 70, "cost": cost}})
    assert (facts.used, facts.cost) == (110, (1.0, "USD"))


def test_calls_before_a_compaction_take_no_more_results() -> None:
    history = History()
    call = {"id": "c1", "name": "read_file", "arguments": "{}"}
    result = {"type": "result", "id": "c1", "ok": True, "code": None, "text": "found"}
    for entry in (
        {"type": "prompt", "content": [], "text": "hi"},
        {"type": "reply", "finish": "tool_calls", "calls": [call], "usage": None},
        result,
    ):
        history.apply(entry)
    history.apply({"type": "compaction", "summary": "s", "kept": "turn"})
    assert [message["role"] for message in history.messages] == ["user", "assistant", "user", "assistant", "tool"]
    history.apply({"type": "compaction", "summary": "s", "kept": "nothing"})
    history.apply(result)
    assert [message["role"] for message in history.messages] == ["user", "assistant"]
    assert history.unanswered() == []


def test_what_was_counted_calibrates_the_estimate() -> None:
    size = Size()
    assert size.tokens(4000) == 1000
    size.counted(4000, Usage(2000, 5))
    assert size.tokens(4000) == 2000
    assert size.tokens(5000) == 2500
    size.counted(9000, None)
    assert size.tokens(4000) == 2000


def test_a_picture_counts_as_a_picture_and_not_as_its_bytes() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1_000_000}}
    message = {"role": "user", "content": [{"type": "text", "text": "look"}, picture]}
    assert size_of([message]) < 10_000


def test_the_conversation_to_sum_up_fits_and_keeps_its_beginning_and_its_end() -> None:
    messages = [{"role": "user", "content": f"message {number} " + "x" * 5000} for number in range(200)]
    for most in (2_000_000, 500_000, 100_000, 20_000):
        text = transcript(messages, most)
        assert len(text) <= most + LONGEST[0]
        assert "message 0 " in text
        assert "message 199 " in text
