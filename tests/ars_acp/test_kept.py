"""A session whose store cannot write goes on in memory, says so once, and is saved when it can be."""

import errno
import os
from pathlib import Path
from typing import Any

import anyio
import pytest

from acp_wire import methods
from acp_wire.errors import RpcError
from ars_acp.kept import KeptLog
from event_log.errors import LogClosed, LogStorageFailed
from event_log.stores import open_store
from event_log.stores.memory import MemoryStore
from tests.support.disk import Disk
from tests.support.in_memory import House, house
from tests.support.unprivileged import as_nobody

SCRIPT = "=== turn repeat\nsay: you said $prompt\n"
LOST = "This session is not being saved: cannot write to the log: No space left on device"
SAVED = "This session is saved again, all of it"


def notices(it: House) -> list[str]:
    updates = (params["update"] for params in it.client.updates)
    titles = [update["title"] for update in updates if update["sessionUpdate"] == "notice"]
    return [title for title in titles if "saved" in title]


async def test_a_full_disk_is_told_once_and_so_is_its_end_and_nothing_is_missing_then() -> None:
    disk = Disk()
    async with house(SCRIPT, store=disk) as it:
        await it.prompt("one")
        disk.full = lambda entries: True
        assert [await it.prompt(text) for text in ("two", "three")] == ["end_turn"] * 2
        assert it.said() == "you said oneyou said twoyou said three"
        assert notices(it) == [LOST]
        assert "three" not in str(await it.entries())
        disk.full = lambda entries: False
        await it.prompt("four")
        assert notices(it) == [LOST, SAVED]
        texts = [entry["text"] for entry in await it.entries() if entry["type"] == "prompt"]
        assert texts == ["one", "two", "three", "four"]
        seqs = [params["_meta"]["ars/seq"] for params in it.client.updates]
        assert seqs == sorted(set(seqs))


async def test_what_is_in_memory_can_be_loaded_and_missed_like_anything_else() -> None:
    disk = Disk()
    async with house(SCRIPT, store=disk) as it:
        disk.full = lambda entries: True
        await it.prompt("one")
        it.client.updates.clear()
        place = {"sessionId": it.session, "cwd": "/project", "mcpServers": []}
        await it.wire.request(methods.SESSION_LOAD, place)
        assert "you said one" in it.said()
        answer = await it.wire.request(methods.ARS_SESSION_REPLAY, {"sessionId": it.session, "after": 0})
        assert "you said one" in str(answer.updates)


class Refusing(MemoryStore):
    """Makes and claims nothing while `why` says so."""

    why: LogStorageFailed | None = None

    async def create(self, name: str) -> Any:
        return await super().create(name) if self.why is None else self._refuse()

    async def claim(self, log: Any) -> None:
        await super().claim(log) if self.why is None else self._refuse()

    def _refuse(self) -> None:
        assert self.why is not None
        raise self.why


DENIED = LogStorageFailed("cannot write to the log", "Permission denied", errno.EACCES)


async def test_a_session_begins_in_memory_where_none_can_be_made_and_is_made_with_a_later_turn() -> None:
    store = Refusing()
    async with house(SCRIPT, store=store) as it:
        store.why = DENIED
        session = await it.new_session()
        await it.update(lambda update: update.get("title", "").endswith("Permission denied"))
        assert await it.prompt("one") == "end_turn"
        assert session not in await store.names()
        store.why = None
        await it.prompt("two")
        assert (await it.entries())[0]["type"] == "session"
        assert "you said one" in "".join(entry.get("text", "") for entry in await it.entries())


async def test_a_session_that_can_only_be_read_goes_on_in_memory() -> None:
    store = Refusing()
    async with house(SCRIPT, store=store) as it:
        await it.prompt("one")
        await it.wire.request(methods.SESSION_CLOSE, {"sessionId": it.session})
        store.why = DENIED
        place = {"sessionId": it.session, "cwd": "/project", "mcpServers": []}
        await it.wire.request(methods.SESSION_RESUME, place)
        await it.update(lambda update: update.get("title", "").endswith("Permission denied"))
        assert await it.prompt("two") == "end_turn"
        store.why = None
        await it.prompt("three")
        texts = [entry["text"] for entry in await it.entries() if entry["type"] == "prompt"]
        assert texts == ["one", "two", "three"]


async def test_a_session_on_a_server_that_is_away_is_refused_as_somebody_else_may_write_it() -> None:
    store = Refusing()
    async with house(SCRIPT, store=store) as it:
        await it.wire.request(methods.SESSION_CLOSE, {"sessionId": it.session})
        store.why = LogStorageFailed("the store cannot be reached now", "try again")
        with pytest.raises(RpcError, match="try again"):
            await it.wire.request(methods.SESSION_LOAD, {"sessionId": it.session, "cwd": "/project", "mcpServers": []})


class Moved(MemoryStore):
    """Somebody else has written on when a log is claimed again."""

    again = False

    async def claim(self, log: Any) -> None:
        await super().claim(log)
        if self.again:
            log.append([{"theirs": 1}])


async def test_what_another_owner_has_written_meanwhile_is_never_mixed_with_ours() -> None:
    store = Moved()
    log = await store.create("s")
    log.append([{"a": 1}])
    log.close()
    store.again = True
    ours = KeptLog("s", await store.open("s"), DENIED)
    ours.append([{"ours": 1}])
    assert [entry for _, entry in ours.read()] == [{"a": 1}, {"ours": 1}]
    with pytest.raises(LogClosed):
        await ours.save(store)
    assert [entry for _, entry in (await store.open("s")).read()] == [{"a": 1}, {"theirs": 1}]


async def test_a_directory_that_cannot_be_made_is_a_notice(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    async with house(SCRIPT, store=open_store(f"jsonl:{tmp_path}/file/sessions")) as it:
        assert await it.prompt("one") == "end_turn"
        assert len(notices(it)) == 1
        assert os.listdir(tmp_path) == ["file"]


async def spoken(directory: str) -> tuple[list[str], str]:
    """What a person is told of being saved in a session kept there, and what the model said."""
    async with house(SCRIPT, store=open_store(f"jsonl:{directory}")) as it:
        await it.prompt("one")
        return notices(it), it.said()


def test_who_may_not_write_there_is_told_and_can_go_on(tmp_path: Path) -> None:
    anyio.run(spoken, str(tmp_path / "mine"))  # what it needs is loaded now: the other user may not read it
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o555)
    for directory in (tmp_path, *tmp_path.parents[:2]):
        directory.chmod(0o755)
    told, said = as_nobody(lambda: anyio.run(spoken, str(theirs)))
    assert len(told) == 1
    assert told[0].endswith("Permission denied")
    assert said == "you said one"
