"""The W3C trace context of a turn: what `_meta` of its prompt carries goes on to all that is asked on its behalf.

`traceparent`, `tracestate` and `baggage` are the keys that ACP reserves; whatever else stands in `_meta`, and what is
not of their shape, changes nothing.
"""

import contextlib
import re
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

Trace = dict[str, str]
_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]{1,128})?")
# What a header may carry; the lengths are those that the specifications ask every party to hand on.
_STATE = re.compile(r"[ -~]{1,512}")
_BAGGAGE = re.compile(r"[ -~]{1,8192}")

_current: ContextVar[Trace | None] = ContextVar("trace", default=None)


def trace_of(meta: dict[str, Any] | None) -> Trace:
    """The trace context in a request's `_meta`. A `tracestate` without its parent means nothing."""
    if not meta:
        return {}
    shapes = {"traceparent": _PARENT, "tracestate": _STATE, "baggage": _BAGGAGE}
    found = {
        key: meta[key]
        for key, shape in shapes.items()
        if isinstance(meta.get(key), str) and shape.fullmatch(meta[key]) and meta[key].strip()
    }
    if "traceparent" not in found:
        found.pop("tracestate", None)
    return found


@contextlib.contextmanager
def tracing(trace: Trace) -> Iterator[None]:
    """The model's requests that are made inside carry `trace` as headers."""
    token = _current.set(trace)
    try:
        yield
    finally:
        _current.reset(token)


def headers() -> Trace:
    """The trace context of the turn that this task works for."""
    return _current.get() or {}
