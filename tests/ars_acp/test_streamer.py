"""The streamer: every piece logged, numbered and sent; joined only while the client is behind."""

from typing import Any

import anyio
import orjson
import pytest

from acp_wire.connection import AGENT_SIDE, Connection
from acp_wire.streams import MemoryStream, memory_pair
from ars_acp.session import History, Session, opening_entry
from ars_acp.streamer import BEHIND_BYTES, HELD_CHARACTERS, Streamer
from event_log.errors import LogError
from event_log.stores import Store
from event_log.stores.memory import MemoryStore
from tests.support.disk import Disk


async def streaming(store: Store | None = None) -> tuple[Streamer, Session, MemoryStream]:
    """A streamer whose client reads only when the test does."""
    near, far = memory_pair()
    log = await (store or MemoryStore()).create("s")
    session = Session("s", log, "ask")
    session.record(opening_entry("/project", (), "ask"))
    streamer = Streamer(Connection(far, object(), AGENT_SIDE), session)
    streamer.begin_reply()
    return streamer, session, near


async def updates(stream: MemoryStream) -> list[dict[str, Any]]:
    return [orjson.loads(line)["params"] for line in (await stream.receive()).splitlines()]


def text_of(found: list[dict[str, Any]]) -> str:
    return "".join(it["update"]["content"]["text"] for it in found)


async def test_pieces_go_out_one_by_one_while_the_client_keeps_up() -> None:
    streamer, session, near = await streaming()
    streamer.pieces([("text", "a"), ("text", "b"), ("thought", "c")])
    found = await updates(near)
    assert [it["update"]["sessionUpdate"] for it in found] == ["agent_message_chunk"] * 2 + ["agent_thought_chunk"]
    assert [it["_meta"] for it in found] == [
        {"ars/seq": 2, "ars/prev": 0},
        {"ars/seq": 3, "ars/prev": 2},
        {"ars/seq": 4, "ars/prev": 3},
    ]
    assert [entry["text"] for _, entry in session.log.read(1)] == ["a", "b", "c"]


async def test_chunks_of_one_reply_are_one_message_and_those_of_the_next_another() -> None:
    streamer, _, near = await streaming()
    streamer.pieces([("text", "a")])
    streamer.pieces([("text", "b")])
    streamer.begin_reply()
    streamer.pieces([("text", "c")])
    ids = [it["update"]["messageId"] for it in await updates(near)]
    assert ids[0] == ids[1] != ids[2]


async def test_what_arrives_while_the_client_is_behind_is_joined_kind_by_kind_and_sent_when_it_has_read() -> None:
    streamer, session, near = await streaming()
    streamer.pieces([("text", "x" * (BEHIND_BYTES + 1))])
    for piece in (("text", "a"), ("text", "b"), ("thought", "c"), ("text", "d")):
        streamer.pieces([piece])
    assert session.log.last == 2, "what is held is not logged yet, so that its number is given after the joining"
    assert len(await updates(near)) == 1
    found = await updates(near)
    assert [it["update"]["content"]["text"] for it in found] == ["ab", "c", "d"]
    assert [it["_meta"]["ars/prev"] for it in found] == [2, 3, 4]


async def test_a_model_waits_when_too_much_is_held_and_nothing_is_lost() -> None:
    streamer, _, near = await streaming()
    streamer.pieces([("text", "x" * (BEHIND_BYTES + 1))])
    streamer.pieces([("text", "y" * (HELD_CHARACTERS + 1))])
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(streamer.room)
            await anyio.wait_all_tasks_blocked()
            assert text_of(await updates(near)) == "x" * (BEHIND_BYTES + 1)
        assert text_of(await updates(near)) == "y" * (HELD_CHARACTERS + 1)


async def test_a_log_that_fails_while_the_client_reads_on_is_told_to_the_turn_which_does_not_wait_for_ever() -> None:
    disk = Disk()
    streamer, _, near = await streaming(disk)
    streamer.pieces([("text", "x" * (BEHIND_BYTES + 1))])
    streamer.pieces([("text", "y" * (HELD_CHARACTERS + 1))])
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:

            async def model() -> None:
                with pytest.raises(LogError):
                    await streamer.room()

            tasks.start_soon(model)
            await anyio.wait_all_tasks_blocked()
            disk.full = lambda entries: True
            await near.receive()
    disk.full = lambda entries: False
    streamer.pieces([("text", "z")])
    streamer.end_reply()
    assert text_of(await updates(near)) == "y" * (HELD_CHARACTERS + 1) + "z", "nothing was lost"


async def test_what_a_failing_log_did_not_take_by_the_end_of_its_turn_never_follows_the_answer() -> None:
    disk = Disk()
    streamer, _, near = await streaming(disk)
    streamer.pieces([("text", "x" * (BEHIND_BYTES + 1))])
    streamer.pieces([("text", "held")])
    disk.full = lambda entries: True
    with pytest.raises(LogError):
        streamer.end_reply()
    disk.full = lambda entries: False
    await near.receive()
    assert near.peer.buffered == 0


async def test_another_update_overtakes_nothing_that_is_held() -> None:
    streamer, _, near = await streaming()
    streamer.pieces([("text", "x" * (BEHIND_BYTES + 1))])
    streamer.pieces([("text", "held")])
    streamer.tell("info", "told")
    assert text_of(await updates(near)).endswith("held[info] told\n")


async def test_a_client_that_is_gone_costs_no_entry() -> None:
    streamer, session, near = await streaming()
    await near.aclose()
    streamer.pieces([("text", "kept")])
    streamer.tell("info", "kept too")
    assert session.log.last == 3
    assert session.history.partial_chars() == len("kept")


async def test_lone_surrogates_go_out_escaped() -> None:
    streamer, session, near = await streaming()
    streamer.pieces([("text", "a\ud800b")])
    assert b"a\\ud800b" in await near.receive()
    assert next(session.log.read(1))[1]["text"] == "a\ud800b"


def test_the_fold_of_a_log_is_what_the_model_reads() -> None:
    history = History()
    entries: list[dict[str, Any]] = [
        {"type": "session", "cwd": "/"},
        {"type": "prompt", "text": "do it"},
        {"type": "thought", "text": "hm"},
        {"type": "text", "text": "I "},
        {"type": "text", "text": "look"},
        {"type": "reply", "calls": [{"id": "call_1", "name": "read_file", "arguments": "{}"}]},
        {"type": "update", "update": {}},
        {"type": "result", "id": "call_1", "text": "found"},
        {"type": "text", "text": "half"},
        {"type": "interrupted", "reason": "cut"},
        {"type": "turn", "stop": "error"},
    ]
    for entry in entries:
        history.apply(entry)
    call = {"id": "call_1", "type": "function", "function": {"name": "read_file", "arguments": "{}"}}
    assert history.messages == [
        {"role": "user", "content": "do it"},
        {"role": "assistant", "content": "I look", "reasoning_content": "hm", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "found"},
        {"role": "assistant", "content": "half\n[This reply was interrupted: cut]"},
    ]
