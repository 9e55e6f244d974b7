"""S5, S6: no path, and no name that is swapped while a file is opened or written, leads out of a root."""

import contextlib
import ctypes
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from acp_wire.errors import RpcError
from connector import beneath
from connector.beneath import OutsideError, open_by_kernel, open_by_walking
from connector.files import Files
from connector.protected import protected
from connector.workspace import Workspace

pytestmark = [
    pytest.mark.faults("S6"),
    pytest.mark.skipif(
        not sys.platform.startswith("linux"), reason="the names are exchanged by a system call of Linux"
    ),
]
AT_FDCWD = -100
RENAME_EXCHANGE = 2
Way = Callable[[int, str, int], int]
Count = Callable[[int, int], int]
Record = Callable[[str, str, str, bool], None]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "ws" / "dir").mkdir(parents=True)
    (tmp_path / "ws-evil").mkdir()
    (tmp_path / "ws-evil" / "secret").write_text("secret")
    return tmp_path / "ws"


@contextlib.contextmanager
def swapping(one: Path, other: Path) -> Iterator[None]:
    """Exchanges two names for as long as it lasts, each time in one step, so that there is no moment without either."""
    libc = ctypes.CDLL(None)
    going = threading.Event()
    going.set()

    def swap() -> None:
        names = os.fsencode(one), os.fsencode(other)
        while going.is_set():
            assert libc.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        going.clear()
        thread.join()


# What paths are made of: the names that are there, links out and in, and every way of writing "elsewhere".
STARTS = (*["{ws}/"] * 9, "{ws}", "{ws}/../", "{ws}-evil/", "/", "//", "", "~/", "file://{ws}/", "{up}/", "{ws}/./")
PLAIN = (
    "dir",
    "a.txt",
    "secret",
    "out",
    "up",
    "in",
    "loop",
    "ws",
    "ws-evil",
    "missing",
    "etc",
    "passwd",
    "proc",
    "self",
)
ODD = ("..", ".", "", "~", "~root", "root", "cwd", "%2e%2e", "file:", "..\0", "\0", " ..", ".. ", "...", "\u2025")
ODDER = ("\uff0e\uff0e", "..\\..", "a.txt\n", "\ud800", "..\udcff", "x" * 300)
PIECES = st.lists(st.sampled_from([*PLAIN, *ODD, *ODDER]), max_size=5).map("/".join)
PATHS = st.builds("".join, st.tuples(st.sampled_from(STARTS), PIECES))


@pytest.mark.faults("S5")
def test_no_path_leads_out(root: Path, count: Count, record: Record) -> None:
    tries, used = count(20_000, 500), Counter[str]()
    evil = root.parent / "ws-evil"
    links = {
        "out": "../ws-evil",
        "up": "..",
        "in": "dir",
        "loop": "loop",
        "dir/out": str(evil),
        "dir/a": "../../secret",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    (root / "a.txt").write_text("mine")
    (root.parent / "secret").write_text("secret")
    files = Files([str(root)])

    def outside() -> list[str]:
        return [f"{path}: {path.read_text()}" for path in (evil / "secret", root.parent / "secret")] + os.listdir(evil)

    before, beside = outside(), sorted(os.listdir(root.parent))

    @settings(max_examples=tries, deadline=None, database=None, derandomize=True, phases=[Phase.generate])
    @given(PATHS)
    def tried(pattern: str) -> None:
        path = pattern.replace("{ws}", str(root)).replace("{up}", str(root.parent))
        with contextlib.suppress(RpcError):
            used["escaped" if "secret" in files.read(path) else "read"] += 1
        with contextlib.suppress(RpcError):
            files.write(path, "written")
            used["written"] += 1
        with contextlib.suppress(RpcError):
            directory = files.open_directory(path)
            real = beneath.name_of(directory)
            used["opened" if real == str(root) or real.startswith(f"{root}/") else "escaped"] += 1
            os.close(directory)

    tried()
    files.close()
    same = outside() == before and sorted(os.listdir(root.parent)) == beside
    measured = f"{used['escaped']} escapes of {tries}, outside unchanged: {same}, {dict(used)}"
    record("S5", "20,000 paths: 0 escapes", measured, not used["escaped"] and same)
    assert min(used["read"], used["written"], used["opened"]) > 0


@pytest.mark.parametrize("way", [open_by_kernel, open_by_walking])
def test_swapping_a_directory_for_a_symlink_while_it_is_opened_never_leads_out(
    root: Path, way: Way, count: Count, record: Record
) -> None:
    tries = count(100_000, 2_000)
    (root / "dir" / "secret").write_text("mine")
    (root / "swap").symlink_to("../ws-evil")
    root_fd = os.open(root, beneath.DIRECTORY)
    seen = Counter[str]()
    with swapping(root / "dir", root / "swap"):
        tried = 0
        # On a busy machine the names stay as they are for long: both have to have been met.
        while tried < tries or (not (seen["mine"] and seen["outside"]) and tried < 100 * tries):
            tried += 1
            try:
                with os.fdopen(way(root_fd, "dir/secret", os.O_RDONLY)) as file:
                    seen[file.read()] += 1
            except OutsideError:
                seen["outside"] += 1
            except NotADirectoryError:  # walking: it was a link when opened, and a directory when looked at again
                seen["changed"] += 1
    os.close(root_fd)

    escapes = seen["secret"]
    record(f"S6 {way.__name__}", "0 escapes of 100,000 swap-race tries", f"{escapes} of {tried}", escapes == 0)
    assert seen["mine"] > 0 < seen["outside"]


def test_swapping_the_directory_while_files_are_written_never_writes_outside(
    root: Path, count: Count, record: Record
) -> None:
    tries = count(100_000, 2_000)
    files = Files([str(root)])
    (root / "swap").symlink_to("../ws-evil")
    seen = Counter[str]()
    with swapping(root / "dir", root / "swap"):
        for number in range(tries):
            try:
                files.write(f"{root}/dir/{'secret' if number % 2 else number}", "new")
                seen["written"] += 1
            except RpcError as why:
                seen[why.message] += 1
    files.close()

    outside = sorted(os.listdir(root.parent / "ws-evil"))
    escapes = len(outside) - 1
    record("S6 writing", "0 files written outside in 100,000 tries", f"{escapes} of {tries}", outside == ["secret"])
    assert (root.parent / "ws-evil" / "secret").read_text() == "secret"
    assert len(seen) == 2
    assert seen["written"] > 0


def test_swapping_the_directory_that_a_command_starts_in_never_starts_it_outside(
    root: Path, count: Count, record: Record
) -> None:
    tries = count(100_000, 2_000)
    files = Files([str(root)])
    (root / "swap").symlink_to("../ws-evil")
    inside = os.stat(root / "dir").st_ino
    seen = Counter[str]()
    with swapping(root / "dir", root / "swap"):
        for _ in range(tries):
            try:
                directory = files.open_directory(f"{root}/dir")
            except RpcError:
                seen["refused"] += 1
                continue
            seen["inside" if os.fstat(directory).st_ino == inside else "outside"] += 1
            os.close(directory)
    files.close()

    escapes = seen["outside"]
    record("S6 cwd", "0 escapes of 100,000 swap-race tries", f"{escapes} of {tries}", escapes == 0)
    assert seen["inside"] > 0 < seen["refused"]


async def test_a_command_starts_in_the_very_directory_that_was_opened(root: Path, count: Count, record: Record) -> None:
    commands = count(500, 30)
    workspace = Workspace([str(root)])
    (root / "swap").symlink_to("../ws-evil")
    outside = 0
    with swapping(root / "dir", root / "swap"), anyio.fail_after(100):
        for _ in range(commands):
            with contextlib.suppress(RpcError):
                terminal = workspace.terminals.get(workspace.terminals.create("ls", cwd=f"{root}/dir"))
                await terminal.wait()
                outside += "secret" in terminal.output()
                await workspace.terminals.release(terminal.id)
    await workspace.close()
    record("S6 commands", "0 of 500 commands outside", f"{outside} of {commands}", outside == 0)


def test_a_file_that_was_decided_on_is_the_one_that_is_written(root: Path, count: Count, record: Record) -> None:
    """The link leads now to a free file, now to a protected one; both lie inside."""
    tries = count(100_000, 2_000)
    files = Files([str(root)])
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("ours")
    (root / "free").symlink_to("dir/notes")
    (root / "leash").symlink_to(".git/config")
    (root / "dir" / "notes").write_text("")
    seen = Counter[str]()
    with swapping(root / "free", root / "leash"):
        for _ in range(tries):
            try:
                real = files.real(f"{root}/free")
                if protected(real) is None:
                    files.write(f"{root}/free", "theirs", real=real)
                    seen["written"] += 1
                else:
                    seen["asked"] += 1
            except RpcError:
                seen["refused"] += 1
    files.close()
    wrong = (root / ".git" / "config").read_text() != "ours"
    record("S8 race", "0 protected files written in 100,000 tries", f"{wrong:d}, {dict(seen)}", not wrong)
    assert seen["written"] > 0 < seen["asked"]
