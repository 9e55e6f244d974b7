"""Our own extensions: what is built is what the other end reads, and what nobody could have meant is refused."""

from typing import Any

import pytest

from acp_wire import build, build_extensions, methods
from acp_wire.errors import RpcError

UPDATE = build.session_update("s", build.agent_message_chunk("hi", "msg_3"), {"ars/seq": 3, "ars/prev": 0})


@pytest.mark.parametrize("gone", [[], [(1, 4)]])
def test_a_replay_is_read_as_it_was_built(gone: list[tuple[int, int]]) -> None:
    built = build_extensions.replay_result([UPDATE], 3, more=True, taken_back=gone)
    read = methods.ARS_SESSION_REPLAY.result(built)
    assert (read.updates[0].update.content.text, read.updates[0].meta["ars/seq"]) == ("hi", 3)
    assert (read.last, read.more, [(it.after, it.through) for it in read.taken_back]) == (3, True, gone)


def test_a_rewind_is_read_as_it_was_built() -> None:
    files = [
        build_extensions.rewound_file("/p/a", "restored"),
        build_extensions.rewound_file("/p/b", "left", "it was changed since"),
    ]
    read = methods.ARS_SESSION_REWIND.result(build_extensions.rewind_result(7, 2, files, 1))
    assert (read.to, read.turns, read.commands) == (7, 2, 1)
    assert [(it.path, it.outcome, it.reason) for it in read.files] == [
        ("/p/a", "restored", None),
        ("/p/b", "left", "it was changed since"),
    ]


@pytest.mark.parametrize(
    ("row", "params"),
    [
        (methods.ARS_SESSION_REPLAY, {"after": 0}),
        (methods.ARS_SESSION_REPLAY, {"sessionId": "s", "after": -1}),
        (methods.ARS_SESSION_REPLAY, {"sessionId": "s", "after": "3"}),
        (methods.ARS_SESSION_ACK, {"sessionId": "s"}),
        (methods.ARS_SESSION_ACK, {"sessionId": "s", "seq": 1.5}),
        (methods.ARS_SESSION_RETOOL, {"sessionId": "s"}),
        (methods.ARS_SESSION_RETOOL, {"sessionId": "s", "tools": "read_file"}),
        (methods.ARS_SESSION_RETOOL, {"sessionId": "s", "tools": [1]}),
        (methods.ARS_SESSION_REWIND, {"sessionId": "s", "turns": 0}),
        (methods.ARS_SESSION_REWIND, {"sessionId": "s", "toSeq": -1}),
    ],
)
def test_params_that_cannot_be_meant_are_refused(row: Any, params: dict[str, Any]) -> None:
    with pytest.raises(RpcError):
        row.params(params)
