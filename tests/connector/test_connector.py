"""Real agent processes that behave and that misbehave, driven by a connector."""

import os
import sys
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio
import pytest

from connector import AgentError, AgentExited, AgentNotFound, AgentTimeout, Client, Command, Connector, Limits, launch

AGENTS = Path(__file__).parents[2] / "fixtures" / "agents"
LINUX = sys.platform.startswith("linux")
QUICK = Limits(initialize=20, session=20, turn=30, late=0.05)


def agent(name: str, *args: str) -> Command:
    return Command(name, [sys.executable, "-S", str(AGENTS / f"{name}.py"), *args])


def running(
    command: Command, cwd: Path, client: Client | None = None, **more: Any
) -> AbstractAsyncContextManager[Connector]:
    return launch(command, client or Client(), cwd=str(cwd), **{"limits": QUICK, **more})


async def test_a_conversation_keeps_its_memory_and_streams_typed_updates(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with running(agent("echo"), tmp_path) as connector:
            assert connector.is_alive()
            assert connector.agent.agent_info is not None
            session = await connector.new_session(str(tmp_path))
            first = await session.prompt("one two")
            words = [update.content.text async for update in session.stream("three")]

            assert (first.text, first.stop_reason) == ("one two ", "end_turn")
            assert words == ["one ", "two ", "| ", "three "]
            assert [(turn.prompt[0]["text"], turn.text) for turn in session.turns] == [
                ("one two", "one two "),
                ("three", "one two | three "),
            ]
    assert not connector.is_alive()


async def test_prompts_wait_for_each_other(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with running(agent("echo"), tmp_path) as connector:
            session = await connector.new_session(str(tmp_path))
            words = [str(number) for number in range(12)]
            turns = [session.start(word) for word in words]
            assert [turn.state for turn in turns] == ["queued"] * 12
            for turn in turns:
                assert await turn.result() == "end_turn"
            assert [turn.text for turn in turns] == [" | ".join(words[: n + 1]) + " " for n in range(12)]


async def test_noise_on_stdout_loses_no_update(tmp_path: Path) -> None:
    """A13: 0 lost of 10,000 updates."""
    with anyio.fail_after(30):
        async with running(agent("noisy"), tmp_path) as connector:
            session = await connector.new_session(str(tmp_path))
            turn = await session.prompt("10000")
            assert turn.text == "".join(f"{number} " for number in range(10_000))
            assert (await session.prompt("3")).text == "0 1 2 "


async def test_what_an_agent_prints_on_stdout_is_told_with_its_errors_and_hides_secrets(tmp_path: Path) -> None:
    script = tmp_path / "prints.py"
    script.write_text("print('no such model'); print('the key is sk-0123456789abcdef'); raise SystemExit(3)")
    events: list[tuple[str, dict[str, Any]]] = []
    prints = Command("prints", [sys.executable, str(script)])
    with pytest.raises(AgentExited) as why, anyio.fail_after(20):
        async with running(prints, tmp_path, on_event=lambda name, fields: events.append((name, fields))):
            pass
    assert str(why.value).endswith("On stdout, beside its messages:\nno such model\nthe key is [redacted]")
    assert ("agent.printed", {"lines": 1, "last": "no such model"}) in events


async def test_a_flood_on_stderr_is_drained_and_its_end_kept(tmp_path: Path) -> None:
    size = 4 * 1024 * 1024
    seen = 0

    def count(data: bytes) -> None:
        nonlocal seen
        seen += len(data)

    with anyio.fail_after(60):
        async with running(agent("stderr_flood"), tmp_path, on_stderr=count) as connector:
            session = await connector.new_session(str(tmp_path))
            turn = await session.prompt(str(size))
            assert turn.text == "done"
            tail = connector.stderr_tail()
    assert seen >= size
    assert tail.endswith("the last words")
    assert len(tail.encode()) <= 64 * 1024


async def test_updates_after_the_answer_belong_to_their_own_turn(tmp_path: Path) -> None:
    """C5: 0 lost, 0 with another turn's."""
    outside: list[str] = []
    with anyio.fail_after(20):
        async with running(agent("late"), tmp_path, limits=Limits(late=1)) as connector:
            session = await connector.new_session(str(tmp_path))
            session.outside = lambda update: outside.append(update.content.text)
            for number in range(4):
                await session.prompt(str(number))
            turns = session.turns[:3]
    assert [turn.text for turn in turns] == [f"early {number} late {number}" for number in range(3)]
    assert [[update.content.text for update in turn.late] for turn in turns] == [[f" late {n}"] for n in range(3)]
    assert outside[:3] == [f" late {number}" for number in range(3)]


async def test_an_agent_that_reads_no_more_is_closed_in_time(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with running(agent("wedged"), tmp_path) as connector:
            session = await connector.new_session(str(tmp_path))
            session.start("x" * 3_000_000)
            await anyio.lowlevel.checkpoint()
            began = time.monotonic()
    assert time.monotonic() - began <= 10  # 3 where nothing else runs: tests/faults, D3


async def test_an_agent_that_ends_by_itself_on_eof_is_closed_at_once(tmp_path: Path) -> None:
    async with running(agent("echo"), tmp_path) as connector:
        await connector.new_session(str(tmp_path))
        began = time.monotonic()
    assert time.monotonic() - began < 2  # what does not end by itself is killed then


async def converse(command: Command, cwd: Path) -> None:
    async with running(command, cwd) as connector:
        session = await connector.new_session(str(cwd))
        await session.prompt("x")


@pytest.mark.parametrize(("status", "told"), [("0", "exit status 0"), ("1", "exit status 1"), ("SIGSEGV", "SIGSEGV")])
@pytest.mark.parametrize("when", ["initialize", "session/new", "session/prompt"])
async def test_an_agent_that_ends_early_is_told_with_its_status_and_last_words(
    tmp_path: Path, status: str, told: str, when: str
) -> None:
    """D4."""
    with pytest.raises(AgentExited) as why, anyio.fail_after(20):
        await converse(agent("exits", status, when), tmp_path)
    assert told in str(why.value)
    assert f"during {when}" in str(why.value)
    assert why.value.stderr == "these are the last words"
    assert why.value.exit is not None


async def test_what_came_before_an_agent_ended_is_delivered_before_the_error(tmp_path: Path) -> None:
    got: list[str] = []
    script = tmp_path / "dies.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(AGENTS)!r})\nfrom wire import *\n"
        "def prompt(request, text):\n    say('s1', 'half')\n    sys.exit(7)\nserve(prompt)\n"
    )
    with anyio.fail_after(20):
        async with running(Command("dies", [sys.executable, str(script)]), tmp_path) as connector:
            session = await connector.new_session(str(tmp_path))
            updates = aiter(session.start("x"))
            got.append((await anext(updates)).content.text)
            with pytest.raises(AgentExited, match="exit status 7"):
                await anext(updates)
            with pytest.raises(AgentExited):
                await session.prompt("again")
    assert got == ["half"]


@pytest.mark.parametrize(
    "argv",
    [["/nowhere/agent"], ["no-such-agent-anywhere"], ["/"], ["agent with\0nul"], [""]],
    ids=["missing", "not on the path", "a directory", "nul", "empty"],
)
async def test_an_agent_that_cannot_be_started_is_told_at_once(tmp_path: Path, argv: list[str]) -> None:
    """D10."""
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(AgentNotFound, match=r"^vendor: cannot start"):
        async with running(Command("vendor", argv), tmp_path):
            pass
    with pytest.raises(AgentNotFound):
        async with running(agent("echo"), tmp_path / "no such directory"):
            pass
    assert len(os.listdir("/dev/fd")) == before


async def test_a_known_agent_that_is_not_installed_is_told_with_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AgentNotFound, match=r"cannot start `qwen --acp .*install it with `npm install --global @qwen"):
        async with launch("qwen", Client(), cwd=str(tmp_path)):
            pass


async def test_an_agent_that_answers_nothing_times_out_and_is_stopped(tmp_path: Path) -> None:
    silent = Command("silent", [sys.executable, "-c", "import sys; print('hm', file=sys.stderr); sys.stdin.read()"])
    with pytest.raises(AgentTimeout) as why, anyio.fail_after(20):
        async with running(silent, tmp_path, limits=Limits(initialize=0.3)):
            pass
    assert str(why.value).startswith("silent: no answer to initialize within 0.3 s")


async def test_an_error_answer_is_told_with_its_details(tmp_path: Path) -> None:
    script = tmp_path / "errs.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(AGENTS)!r})\nfrom wire import *\n"
        "def prompt(request, text):\n"
        "    send({'id': request['id'], 'error': {'code': -32603, 'message': 'no', 'data': {'details': 'quota'}}})\n"
        "serve(prompt)\n"
    )
    with anyio.fail_after(20):
        async with running(Command("errs", [sys.executable, str(script)]), tmp_path) as connector:
            session = await connector.new_session(str(tmp_path))
            with pytest.raises(AgentError, match="errs: no: quota") as why:
                await session.prompt("x")
    assert (why.value.code, why.value.details, why.value.method) == (-32603, "quota", "session/prompt")


async def test_cancelling_ends_queued_prompts_without_sending_them(tmp_path: Path) -> None:
    script = tmp_path / "waits.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(AGENTS)!r})\nfrom wire import *\n"
        "running = None\n"
        "for message in requests():\n"
        "    if message['method'] == 'session/prompt':\n"
        "        assert running is None\n        running = message\n        say('s1', 'begun')\n"
        "    elif message['method'] == 'session/cancel':\n"
        "        end_turn(running, 'cancelled')\n        running = None\n"
    )
    with anyio.fail_after(20):
        async with running(Command("waits", [sys.executable, str(script)]), tmp_path) as connector:
            session = await connector.new_session(str(tmp_path))
            first, second = session.start("1"), session.start("2")
            async for _ in first:
                session.cancel()
            assert [await first.result(), await second.result()] == ["cancelled", "cancelled"]
            assert second.text == ""

            async for _ in session.stream("3"):
                break
            assert await session.turns[-1].result() == "cancelled"


@pytest.mark.skipif(not LINUX, reason="/proc")
async def test_the_agents_environment_holds_nothing_that_was_not_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S11: 0 hits in the environment of the tree."""
    monkeypatch.setenv("SECRET_TOKEN", "canary")
    monkeypatch.setenv("VENDOR_KEY", "named")
    command = Command("echo", agent("echo").argv, env={"MORE": "1"}, passed_on=["VENDOR_KEY"])
    async with running(command, tmp_path) as connector:
        environ = Path(f"/proc/{connector.pid}/environ").read_bytes()
    assert b"canary" not in environ
    assert b"VENDOR_KEY=named\0" in environ
    assert b"MORE=1\0" in environ
