"""The record of a conversation: numbered, followed by many, found again by name, closed where it was left open."""

import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from connector import AgentExited, Client, Command, Limits, launch
from connector.errors import ConversationHeld, NotSent, RecordUnusable, TurnInterrupted
from connector.record import Record, log_name
from connector.secrets import Secrets
from connector.stored import keeping
from event_log.errors import LogStorageFailed
from event_log.stores import Store, open_store
from event_log.stores.memory import MemoryRecords, MemoryStore

ABLE = Path(__file__).parents[2] / "fixtures" / "agents" / "able.py"
QUICK = Limits(initialize=20, session=20, late=0.05)
CHUNK = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "half"}}
PROMPT = [{"type": "text", "text": "do it"}]


def able(told: dict[str, Any] | None = None, **env: str) -> Command:
    return Command("able", [sys.executable, "-S", str(ABLE), json.dumps(told or {})], env)


@pytest.fixture
async def opened() -> AsyncIterator[Callable[[str], Store]]:
    """Opens stores, each as an application of its own would, and closes them in the end."""
    stores: list[Store] = []

    def one_more(url: str) -> Store:
        stores.append(open_store(url))
        return stores[-1]

    yield one_more
    for store in stores:
        await store.close()


def entries(record: Record, kind: str) -> list[dict[str, Any]]:
    return [entry for _, entry in record.read() if entry["type"] == kind]


# ── what is in it ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_turn_is_recorded_from_the_prompt_to_the_end_with_updates_as_they_came(tmp_path: Path) -> None:
    async with launch(able(), Client(), cwd=str(tmp_path), limits=QUICK) as connector:
        session = await connector.new_session(str(tmp_path))
        await session.prompt("numbered")
        found = [(number, entry) for number, entry in session.record.read()]
    assert [entry["type"] for _, entry in found] == ["opened", "prompt", "begun", "update", "ended"]
    assert [number for number, _ in found] == [1, 2, 3, 4, 5]
    assert all("at" in entry for _, entry in found if entry["type"] != "update")
    assert (found[0][1]["sessionId"], found[0][1]["how"], found[0][1]["agent"]) == ("s1", "new", "able")
    assert found[1][1]["blocks"] == [{"type": "text", "text": "numbered"}]
    assert found[3][1] == {
        "type": "update",
        "turn": 2,
        "update": {
            "sessionUpdate": "agent_message_chunk",
            "content": {"type": "text", "text": "n"},
            "_meta": {"ars/seq": 7},
        },
    }
    assert (found[4][1]["turn"], found[4][1]["stopReason"]) == (2, "end_turn")


async def test_late_updates_are_marked_and_failures_told_with_what_was_said(tmp_path: Path) -> None:
    async with launch(able(), Client(), cwd=str(tmp_path), limits=QUICK) as connector:
        session = await connector.new_session(str(tmp_path))
        await session.prompt("both")
        with pytest.raises(AgentExited):
            await session.prompt("die")
        updates, ended = entries(session.record, "update"), entries(session.record, "ended")
    assert [(it["turn"], it.get("late", False), it["update"]["content"]["text"]) for it in updates] == [
        (2, False, "early"),
        (2, True, " late"),
        (7, False, "half"),
    ]
    assert (ended[1]["stopReason"], ended[1]["error"]["kind"], ended[1]["partial"]) == (None, "AgentExited", "half")


async def test_no_secret_of_the_agents_environment_reaches_the_store(tmp_path: Path) -> None:
    command = able(ABLE_TOKEN='hunter2"hunter2')
    server = {"name": "own", "command": "true", "args": ["--key=abc"], "env": [{"name": "K", "value": "v-e-r-y"}]}
    async with (
        keeping(f"jsonl:{tmp_path / 'kept'}") as store,
        launch(command, Client(), cwd=str(tmp_path), limits=QUICK, store=store) as connector,
    ):
        session = await connector.new_session(str(tmp_path), mcp_servers=[server], meta={"token": "xyzzy"})
        turn = await session.prompt('it is hunter2"hunter2, not sk-0123456789')
        assert turn.text == 'you said it is hunter2"hunter2, not sk-0123456789'
        assert session.record.turns[0].text == "you said it is [redacted], not sk-0123456789"
    stored = "".join(path.read_text() for path in (tmp_path / "kept").iterdir() if path.is_file())
    assert "[redacted]" in stored
    assert [word for word in ("hunter2", "v-e-r-y", "--key", "xyzzy") if word in stored] == []


@pytest.mark.parametrize("size", [1, 2, 3, 5, 9, 13, 100])
async def test_a_secret_that_comes_in_pieces_does_not_reach_the_store_either(size: int) -> None:
    secret, short = "tk_0123456789abcdefghij", "passw0rd"
    text = f"the key {secret} and {short}; a passage of words, {short[:3]} {secret}"
    record = await Record.fresh(MemoryStore(), secrets=Secrets({"A_TOKEN": secret, "PASSWORD": short}))
    for at in range(0, len(text), size):
        chunk = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text[at : at + size]}}
        record.update(None, chunk)
    stored = "".join(entry["update"]["content"]["text"] for _, entry in record.read())
    assert [part for part in (secret[:9], secret[9:], short[:5], short[4:]) if part in stored] == []
    for kept in ("the key ", " and ", "; a passage of words, pas "):
        assert kept in stored


# ── readers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_readers_attach_leave_and_come_back_by_number_without_losing_an_update(tmp_path: Path) -> None:
    whole: list[int] = []
    bits: list[int] = []

    async def follow_all(record: Record) -> None:
        async for number, _ in record.follow():
            whole.append(number)

    async def come_and_go(record: Record) -> None:
        while not bits or bits[-1] < 13:
            after = bits[-1] if bits else 0
            async for number, _ in record.follow(after):
                bits.append(number)
                if len(bits) % 3 == 0:
                    break

    with anyio.fail_after(20):
        async with launch(able(), Client(), cwd=str(tmp_path), limits=QUICK) as connector:
            session = await connector.new_session(str(tmp_path))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(follow_all, session.record)
                tasks.start_soon(come_and_go, session.record)
                await session.prompt("everything")
                await session.prompt("go on")
                last = session.record.last
                session.record.close()
    assert last == 13
    assert whole == bits == list(range(1, last + 1))


# ── found again ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_an_application_left_open_is_closed_and_told(tmp_path: Path, opened: Any) -> None:
    events: list[str] = []
    for url in ("memory:", f"jsonl:{tmp_path}"):
        events.clear()
        store = opened(url)
        first = await Record.open(store, "able", "/p", "work")
        first.note("opened", agent="able", name="work", sessionId="s1", how="new", cwd="/p", params={})
        running = first.note("prompt", blocks=PROMPT)
        queued = first.note("prompt", blocks=[{"type": "text", "text": "then"}])
        first.note("begun", turn=running)
        first.update(running, CHUNK)
        first.note("asked", turn=running, id="q1", title="rm")
        first.close()
        again = await Record.open(store, "able", "/p", "work", on_event=lambda name, fields: events.append(name))
        assert (again.session_id, again.last) == ("s1", 9)
        assert again.interrupted is not None
        assert (again.interrupted.id, [turn.id for turn in again.unsent]) == (running, [queued])
        turns = again.turns
        assert [(turn.state, turn.text, type(turn.failure)) for turn in turns] == [
            ("done", "half", TurnInterrupted),
            ("done", "", NotSent),
        ]
        assert turns[1].unsent
        assert entries(again, "ended")[0]["partial"] == "half"
        assert entries(again, "decided")[0] | {"at": 0} == {
            "type": "decided", "at": 0, "turn": running, "id": "q1", "allowed": False, "option": None,
            "by": "nobody", "reason": "the application ended",
        }  # fmt: skip
        assert events == ["turn.interrupted", "turn.not_sent"]
        again.close()
        third = await Record.open(store, "able", "/p", "work")
        assert (third.interrupted, third.unsent, third.last) == (None, [], 9)


async def test_a_conversation_has_one_application_and_in_it_one_session(tmp_path: Path, opened: Any) -> None:
    one, other = opened(f"jsonl:{tmp_path}"), opened(f"jsonl:{tmp_path}")
    held = await Record.open(one, "able", "/p", "work")
    await Record.open(one, "able", "/p", "another")
    with pytest.raises(ConversationHeld, match=r"^able: the conversation 'work' is held by another session of this"):
        await Record.open(one, "able", "/p/.", "work")
    with pytest.raises(ConversationHeld, match=rf"held by another application \(pid {os.getpid()} on ") as why:
        await Record.open(other, "able", "/p", "work")
    assert "pid" in why.value.by
    held.close()
    await Record.open(other, "able", "/p", "work")


async def test_a_damaged_record_is_told_and_stays_as_it_is(tmp_path: Path, opened: Any) -> None:
    store = opened(f"jsonl:{tmp_path}")
    record = await Record.open(store, "able", "/p", "work")
    for _ in range(3):
        record.note("state", state="ready")
    await store.close()
    file = tmp_path / f"{log_name('able', '/p', 'work')}.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + b'{"n":2,"ty\n' + lines[2])
    damaged = file.read_bytes()
    with pytest.raises(RecordUnusable, match=r"'work' cannot be used: the log .* is damaged: .*entry 2"):
        await Record.open(opened(f"jsonl:{tmp_path}"), "able", "/p", "work")
    assert file.read_bytes() == damaged
    # What a machine left half written was never told to anybody: the rest is all there.
    file.write_bytes(b"".join(lines) + b'{"n":4,"ty')
    record = await Record.open(opened(f"jsonl:{tmp_path}"), "able", "/p", "work")
    assert record.note("state", state="busy") == 4
    assert len(list(record.read())) == 4


async def test_what_the_store_refuses_waits_in_order_and_is_written_when_it_takes_entries_again(tmp_path: Path) -> None:
    from event_log.errors import LogStorageFailed

    class Refusing(MemoryStore):
        full = False

    events: list[tuple[str, dict[str, Any]]] = []
    store = Refusing()
    record = await Record.open(store, "able", "/p", "work", on_event=lambda name, fields: events.append((name, fields)))
    assert record.note("state", state="one") == 1
    records = record._log.records

    class Full:
        def write(self, first: int, entries: Any) -> None:
            raise LogStorageFailed("cannot write to the log", "No space left on device", 28)

    record._log.records = Full()  # type: ignore[assignment]
    assert [record.note("state", state=text) for text in ("two", "three")] == [2, 3]
    assert str(record.failure) == "cannot write to the log: No space left on device"
    record._log.records = records
    assert record.note("state", state="four") == 4
    assert record.failure is None
    assert [entry["state"] for _, entry in record.read()] == ["one", "two", "three", "four"]
    assert [name for name, _ in events] == ["record.failed", "record.written"]


async def test_a_store_that_goes_on_refusing_costs_each_update_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    record = await Record.fresh(MemoryStore())
    tried: list[int] = []

    def refuse(records: MemoryRecords, first: int, entries: Sequence[dict[str, Any]]) -> None:
        tried.append(len(entries))
        raise LogStorageFailed("write", "no space left")

    with monkeypatch.context() as broken:
        broken.setattr(MemoryRecords, "write", refuse)
        for _ in range(50):
            record.update(1, CHUNK)
        blocks = [dict(PROMPT[0])]
        record.note("prompt", blocks=blocks)
        blocks[0]["text"] = "changed"
        with pytest.raises(TypeError):
            record.note("prompt", blocks=[object()])
    assert max(tried) == 1
    record.update(1, CHUNK)
    assert record.failure is None
    assert [number for number, _ in record.read()] == list(range(1, 53))
    assert entries(record, "prompt")[0]["blocks"] == PROMPT
