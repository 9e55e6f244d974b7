"""D4, D8, D10: agents that end when they should not, that multiply, and that cannot be started at all."""

import os
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from connector import AgentExited, AgentNotFound, Client, Command, guarded, launch
from tests.support.parrot import AGENTS

Count = Callable[[int, int], int]
AtMost = Callable[[float], float]
Record = Callable[[str, str, str, bool], None]
ENDS = {"0": "exit status 0", "1": "exit status 1", "SIGKILL": "killed by SIGKILL", "SIGSEGV": "killed by SIGSEGV"}
MOMENTS = ("initialize", "session/new", "session/prompt", "idle")


async def converse(command: Command, cwd: Path) -> str:
    """A whole conversation: what the agent has said in it."""
    async with launch(command, Client(), cwd=str(cwd)) as agent:
        session = await agent.new_session(str(cwd))
        return (await session.prompt("x")).text


async def told(status: str, moment: str, cwd: Path) -> tuple[str, float]:
    """What is told of an agent that ends so, and how long after its end."""
    stamp = cwd / "ended at"
    argv = [sys.executable, "-S", str(AGENTS / "exits.py"), status, moment]
    with pytest.raises(AgentExited) as why, anyio.fail_after(60):
        await converse(Command("exits", argv, env={"ENDED_AT": str(stamp)}), cwd)
    text = str(why.value)
    assert text.endswith("these are the last words")
    return text, time.monotonic() - float(stamp.read_text())


@pytest.mark.faults("D4")
async def test_how_and_when_an_agent_ended_is_told_at_once(tmp_path: Path, record: Record, at_most: AtMost) -> None:
    right, slowest = 0, 0.0
    for status, expected in ENDS.items():
        for moment in MOMENTS:
            text, seconds = await told(status, moment, tmp_path)
            during = "session/prompt" if moment == "idle" else moment
            right += f"({expected}) during {during}" in text
            slowest = max(slowest, seconds)
    again = await converse(Command("echo", [sys.executable, "-S", str(AGENTS / "echo.py")]), tmp_path)
    measured = f"{right}/16 exact, slowest {slowest * 1000:.0f} ms after the end; the next agent says {again!r}"
    held = right == 16 and slowest <= at_most(0.1) and again == "x "
    record("D4", "4x4 table exact, within 100 ms, the next prompt works", measured, held)


# Every process starts others for ever, each in a session of its own and deaf to SIGTERM.
BOMB = """
import os, resource, signal, sys, time
limit = int(sys.argv[2])
if os.getuid() == 0:
    os.setgid(54321)
    os.setuid(54321)
    taken = 0
else:
    taken = sum(os.stat(f"/proc/{name}").st_uid == os.getuid() for name in os.listdir("/proc") if name.isdigit())
resource.setrlimit(resource.RLIMIT_NPROC, (taken + limit, taken + limit))
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    try:
        if os.fork() == 0:
            os.setsid()
    except OSError:
        time.sleep(0.01)
"""


def processes(mark: str) -> int:
    """How many processes have `mark` among their arguments, zombies not counted."""
    found = 0
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            found += mark.encode() in Path(f"/proc/{name}/cmdline").read_bytes()
        except OSError:
            continue
    return found


@pytest.mark.faults("D8")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a guardian needs Linux")
async def test_a_fork_bomb_is_killed_whole(count: Count, record: Record, at_most: AtMost) -> None:
    limit, mark = count(256, 48), f"bomb-{secrets.token_hex(8)}"
    directory, nothing = os.open("/", os.O_RDONLY), os.open(os.devnull, os.O_RDWR)
    argv = [sys.executable, "-ISc", BOMB, mark, str(limit)]
    bomb = guarded.start(argv, env={}, directory=directory, stdin=nothing, stdout=nothing, stderr=nothing)
    with anyio.fail_after(30):
        while (most := processes(mark)) < limit * 0.9:
            await anyio.lowlevel.checkpoint()
    began = time.monotonic()
    with anyio.fail_after(30):
        await bomb.kill()
        while left := processes(mark):
            await anyio.lowlevel.checkpoint()
    took = time.monotonic() - began
    await bomb.finish()
    os.close(directory)
    os.close(nothing)
    record(
        "D8",
        "256 that fork for ever: all dead <= 2 s",
        f"{most} processes, {left} left after {took:.2f} s",
        took <= at_most(2),
    )


CHECKS = """
import os, sys
sys.path.insert(0, sys.argv.pop(1))
assert sys.argv[1:] == ["two words", "", "a\\nb"] and os.environ["TOLD"] == "one\\ntwo"
import echo
"""


@pytest.mark.faults("D10")
async def test_what_cannot_be_started_is_told_at_once_and_not_tried_again(
    tmp_path: Path, record: Record, at_most: AtMost
) -> None:
    (tmp_path / "plain").write_text("no program")
    (tmp_path / "wrong").write_bytes(b"\x7fELF\x02\x01\x01" + bytes(57))
    (tmp_path / "wrong").chmod(0o755)
    echo = [sys.executable, "-S", str(AGENTS / "echo.py")]
    cases = {
        "missing": ([f"{tmp_path}/missing"], tmp_path),
        "not executable": ([f"{tmp_path}/plain"], tmp_path),
        "wrong architecture": ([f"{tmp_path}/wrong"], tmp_path),
        "no such directory": (echo, tmp_path / "gone"),
    }
    right, slowest = 0, 0.0
    for argv, cwd in cases.values():
        began = time.monotonic()
        with pytest.raises(AgentNotFound, match=r"^agent: cannot start"):
            await converse(Command("agent", argv), cwd)
        slowest = max(slowest, time.monotonic() - began)
        right += 1
    script = tmp_path / "checks an agent.py"
    script.write_text(CHECKS)
    argv = [sys.executable, str(script), str(AGENTS), "two words", "", "a\nb"]
    right += await converse(Command("agent", argv, env={"TOLD": "one\ntwo"}), tmp_path) == "x "
    measured = f"4 refused and {right - 4} case with spaces and newlines started, slowest {slowest * 1000:.0f} ms"
    record(
        "D10",
        "4 typed errors <= 100 ms; spaces in arguments, newlines in variables work",
        measured,
        slowest <= at_most(0.1),
    )
    assert right == 5
