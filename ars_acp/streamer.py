"""What the person sees: model pieces and other updates, logged, numbered, then written as `session/update`.

An update stands for one entry of the session's log and carries its number: `_meta: {"ars/seq": n, "ars/prev": m}`, m
being the last number that this client was sent, so that a gap is visible. Pieces are sent as they came while the client
keeps up; when it does not, those that have arrived are joined, and that is the only joining there is.
"""

import contextlib
import json
from collections.abc import Callable
from itertools import groupby
from operator import itemgetter
from typing import Any

import anyio
import orjson

from acp_wire import build, framing
from acp_wire.connection import Connection
from acp_wire.errors import ConnectionClosed
from ars_acp import replay
from ars_acp.session import Entry, Session
from event_log.errors import LogError

# Bytes on their way to the client at which pieces begin to be joined; characters held at which the model has to wait.
BEHIND_BYTES = 512 * 1024
HELD_CHARACTERS = 2 * 1024 * 1024
Piece = tuple[str, str]
CHUNKS = {"text": "agent_message_chunk", "thought": "agent_thought_chunk"}


class Streamer:
    """The one writer of a session's updates. All of it is synchronous, so order is the order of the calls.

    Raises `event_log.LogError` where the session's log does; what was held is held on then.
    """

    def __init__(
        self,
        connection: Connection,
        session: Session,
        *,
        notices: bool = False,
        compactions: bool = False,
        shows_thoughts: Callable[[], bool] = lambda: True,
    ) -> None:
        self._connection = connection
        self._session = session
        self.notices = notices
        self.compactions = compactions
        self._shows_thoughts = shows_thoughts
        self._held: list[Piece] = []
        self._held_characters = 0
        self._waiting = False
        self._drained = anyio.Event()
        self._heads: dict[str, bytes] = {}
        # The number in the ids of a reply's messages, until its first piece is in the log.
        self._message: int | None = None
        self.updates = 0

    def begin_reply(self) -> None:
        """The pieces from here on belong to a message of their own."""
        self._message = self._session.log.last + 1
        for kind, variant in CHUNKS.items():
            message_id = replay.message_id(kind, self._message)
            update = {"sessionUpdate": variant, "messageId": message_id, "content": {"type": "text", "text": ""}}
            head = self._line({"sessionId": self._session.id, "update": update})
            self._heads[kind] = head[: head.rindex(b'""')]

    def pieces(self, pieces: list[Piece]) -> None:
        """Shows what has arrived together, or holds it while the client is behind."""
        stream = self._connection.stream
        if not self._held and stream.buffered <= BEHIND_BYTES:
            self._emit(pieces)
            return
        if not self._waiting:
            self._waiting = True
            stream.when_drained(self._client_has_read)
        self._held += _joined(pieces)
        self._held_characters += sum(len(text) for _, text in pieces)

    def release(self) -> None:
        """Sends what was held, joined."""
        if self._held:
            self._emit(_joined(self._held))
            self._held, self._held_characters = [], 0

    def end_reply(self) -> None:
        """As `release`; what the log does not take now is given up, as nothing may follow the turn's answer."""
        try:
            self.release()
        finally:
            self._held, self._held_characters = [], 0

    def _client_has_read(self) -> None:
        self._waiting = False
        # Nobody could be told here that the log has failed: then all is held on, for the turn to find out.
        with contextlib.suppress(LogError):
            self.release()
        self._drained.set()
        self._drained = anyio.Event()

    async def room(self) -> None:
        """Waits, where too much is held, until the client has read on. A client that is gone ends the turn anyway."""
        if self._held_characters > HELD_CHARACTERS:
            await self._drained.wait()
            self.release()

    def update(self, update: dict[str, Any]) -> None:
        """Logs and sends any update that is not a piece."""
        self.release()
        self.show(self._session.record({"type": "update", "update": update}), update)

    def show(self, number: int, update: dict[str, Any]) -> None:
        """Sends an update that the log has under that number."""
        meta = {"ars/seq": number, "ars/prev": self._session.sent}
        self._session.sent = number
        self.updates += 1
        self._send(self._line({"sessionId": self._session.id, "update": update, "_meta": meta}))

    def said(self, message: Entry) -> None:
        """Logs a message that joins the turn, and shows by its own blocks that it did; all carry the one number."""
        self.release()
        number = self._session.record(message)
        for block in message["content"]:
            self.show(number, build.user_message_chunk(block, f"user_{number}"))

    def tell(self, severity: str, title: str, description: str | None = None) -> None:
        """Makes something visible: a notice where the client has them, else a thought."""
        if self.notices:
            self.update(build.notice(severity, title, description))
        else:
            text = f"{title}: {description}" if description else title
            self.update(build.agent_thought_chunk(f"[{severity}] {text}\n", self._session.next_id("notice")))

    def _emit(self, pieces: list[Piece]) -> None:
        number = self._session.record_pieces(pieces, self._message)
        self._message = None
        previous = self._session.sent
        lines = []
        hidden = None if self._shows_thoughts() else "thought"
        for kind, text in pieces:
            if kind == hidden:
                number += 1
                continue
            lines.append(
                b'%b%b}},"_meta":{"ars/seq":%d,"ars/prev":%d}}}\n'
                % (self._heads[kind], _quoted(text), number, previous)
            )
            previous = number
            number += 1
        self._session.sent = previous
        self.updates += len(lines)
        if lines:
            self._send(b"".join(lines))

    def _send(self, lines: bytes) -> None:
        # A client that is gone is told of by the reader, which ends the turn; what it missed is in the log.
        with contextlib.suppress(ConnectionClosed):
            self._connection.write_lines(lines)

    @staticmethod
    def _line(params: dict[str, Any]) -> bytes:
        return framing.encode({"jsonrpc": "2.0", "method": "session/update", "params": params})


def _joined(pieces: list[Piece]) -> list[Piece]:
    return [(kind, "".join(text for _, text in run)) for kind, run in groupby(pieces, key=itemgetter(0))]


def _quoted(text: str) -> bytes:
    try:
        return orjson.dumps(text)
    except orjson.JSONEncodeError:  # a lone surrogate
        return json.dumps(text).encode("ascii")
