"""What a session may be called: ids that no store can take for anything else, and that spread evenly over many."""

from binascii import crc_hqx
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from math import sqrt
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from acp_wire import methods
from acp_wire.errors import NOT_FOUND, RpcError
from ars_acp.session import new_session_id
from event_log import open_store
from event_log.stores import check_name
from tests.support.in_memory import house

TALK = "=== turn repeat\nsay: hello\n"
NO_IDS = [
    *(
        "",
        ".",
        "..",
        "../secret",
        "../../etc/passwd",
        "/etc/passwd",
        "logs/secret",
        "a\\b",
        "~",
        "*",
        "%2e%2e%2fsecret",
    ),
    *("sess_\0", "sess_\n", "sess a", "sess_é", "sess_\u0430", "sess_\u202e", "x" * 65, "x" * 100_000),
]
OPENING = {"cwd": "/project", "mcpServers": []}
ASKING: list[tuple[Any, dict[str, Any]]] = [
    (methods.SESSION_LOAD, OPENING),
    (methods.SESSION_RESUME, OPENING),
    (methods.SESSION_CLOSE, {}),
    (methods.SESSION_PROMPT, {"prompt": [{"type": "text", "text": "go"}]}),
    (methods.ARS_SESSION_REPLAY, {"after": 0}),
    (methods.ARS_SESSION_REWIND, {"turns": 1}),
]


@pytest.mark.parametrize(("row", "params"), ASKING, ids=[row.name for row, _ in ASKING])
async def test_an_id_that_is_none_is_refused_with_one_clear_error(
    row: Any, params: dict[str, Any], tmp_path: Path
) -> None:
    async with house(TALK, store=open_store(f"jsonl:{tmp_path}/logs")) as it:
        for session in NO_IDS:
            with pytest.raises(RpcError) as error:
                await it.wire.request(row, {"sessionId": session, **params})
            assert error.value.code == NOT_FOUND
            assert "No such session" in error.value.message
            assert "\n" not in error.value.message
        assert await it.prompt() == "end_turn"


async def test_deleting_what_is_no_id_deletes_nothing(tmp_path: Path) -> None:
    secret = tmp_path / "secret.jsonl"
    secret.write_text("kept")
    async with house(TALK, store=open_store(f"jsonl:{tmp_path}/logs")) as it:
        for session in NO_IDS:
            await it.wire.request(methods.SESSION_DELETE, {"sessionId": session})
        assert await it.prompt() == "end_turn"
        assert [row.session_id for row in (await it.wire.request(methods.SESSION_LIST, {})).sessions] == [it.session]
    assert secret.read_text() == "kept"


def test_the_ids_that_we_give_are_names_that_every_store_takes() -> None:
    ids = {new_session_id() for _ in range(10_000)}
    assert len(ids) == 10_000
    for session_id in ids:
        check_name(session_id)


@pytest.mark.parametrize("shards", [16, 1024])
@pytest.mark.parametrize(
    "number",
    [
        lambda it: int(it.removeprefix("sess_")[:8], 16),
        lambda it: int(it[-8:], 16),
        lambda it: crc32(it.encode()),
        lambda it: crc_hqx(it.encode(), 0),  # as the hash slots of a Redis cluster
        lambda it: int.from_bytes(sha256(it.encode()).digest()[:8], "big"),
    ],
    ids=["beginning", "end", "crc32", "redis", "sha256"],
)
def test_the_ids_that_we_give_spread_evenly_over_shards(number: Callable[[str], int], shards: int) -> None:
    ids = 10_000
    found = Counter(number(new_session_id()) % shards for _ in range(ids))
    expected = ids / shards
    chi_square = sum((found[shard] - expected) ** 2 / expected for shard in range(shards))
    # Its mean is the degrees of freedom, its variance twice that: eight deviations are beyond any accident.
    freedom = shards - 1
    assert chi_square < freedom + 8 * sqrt(2 * freedom)
