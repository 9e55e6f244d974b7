"""Terminals: real commands, their output, and their end whatever they do."""

import os
import select
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest

from acp_wire.errors import INVALID_PARAMS, NOT_FOUND, RpcError
from connector.child import Exit
from connector.terminals import MAX_TERMINALS, OUTPUT_LIMIT, Tail, Terminal
from connector.workspace import Workspace

LINUX = sys.platform.startswith("linux")


@pytest.fixture
async def workspace(tmp_path: Path) -> AsyncIterator[Workspace]:
    (tmp_path / "ws").mkdir()
    workspace = Workspace([str(tmp_path / "ws")], on_output=lambda terminal_id, text: heard())
    yield workspace
    await workspace.close()


_heard: list[anyio.Event] = []


def heard() -> None:
    while _heard:
        _heard.pop().set()


def start(workspace: Workspace, *argv: str, **more: object) -> Terminal:
    return workspace.terminals.get(workspace.terminals.create(argv[0], argv[1:], **more))  # type: ignore[arg-type]


async def run(workspace: Workspace, *argv: str, **more: object) -> tuple[str, Exit]:
    terminal = start(workspace, *argv, **more)
    with anyio.fail_after(20):
        end = await terminal.wait()
    return terminal.output(), end


async def output(terminal: Terminal, done: Callable[[str], bool]) -> str:
    """The output as soon as it is `done`."""
    with anyio.fail_after(20):
        while not done(terminal.output()):
            _heard.append(anyio.Event())
            await _heard[-1].wait()
    return terminal.output()


async def ended(pidfds: list[int]) -> None:
    """Waits until these processes, whose children they ever were, have ended."""
    with anyio.fail_after(20):
        for fd in pidfds:
            await anyio.wait_readable(fd)
            os.close(fd)


async def test_output_and_exit_code_come_back(workspace: Workspace) -> None:
    assert await run(workspace, "sh", "-c", "echo out; echo err >&2; exit 3") == ("out\nerr\n", Exit(3, None))


async def test_the_id_is_there_at_once_and_the_end_later(workspace: Workspace) -> None:
    terminal = start(workspace, "sh", "-c", "echo begun; exec sleep 60")
    await output(terminal, lambda text: text == "begun\n")

    assert terminal.child.exit is None
    await terminal.child.kill()
    assert await terminal.wait() == Exit(None, "SIGKILL")
    assert terminal.output() == "begun\n"


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGSEGV", "SIGINT"])
async def test_a_signal_is_told_by_name_and_never_as_a_negative_code(workspace: Workspace, name: str) -> None:
    _, end = await run(workspace, "sh", "-c", f"kill -{name[3:]} $$")

    assert end == Exit(None, name)


async def test_a_signal_without_a_name_is_told_by_number(workspace: Workspace) -> None:
    _, end = await run(workspace, "sh", "-c", "kill -40 $$")

    assert end in (Exit(None, "SIG40"), Exit(None, signal.Signals(signal.SIGRTMIN).name))


async def test_arguments_are_never_seen_by_a_shell(workspace: Workspace) -> None:
    hostile = ["$(touch evil)", "`touch evil`", "; touch evil", "a b", "*", "", "-n", "\n", "'\"", "|| true"]
    text, end = await run(workspace, sys.executable, "-c", "import sys; print(sys.argv[1:])", *hostile)

    assert (text, end.code) == (f"{hostile}\n", 0)
    assert os.listdir(workspace.roots[0]) == []


@pytest.mark.parametrize("command", ["", "echo\nhi", "a\0b", "\x1b[31m", "ls\t"])
async def test_a_command_that_is_no_name_is_refused(workspace: Workspace, command: str) -> None:
    with pytest.raises(RpcError) as why:
        workspace.terminals.create(command)
    assert why.value.code == INVALID_PARAMS


async def test_a_shell_string_is_no_command(workspace: Workspace) -> None:
    with pytest.raises(RpcError) as why:
        workspace.terminals.create("echo hi && touch evil")
    assert (why.value.code, why.value.message) == (NOT_FOUND, "Command not found")
    assert os.listdir(workspace.roots[0]) == []


async def test_what_cannot_be_started_is_told_and_leaves_nothing_behind(workspace: Workspace) -> None:
    Path(workspace.roots[0], "data").write_text("no program")
    before = len(os.listdir("/dev/fd"))

    for command, args in (("./data", []), ("sh", ["\0"])):
        with pytest.raises(RpcError):
            workspace.terminals.create(command, args)
    assert len(os.listdir("/dev/fd")) == before


async def test_the_cwd_is_the_sessions_or_one_inside_the_roots(workspace: Workspace, tmp_path: Path) -> None:
    root = Path(workspace.roots[0])
    (root / "sub").mkdir()
    (root / "out").symlink_to("..")

    assert (await run(workspace, "pwd", "-P"))[0] == f"{root}\n"
    assert (await run(workspace, "pwd", "-P", cwd=f"{root}/sub"))[0] == f"{root}/sub\n"
    for cwd in ("/", str(tmp_path), f"{root}/..", f"{root}/out", "sub", "~"):
        with pytest.raises(RpcError, match="PATH_OUTSIDE_ROOT"):
            workspace.terminals.create("pwd", cwd=cwd)
    with pytest.raises(RpcError) as why:
        workspace.terminals.create("pwd", cwd=f"{root}/nothing")
    assert why.value.code == NOT_FOUND


async def test_the_environment_is_built_from_nothing(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """S11: a canary in our own environment does not reach a command."""
    for name in ("SECRET_TOKEN", "OPENAI_API_KEY", "LD_LIBRARY_PATH", "PYTHONPATH", "BASH_ENV"):
        monkeypatch.setenv(name, "canary")
    monkeypatch.setenv("LC_TIME", "C")
    asked = {"MINE": "1", "LD_PRELOAD": "x.so", "PYTHONSTARTUP": "x", "NODE_OPTIONS": "x", "BASH_ENV": "x", "LANG": "C"}

    text, _ = await run(workspace, "env", env=asked)

    got = dict(line.split("=", 1) for line in text.splitlines())
    assert "canary" not in text
    assert (got["MINE"], got["LANG"], got["LC_TIME"], got["PATH"]) == ("1", "C", "C", os.environ["PATH"])
    assert not {"LD_PRELOAD", "PYTHONSTARTUP", "NODE_OPTIONS", "BASH_ENV"} & got.keys()


async def test_a_command_reads_an_empty_stdin_and_leads_a_session_of_its_own(workspace: Workspace) -> None:
    text, _ = await run(
        workspace, sys.executable, "-c", "import os,sys; print([sys.stdin.read(), os.getsid(0)-os.getpid()])"
    )

    assert text == "['', 0]\n"


async def test_output_over_the_limit_loses_its_beginning_at_a_character(workspace: Workspace) -> None:
    program = "import sys; sys.stdout.write('начало' + 'й' * 5000 + 'ab')"
    terminal = start(workspace, sys.executable, "-X", "utf8", "-c", program, output_limit=101)
    with anyio.fail_after(20):
        await terminal.wait()

    assert terminal.output() == "й" * 49 + "ab"
    assert terminal.tail.dropped


async def test_a_flood_of_output_stays_within_the_limit(workspace: Workspace) -> None:
    terminal = start(workspace, "sh", "-c", "yes 0123456789 | head -c 8000000; echo; echo end")
    with anyio.fail_after(30):
        await terminal.wait()

    text = terminal.output()
    assert len(text) == OUTPUT_LIMIT
    assert text.endswith("\nend\n")
    assert terminal.tail.dropped


@pytest.mark.parametrize("limit", range(1, 14))
@pytest.mark.parametrize("text", ["aйb😀", "😀😀😀", "йййй", "\ufffd\ufffd"])
def test_the_tail_is_valid_text_within_the_limit_wherever_the_pieces_are_cut(text: str, limit: int) -> None:
    data = text.encode()
    for cut in range(len(data) + 1):
        tail = Tail(limit)
        tail.feed(data[:cut])
        assert len(tail.text(whole=False).encode()) <= limit
        tail.feed(data[cut:])
        kept = tail.text(whole=True)
        assert text.endswith(kept)
        assert len(data) - limit <= 0 or limit - 3 <= len(kept.encode()) <= limit
        assert tail.dropped == (kept != text)


def test_a_character_that_is_still_arriving_is_not_shown_broken() -> None:
    tail = Tail(100)
    tail.feed("a😀".encode()[:3])

    assert (tail.text(whole=False), tail.text(whole=True)) == ("a", "a\ufffd")


def test_bytes_that_are_no_text_do_not_grow_over_the_limit() -> None:
    tail = Tail(100)
    tail.feed(b"\x80\xff" * 1000)

    assert len(tail.text(whole=True).encode()) <= 100
    assert tail.dropped


async def test_the_end_is_told_although_a_child_holds_the_output_open(workspace: Workspace) -> None:
    terminal = start(workspace, "sh", "-c", "sleep 60 & echo done")
    with anyio.fail_after(20):
        end = await terminal.wait()

    assert (terminal.output(), end) == ("done\n", Exit(0, None))


TREE = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sleep = [sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"]
children = [subprocess.Popen(sleep), subprocess.Popen(sleep, start_new_session=True)]
print(*[child.pid for child in children], flush=True)
# A daemon: its parent has ended and it has a session of its own.
os.system("(setsid sleep 60 & echo $!) </dev/null")
time.sleep(60 if sys.argv[1:] == ["stay"] else 0)
"""


async def tree(workspace: Workspace, *args: str) -> tuple[Terminal, list[int]]:
    """A command with descendants of all sorts, and a pidfd of each of them."""
    terminal = start(workspace, sys.executable, "-c", TREE, *args)
    pids = (await output(terminal, lambda text: len(text.split()) == 3)).split()
    return terminal, [os.pidfd_open(int(pid)) for pid in pids]


@pytest.mark.skipif(not LINUX, reason="what has left its group is found by Linux only")
@pytest.mark.parametrize("end", ["kill", "release", "close"])
async def test_the_whole_tree_dies_daemons_and_term_ignoring_children_included(workspace: Workspace, end: str) -> None:
    terminal, descendants = await tree(workspace, "stay")

    with anyio.fail_after(20):
        if end == "kill":
            await terminal.child.kill()
        elif end == "release":
            await workspace.terminals.release(terminal.id)
        else:
            await workspace.close()
        await ended(descendants)


@pytest.mark.skipif(not LINUX, reason="what has left its group is found by Linux only")
async def test_what_a_finished_command_has_left_behind_dies_with_its_terminal(workspace: Workspace) -> None:
    terminal, descendants = await tree(workspace)
    with anyio.fail_after(20):
        await terminal.wait()
    assert select.select(descendants, [], [], 0)[0] == []

    await workspace.terminals.release(terminal.id)
    await ended(descendants)


async def test_a_killed_terminal_keeps_its_id_and_a_released_one_does_not(workspace: Workspace) -> None:
    terminal = start(workspace, "sleep", "60")
    await terminal.child.kill()

    assert workspace.terminals.get(terminal.id).child.exit == Exit(None, "SIGKILL")
    await workspace.terminals.release(terminal.id)
    with pytest.raises(RpcError) as why:
        await workspace.terminals.release(terminal.id)
    assert (why.value.code, why.value.data) == (NOT_FOUND, {"terminalId": terminal.id})


async def test_whoever_waits_is_told_when_the_terminal_is_released(workspace: Workspace) -> None:
    terminal = start(workspace, "sleep", "60")
    told: list[Exit] = []

    async def wait() -> None:
        told.append(await terminal.wait())

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.lowlevel.checkpoint()
            await workspace.terminals.release(terminal.id)
    assert told == [Exit(None, "SIGKILL")]


async def test_output_is_reported_as_it_comes_and_in_whole_characters(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes("й😀".encode())
    reported: list[tuple[str, str]] = []

    def report(terminal_id: str, text: str) -> None:
        reported.append((terminal_id, text))
        (tmp_path / "go").touch()

    workspace = Workspace([str(tmp_path)], on_output=report)
    terminal = start(workspace, "sh", "-c", "head -c 3 in; while [ ! -e go ]; do :; done; tail -c 3 in")
    with anyio.fail_after(20):
        await terminal.wait()
    await workspace.close()

    assert reported == [(terminal.id, "й"), (terminal.id, "😀")]


async def test_nothing_is_left_of_many_terminals(workspace: Workspace) -> None:
    """D9: descriptors and children return to what they were."""
    before, children = len(os.listdir("/dev/fd")), []
    for _ in range(20):
        terminal = start(workspace, "true")
        children.append(terminal.child.pid)
        with anyio.fail_after(20):
            await terminal.wait()
        await workspace.terminals.release(terminal.id)

    assert len(os.listdir("/dev/fd")) == before
    assert [pid for pid in children if os.path.exists(f"/proc/{pid}")] == []


async def test_only_so_many_terminals_are_open_at_once(workspace: Workspace) -> None:
    for _ in range(MAX_TERMINALS):
        start(workspace, "true")
    with pytest.raises(RpcError, match="release some"):
        workspace.terminals.create("true")
