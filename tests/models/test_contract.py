"""What every `Model` keeps: the same script, played in the process and over HTTP."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing

import anyio
import pytest

from ars_acp.models import MODELS, model_class
from ars_acp.models.config import ModelConfig
from ars_acp.models.model import BATCH, Model, Usage
from ars_acp.models.openai import OpenAIModel
from ars_acp.models.script import Script
from ars_acp.models.scripted import ScriptedModel
from fixtures.model_server import model_server
from tests.models.support import KEY, PROMPT, QUICK, error_of, reply_of, streamed

Make = Callable[[str], Awaitable[Model]]


@pytest.fixture(params=["openai", "scripted"])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    """`await make(script)` is a model of the kind under test that plays the script."""
    async with AsyncExitStack() as stack:

        async def make(text: str) -> Model:
            script = Script.parse(text)
            if request.param == "scripted":
                return ScriptedModel(script)
            server = await stack.enter_async_context(model_server(script))
            model = OpenAIModel(ModelConfig(server.base_url, KEY, "script", **QUICK))
            stack.push_async_callback(model.aclose)
            return model

        yield make


async def test_text_and_reasoning_come_in_pieces_and_the_reply_holds_the_whole(make: Make):
    result = await streamed(await make("=== turn\nthink: Well, well.\nsay: One two three.\nusage 5 6 1 2\n"))
    assert result.reply is not None
    assert (result.thought, result.text) == ("Well, well.", "One two three.")
    assert (result.reply.thought, result.reply.text) == ("Well, well.", "One two three.")
    assert [piece for pieces in result.lists for piece in pieces][-3:] == [
        ("text", "One "),
        ("text", "two "),
        ("text", "three."),
    ]
    assert (result.reply.finish, result.reply.tool_calls) == ("stop", [])
    assert result.reply.usage is not None
    assert result.reply.usage.input == 5
    assert result.reply.first_token is not None
    assert 0 <= result.reply.first_token <= result.reply.seconds


async def test_lists_are_never_empty_nor_longer_than_allowed(make: Make):
    result = await streamed(await make(f"=== turn\nsay: {'word ' * 500}\n"))
    assert result.text == ("word " * 500).strip()
    assert all(1 <= len(pieces) <= BATCH for pieces in result.lists)
    assert sum(map(len, result.lists)) == 500


async def test_several_calls_are_asked_for_together(make: Make):
    reply = await reply_of(await make('=== turn\nsay: So.\ncall read_file {"path": "ä.py"}\ncall! git_diff {"a\n'))
    assert reply.finish == "tool_calls"
    assert [(call.name, call.arguments) for call in reply.tool_calls] == [
        ("read_file", '{"path": "ä.py"}'),
        ("git_diff", '{"a'),
    ]
    assert len({call.id for call in reply.tool_calls}) == 2


async def test_a_conversation_goes_on_with_the_results(make: Make):
    model = await make('=== turn\ncall read_file {"path": "a"}\n--- step\nsay: It says $result\n')
    call = (await reply_of(model)).tool_calls[0]
    function = {"name": call.name, "arguments": call.arguments}
    asked = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": call.id, "type": "function", "function": function}],
    }
    result = {"role": "tool", "tool_call_id": call.id, "content": "forty-two"}
    assert (await reply_of(model, [*PROMPT, asked, result])).text == "It says forty-two"


@pytest.mark.parametrize("finish", ["length", "refusal"])
async def test_a_reply_says_why_it_ended(make: Make, finish: str):
    reply = await reply_of(await make(f"=== turn\nsay: So far\ncall git_diff\nfinish {finish}\n"))
    assert (reply.finish, reply.tool_calls) == (finish, [])


async def test_a_retry_is_told_before_its_wait_and_nothing_is_lost(make: Make):
    result = await streamed(await make('=== turn\nretry 0.01 "busy"\nsay: Here I am.\n'))
    assert [retry.attempt for retry in result.retries] == [2]
    assert result.retries[0].delay == 0.01
    assert "busy" in result.retries[0].reason
    assert result.text == "Here I am."


async def test_an_interruption_is_typed_and_counts_what_was_shown(make: Make):
    result = await streamed(await make("=== turn\nsay: Half of\ninterrupt\n"))
    assert result.text == "Half of"
    assert result.error is not None
    assert (result.error.code, result.error.retryable) == ("LLM_STREAM_INTERRUPTED", True)
    assert result.error.details["partial_chars"] == len("Half of")
    assert not result.retries


async def test_an_error_is_typed(make: Make):
    error = await error_of(await make('=== turn\nfail LLM_ERROR "no such model"\n'))
    assert (error.code, error.retryable) == ("LLM_ERROR", False)
    assert "no such model" in error.message


async def test_many_streams_of_one_model_do_not_mix(make: Make):
    model = await make("=== turn\nsay: You said: $prompt and nothing else at all\n")
    texts: dict[int, str] = {}

    async def one(number: int) -> None:
        texts[number] = (await reply_of(model, [{"role": "user", "content": f"number {number}"}])).text

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(one, number)
    assert texts == {number: f"You said: number {number} and nothing else at all" for number in range(20)}


async def test_a_stream_can_be_left_and_cancelled_at_any_time(make: Make):
    model = await make("=== turn\nsay: one two three\nwait 60\n")
    with anyio.fail_after(5):
        async with aclosing(model.stream(PROMPT, [])) as events:
            assert await anext(events)
        with anyio.CancelScope() as scope:
            async with aclosing(model.stream(PROMPT, [])) as events:
                async for _ in events:
                    scope.cancel()
    assert scope.cancelled_caught


async def test_warming_twice_and_at_once_is_harmless(make: Make):
    model = await make("=== turn\nsay: warm\n")
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(model.warm)
    await model.warm()
    assert (await reply_of(model)).text == "warm"


async def test_a_scripted_pace_shows_one_word_after_the_other():
    model = ScriptedModel(Script.parse("=== turn\npace 0.001\nsay: one two\n"))
    assert (await streamed(model)).lists == [[("text", "one ")], [("text", "two")]]


def test_models_are_known_by_name():
    assert {model_class(name) for name in MODELS} == {OpenAIModel, ScriptedModel}
    with pytest.raises(KeyError):
        model_class("parrot")


def test_usage_says_nothing_where_the_provider_does_not():
    assert Usage(1, 2) == Usage(1, 2, None, None)
