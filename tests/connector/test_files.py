"""Files inside the allowed roots, by whatever name an agent asks for them."""

import errno
import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from acp_wire.errors import INVALID_PARAMS, NOT_FOUND, RpcError
from connector import beneath
from connector.beneath import open_beneath, open_by_kernel, open_by_walking
from connector.files import Files
from connector.workspace import Workspace

LINUX = beneath._way() is open_by_kernel
WAYS = [
    pytest.param(open_by_kernel, marks=pytest.mark.skipif(not LINUX, reason="this kernel has no openat2")),
    open_by_walking,
]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(beneath, "_way", lambda: request.param)
    return request.param


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "ws" / "dir").mkdir(parents=True)
    (tmp_path / "ws" / "a.txt").write_text("one\ntwo\nthree\n")
    (tmp_path / "ws-evil").mkdir()
    (tmp_path / "ws-evil" / "secret").write_text("secret")
    (tmp_path / "secret").write_text("secret")
    return tmp_path / "ws"


@pytest.fixture
def files(root: Path, way: object) -> Iterator[Files]:
    files = Files([str(root)])
    yield files
    files.close()


def refused(files: Files, path: str) -> RpcError:
    with pytest.raises(RpcError) as reading:
        files.read(path)
    with pytest.raises(RpcError) as writing:
        files.write(path, "x")
    assert (reading.value.code, reading.value.message) == (writing.value.code, writing.value.message)
    return reading.value


ESCAPES = [
    "{ws}/../secret",
    "{ws}/../nothing-there",
    "{ws}/dir/../../secret",
    "{ws}/missing/../../secret",
    "{ws}-evil/secret",
    "{ws}/../ws-evil/secret",
    "{ws}/./../ws/../secret",
    "/etc/passwd",
    "/etc/there-is-no-such-file",
    "//etc/passwd",
    "/",
    "",
    ".",
    "a.txt",
    "../secret",
    "~/secret",
    "~root/secret",
    "file://{ws}/a.txt",
    "{ws}/a.txt\0/../../secret",
    "{ws}/\ud800",
    "/proc/self/root/etc/passwd",
    "/proc/self/environ",
]


@pytest.mark.parametrize("path", ESCAPES)
def test_a_path_that_leads_out_is_refused_in_the_same_words_whatever_is_there(
    files: Files, root: Path, path: str
) -> None:
    why = refused(files, path.format(ws=root))

    assert why.code == INVALID_PARAMS
    assert why.message == "PATH_OUTSIDE_ROOT: use an absolute path inside the session's directories"
    assert (root.parent / "secret").read_text() == "secret"
    assert not (root / "missing").exists()


@pytest.mark.parametrize(
    ("link", "target", "ask"),
    [
        ("out", "../secret", "out"),
        ("out", "{tmp}/secret", "out"),
        ("out", "/etc/there-is-no-such-file", "out"),
        ("up", "..", "up/secret"),
        ("up", "{tmp}", "up/secret"),
        ("dir/up", "../../ws-evil", "dir/up/secret"),
        ("proc", "/proc/self/cwd", "proc/a.txt"),
        ("loop", "loop", "loop"),
    ],
)
def test_a_symlink_that_leads_out_is_refused_and_nothing_is_written_through_it(
    files: Files, root: Path, link: str, target: str, ask: str
) -> None:
    (root / link).symlink_to(target.format(tmp=root.parent))

    assert refused(files, f"{root}/{ask}").message.startswith("PATH_OUTSIDE_ROOT")
    assert (root.parent / "secret").read_text() == "secret"
    assert (root / link).is_symlink()


def test_a_symlink_that_stays_inside_is_followed_and_kept(files: Files, root: Path) -> None:
    (root / "dir" / "to-a").symlink_to("../a.txt")
    (root / "to-dir").symlink_to("dir")

    assert files.read(f"{root}/to-dir/to-a") == "one\ntwo\nthree\n"
    files.write(f"{root}/to-dir/to-a", "new")
    files.write(f"{root}/to-dir/made/b.txt", "b")

    assert (root / "a.txt").read_text() == "new"
    assert (root / "dir" / "to-a").is_symlink()
    assert (root / "dir" / "made" / "b.txt").read_text() == "b"


@pytest.mark.parametrize(
    ("path", "real"),
    [
        ("a.txt", "a.txt"),
        ("", "."),
        ("dir/../a.txt", "a.txt"),
        ("dir/..", "."),
        ("to-a", "a.txt"),
        ("to-dir/new/b.txt", "dir/new/b.txt"),
        ("to-dir", "dir"),
        ("later", "dir/later"),
    ],
)
def test_where_a_path_really_leads_is_told(files: Files, root: Path, path: str, real: str) -> None:
    for name, target in {"to-a": "a.txt", "to-dir": "dir", "later": "to-dir/later"}.items():
        (root / name).symlink_to(target)

    assert files.real(f"{root}/{path}") == real


def test_a_path_that_leads_elsewhere_than_was_asked_about_is_refused(files: Files, root: Path) -> None:
    (root / "link").symlink_to("a.txt")
    asked = files.real(f"{root}/link")
    assert files.read(f"{root}/link", real=asked) == "one\ntwo\nthree\n"
    files.write(f"{root}/link", "new", real=asked)
    (root / "dir" / "config").write_text("old")
    (root / "link").unlink()
    (root / "link").symlink_to("dir/config")

    for use in (lambda: files.read(f"{root}/link", real=asked), lambda: files.write(f"{root}/link", "x", real=asked)):
        with pytest.raises(RpcError, match="leads elsewhere"):
            use()
    assert ((root / "a.txt").read_text(), (root / "dir" / "config").read_text()) == ("new", "old")
    files.read(f"{root}/link", real=files.real(f"{root}/link"))


def test_strange_names_inside_are_just_names(files: Files, root: Path) -> None:
    for name in ("%2e%2e", "~", "a b ", "dots.", "file:", "-rf", "новый", "..."):
        files.write(f"{root}/{name}", name)
        assert files.read(f"{root}//./{name}") == name


def test_a_missing_file_is_not_found_and_a_directory_is_told(files: Files, root: Path) -> None:
    for path in ("nothing", "nothing/below", "a.txt/below"):
        with pytest.raises(RpcError) as why:
            files.read(f"{root}/{path}")
        assert why.value.code == NOT_FOUND
    for path in ("dir", "dir/", ""):
        with pytest.raises(RpcError) as why:
            files.read(f"{root}/{path}")
        assert why.value.code == INVALID_PARAMS
        with pytest.raises(RpcError):
            files.write(f"{root}/{path}", "x")


def test_what_is_no_regular_file_is_refused_at_once(files: Files, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(root)  # a socket's name must be short
        server.bind("socket")
        for name in ("fifo", "socket"):
            assert refused(files, f"{root}/{name}").message == "Not a regular file"
    assert stat.S_ISFIFO((root / "fifo").stat().st_mode)


def test_lines_are_counted_from_one_and_keep_their_ends(files: Files, root: Path) -> None:
    (root / "crlf").write_bytes(b"one\r\ntwo\x0bstill two\nthree")
    path = f"{root}/crlf"

    assert files.read(path) == "one\r\ntwo\x0bstill two\nthree"
    assert files.read(path, line=2, limit=1) == "two\x0bstill two\n"
    assert files.read(path, line=2) == "two\x0bstill two\nthree"
    assert files.read(path, limit=2) == "one\r\ntwo\x0bstill two\n"
    assert files.read(path, line=3, limit=100) == "three"
    assert files.read(path, line=4) == ""
    assert files.read(path, limit=0) == ""


def test_reading_is_limited_in_size_and_a_part_of_a_large_file_can_be_read(root: Path) -> None:
    files = Files([str(root)], read_limit=100)
    (root / "large").write_text("0123456789\n" * 1000)

    for window in ({}, {"limit": 50}, {"line": 3}):
        with pytest.raises(RpcError, match="More than 100 bytes"):
            files.read(f"{root}/large", **window)
    assert files.read(f"{root}/large", line=900, limit=2) == "0123456789\n" * 2
    files.close()


def test_bytes_that_are_no_text_are_told_with_their_place(files: Files, root: Path) -> None:
    (root / "binary").write_bytes(b"abc\xff\xfe")

    with pytest.raises(RpcError, match=r"Not UTF-8 text \(byte 3 "):
        files.read(f"{root}/binary")


@pytest.mark.parametrize("text", ["", "\ufeffbom", "\ud800", "a\udfffb\ud83d", "é\r\n\0\x1b[31m", "😀" * 1000])
def test_every_text_reads_back_as_it_was_written(files: Files, root: Path, text: str) -> None:
    files.write(f"{root}/text", text)

    assert files.read(f"{root}/text") == text


def test_writing_keeps_the_mode_and_leaves_no_temporary_file(files: Files, root: Path) -> None:
    (root / "run.sh").write_text("old")
    (root / "run.sh").chmod(0o750)

    files.write(f"{root}/run.sh", "new")

    assert (root / "run.sh").read_text() == "new"
    assert stat.S_IMODE((root / "run.sh").stat().st_mode) == 0o750
    assert sorted(os.listdir(root)) == ["a.txt", "dir", "run.sh"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written_is_told(files: Files, root: Path) -> None:
    (root / "dir").chmod(0o500)

    with pytest.raises(RpcError, match=os.strerror(errno.EACCES)):
        files.write(f"{root}/dir/x", "x")


def test_a_failed_write_leaves_the_old_text_and_no_temporary_file(
    files: Files, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(RpcError, match="No space left"):
        files.write(f"{root}/a.txt", "new")

    assert (root / "a.txt").read_text() == "one\ntwo\nthree\n"
    assert sorted(os.listdir(root)) == ["a.txt", "dir"]


def test_several_roots_and_both_names_of_one_are_known(root: Path) -> None:
    (root.parent / "by-link").symlink_to("ws")
    files = Files([str(root.parent / "by-link"), str(root.parent / "ws-evil")])

    assert files.read(f"{root.parent}/by-link/a.txt") == files.read(f"{root}/a.txt")
    assert files.read(f"{root.parent}/ws-evil/secret") == "secret"
    assert files.contains(f"{root}/new.txt")
    assert not files.contains(f"{root}/nowhere/new.txt")
    assert not files.contains(f"{root.parent}/secret")
    files.close()


def test_a_root_must_be_an_absolute_directory(root: Path) -> None:
    with pytest.raises(ValueError, match="absolute"):
        Files(["ws"])
    with pytest.raises(NotADirectoryError):
        Files([str(root / "a.txt")])


def test_closed_files_refuse_and_give_their_descriptors_back(root: Path) -> None:
    before = len(os.listdir("/dev/fd"))
    files = Files([str(root), str(root / "dir")])
    files.read(f"{root}/a.txt")
    files.write(f"{root}/dir/b", "b")
    files.close()

    with pytest.raises(RpcError):
        files.read(f"{root}/a.txt")
    assert len(os.listdir("/dev/fd")) == before


def test_the_way_that_this_system_offers_is_taken(root: Path) -> None:
    root_fd = os.open(root, beneath.DIRECTORY)
    os.close(open_beneath(root_fd, "a.txt", os.O_RDONLY))
    os.close(root_fd)

    assert beneath._way() in (open_by_kernel, open_by_walking)


async def test_a_directory_stays_open_under_a_read_that_its_closing_comes_upon(root: Path):
    begun, go_on = threading.Event(), threading.Event()

    class Slow(Files):
        def _locate(self, path: str) -> tuple[int, str]:
            found = super()._locate(path)
            begun.set()
            assert go_on.wait(5)
            return found

    before = len(os.listdir("/proc/self/fd"))
    workspace = Workspace([str(root)])
    workspace.files.close()
    workspace.files = Slow([str(root)])
    texts: list[Any] = []

    async def read() -> None:
        texts.append(await workspace.read(f"{root}/a.txt"))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await anyio.to_thread.run_sync(begun.wait, 5)
            await workspace.close()
            go_on.set()
    assert texts == ["one\ntwo\nthree\n"]
    assert len(os.listdir("/proc/self/fd")) == before
