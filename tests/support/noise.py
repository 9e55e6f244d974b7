"""What may come over a wire instead of messages: a strategy of bytes, from nearly right to nothing like it."""

import gc
import json
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

METHODS = (
    "initialize",
    "session/new",
    "session/prompt",
    "session/cancel",
    "session/update",
    "session/request_permission",
    "fs/read_text_file",
    "terminal/create",
    "$/cancel_request",
    "authenticate",
    "_other/thing",
    "",
)
_texts = st.text(st.characters(codec=None), max_size=20)
_scalars = st.none() | st.booleans() | st.integers() | st.floats() | _texts
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4), max_leaves=8
)
_paths = st.sampled_from(["/", "/project", "relative", "\0", "~"])
_params = st.fixed_dictionaries(
    {},
    optional={
        "protocolVersion": _values | st.just(1),
        "sessionId": _values | st.just("sess_x"),
        "cwd": _paths | _values,
        "mcpServers": st.just([]) | _values,
        "prompt": st.just([{"type": "text", "text": "x"}]) | _values,
        "requestId": _values,
        "clientCapabilities": _values,
        "update": _values,
        "_meta": _values,
    },
)
_messages = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | _values,
        "id": st.integers(-3, 2**70) | _values,
        "method": st.sampled_from(METHODS) | _values,
        "params": _params | _values,
        "result": _values,
        "error": _values | st.just({"code": 1, "message": "x"}),
    },
)


def _encoded(value: Any) -> bytes:
    return json.dumps(value).encode("ascii")


_lines = st.one_of(
    _messages.map(_encoded),
    _values.map(_encoded),
    st.binary(max_size=60),
    # A message that lost or gained some bytes on its way.
    st.builds(
        lambda line, at, junk, cut: line[: at % len(line)] + junk + line[at % len(line) + cut :],
        _messages.map(_encoded),
        st.integers(0, 10**6),
        st.binary(max_size=4),
        st.integers(0, 5),
    ),
    st.integers(1, 3000).map(lambda depth: b"[" * depth),
    st.lists(st.binary(max_size=20), max_size=5).map(b"\n".join),
)
# Drawn by the handful: what hypothesis does around one example costs more than the example.
HANDFUL = 4
_handfuls = st.lists(_lines, min_size=HANDFUL, max_size=HANDFUL)


def bombard(sequences: int, one: Callable[[bytes, int], float]) -> list[float]:
    """Calls `one(data, number)` for so many byte sequences, the same every time, and returns what it returned."""
    took: list[float] = []

    @settings(
        max_examples=sequences // HANDFUL,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(_handfuls)
    def bombarded(handful: list[bytes]) -> None:
        if len(took) % 500 == 0:
            gc.collect()
        for data in handful:
            took.append(one(data, len(took)))

    # What hypothesis remembers is much, and looking through it would be measured as our slowness.
    gc.disable()
    try:
        bombarded()
    finally:
        gc.enable()
    return took
