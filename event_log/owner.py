"""Owner: who writes a log; and whether a process that wrote one can still be alive."""

import os
from dataclasses import dataclass

_EXITING = 4  # Linux's PF_EXITING: it runs none of its code any more, though its descriptors may be open yet


@dataclass(slots=True, repr=False)  # to make it frozen as well costs half a millisecond of every start
class Owner:
    """One user of a store in one process: a program has one store, so one of these.

    `id` is random. `pid` and `started` tell a process from a later one with the same number; they mean something only
    on the same `host`, and there within one `boot`, which names the boot and the process namespace.
    """

    id: str
    host: str
    boot: str
    pid: int
    started: str

    def is_known_dead_to(self, me: "Owner") -> bool | None:
        """Whether the process has ended; None where `me` cannot see it, as it is another host's or namespace's."""
        if (self.host, self.boot) != (me.host, me.boot):
            return None
        started = started_at(self.pid)
        return started is None or bool(self.started and started and started != self.started)


def new_owner() -> Owner:
    """An owner in this process."""
    pid = os.getpid()
    return Owner(os.urandom(8).hex(), os.uname().nodename, _boot(), pid, started_at(pid) or "")


def started_at(pid: int) -> str | None:
    """When the process was started, in words of this system; "" where that cannot be known, None: there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            # The name, in parentheses, may hold anything. Then come the state, the flags as the 9th field of all, the
            # start as the 22nd.
            fields = file.read().rpartition(b")")[2].split()
        ended = fields[0] in b"ZX" or int(fields[6]) & _EXITING
        return None if ended else fields[19].decode()
    except ProcessLookupError:
        return None
    except (OSError, IndexError, ValueError):
        if not _exists(pid):
            return None
        return "" if os.path.exists("/proc/self/stat") else _started_by_ps(pid)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def _started_by_ps(pid: int) -> str | None:
    """As `started_at`, on a system without /proc."""
    import subprocess

    command = ["ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)]
    same = {"LC_ALL": "C", "TZ": "UTC"}  # for all who ask
    told = subprocess.run(command, capture_output=True, text=True, check=False, env=same)
    state, _, started = told.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else started.strip()


def _boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb", buffering=0) as file:
            return f"{file.read(64).decode().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""
