"""Frames of the protocol, pure: bytes in, a request out; an answer or an event in, bytes out.

A broadcast is encoded once: `Event` holds the bytes before and after the number, which alone differs between clients.
"""

import json
from typing import Any

import orjson

from ars_gateway.errors import MethodError
from ars_gateway.protocol.validate import problems

_REQUEST = {"type", "id", "method", "params"}


class NotJson(ValueError):
    """Bytes that are no JSON at all. `utf8` says whether they are text."""

    def __init__(self, utf8: bool) -> None:
        super().__init__("not JSON" if utf8 else "not UTF-8")
        self.utf8 = utf8


def parse(data: bytes | bytearray) -> Any:
    """One frame's JSON. Raises `NotJson`."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        raise NotJson(utf8=False) from None
    raise NotJson(utf8=True)


def fault(frame: Any) -> str:
    """What keeps `frame` from being a request, in ajv's words; `""` for a request."""
    if (
        type(frame) is dict
        and frame.get("type") == "req"
        and type(frame.get("id")) is str
        and frame["id"]
        and type(frame.get("method")) is str
        and frame["method"]
        and frame.keys() <= _REQUEST
    ):
        return ""
    return problems("request frame", frame)


def reply_id(frame: Any) -> Any:
    """The id under which a frame that is no request is answered: its own where it has a usable one."""
    found = frame.get("id") if isinstance(frame, dict) else None
    return found if isinstance(found, str | int | float) and not isinstance(found, bool) else "invalid"


def too_deep(frame: Any, data: bytes | bytearray, most: int) -> bool:
    """Whether JSON is nested deeper than `most`; `data` is what it was read from, as brackets are quick to count."""
    if data.count(b"[") + data.count(b"{") <= most:
        return False
    level = [frame]
    for _ in range(most):
        level = [
            child
            for one in level
            for child in (one.values() if isinstance(one, dict) else one)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def answer(request_id: Any, payload: Any) -> bytes:
    """A res frame that says yes."""
    return encoded({"type": "res", "id": request_id, "ok": True, "payload": payload})


def refusal(request_id: Any, error: MethodError, payload: Any = None) -> bytes:
    """A res frame that says no, and why."""
    frame = {"type": "res", "id": request_id, "ok": False, "error": error.shape()}
    if payload is not None:
        frame["payload"] = payload
    return encoded(frame)


def challenge(nonce: str, ts: int) -> bytes:
    """The first frame on every connection, without a number."""
    return orjson.dumps({"type": "event", "event": "connect.challenge", "payload": {"nonce": nonce, "ts": ts}})


def encoded(value: Any) -> bytes:
    """`value` as JSON, also where a text in it has halves of characters, which agents and commands may send."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(_whole_in(value)).encode()


def whole(text: str) -> str:
    """`text` with halves of characters joined where they belong together; others are none that one could send."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _whole_in(value: Any) -> Any:
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, dict):
        return {_whole_in(name): _whole_in(it) for name, it in value.items()}
    return [_whole_in(it) for it in value] if isinstance(value, list | tuple) else value


class Event:
    """One broadcast: what it is, who may see it, and its bytes but for the number."""

    __slots__ = ("_middle", "_tail", "droppable", "name", "number", "only", "scope", "size")

    def __init__(
        self, name: str, payload: Any, scope: str | None, droppable: bool, versions: dict[str, int] | None, only: Any
    ) -> None:
        self.name = name
        self.scope = scope
        self.droppable = droppable
        self.only = only
        self.number = 0
        self._middle = b',"payload":' + encoded(payload) + b',"seq":'
        self._tail = b"}" if versions is None else b',"stateVersion":' + orjson.dumps(versions) + b"}"
        self.size = len(self._middle)

    def frame(self, seq: int, name: bytes | None = None) -> bytes:
        """The event as one client gets it, under `name` where that client knows it by another one."""
        return b'{"type":"event","event":"%b"%b%d%b' % (name or self.name.encode(), self._middle, seq, self._tail)


def text_frame(payload: bytes) -> bytes:
    """A whole text message as a server sends it: unmasked, one frame (RFC 6455, 5.2)."""
    size = len(payload)
    if size < 126:
        return b"\x81%c%b" % (size, payload)
    if size < 65536:
        return b"\x81\x7e%b%b" % (size.to_bytes(2, "big"), payload)
    return b"\x81\x7f%b%b" % (size.to_bytes(8, "big"), payload)
