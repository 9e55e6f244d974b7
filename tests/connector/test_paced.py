"""What is told live of a terminal: bounded in rate and size, whole in sum, and all of it before its client knows."""

import itertools
import sys
import time
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from connector.paced import Paced
from connector.workspace import Workspace
from tests.support.waiting import until


@pytest.fixture
def told() -> list[tuple[str, str]]:
    return []


async def test_the_first_piece_is_told_at_once_and_what_comes_after_it_together(told: list[tuple[str, str]]) -> None:
    paced = Paced(lambda *it: told.append(it), seconds=0.02)
    for piece in ("a", "b", "c"):
        paced("t1", piece)
    paced("t2", "other")
    assert told == [("t1", "a"), ("t2", "other")]
    await until(lambda: len(told) == 3)
    assert told[2] == ("t1", "bc")


async def test_a_terminal_is_told_of_at_most_once_in_so_many_seconds() -> None:
    times: list[float] = []
    paced = Paced(lambda *it: times.append(time.monotonic()), seconds=0.02)
    while len(times) < 5:
        paced("t", "x")
        await anyio.lowlevel.checkpoint()
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert min(gaps) >= 0.019


async def test_of_a_flood_the_end_is_told_and_how_much_is_missing(told: list[tuple[str, str]]) -> None:
    paced = Paced(lambda *it: told.append(it), seconds=60, most=10)
    paced("t", "first")
    for number in range(1000):
        paced("t", f"{number:04}\n")
    paced.flush("t")
    assert told == [("t", "first"), ("t", "\n[4990 characters are not shown here]\n0998\n0999\n")]


async def test_what_is_flushed_is_told_once_and_nothing_is_kept_of_a_terminal(told: list[tuple[str, str]]) -> None:
    paced = Paced(lambda *it: told.append(it), seconds=0.01)
    paced.flush("never heard of")
    paced("t", "a")
    paced("t", "b")
    paced.flush("t")
    paced.flush("t")
    assert told == [("t", "a"), ("t", "b")]
    assert not paced._held
    paced("t", "c")
    await until(lambda: not paced._held)
    assert told[2:] == [("t", "c")]


async def test_all_of_a_command_is_told_when_it_has_been_waited_for(
    tmp_path: Path, told: list[tuple[str, str]]
) -> None:
    workspace = Workspace([str(tmp_path)], on_output=Paced(lambda *it: told.append(it), seconds=60))
    script = "import sys; [(sys.stdout.write(c), sys.stdout.flush()) for c in 'aé\\u20ac\\U0001f600' * 50]"
    with anyio.fail_after(20):
        terminal_id = workspace.terminals.create(sys.executable, ["-c", script], env={"PYTHONIOENCODING": "utf-8"})
        await workspace.terminals.get(terminal_id).wait()
    assert "".join(text for _, text in told) == "aé€😀" * 50
    assert len(told) <= 2  # at once and at the end; on a busy machine all of it came at once
    await workspace.close()


async def test_what_a_released_command_had_written_is_told(tmp_path: Path, told: list[tuple[str, str]]) -> None:
    workspace = Workspace([str(tmp_path)], on_output=Paced(lambda *it: told.append(it), seconds=60))
    with anyio.fail_after(20):
        terminal_id = workspace.terminals.create("sh", ["-c", "echo one; echo two; sleep 60"])
        await until(lambda: "two" in workspace.terminals.get(terminal_id).output())
        await workspace.terminals.release(terminal_id)
    assert "".join(text for _, text in told) == "one\ntwo\n"
    await workspace.close()
