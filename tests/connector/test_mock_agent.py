"""The mock agent as a process: what its scripts can say, and how it fails when it is told to."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from connector import (
    AgentError,
    AgentExited,
    Client,
    Limits,
    Session,
    SignInNeeded,
    allow_once,
    deny_all,
    launch,
    testing,
)
from connector.testing.script import Script, ScriptError
from connector.vendors import Vendor
from tests.connector.programs import MEASURED


def mock_agent(*arguments: Any, **more: Any) -> Vendor:
    vendor = testing.mock_agent(*arguments, **more)
    return replace(vendor, env={**vendor.env, **MEASURED})


Opened = Callable[..., AbstractAsyncContextManager[Session]]


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    """`opened(script)` is a session with the mock agent that plays it."""

    @asynccontextmanager
    async def opened(script: str, like: str = "ars", client: Client | None = None) -> AsyncIterator[Session]:
        file = tmp_path / "a.script"
        file.write_text(script)
        limits = Limits(initialize=20, session=20, cancel=1.5, late=0.1)
        client = client or Client(policy=allow_once)
        with anyio.fail_after(20):
            async with launch(mock_agent(like, file), client, cwd=str(tmp_path), limits=limits) as connector:
                yield await connector.new_session(str(tmp_path))

    return opened


async def test_without_a_script_it_says_back_everything_that_it_was_told(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with launch(mock_agent(), Client(), cwd=str(tmp_path)) as connector:
            assert await connector.execute("one") == "You said: one"
            assert await connector.follow_up("two") == "You said: one | two"


async def test_it_thinks_plans_and_uses_tools_through_the_client(opened: Opened, tmp_path: Path) -> None:
    script = """\
# Everything that goes well.
=== turn if "work"
think: Where is it?
plan:
  [x] Look
  [>] Write
  [ ] Test
read notes.txt
say: It says $result
write out.txt:
  two
    lines
run ["cat", "out.txt"]
say:
  Now: $result
stop max_tokens
"""
    (tmp_path / "notes.txt").write_text("seven. ")
    async with opened(script) as session:
        turn = await session.prompt("please work")
        kinds = [call.kind for call in turn.tool_calls.values()]

    assert turn.thought == "Where is it?"
    assert turn.text == "It says seven. Now: two\n  lines\n"
    assert kinds == ["read", "edit", "execute"]
    assert turn.stop_reason == "max_tokens"
    assert (tmp_path / "out.txt").read_text() == "two\n  lines\n"


@pytest.mark.parametrize(("policy", "text"), [(allow_once, "Good.So be it."), (deny_all, "Then not.So be it.")])
async def test_what_follows_a_question_may_depend_on_its_answer(opened: Opened, policy: object, text: str) -> None:
    script = """\
=== turn repeat
ask edit "Delete everything?"
--- if granted
say: Good.
--- if refused
say: Then not.
---
say: So be it.
"""
    async with opened(script, client=Client(policy=policy)) as session:  # type: ignore[arg-type]
        for _ in range(2):
            assert (await session.prompt("go")).text == text


async def test_its_sessions_outlive_it_where_they_are_kept(tmp_path: Path) -> None:
    mock = mock_agent(options=["--store", str(tmp_path / "sessions.json")])
    with anyio.fail_after(20):
        async with launch(mock, Client(), cwd=str(tmp_path)) as connector:
            session = await connector.new_session(str(tmp_path))
            await session.prompt("one")
        async with launch(mock, Client(), cwd=str(tmp_path)) as connector:
            assert [found.session_id for found in await connector.list_sessions()] == [session.id]
            again = await connector.load_session(session.id, str(tmp_path))
            assert [(said.prompt, said.response) for said in again.log()] == [("one", "You said: one")]
            assert (await again.prompt("two")).text == "You said: one | two"
            assert (await connector.new_session(str(tmp_path))).id != session.id
            await again.close()
            assert len((await connector.load_session(session.id, str(tmp_path))).log()) == 2


@pytest.mark.parametrize(
    ("fault", "why", "told"),
    [
        ("exit 7", AgentExited, "exit status 7"),
        ("exit SIGSEGV", AgentExited, "SIGSEGV"),
        ('error {"code": -32603, "message": "no", "data": {"details": "the quota"}}', AgentError, "no: the quota"),
        ("stderr: my last words\nexit 1", AgentExited, "my last words"),
    ],
)
async def test_it_fails_as_it_is_told_to(opened: Opened, fault: str, why: type[Exception], told: str) -> None:
    with pytest.raises(why, match=told):
        async with opened(f"=== turn\nsay: half\n{fault}\n") as session:
            await session.prompt("go")


async def test_it_hangs_and_a_cancel_does_not_help(opened: Opened) -> None:
    async with opened("=== turn\nsay: half\nhang\n") as session:
        turn = session.start("go")
        async for _ in turn:
            session.cancel()
        assert turn.stop_reason == "cancelled"
        with pytest.raises(AgentExited, match="SIGKILL"):
            await session.prompt("Are you there?")


async def test_noise_a_flood_and_what_comes_late_lose_nothing(opened: Opened) -> None:
    script = "=== turn\nnoise: Loading...\nflood 2000\nnoise: {}\nlate:  late\n=== turn\nsay: next\n"
    async with opened(script) as session:
        first, second = await session.prompt("go"), await session.prompt("go")
    assert first.text.split() == ["word"] * 2000 + ["late"]
    assert second.text == "next"


async def test_requests_that_nobody_knows_are_answered_so(opened: Opened) -> None:
    script = '=== turn\ntell made/up {}\ncall made/up {"a": 1}\nsay: $result'
    async with opened(script, like="qwen") as session:
        assert (await session.prompt("go")).text.startswith("-32601 ")


async def test_it_signs_in_by_the_variables_of_its_vendor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mock = mock_agent("codex", options=["--signed-out"])
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("CODEX_API_KEY", raising=False)
    with anyio.fail_after(20):
        with pytest.raises(SignInNeeded, match="run `codex login`, or set CODEX_API_KEY"):
            async with launch(mock, Client(), cwd=str(tmp_path)) as connector:
                await connector.new_session(str(tmp_path))
        monkeypatch.setenv("CODEX_API_KEY", "k")
        async with launch(mock, Client(), cwd=str(tmp_path)) as connector:
            await connector.new_session(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("say: hello", "line 1: a script begins with `=== turn`"),
        ("=== turn\ndance", "line 2: `dance` is not a word"),
        ("=== turn\n\nrun [", "line 3: not JSON"),
        ("=== turn\nplan:\n  [?] Look", "line 3: a plan's entries"),
        ("=== turn\nwait soon", "line 2: expected a number"),
    ],
)
def test_a_script_that_cannot_be_read_names_its_line(text: str, why: str) -> None:
    with pytest.raises(ScriptError, match=r".") as error:
        Script.parse(text)
    assert str(error.value).startswith(why)
