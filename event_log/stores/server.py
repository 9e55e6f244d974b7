"""Server: what a database does for logs that are written ahead to local files; redis.py and postgres.py are the two.

A lease stands on the server for each log: who writes it, from which place, under which fence. It changes by comparing
the fence and setting another, so that of two who want it one wins; and an append names the holder and the fence, so
that one who has lost the lease can add nothing. Whether a holder still lives is told by its beats.
"""

import json
from dataclasses import asdict, dataclass
from typing import Protocol

from event_log.errors import StoreUnreachable
from event_log.owner import Owner

REACH_SECONDS = 2.0  # how long a connection, and an answer that somebody waits for, may take
PUSH_SECONDS = 15.0  # how long an append may: nobody waits, and a slow server is better than another try


class Fenced(Exception):
    """The log has another holder on the server, or another fence, than the call was made with."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A writer as a server knows it. `place` names its directory of local files, and the boot of its host."""

    owner: Owner
    place: str

    @property
    def id(self) -> str:
        return self.owner.id

    def encoded(self) -> str:
        return json.dumps({"place": self.place, **asdict(self.owner)})


@dataclass(frozen=True, slots=True)
class Lease:
    """What stands on the server: who writes the log or, when it is not `held`, wrote it last; its last number."""

    holder: Holder
    held: bool
    fence: int
    last: int
    deleted: bool


class Server(Protocol):
    """Logs on a server. Lines are whole, each with its newline; they are numbered as they stand, from 1.

    It connects by itself when it is first asked and whenever it has to again. Everything may raise StoreUnreachable.
    """

    shown: str  # its address for people: without user, password and options

    async def lease(self, name: str) -> Lease | None:
        """Who has the log; None: it was never here."""

    async def take(self, name: str, holder: Holder, over: int, fence: int) -> None:
        """Make this one its holder, under this fence, if the fence is `over` now (0: the log is not there).

        A deleted log begins anew. Raises Fenced.
        """

    async def append(self, name: str, holder: Holder, fence: int, first: int, lines: bytes) -> None:
        """Add the lines, of which the first has this number; those that are there are left out. Raises Fenced."""

    async def read(self, name: str, after: int) -> bytes:
        """Some lines from the number after this one on; none: there are no more."""

    async def release(self, name: str, holder: Holder, fence: int) -> None:
        """Let others take the log at once, if it is still held so."""

    async def delete(self, name: str) -> None:
        """Remove what the log holds and leave a sign that it was deleted, so that no one brings it back."""

    async def recent(self) -> list[tuple[int, str]]:
        """When each log was last written, in nanoseconds of Unix time, and its name."""

    async def beat(self, holder: Holder) -> None:
        """A sign of life, good for `LEASE_SECONDS`."""

    async def alive(self, holder: Holder) -> bool:
        """Whether there was one in that time."""

    async def leave(self, holder: Holder) -> None:
        """The opposite of a beat: all its leases can be taken."""

    async def aclose(self) -> None:
        """Drop the connections; a later call makes new ones."""


def holder_from(encoded: str) -> Holder:
    """What `Holder.encoded` has written."""
    fields = json.loads(encoded)
    return Holder(owner=Owner(**{key: fields[key] for key in Owner.__slots__}), place=fields["place"])


def count(lines: bytes) -> int:
    return lines.count(b"\n")


def reason(error: BaseException, *secrets: str | None) -> str:
    """One line about a driver's error, without the secrets."""
    text = (str(error).strip().splitlines() or [""])[0][:200].rstrip(".") or type(error).__name__
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return text


def too_slow(server: Server) -> StoreUnreachable:
    """For somebody who waits."""
    return StoreUnreachable(server.shown, f"no answer within {REACH_SECONDS:g} s")
