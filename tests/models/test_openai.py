"""Part B of the faults, row by row: a real server on loopback misbehaves, the model says what happened."""

import itertools
import os
import ssl
import statistics
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import anyio
import pytest

from ars_acp.models.config import ModelConfig
from ars_acp.models.model import ModelError, Usage
from ars_acp.models.openai import OpenAIModel
from fixtures.model_modes import BAD_ARGUMENTS, CALLS, NOISE, PATH_A, PATH_B, tokens
from fixtures.model_server import ModelServer
from tests.models.support import KEY, PROMPT, error_of, reply_of, streamed

MakeModel = Callable[..., OpenAIModel]
FULL = os.environ.get("FAULTS") == "full"
WORKS = "It works now."


async def test_b1_a_busy_server_is_asked_again_after_the_time_it_names(model: MakeModel, server: ModelServer):
    result = await streamed(model("429then:0.2"))
    assert result.text == WORKS
    assert [retry.delay for retry in result.retries] == [0.2]
    assert "HTTP 429" in result.retries[0].reason
    first, second = server.chats()
    assert second.at - first.at >= 0.2


async def test_b2_a_server_that_stays_busy_is_asked_three_times(model: MakeModel, server: ModelServer):
    result = await streamed(model("429always"))
    assert result.error is not None
    assert (result.error.code, result.error.retryable) == ("LLM_ERROR", True)
    assert result.error.retry_after_ms is not None
    assert result.error.details["status"] == 429
    assert len(server.chats()) == 3
    assert [retry.attempt for retry in result.retries] == [2, 3]


async def test_b2_cancelling_while_waiting_ends_at_once(model: MakeModel, server: ModelServer):
    with anyio.fail_after(5), anyio.CancelScope() as scope:
        async with aclosing(model("429always:30").stream(PROMPT, [])) as events:
            async for retrying in events:
                assert retrying.delay == 30
                scope.cancel()
    assert scope.cancelled_caught
    assert len(server.chats()) == 1


@pytest.mark.parametrize("after", ["3600", "date"])
async def test_b3_a_wait_of_over_a_minute_fails_now_and_says_when(model: MakeModel, server: ModelServer, after: str):
    if after == "date":
        after = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    error = await error_of(model(f"429always:{after}"))
    assert error.retry_after_ms is not None
    assert 3_590_000 <= error.retry_after_ms <= 3_600_000
    assert len(server.chats()) == 1


@pytest.mark.parametrize("after", ["NaN", "-7", "soon", "3600|7200"])
async def test_b3_a_senseless_wait_is_replaced_by_our_own(model: MakeModel, server: ModelServer, after: str):
    result = await streamed(model(f"503then:{after}"))
    assert result.text == WORKS
    assert result.retries[0].delay <= 0.001


@pytest.mark.parametrize("status", [408, 409, 500, 502, 503, 529])
async def test_b4_what_may_pass_is_tried_again(model: MakeModel, server: ModelServer, status: int):
    result = await streamed(model(f"{status}then"))
    assert (result.text, len(result.retries), len(server.chats())) == (WORKS, 1, 2)


async def test_b4_a_hundred_sessions_do_not_come_back_together(model: MakeModel, server: ModelServer):
    one = model("500then", backoff_seconds=0.4, connect_seconds=20.0, first_byte_seconds=20.0, idle_seconds=20.0)
    await one.warm()
    delays: list[float] = []

    async def session(number: int) -> None:
        result = await streamed(one, [{"role": "user", "content": str(number)}])
        delays.extend(retry.delay for retry in result.retries)

    async with anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(session, number)
    assert len(delays) == 100
    assert (max(delays) - min(delays)) / statistics.mean(delays) >= 0.25


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_b5_a_refused_key_is_not_repeated_nor_tried_again(model: MakeModel, server: ModelServer, status: int):
    result = await streamed(model(str(status)))
    assert result.error is not None
    assert (result.error.code, result.error.retryable, result.retries) == ("LLM_ERROR", False, [])
    assert f"HTTP {status}" in result.error.message
    assert len(server.chats()) == 1
    assert server.chats()[0].headers["authorization"] == f"Bearer {KEY}"
    for secret in (KEY, "hunter22"):
        assert secret not in result.error.message
        assert secret not in repr(result.error.__context__) + repr(result.error.__cause__) + repr(result.error.details)


@pytest.mark.faults
async def test_b6_a_reset_after_any_chunk_keeps_what_was_shown_and_shows_nothing_twice(
    model: MakeModel, server: ModelServer
):
    total = 0
    for count in itertools.count(1):
        result = await streamed(model(f"cut:{count}"))
        assert result.text == tokens(count)
        assert result.error is not None
        assert (result.error.code, result.error.retryable) == ("LLM_STREAM_INTERRUPTED", True)
        assert result.error.details["partial_chars"] == len(tokens(count))
        total += count
        if total >= (10_000 if FULL else 200):
            break
    assert len(server.chats()) == count


@pytest.mark.parametrize("count", [1000, 10_000])
async def test_b6_what_had_arrived_before_a_reset_is_shown_to_the_last_chunk(model: MakeModel, count: int):
    result = await streamed(model(f"ok{count}:cut"))
    assert result.text == tokens(count)
    assert result.error is not None
    assert result.error.details["partial_chars"] == len(tokens(count))


@pytest.mark.parametrize("mode", ["cutthen:0", "eofthen:0", "errthen:0"])
async def test_b6_a_stream_that_breaks_before_anything_was_shown_is_asked_for_again(
    model: MakeModel, server: ModelServer, mode: str
):
    result = await streamed(model(mode))
    assert (result.text, len(result.retries), len(server.chats())) == (WORKS, 1, 2)


async def test_b7_a_clean_end_without_a_finish_is_an_interruption(model: MakeModel, server: ModelServer):
    result = await streamed(model("eofclean"))
    assert result.text == tokens(5)
    assert result.error is not None
    assert (result.error.code, result.error.details["reason"]) == ("LLM_STREAM_INTERRUPTED", "eof")
    assert len(server.chats()) == 1


async def test_b7_done_alone_is_an_end(model: MakeModel):
    assert (await reply_of(model("nofinish"))).text == tokens(5)


@pytest.mark.parametrize("shown", [0, 5])
async def test_b8_a_stream_that_stands_still_is_given_up(model: MakeModel, server: ModelServer, shown: int):
    began = anyio.current_time()
    result = await streamed(model(f"stall:{shown}", idle_seconds=0.2))
    assert anyio.current_time() - began >= 0.2
    assert result.text == tokens(shown)
    assert result.error is not None
    assert (result.error.code, result.error.details["reason"]) == ("LLM_STREAM_INTERRUPTED", "idle")
    assert len(server.chats()) == 1


async def test_b8_comments_keep_a_stream_alive_five_times_as_long_and_no_longer(model: MakeModel):
    began = anyio.current_time()
    result = await streamed(model("keepalive", idle_seconds=0.2))
    assert anyio.current_time() - began >= 1.0
    assert result.error is not None
    assert result.error.details["reason"] == "idle"


async def test_b8_cancelling_a_silent_stream_closes_its_connection_at_once(model: MakeModel, server: ModelServer):
    with anyio.fail_after(5), anyio.CancelScope() as scope:
        async with aclosing(model("stall").stream(PROMPT, [])) as events:
            async for _ in events:
                cancelled = anyio.current_time()
                scope.cancel()
    assert anyio.current_time() - cancelled < 2
    with anyio.fail_after(5):
        while server.chats()[0].ended_at is None:
            await anyio.lowlevel.checkpoint()
    assert not server.chats()[0].complete


async def test_b9_one_byte_at_a_time_is_no_standstill(model: MakeModel):
    slow = model("drip:0.001", idle_seconds=1.0, keep_alive_factor=0.5)
    assert (await reply_of(slow)).text == "Grüße, мир 🌍!"


async def test_b9_an_event_of_100_kib_is_one_piece(model: MakeModel):
    assert (await streamed(model("huge"))).lists == [[("text", "x" * (100 << 10))]]


@pytest.mark.parametrize("noise", NOISE)
async def test_b10_legal_noise_is_passed_over(model: MakeModel, noise: str):
    assert (await reply_of(model(f"legalnoise:{noise}"))).text == tokens(5)


async def test_b10_what_is_not_json_interrupts(model: MakeModel, server: ModelServer):
    result = await streamed(model("badsse"))
    assert result.text == tokens(5)
    assert result.error is not None
    assert (result.error.code, result.error.details["reason"]) == ("LLM_STREAM_INTERRUPTED", "json")
    assert len(server.chats()) == 1


async def test_b11_an_error_in_the_stream_after_text_is_not_retried(model: MakeModel, server: ModelServer):
    result = await streamed(model("errinstream"))
    assert result.text == tokens(5)
    assert result.error is not None
    assert (result.error.code, result.error.details["partial_chars"]) == ("LLM_STREAM_INTERRUPTED", len(tokens(5)))
    assert "overloaded" in result.error.message
    assert KEY not in result.error.message
    assert len(server.chats()) == 1


@pytest.mark.parametrize("kind", BAD_ARGUMENTS)
async def test_b12_bad_arguments_are_handed_on_for_the_turn_to_judge(model: MakeModel, kind: str):
    reply = await reply_of(model(f"badtool:{kind}"))
    assert (reply.finish, reply.tool_calls[0].arguments) == ("tool_calls", BAD_ARGUMENTS[kind])


@pytest.mark.parametrize("form", CALLS)
async def test_b14_two_calls_are_two_calls_in_every_form(model: MakeModel, form: str):
    reply = await reply_of(model(f"toolcall:{form}"))
    assert reply.finish == "tool_calls"
    assert [(call.name, call.arguments) for call in reply.tool_calls] == [("read_file", PATH_A), ("read_file", PATH_B)]


async def test_b14_the_finish_reason_does_not_decide(model: MakeModel):
    assert (await reply_of(model("wrongfinish"))).finish == "stop"
    assert (await reply_of(model("wrongfinish:stop"))).finish == "tool_calls"


@pytest.mark.parametrize("mode", ["empty", "wrongfinish:empty"])
async def test_b15_an_empty_reply_is_an_error_and_not_asked_for_again(model: MakeModel, server: ModelServer, mode: str):
    error = await error_of(model(mode))
    assert (error.code, error.details["reason"]) == ("LLM_ERROR", "empty")
    assert len(server.chats()) == 1


@pytest.mark.parametrize(
    ("mode", "finish"), [("length", "length"), ("content_filter", "refusal"), ("refusal", "refusal")]
)
async def test_b15_the_reason_of_the_end_is_told(model: MakeModel, server: ModelServer, mode: str, finish: str):
    assert (await reply_of(model(mode))).finish == finish
    assert len(server.chats()) == 1


async def test_b16_a_context_that_is_too_long_is_told_apart(model: MakeModel, server: ModelServer):
    error = await error_of(model("ctx"))
    assert (error.code, error.details["reason"], error.retryable) == ("LLM_ERROR", "context_length", False)
    assert len(server.chats()) == 1


async def test_b17_no_first_byte_in_time_is_an_error_that_may_pass(model: MakeModel, server: ModelServer):
    result = await streamed(model("hang", first_byte_seconds=0.1))
    assert result.error is not None
    assert (result.error.code, result.error.retryable, len(server.chats())) == ("LLM_ERROR", True, 3)
    assert "0.1 seconds" in result.error.message


async def test_b17_a_slow_first_byte_within_its_time_is_fine(model: MakeModel):
    assert (await reply_of(model("slow:0.2"))).text == "It took a while."


@pytest.mark.parametrize(
    ("base_url", "said"),
    [
        ("http://127.0.0.1:1/v1", "Connect call failed"),
        ("http://no-such-host.invalid/v1", "no-such-host.invalid"),
        ("https://127.0.0.1:{port}/v1", "SSL"),
    ],
    ids=["refused", "unknown host", "no TLS"],
)
async def test_b17_an_endpoint_that_cannot_be_reached_is_an_error_that_may_pass(
    model: MakeModel, server: ModelServer, base_url: str, said: str
):
    result = await streamed(model("ok1", base_url=base_url.format(port=server.port)))
    assert result.error is not None
    assert (result.error.code, result.error.retryable, len(result.retries)) == ("LLM_ERROR", True, 2)
    assert said in result.error.message


async def test_b17_a_proxy_of_the_environment_is_not_used(
    model: MakeModel, server: ModelServer, monkeypatch: pytest.MonkeyPatch
):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert (await reply_of(model("ok3"))).text == tokens(3)


async def test_b17_a_proxy_of_the_configuration_is_used(model: MakeModel, server: ModelServer):
    through = model("ok3", base_url="http://model.invalid/v1", proxy=f"http://127.0.0.1:{server.port}")
    error = await error_of(through)
    assert "no such page: http://model.invalid/v1/chat/completions" in error.message
    assert len(server.requests) == 1


async def test_b18_ten_thousand_chunks_keep_their_order_and_let_others_run(model: MakeModel):
    one = model("ok10000")
    await one.warm()
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        result = await streamed(one)
        tasks.cancel_scope.cancel()
    assert result.text == tokens(10_000)
    assert turns >= 10_000 // 64
    assert result.reply is not None
    assert result.reply.usage == Usage(10, 10_000)


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "reasoning_details"])
async def test_b18_reasoning_is_shown_apart_from_the_text(model: MakeModel, field: str):
    result = await streamed(model(f"reasoning:{field}"))
    assert (result.thought, result.text) == ("I think", "So it is.")


async def test_usage_is_asked_for_and_taken(model: MakeModel, server: ModelServer):
    assert (await reply_of(model("usage"))).usage == Usage(11, 7, 3, 2)
    assert server.chats()[0].body["stream_options"] == {"include_usage": True}


async def test_a_server_that_does_not_stream_is_understood(model: MakeModel):
    result = await streamed(model("json"))
    assert result.lists == [[("text", "All at once.")]]
    assert result.reply is not None
    assert result.reply.usage == Usage(11, 7, 3, 2)


async def test_a_page_instead_of_a_stream_is_told(model: MakeModel, server: ModelServer):
    error = await error_of(model("html"))
    assert (error.details["reason"], error.retryable) == ("not_a_stream", False)
    assert "text/html" in error.message


async def test_halves_of_a_pair_in_two_chunks_are_one_character(model: MakeModel):
    assert (await reply_of(model("surrogates"))).text == "🌍 alone: \ufffd."


async def test_without_a_name_the_first_listed_model_is_taken(model: MakeModel, server: ModelServer):
    nameless = model("", model=None)
    assert nameless.name == ""
    assert await nameless.resolve_name() == nameless.name == "script"
    another = model("", model=None)
    assert (await reply_of(another)).text
    assert another.name == server.chats()[0].body["model"] == "script"


@pytest.mark.parametrize(("path", "reason", "retryable"), [("none", "no_model", False), ("lost", None, False)])
async def test_an_endpoint_without_models_is_told(
    model: MakeModel, server: ModelServer, path: str, reason: str | None, retryable: bool
):
    nameless = model("", model=None, base_url=f"http://127.0.0.1:{server.port}/{path}")
    with pytest.raises(ModelError) as caught:
        await nameless.resolve_name()
    assert (caught.value.code, caught.value.details.get("reason")) == ("LLM_ERROR", reason)
    assert caught.value.retryable == retryable


async def test_a_request_that_cannot_be_made_is_told_without_its_secrets(model: MakeModel):
    error = await error_of(model("ok1", headers={"X-Token": "secret-token\nInjected: yes"}))
    assert (error.code, error.retryable) == ("LLM_ERROR", False)
    assert "secret-token" not in error.message


@pytest.mark.parametrize("wrong", [{"base_url": "model.example/v1"}, {"api_key": "sk-a\n"}, {"attempts": 0}])
def test_a_configuration_that_cannot_work_is_refused(wrong: dict[str, object]):
    with pytest.raises(ValueError, match=r"base URL|API key|attempts"):
        ModelConfig(**{"base_url": "http://127.0.0.1/v1", **wrong})


def test_a_configuration_does_not_show_its_secrets():
    config = ModelConfig("http://127.0.0.1/v1", KEY, headers={"X-Token": "hunter22"}, proxy="http://u:hunter22@p")
    assert KEY not in repr(config)
    assert "hunter22" not in repr(config)


async def test_messages_that_are_no_utf8_are_sent_all_the_same(model: MakeModel, server: ModelServer):
    await reply_of(model("ok1"), [{"role": "user", "content": "half \ud83c"}])
    assert server.chats()[0].body["messages"][0]["content"] == "half \ud83c"


async def test_connections_are_used_again(model: MakeModel, server: ModelServer):
    one = model("ok5")
    for _ in range(3):
        await reply_of(one)
    assert len({request.headers["x-peer"] for request in server.chats()}) == 1


async def test_certificates_that_cannot_be_read_are_told(model: MakeModel, tmp_path):
    assert issubclass(ssl.SSLError, OSError)
    error = await error_of(model("ok1", base_url="https://127.0.0.1:1/v1", ca_file=str(tmp_path / "none.pem")))
    assert (error.code, error.retryable) == ("LLM_ERROR", False)
    assert "certificates" in error.message


async def test_an_error_whose_body_never_ends_is_read_to_its_limit_only(model: MakeModel):
    began = anyio.current_time()
    error = await error_of(model("flood", attempts=1))
    assert anyio.current_time() - began < 5
    assert (error.details["status"], error.retryable, len(error.message)) == (500, True, 500)


@pytest.mark.parametrize("tail", ["cut", "half", "open", ""])
async def test_a_reply_is_whole_once_its_finish_reason_has_come(model: MakeModel, tail: str):
    assert (await reply_of(model(f"tail:{tail}", idle_seconds=0.1))).text == "All said."


async def test_a_conversation_of_megabytes_goes_out_with_its_length(model: MakeModel, server: ModelServer):
    messages = [{"role": "user", "content": "word " * 1000} for _ in range(600)]
    await reply_of(model("ok1"), messages)
    request = server.chats()[0]
    assert request.body["messages"] == messages
    assert int(request.headers["content-length"]) > 3_000_000
    assert "transfer-encoding" not in request.headers
