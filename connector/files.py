"""Text files inside the allowed roots: what fs/read_text_file and fs/write_text_file do for an agent.

Every path is resolved by descriptor (`connector.beneath`), never compared as a string. An absolute path under a root is
the only form accepted; everything else is answered PATH_OUTSIDE_ROOT in the same words, so that nobody learns from the
answer what exists elsewhere. Text is UTF-8; a lone surrogate is kept as it is, so that what was written reads back.
"""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Sequence
from typing import BinaryIO

from acp_wire.errors import INTERNAL_ERROR, INVALID_PARAMS, NOT_FOUND, RpcError
from connector.beneath import DIRECTORY, MAX_SYMLINKS, OutsideError, name_of, open_beneath

READ_LIMIT = 10 * 1024 * 1024
# O_NONBLOCK: opening a fifo or a device must not wait for its other end; fstat then refuses it.
READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Files:
    """The files below `roots`, absolute directories; the first one is the session's cwd.

    Raises `RpcError` for whatever a caller cannot have. The roots are opened once: renaming one changes nothing.
    Blocking calls, to be made from a worker thread. `close` gives the descriptors back.
    """

    def __init__(self, roots: Sequence[str], *, read_limit: int = READ_LIMIT) -> None:
        self._read_limit = read_limit
        self._roots: list[tuple[list[str], int]] = []
        for root in roots:
            if not os.path.isabs(root):
                raise ValueError(f"a root must be an absolute path: {root!r}")
            fd = os.open(root, DIRECTORY)
            # Agents may know the directory by the name that the person used or by the real one (/tmp on macOS).
            for name in dict.fromkeys((os.path.normpath(root), os.path.realpath(root))):
                self._roots.append((_parts(name), fd))
        self._roots.sort(key=lambda known: -len(known[0]))

    def read(self, path: str, *, line: int | None = None, limit: int | None = None, real: str | None = None) -> str:
        """The text of a regular file, or `limit` lines of it from the 1-based `line` on, with their line ends.

        Refuses where `path` does not lead to `real` any more, which `Files.real` has told.
        """
        with self._open_regular(path, real) as file:
            for _ in range((line or 1) - 1):
                if not file.readline(self._read_limit):
                    return ""
            data = self._bounded(file, limit)
        try:
            return data.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as why:
            raise RpcError(INVALID_PARAMS, f"Not UTF-8 text (byte {why.start} of what was asked for)") from None

    def write(self, path: str, text: str, *, real: str | None = None) -> None:
        """Puts `text` in place of the whole file at once, creating it and its directories; keeps an existing mode.

        Refuses where `path` does not lead to `real` any more, which `Files.real` has told.
        """
        try:
            data = text.encode("utf-8", "surrogatepass")
            root_fd, relative = self._locate(path)
            directory, name = _resolve_target(root_fd, relative)
            try:
                if real is not None and _below(root_fd, directory, name) != real:
                    raise _moved()
                _replace(directory, name, data)
            finally:
                os.close(directory)
        except OSError as why:
            raise _answer(why) from None

    def open_directory(self, path: str) -> int:
        """A descriptor of the directory `path`, the caller's to close."""
        try:
            root_fd, relative = self._locate(path)
            return open_beneath(root_fd, relative, DIRECTORY)
        except OSError as why:
            raise _answer(why) from None

    def real(self, path: str) -> str:
        """Where `path` leads below its root when links are followed; what is not there yet is named as it would be."""
        try:
            root_fd, relative = self._locate(path)
            return _real(root_fd, "/".join(_parts(relative)))
        except OSError as why:
            raise _answer(why) from None

    def contains(self, path: str) -> bool:
        """Whether `path` is something existing inside the roots, or a name that could be made in a directory there."""
        try:
            root_fd, relative = self._locate(path)
            try:
                os.close(open_beneath(root_fd, relative, READ))
            except FileNotFoundError:
                directory, _ = _resolve_target(root_fd, relative, create=False)
                os.close(directory)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Gives the roots' descriptors back; every later call is refused."""
        for fd in {fd for _, fd in self._roots}:
            os.close(fd)
        self._roots.clear()

    def _locate(self, path: str) -> tuple[int, str]:
        """The root that `path` names and the rest below it. It need not be there, nor stay there: opening decides."""
        if os.path.isabs(path) and _can_be_a_name(path):
            parts = _parts(path)
            for root, fd in self._roots:
                if parts[: len(root)] == root and not _climbs_out(parts[len(root) :]):
                    return fd, "/".join(parts[len(root) :])
        raise OutsideError(errno.EXDEV, "the path leads outside", path)

    def _open_regular(self, path: str, real: str | None) -> BinaryIO:
        try:
            root_fd, relative = self._locate(path)
            fd = open_beneath(root_fd, relative, READ)
        except OSError as why:
            raise _answer(why) from None
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise RpcError(INVALID_PARAMS, "Not a regular file")
        if real is not None and _below(root_fd, fd) != real:
            os.close(fd)
            raise _moved()
        return os.fdopen(fd, "rb")

    def _bounded(self, file: BinaryIO, lines: int | None) -> bytes:
        if lines is None:
            data = file.read(self._read_limit + 1)
        else:
            data = b""
            while lines > 0 and len(data) <= self._read_limit and (line := file.readline(self._read_limit + 1)):
                data += line
                lines -= 1
        if len(data) > self._read_limit:
            raise RpcError(INVALID_PARAMS, f"More than {self._read_limit} bytes: ask for fewer lines (line, limit)")
        return data


def _resolve_target(root_fd: int, relative: str, *, create: bool = True) -> tuple[int, str]:
    """The directory to write in and the name there, behind the symlinks that stand for the file itself."""
    for _ in range(MAX_SYMLINKS):
        parent, _, name = relative.rpartition("/")
        if name in ("", ".", ".."):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), relative)
        directory = _directory(root_fd, parent, create)
        try:
            target = os.readlink(name, dir_fd=directory)
        except OSError:
            return directory, name  # no link, or nothing there yet
        os.close(directory)
        if target.startswith("/"):
            break
        relative = f"{parent}/{target}" if parent else target
    raise OutsideError(errno.EXDEV, "the path leads outside", relative)


def _real(root_fd: int, relative: str) -> str:
    parent, _, name = relative.rpartition("/")
    if name in ("", ".."):
        directory = open_beneath(root_fd, relative, DIRECTORY)
        name = ""
    else:
        try:
            directory, name = _resolve_target(root_fd, relative, create=False)
        except FileNotFoundError:
            return f"{_real(root_fd, parent)}/{name}".lstrip("/")
    try:
        return _below(root_fd, directory, name)
    finally:
        os.close(directory)


def _below(root_fd: int, fd: int, name: str = "") -> str:
    """The present path of `name` in the directory `fd`, or of what is open as `fd`, seen from the root."""
    return os.path.relpath(os.path.join(name_of(fd), name), name_of(root_fd))


def _moved() -> RpcError:
    return RpcError(INVALID_PARAMS, "The path leads elsewhere than when it was asked about")


def _directory(root_fd: int, relative: str, create: bool) -> int:
    try:
        return open_beneath(root_fd, relative, DIRECTORY)
    except FileNotFoundError:
        if not create or ".." in relative.split("/"):
            raise
    parent, _, name = relative.rpartition("/")
    above = _directory(root_fd, parent, create)
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, dir_fd=above)
    finally:
        os.close(above)
    return open_beneath(root_fd, relative, DIRECTORY)


def _replace(directory: int, name: str, data: bytes) -> None:
    """Writes a new file beside `name` and moves it there: readers see the old text or the new one."""
    mode = None
    with contextlib.suppress(FileNotFoundError):
        old = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if not stat.S_ISREG(old.st_mode):
            raise RpcError(INVALID_PARAMS, "Not a regular file")
        mode = stat.S_IMODE(old.st_mode)
    temporary = f".ars-{secrets.token_hex(8)}.tmp"
    fd = os.open(temporary, CREATE, 0o666, dir_fd=directory)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            if mode is not None:
                os.fchmod(file.fileno(), mode)
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError:
        os.unlink(temporary, dir_fd=directory)
        raise


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _can_be_a_name(path: str) -> bool:
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def _climbs_out(parts: list[str]) -> bool:
    """Whether `..` leads out even when nothing on the way is a symlink: told before anything is made or looked at."""
    depth = 0
    for part in parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            return True
    return False


def _answer(why: OSError) -> RpcError:
    """What the agent is told. Only inside the roots does the answer say what is there."""
    if isinstance(why, OutsideError):
        return RpcError(INVALID_PARAMS, "PATH_OUTSIDE_ROOT: use an absolute path inside the session's directories")
    if isinstance(why, FileNotFoundError | NotADirectoryError):
        return RpcError(NOT_FOUND, "No such file or directory")
    if isinstance(why, IsADirectoryError):
        return RpcError(INVALID_PARAMS, "It is a directory")
    if why.errno == errno.ENXIO:
        return RpcError(INVALID_PARAMS, "Not a regular file")
    return RpcError(INTERNAL_ERROR, os.strerror(why.errno or errno.EIO))
