"""Opening what lies below a directory, by descriptor: no path, symlink or swap of one for the other leads out of it.

Linux does it in one system call, `openat2` with RESOLVE_BENEATH. Elsewhere the path is walked component by component,
each opened with O_NOFOLLOW relative to the one before, and symlinks are followed by hand under the same rules: a
relative one is fine while it stays below, an absolute one never is.
"""

import ctypes
import errno
import fcntl
import functools
import os
import sys
from collections.abc import Callable

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_BENEATH = 0x08
SYS_OPENAT2 = 437  # the same number on every architecture that has it
MAX_SYMLINKS = 40
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class OutsideError(OSError):
    """The path leads out of the directory, or may; whether anything is there is not told."""


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_beneath(root_fd: int, relative: str, flags: int) -> int:
    """Opens `relative`, an existing path below the directory `root_fd`, and returns the descriptor.

    Raises `OutsideError` where the path leads out, and otherwise the `OSError` of opening.
    """
    return _way()(root_fd, relative, flags)


def name_of(fd: int) -> str:
    """The absolute path that what is open as `fd` has now."""
    if os.path.isdir("/proc/self/fd"):
        return os.readlink(f"/proc/self/fd/{fd}")
    held: bytes = fcntl.fcntl(fd, getattr(fcntl, "F_GETPATH"), bytes(1024))  # noqa: B009, only macOS has it
    return os.fsdecode(held.rstrip(b"\0"))


def open_by_kernel(root_fd: int, relative: str, flags: int) -> int:
    """`open_beneath` by openat2. OSError ENOSYS where the kernel lacks it, EPERM where a sandbox forbids it."""
    how = _OpenHow(flags | os.O_CLOEXEC, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)
    path = os.fsencode(relative or ".")
    while True:
        fd: int = _libc().syscall(SYS_OPENAT2, root_fd, path, ctypes.byref(how), ctypes.sizeof(how))
        if fd >= 0:
            return fd
        code = ctypes.get_errno()
        if code in (errno.EXDEV, errno.ELOOP):
            raise OutsideError(code, "the path leads outside", relative)
        # EAGAIN: something was renamed while the kernel looked, and it cannot tell; asking again settles it.
        if code not in (errno.EAGAIN, errno.EINTR):
            raise OSError(code, os.strerror(code), relative)


def open_by_walking(root_fd: int, relative: str, flags: int) -> int:
    """`open_beneath` for systems without openat2."""
    todo = _parts(relative)
    opened = [os.open(".", DIRECTORY, dir_fd=root_fd)]
    links = 0
    try:
        while todo:
            part = todo.pop(0)
            if part == "..":
                os.close(opened.pop())
                if not opened:
                    raise OutsideError(errno.EXDEV, "the path leads outside", relative)
                continue
            try:
                how = DIRECTORY if todo else flags | os.O_CLOEXEC
                opened.append(os.open(part, how | os.O_NOFOLLOW, dir_fd=opened[-1]))
            except OSError as why:
                todo = _behind_link(part, opened[-1], why) + todo
                links += 1
                if links > MAX_SYMLINKS:
                    raise OutsideError(errno.ELOOP, "the path leads outside", relative) from None
        return opened.pop()
    finally:
        for fd in opened:
            os.close(fd)


def _behind_link(name: str, directory: int, why: OSError) -> list[str]:
    """The components that the symlink `name` stands for; raises `why` again where it is none."""
    try:
        return _parts(os.readlink(name, dir_fd=directory))
    except OutsideError:
        raise
    except OSError:
        raise why from None


def _parts(path: str) -> list[str]:
    if path.startswith("/"):
        raise OutsideError(errno.EXDEV, "the path leads outside", path)
    return [part for part in path.split("/") if part not in ("", ".")]


@functools.cache
def _way() -> Callable[[int, str, int], int]:
    if not sys.platform.startswith("linux"):
        return open_by_walking
    root = os.open("/", DIRECTORY)
    try:
        os.close(open_by_kernel(root, ".", DIRECTORY))
    except OSError:
        return open_by_walking
    finally:
        os.close(root)
    return open_by_kernel


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
