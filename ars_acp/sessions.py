"""The sessions of one agent: those that are active on this connection, and those that the store keeps."""

import base64
import binascii
import contextlib
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from acp_wire import build
from acp_wire.errors import INTERNAL_ERROR, INVALID_PARAMS, NOT_FOUND, RpcError
from ars_acp.errors import invalid_message, session_held, store_unreachable
from ars_acp.kept import KeptLog
from ars_acp.listing import Listed, Listing, Place
from ars_acp.rewind import Numbered
from ars_acp.session import Session, Unreadable, new_session_id, opening_entry
from event_log.errors import LogError, LogHeld, LogNameInvalid, LogNotFound, LogStorageFailed, StoreUnreachable

if TYPE_CHECKING:
    from event_log.log import Log
    from event_log.stores import Store

PAGE = 50


class Sessions:
    """What the session methods do to sessions. Whatever goes wrong leaves here as `RpcError`."""

    def __init__(self, store: "Store") -> None:
        self._store = store
        self._listing = Listing(store)
        self.active: dict[str, Session] = {}

    def find(self, session_id: str) -> Session:
        """An active session."""
        session = self.active.get(session_id)
        if session is None:
            raise RpcError(
                NOT_FOUND, "No such session is active; create, load or resume it first", {"sessionId": session_id}
            )
        return session

    async def create(self, cwd: str, directories: Iterable[str], mode: str) -> Session:
        """A new session."""
        session_id = new_session_id()
        with log_errors_told():
            session = Session(session_id, await self._created(session_id), mode)
            session.record(opening_entry(cwd, directories, mode))
            session.log.rest()
        self.active[session_id] = session
        return session

    async def fork(self, session_id: str, cwd: str, directories: Iterable[str], mode: str) -> Session:
        """A new session that goes on from where another stands.

        Its log begins with all entries of the other one under their own numbers, so that ids made of them stay unique;
        an opening entry of its own follows.
        """
        with log_errors_told():
            active = self.active.get(session_id)
            log = active.log if active else await self._stored(session_id)
            entries = [entry for _, entry in log.read()]
            fork_id = new_session_id()
            fork = Session(fork_id, await self._created(fork_id), mode)
            try:
                fork.log.append(entries)
                fork.fold("this conversation was forked meanwhile")
                fork.recovered = None  # whoever forks knows where the other stands
                fork.record(opening_entry(cwd, directories, fork.mode))
                fork.log.rest()
            except (LogError, Unreadable):
                with contextlib.suppress(LogNotFound):
                    await self._store.delete(fork_id)
                raise
        self.active[fork.id] = fork
        return fork

    async def open(
        self, session_id: str, cwd: str, directories: Iterable[str], mode: str
    ) -> tuple[Session, list[Numbered] | None]:
        """A stored session made active: folded from its log, and what a process that died left open in it closed.

        With it come the log's entries if they had to be read. The log is claimed: no other process can write it until
        the session is closed.
        """
        entries = None
        session = self.active.get(session_id)
        if session is None or session.log.closed:  # closed: another process has taken it over
            log = await self._claimed(session_id)
            # Nothing is awaited from here on: whoever opened it meanwhile is found, and the next one finds us.
            session = self.active.get(session_id)
            if session is None or session.log.stored is not log.stored:
                session, entries = self._folded(session_id, log, mode)
        if session.prompts:
            raise invalid_message(INVALID_PARAMS, "sessionId: a turn of this session is running; cancel it first")
        session.move(cwd, directories)
        self.active[session_id] = session
        return session, entries

    def _folded(self, session_id: str, log: KeptLog, mode: str) -> tuple[Session, list[Numbered]]:
        session = Session(session_id, log, mode)
        try:
            with log_errors_told():
                return session, session.fold()
        except RpcError:
            log.close()  # others may have more luck with it
            raise

    async def close(self, session: Session) -> None:
        """Cancels what runs, waits until it is answered, and lets go of the session; its log stays."""
        self.active.pop(session.id, None)
        session.cancel()
        await session.idle()
        if session.mcp is not None:
            await session.mcp.close()
        session.log.close()

    async def delete(self, session_id: str) -> None:
        """Removes a session with all that is kept of it; one that is not there is deleted already."""
        if session_id in self.active:
            await self.close(self.active[session_id])
        with contextlib.suppress(LogNotFound, LogNameInvalid), log_errors_told():
            await self._store.delete(session_id)
            await self._listing.forget(session_id)

    async def page(self, cwd: str | None, cursor: str | None) -> dict[str, Any]:
        """The answer to `session/list`: newest first, at most `PAGE`, with the cursor of the next page."""
        after = None if cursor is None else _decoded(cursor)
        with log_errors_told():
            found, more = await self._listing.page(PAGE, after=after, cwd=cwd, active=self.active)
        answer: dict[str, Any] = {"sessions": [_info(listed) for listed in found]}
        return answer | {"nextCursor": _encoded(found[-1].place)} if more else answer

    async def save(self, session: Session) -> None:
        """Tries again to write what of a session could not be written."""
        await session.log.save(self._store)

    async def _created(self, session_id: str) -> KeptLog:
        try:
            return KeptLog(session_id, await self._store.create(session_id))
        except LogStorageFailed as exc:
            return KeptLog(session_id, None, exc)

    async def _claimed(self, session_id: str) -> KeptLog:
        log = await self._stored(session_id)
        try:
            await self._store.claim(log)
        except LogHeld as exc:
            raise session_held(session_id, exc.owner) from None
        except StoreUnreachable as exc:
            raise store_unreachable(exc) from None
        except LogError as exc:
            # This machine refuses to write: then nobody else here writes it. Of a server that is away nobody knows.
            if isinstance(exc, LogStorageFailed) and exc.errno is not None:
                return KeptLog(session_id, log, exc)
            raise RpcError(INTERNAL_ERROR, f"The session cannot be opened: {exc}") from None
        return KeptLog(session_id, log)

    async def _stored(self, session_id: str) -> "Log":
        try:
            return await self._store.open(session_id)
        except (LogNotFound, LogNameInvalid):
            raise RpcError(NOT_FOUND, "No such session is stored", {"sessionId": session_id}) from None
        except StoreUnreachable as exc:
            raise store_unreachable(exc) from None
        except LogError as exc:
            raise RpcError(INTERNAL_ERROR, f"The session cannot be opened: {exc}") from None


def _info(listed: Listed) -> dict[str, Any]:
    at, session_id = listed.place
    updated_at = datetime.fromtimestamp(at / 1e9, UTC).isoformat(timespec="milliseconds")
    directories = list(listed.directories)
    return build.session_info(
        session_id, listed.cwd, updated_at=updated_at, additional_directories=directories, title=listed.title
    )


@contextlib.contextmanager
def log_errors_told() -> Iterator[None]:
    """A session whose log cannot be written or read cannot go on; the client is told why."""
    try:
        yield
    except (LogNotFound, LogNameInvalid):
        raise
    except LogHeld as exc:
        raise session_held(exc.name, exc.owner) from None
    except StoreUnreachable as exc:
        raise store_unreachable(exc) from None
    except Unreadable as exc:
        raise RpcError(INTERNAL_ERROR, f"The session cannot be opened: {exc}") from None
    except LogError as exc:
        raise RpcError(INTERNAL_ERROR, f"The session's log cannot be used: {exc}") from None


def _encoded(place: Place) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def _decoded(cursor: str) -> Place:
    try:
        at, name = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii")))
        return int(at), str(name)
    except (ValueError, TypeError, binascii.Error):
        raise invalid_message(
            INVALID_PARAMS, "cursor: not one that this agent gave; list again from the start"
        ) from None
