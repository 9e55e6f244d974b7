"""`/v1/chat/completions` with the openai package as its client: answers, streams, sessions, errors, leaving."""

import json
import re
import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import openai
import pytest

from ars_gateway.talks import passing
from tests.gateway.host import TOKEN, Running, Start
from tests.gateway.http.asking import asking
from tests.gateway.talking import heard, mock
from tests.support.waiting import until

PIXEL = "iVBORw0KGgo="
ECHO = "=== turn repeat\nsay: $told\n"
SLOW = "=== turn repeat\nsay: Hello\nwait 30\nsay: never\n"


def ars(directory: Path, script: str) -> str:
    """The command of our own agent, whose model plays `script`."""
    file = directory / "model.script"
    file.write_text(script)
    program = str(Path(sys.executable).parent / "ars-acp")
    return shlex.join([program, "--script", str(file), "--store", f"jsonl:{directory / 'agent'}"])


@asynccontextmanager
async def client(running: Running, **options: Any) -> AsyncIterator[openai.AsyncOpenAI]:
    url = f"http://127.0.0.1:{running.addresses.port}/v1"
    given: dict[str, Any] = {"api_key": TOKEN, "base_url": url, "max_retries": 0, "timeout": 10} | options
    # Without the proxies of the environment.
    http = openai.DefaultAsyncHttpxClient(trust_env=False)
    async with openai.AsyncOpenAI(http_client=http, **given) as one:
        yield one


async def ask(one: openai.AsyncOpenAI, *messages: Any, **more: Any) -> Any:
    said = [{"role": "user", "content": it} if isinstance(it, str) else it for it in messages]
    return await one.chat.completions.create(**({"model": "main", "messages": said} | more))


async def read(stream: Any, said: list[str]) -> None:
    """Reads a stream to its end; what was said is in `said`, also where it ends with an error."""
    async for chunk in stream:
        said += [it.delta.content for it in chunk.choices if it.delta.content]


def logs_in(directory: Path) -> list[Path]:
    return [*directory.rglob("*.jsonl")]


async def quiet(gateway: Running) -> None:
    """Waits until no session is left of a request."""
    await until(lambda: not [it for it in gateway.gateway.talks.rooms.all() if it.facts.get(passing.PASSING)], 15)


async def test_an_answer_is_whole_with_what_the_agent_has_counted(start: Start, tmp_path: Path):
    agent = ars(tmp_path, "=== turn repeat\nthink: A greeting.\nsay: Hello there\nusage 21 4\n")
    async with start(agent=agent) as gateway, client(gateway) as one:
        found = await ask(one, "hi")
    assert found.object == "chat.completion"
    assert (found.model, found.choices[0].finish_reason) == ("main", "stop")
    assert found.choices[0].message.content == "Hello there"
    assert found.choices[0].message.reasoning_content == "A greeting."
    assert (found.usage.prompt_tokens, found.usage.completion_tokens, found.usage.total_tokens) == (21, 4, 25)


async def test_usage_is_null_where_the_agent_counts_nothing(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, ECHO)) as gateway, client(gateway) as one:
        found = await ask(one, "hi")
        assert found.usage is None
        chunks = [it async for it in await ask(one, "hi", stream=True, stream_options={"include_usage": True})]
        assert [it.usage for it in chunks] == [None] * len(chunks)


async def test_a_stream_tells_the_role_then_pieces_then_the_end(start: Start, tmp_path: Path):
    agent = ars(tmp_path, "=== turn repeat\nthink: Let me see.\nsay: One two three\nusage 21 4\n")
    async with start(agent=agent) as gateway, client(gateway) as one:
        stream = await ask(one, "hi", stream=True, stream_options={"include_usage": True})
        *chunks, last = [it async for it in stream]
    deltas = [it.choices[0].delta for it in chunks]
    assert (deltas[0].role, deltas[0].content) == ("assistant", "")
    assert "".join(it.content or "" for it in deltas) == "One two three"
    assert "".join(getattr(it, "reasoning_content", None) or "" for it in deltas) == "Let me see."
    assert [it.choices[0].finish_reason for it in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert {it.id for it in (*chunks, last)} == {last.id}
    assert last.choices == []
    assert last.usage.total_tokens == 25


async def test_pieces_are_sent_as_they_come(start: Start, tmp_path: Path):
    async with (
        start(agent=mock(tmp_path, SLOW)) as gateway,
        client(gateway) as one,
        await ask(one, "hi", stream=True) as stream,
    ):
        with anyio.fail_after(20):
            async for chunk in stream:
                if chunk.choices[0].delta.content == "Hello":
                    break
        assert len(gateway.gateway.talks.runs.live) == 1


async def test_the_bytes_of_a_stream_are_events_and_end_with_done(start: Start, tmp_path: Path):
    body = {"model": "main", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    async with start(agent=mock(tmp_path, ECHO)) as gateway, asking(gateway) as one:
        answer = await one.post("/v1/chat/completions", json=body)
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        *events, done, rest = answer.text.split("\n\n")
        assert (done, rest) == ("data: [DONE]", "")
        told = [json.loads(it.removeprefix("data: ")) for it in events]
        assert all(it["object"] == "chat.completion.chunk" for it in told)
        assert all("usage" not in it for it in told)


@pytest.mark.parametrize(
    ("stop", "finish"), [("max_tokens", "length"), ("max_turn_requests", "length"), ("refusal", "content_filter")]
)
async def test_a_stop_reason_has_its_name_here(start: Start, tmp_path: Path, stop: str, finish: str):
    agent = mock(tmp_path, f"=== turn repeat\nsay: Well\nstop {stop}\n")
    async with start(agent=agent) as gateway, client(gateway) as one:
        assert (await ask(one, "hi")).choices[0].finish_reason == finish
        chunks = [it async for it in await ask(one, "hi", stream=True)]
        assert chunks[-1].choices[0].finish_reason == finish


async def test_an_answer_that_somebody_stops_is_what_was_said_until_then(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, SLOW)) as gateway, client(gateway) as one, gateway.client() as other:
        stream = await ask(one, "hi", stream=True, user="ada")
        said = []
        async for chunk in stream:
            said.append(chunk)
            if chunk.choices[0].delta.content:
                await other.request("chat.abort", {"sessionKey": "agent:main:openai-user:ada"})
        assert "".join(it.choices[0].delta.content or "" for it in said) == "Hello"
        assert said[-1].choices[0].finish_reason == "stop"


# ── what is said before ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_messages_of_before_and_instructions_are_told_and_the_last_is_the_prompt(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, "=== turn repeat\nsay: Ada\n")) as gateway, client(gateway) as one:
        system = {"role": "system", "content": "Be brief."}
        first = await ask(one, system, "I am Ada.")
        reply = {"role": "assistant", "content": first.choices[0].message.content}
        await ask(one, system, "I am Ada.", reply, "Who am I?")
    told = heard(tmp_path)[-1]
    order = [told.index(it) for it in ("Be brief.", "User: I am Ada.", "Assistant: Ada", "Who am I?")]
    assert order == sorted(order)


async def test_a_request_leaves_nothing_behind(start: Start, tmp_path: Path):
    agent = ars(tmp_path, "=== turn repeat\nsay: Hello\n")
    async with start(agent=agent) as gateway, client(gateway) as one, gateway.client() as page:
        await ask(one, "hi")
        await quiet(gateway)
        assert (await page.request("sessions.list"))["count"] == 0
        await until(lambda: not logs_in(tmp_path / "state/transcripts"))
        await until(lambda: not logs_in(tmp_path / "agent"))


async def test_what_an_end_without_warning_has_left_is_removed_at_the_next_start(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, ECHO)) as gateway:
        talks = gateway.gateway.talks
        room = passing.begin(talks, "owner", "main", "openai")
        await talks.transcripts.inject(room, "left")
        assert logs_in(tmp_path / "state/transcripts")
    async with start(agent=mock(tmp_path, ECHO)) as gateway:
        assert gateway.gateway.talks.rooms.all() == []
        assert not logs_in(tmp_path / "state/transcripts")


async def test_a_user_has_a_session_that_lasts_and_is_told_only_what_is_new(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, ECHO)) as gateway, client(gateway) as one:
        system = {"role": "system", "content": "Be brief."}
        first = await ask(one, system, "one", user="ada")
        reply = {"role": "assistant", "content": first.choices[0].message.content}
        await ask(one, system, "one", reply, "two", user="ada")
        prompts = heard(tmp_path)
        assert "Be brief." in prompts[0]
        assert prompts[1].count("Be brief.") == prompts[0].count("Be brief.")
        assert "Assistant:" not in prompts[1]
        await ask(one, {"role": "system", "content": "Be long."}, "three", user="ada")
        assert "Be long." in heard(tmp_path)[-1]
        async with gateway.client() as page:
            key = "agent:main:openai-user:ada"
            history = await page.request("chat.history", {"sessionKey": key})
            asked = [it["content"][0]["text"] for it in history["messages"] if it["role"] == "user"]
            assert asked == ["one", "two", "three"]


async def test_users_whose_names_differ_in_case_have_each_their_own(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, ECHO)) as gateway, client(gateway) as one:
        await ask(one, "one", user="ada")
        await ask(one, "two", user="Ada")
        assert len(gateway.gateway.talks.rooms.all()) == 2


async def test_the_header_names_any_session_of_that_agent(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, ECHO)) as gateway, client(gateway) as one:
        await ask(one, "one", user="ada", extra_headers={"x-session-key": "main"})
        assert [it.key for it in gateway.gateway.talks.rooms.all()] == ["agent:main:main"]
        with pytest.raises(openai.BadRequestError, match="a session of the agent other"):
            await ask(one, "one", extra_headers={"x-session-key": "agent:other:main"})
        with pytest.raises(openai.BadRequestError, match="512 characters"):
            await ask(one, "one", extra_headers={"x-session-key": "x" * 600})


async def test_a_picture_reaches_an_agent_that_takes_one(start: Start, tmp_path: Path):
    parts = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
    ]
    async with start(agent=mock(tmp_path, ECHO)) as gateway, client(gateway) as one:
        await ask(one, {"role": "user", "content": parts}, user="ada")
        assert "What is it?" in heard(tmp_path)[-1]
        async with gateway.client() as page:
            history = await page.request("chat.history", {"sessionKey": "agent:main:openai-user:ada"})
        assert history["messages"][0]["content"][1] == {"type": "image", "mimeType": "image/png"}


# ── errors ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_errors_are_those_that_the_library_knows(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, ECHO)) as gateway, client(gateway) as one:
        with pytest.raises(openai.NotFoundError) as missing:
            await ask(one, "hi", model="gpt-99")
        assert missing.value.body == {
            "message": "The model 'gpt-99' does not exist: GET /v1/models lists those that do",
            "type": "not_found_error",
            "code": "model_not_found",
            "param": "model",
        }
        with pytest.raises(openai.BadRequestError) as wrong:
            await ask(one, "hi", n=2)
        assert (wrong.value.param, wrong.value.type) == ("n", "invalid_request_error")
        with pytest.raises(openai.BadRequestError, match="/messages"):
            await ask(one)
        with pytest.raises(openai.NotFoundError) as path:
            await one.embeddings.create(model="main", input="x", encoding_format="float")
        assert path.value.body["type"] == "not_found_error"
        with pytest.raises(openai.AuthenticationError) as stranger:
            await ask(one.with_options(api_key="wrong-but-long-enough"), "hi")
        assert stranger.value.code == "invalid_api_key"


@pytest.mark.parametrize("stream", [False, True])
async def test_what_the_model_fails_with_has_a_status_when_nothing_was_said(start: Start, tmp_path: Path, stream: bool):
    agent = ars(tmp_path, '=== turn repeat\nfail LLM_ERROR "no such model"\n')
    async with start(agent=agent) as gateway, client(gateway, max_retries=2) as one:
        with pytest.raises(openai.InternalServerError, match="no such model") as failed:
            await ask(one, "hi", stream=stream)
        assert failed.value.code == "llm_error"
        # The library tries again by itself, unless it is told that this does not help.
        assert failed.value.response.headers["x-should-retry"] == "false"
        assert "x-stainless-retry-count" not in failed.value.request.headers or (
            failed.value.request.headers["x-stainless-retry-count"] == "0"
        )
        await quiet(gateway)


async def test_a_failure_in_the_middle_stands_in_the_stream(start: Start, tmp_path: Path):
    agent = ars(tmp_path, "=== turn repeat\nsay: Half an\ninterrupt\n")
    async with start(agent=agent) as gateway, client(gateway) as one:
        said: list[str] = []
        stream = await ask(one, "hi", stream=True)
        with pytest.raises(openai.APIError) as failed:
            await read(stream, said)
        assert "".join(said) == "Half an"
        assert failed.value.code == "llm_stream_interrupted"


async def test_an_agent_that_is_not_there_is_an_error_that_may_pass(start: Start):
    async with start(agent="/no/such/agent") as gateway, client(gateway) as one:
        with pytest.raises(openai.InternalServerError) as failed:
            await ask(one, "hi", stream=True)
        assert failed.value.status_code == 503
        await quiet(gateway)


async def test_a_session_that_takes_no_messages_says_so(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, ECHO)) as gateway, client(gateway) as one, gateway.client() as page:
        await page.request("sessions.patch", {"key": "agent:main:openai-user:ada", "sendPolicy": "deny"})
        with pytest.raises(openai.PermissionDeniedError, match="blocked"):
            await ask(one, "hi", user="ada")


# ── leaving ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_client_that_closes_its_stream_ends_the_run(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, SLOW)) as gateway, client(gateway) as one:
        async with await ask(one, "hi", stream=True) as stream:
            async for chunk in stream:
                if chunk.choices[0].delta.content:
                    break
        await until(lambda: not gateway.gateway.talks.runs.live)
        await quiet(gateway)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_before_there_is_an_answer_ends_the_run(start: Start, tmp_path: Path, stream: bool):
    agent = mock(tmp_path, "=== turn repeat\nwait 30\nsay: never\n")
    async with start(agent=agent) as gateway, client(gateway) as one:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: ask(one, "hi", stream=stream))
            runs = gateway.gateway.talks.runs
            await until(lambda: [it for it in runs.live.values() if it.turn is not None], 15)
            tasks.cancel_scope.cancel()
        await until(lambda: not runs.live)
        await quiet(gateway)


async def test_the_end_of_the_gateway_is_an_error_that_may_pass(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, SLOW)) as gateway, client(gateway) as one:
        stream = await ask(one, "hi", stream=True)
        gateway.gateway.talks.stop()
        with pytest.raises(openai.APIError) as failed:
            await read(stream, [])
        assert "restarted" in failed.value.message


async def test_a_gateway_that_ends_in_the_middle_ends_soon_and_the_next_start_tidies_up(start: Start, tmp_path: Path):
    agent = mock(tmp_path, SLOW)
    with anyio.fail_after(20):
        async with start(agent=agent) as gateway, client(gateway) as one:
            await anext(aiter(await ask(one, "hi", stream=True)))
            assert len(gateway.gateway.talks.rooms.all()) == 1
    assert not gateway.log.named("gateway.door_failed")
    async with start(agent=agent) as gateway:
        assert gateway.gateway.talks.rooms.all() == []
        assert not logs_in(tmp_path / "state/transcripts")


async def test_whoever_has_not_signed_in_gets_no_answer(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, ECHO)) as gateway, asking(gateway, headers={}) as nobody:
        answer = await nobody.post("/v1/chat/completions", json={})
        assert answer.status_code == 401
        assert answer.json()["error"]["type"] == "authentication_error"


# ── what waits for a person ───────────────────────────────────────────────────────────────────────────────────────────

ASKS = """\
=== turn repeat
say: I look.
ask edit "Delete `it`\\nall?"
--- if granted
say: Gone.
--- if refused
say: Kept.
"""


async def waiting(stream: Any) -> tuple[str, str]:
    """What a stream has said when it waits for a person, and the session that it names."""
    said = ""
    async for chunk in stream:
        said += chunk.choices[0].delta.content or ""
        if found := re.search(r"/#s=(\S+) within", said):
            return said, found[1]
    raise AssertionError(said)


async def test_a_stream_says_that_it_waits_for_a_person_and_goes_on(start: Start, tmp_path: Path):
    async with (
        start(agent=mock(tmp_path, ASKS)) as gateway,
        client(gateway) as one,
        asking(gateway) as other,
        await ask(one, "hi", stream=True) as stream,
    ):
        with anyio.fail_after(20):
            said, session = await waiting(stream)
            address = f"http://127.0.0.1:{gateway.addresses.port}/#s={session}"
            note = f"> The agent waits for permission: `Delete 'it' all?`. Give it at {address} within 120 s."
            assert said == f"I look.\n\n{note}\n\n"
            (id,) = gateway.gateway.talks.approvals.pending
            body = {"session_id": session, "approval_id": id, "decision": "allow-once"}
            assert (await other.post("/agent/approval", json=body)).status_code == 200
            rest: list[str] = []
            await read(stream, rest)
        assert "".join(rest) == "\n\nGone."


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_says_what_nobody_has_permitted(start: Start, tmp_path: Path, stream: bool):
    async with start(agent=mock(tmp_path, ASKS)) as gateway, client(gateway) as one:
        gateway.gateway.talks.approvals.seconds = 0.1
        found = await ask(one, "hi", stream=stream)
        said: list[str] = []
        if stream:
            await read(found, said)
        text = "".join(said) if stream else found.choices[0].message.content
        assert "> Nobody gave permission: `Delete 'it' all?`, so the agent goes on without." in text
        assert "Kept." in text
        assert ("The agent waits" in text) is stream


async def test_an_answer_in_which_everything_was_permitted_is_the_agents_alone(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, ASKS)) as gateway, client(gateway) as one, gateway.client() as other:
        async with anyio.create_task_group() as tasks:

            async def permit() -> None:
                asked = (await other.event("exec.approval.requested", within=15))["payload"]
                await other.request("exec.approval.resolve", {"id": asked["id"], "decision": "allow-once"})

            tasks.start_soon(permit)
            found = await ask(one, "hi")
        assert found.choices[0].message.content == "I look.\n\nGone."
