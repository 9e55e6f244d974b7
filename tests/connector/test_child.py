"""Children, whoever starts them: the same contract under the guardian and without one."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest

from connector import guarded
from connector.child import Child, Exit
from connector.direct import Direct

LINUX = sys.platform.startswith("linux")
PATH = {"PATH": os.environ["PATH"]}
Start = Callable[..., Child]


def direct(argv: list[str], *, env: dict[str, str], directory: int, stdin: int, stdout: int, stderr: int) -> Child:
    return Direct(argv, env, directory, stdin, stdout, stderr)


@pytest.fixture(
    params=[
        pytest.param(guarded.start, id="guarded", marks=pytest.mark.skipif(not LINUX, reason="a guardian needs Linux")),
        pytest.param(direct, id="direct"),
    ]
)
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    """`start(*argv, env=...)` in the test's directory, with the file `out` as standard output."""
    directory, nothing = os.open(tmp_path, os.O_RDONLY), os.open(os.devnull, os.O_RDWR)
    output = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)

    def run(*argv: str, env: dict[str, str] = PATH, stdin: int = nothing) -> Child:
        child: Child = request.param(
            list(argv), env=env, directory=directory, stdin=stdin, stdout=output, stderr=nothing
        )
        return child

    yield run
    for fd in (directory, nothing, output):
        os.close(fd)


async def test_a_command_runs_with_its_directory_environment_and_descriptors(start: Start, tmp_path: Path) -> None:
    program = "import os, sys; print(os.getcwd(), sorted(os.environ), sys.argv[1:], os.listdir('/dev/fd'))"
    child = start(sys.executable, "-ISc", program, "a b", "", "é\n", env={"MINE": "1=\n2"})
    with anyio.fail_after(20):
        assert await child.wait() == Exit(0, None)
    await child.finish()
    said = (tmp_path / "out").read_text()
    # LC_CTYPE is Python's own. The fourth descriptor is the one that lists them.
    assert said.replace("'LC_CTYPE', ", "") == f"{tmp_path} ['MINE'] ['a b', '', 'é\\n'] ['0', '1', '2', '3']\n"


@pytest.mark.parametrize(("end", "expected"), [("exit 7", Exit(7, None)), ("kill -SEGV $$", Exit(None, "SIGSEGV"))])
async def test_how_it_ended_is_told_and_stays(start: Start, end: str, expected: Exit) -> None:
    child = start("sh", "-c", end)
    with anyio.fail_after(20):
        assert await child.wait() == expected
    await child.finish()
    await child.finish()
    assert (child.exit, os.path.exists(f"/proc/{child.pid}")) == (expected, False)


async def test_it_leads_its_group_and_signals_have_their_usual_meaning(start: Start) -> None:
    ours, theirs = os.pipe()
    child = start(sys.executable, "-ISc", "import os, signal; os.read(0, 1); signal.pause()", stdin=ours)
    assert os.getpgid(child.pid) == os.getsid(child.pid) == child.pid
    child.signal(signal.SIGTERM)
    with anyio.fail_after(20):
        assert await child.wait() == Exit(None, "SIGTERM")
    await child.finish()
    os.close(ours)
    os.close(theirs)


async def test_killing_ends_its_group(start: Start, tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    child = start("sh", "-c", "sleep 60 <&0 & echo $!; wait", stdin=ours)
    os.close(ours)
    while not (said := (tmp_path / "out").read_text()).endswith("\n"):
        await anyio.lowlevel.checkpoint()
    grandchild = os.pidfd_open(int(said))
    await child.kill()
    assert child.exit == Exit(None, "SIGKILL")
    with anyio.fail_after(20):
        await anyio.wait_readable(grandchild)
    await child.finish()
    os.close(grandchild)
    os.close(theirs)


@pytest.mark.parametrize(
    ("argv", "error"),
    [
        (["./missing"], FileNotFoundError),
        (["missing-everywhere"], FileNotFoundError),
        (["./data"], PermissionError),
        (["./wrong"], OSError),
        (["sh", "a\0b"], ValueError),
        ([""], (ValueError, OSError)),
    ],
)
async def test_what_cannot_be_started_is_an_error_and_costs_no_descriptor(
    start: Start, tmp_path: Path, argv: list[str], error: type[Exception]
) -> None:
    await start("true").finish()  # with the first child the guardian comes, and stays
    (tmp_path / "data").write_text("no program")
    (tmp_path / "wrong").write_bytes(b"\x7fELF of another machine")
    (tmp_path / "wrong").chmod(0o755)
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(error):
        start(*argv)
    assert len(os.listdir("/dev/fd")) == before


async def test_arguments_may_be_long(start: Start, tmp_path: Path) -> None:
    child = start("sh", "-c", 'printf %s "$@"', "sh", *["x" * 100_000] * 10)
    with anyio.fail_after(20):
        assert await child.wait() == Exit(0, None)
    await child.finish()
    assert (tmp_path / "out").stat().st_size == 1_000_000


async def test_without_pidfds_a_thread_waits(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)

    child = start("sh", "-c", "exit 3")
    with anyio.fail_after(20):
        assert await child.wait() == Exit(3, None)
    await child.finish()
    child = start("sleep", "60")
    with anyio.fail_after(20):
        await child.finish()
    assert child.exit == Exit(None, "SIGKILL")
