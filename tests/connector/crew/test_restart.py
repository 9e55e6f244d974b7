"""A conversation that goes on in another process, and those who read it meanwhile."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio
import pytest

from acp_wire import methods
from connector.crew import Crew, Role, open_crew, parallel, pipeline, read_crew, sequential
from connector.crew.crew import log_name
from connector.stored import keeping
from event_log import Log, LogHeld, Store, open_store
from event_log.stores.memory import MemoryStore
from tests.connector.crew.support import COUNTING, Mocks, crew_of

SCRIPTS = dict.fromkeys(("Ann", "Bob"), COUNTING)


async def test_a_crew_that_is_opened_again_knows_what_each_role_has_seen_and_the_roles_remember(
    tmp_path: Path,
) -> None:
    store = MemoryStore()
    async with crew_of(tmp_path, SCRIPTS, store=store) as (crew, _):
        await crew.say("One.").ended()
    async with crew_of(tmp_path, SCRIPTS, store=store) as (crew, mocks):
        assert [message.text for message in crew.log()] == ["One.", "Ann-1.", "Bob-1."]
        assert crew.spent.replies == 2
        await crew.say("Two.").ended()
        assert mocks.heard("Ann") == ["You are Ann.\nUser: One.", "Assistant (Bob): Bob-1.\n\nUser: Two."]
        assert mocks.heard("Bob") == [
            "You are Bob.\nUser: One.\n\nAssistant (Ann): Ann-1.",
            "User: Two.\n\nAssistant (Ann): Ann-2.",
        ]
        with pytest.raises(ValueError, match="no round was interrupted"):
            crew.go_on()


async def cut(store: Store, cwd: Path, without: int, *more: dict[str, Any], roles: Sequence[str] = ()) -> None:
    """Takes the newest entries of a crew's log away, as if the process had ended before they were written; `roles` are
    those that it had spoken to."""
    name = log_name("chat", str(cwd))
    entries = [entry for _, entry in (await store.open(name)).read()]
    for entry in entries:
        if entry["type"] == "round" and roles:
            entry["roles"] = list(roles)
    await store.delete(name)
    log = await store.create(name)
    log.append([*entries[:-without], *more])
    log.close()


async def test_a_reply_that_only_the_roles_record_has_is_not_asked_for_again(tmp_path: Path) -> None:
    store, mocks = MemoryStore(), Mocks(tmp_path, SCRIPTS, {})
    async with mocks.agents(store) as agents:

        def opened() -> AbstractAsyncContextManager[Crew]:
            return open_crew(agents, store, "chat", mocks.roles, cwd=str(tmp_path))

        async with opened() as crew:
            await crew.say("One.", round=parallel).ended()
        replied_last = [message.by for message in crew.log()][-1]
        await cut(store, tmp_path, without=2)
        async with opened() as crew:
            assert [ask.role for ask in crew.conversation.asks.values()] == [replied_last]
            with pytest.raises(ValueError, match="another round that was interrupted, parallel"):
                crew.go_on(sequential)
            talk = crew.go_on()
            assert await talk.ended() == "done"
            assert [reply.text for reply in talk.replies] == [f"{replied_last}-1."]
            assert sorted(message.text for message in crew.log()) == ["Ann-1.", "Bob-1.", "One."]
            assert crew.spent.replies == 2
        assert [len(mocks.heard(role)) for role in SCRIPTS] == [1, 1]


async def test_a_role_that_was_never_given_what_was_meant_for_it_is_asked_when_the_round_goes_on(
    tmp_path: Path,
) -> None:
    store, mocks = MemoryStore(), Mocks(tmp_path, SCRIPTS, {})
    async with mocks.agents(store) as agents:

        def opened() -> AbstractAsyncContextManager[Crew]:
            return open_crew(agents, store, "chat", mocks.roles, cwd=str(tmp_path))

        async with opened() as crew:
            await crew.say("One.", to=["Ann"]).ended()
        asked = {"type": "asked", "ask": 2, "role": "Bob", "round": 1, "upto": 2, "shown": [0, 1], "at": 0.1}
        await cut(store, tmp_path, 1, {**asked, "reminded": False, "mark": 0}, roles=("Ann", "Bob"))
        async with opened() as crew:
            talk = crew.go_on()
            assert [(reply.role, reply.kind or reply.text) async for reply in talk] == [
                ("Bob", "interrupted"),
                ("Bob", "Bob-1."),
            ]
        assert mocks.heard("Ann") == ["You are Ann.\nUser: One."]
        assert mocks.heard("Bob") == ["You are Bob.\nUser: One.\n\nAssistant (Ann): Ann-1."]


async def test_who_has_answered_in_an_interrupted_pipeline_is_not_asked_but_what_it_made_is_handed_on(
    tmp_path: Path,
) -> None:
    store, scripts = MemoryStore(), dict.fromkeys(("Ann", "Bob", "Cid"), COUNTING)
    async with crew_of(tmp_path, scripts, store=store) as (crew, _):
        await crew.say("Build.", to=["Ann", "Bob"], round=pipeline).ended()
    await cut(store, tmp_path, 1, roles=("Ann", "Bob", "Cid"))
    async with crew_of(tmp_path, scripts, store=store) as (crew, mocks):
        talk = crew.go_on()
        assert (await talk.ended(), [reply.text for reply in talk.replies]) == ("done", ["Cid-1."])
        assert mocks.heard("Cid") == ["You are Cid.\nUser: Build.\n\nAssistant (Bob): Bob-1."]


async def test_a_round_that_runs_when_its_crew_is_left_is_cancelled_and_leaves_nothing_open(tmp_path: Path) -> None:
    store, scripts = MemoryStore(), {"Ann": "=== turn\nsay: Hm.\nwait 20\n" + COUNTING}
    begun = anyio.Event()
    async with crew_of(tmp_path, scripts, store=store, on_update=lambda *told: begun.set()) as (crew, _):
        talk = crew.say("One.")
        await begun.wait()
    assert talk.why == "cancelled"
    left = await read_crew(store, "chat", str(tmp_path))
    assert (left.asks, left.rounds[0].why, left.rounds[0].outcomes["Ann"][0].text) == ({}, "cancelled", "Hm.")


async def test_a_cost_that_is_none_spoils_nothing_of_what_an_earlier_process_left(tmp_path: Path) -> None:
    store, mocks = MemoryStore(), Mocks(tmp_path, {"Ann": COUNTING}, {})
    usage = {"sessionUpdate": "usage_update", "used": 5, "size": 9, "cost": {"amount": "much"}}
    async with mocks.agents(store) as agents:
        async with open_crew(agents, store, "chat", mocks.roles, cwd=str(tmp_path)) as crew:
            await crew.say("One.").ended()
            session = await agents.ensure(crew.roles["Ann"], "chat", str(tmp_path))
            session.take(methods.SESSION_UPDATE.params({"sessionId": session.id, "update": usage}).update, usage)
        await cut(store, tmp_path, without=2)
        async with open_crew(agents, store, "chat", mocks.roles, cwd=str(tmp_path)) as crew:
            assert await crew.go_on().ended() == "done"
            assert (crew.spent.tokens, crew.spent.cost) == (5, {})
        assert [message.text for message in (await read_crew(store, "chat", str(tmp_path))).messages] == [
            "One.",
            "Ann-1.",
        ]


async def test_crews_of_the_same_name_elsewhere_or_on_other_agents_have_sessions_of_their_own(tmp_path: Path) -> None:
    store, mocks = MemoryStore(), Mocks(tmp_path, SCRIPTS, {})
    (tmp_path / "other").mkdir()
    async with mocks.agents(store) as agents:
        ann, _ = mocks.roles
        here = await agents.ensure(ann, "chat", str(tmp_path))
        there = await agents.ensure(ann, "chat", str(tmp_path / "other"))
        assert (here.params["cwd"], there.params["cwd"]) == (str(tmp_path), str(tmp_path / "other"))
        assert await agents.ensure(ann, "chat", str(tmp_path)) is here
        assert await agents.ensure(Role("Ann", "Bob"), "chat", str(tmp_path)) is not here


async def test_names_with_strokes_are_no_other_names(tmp_path: Path) -> None:
    store, mocks = MemoryStore(), Mocks(tmp_path, {"Ann": COUNTING}, {})
    async with mocks.agents(store) as agents:
        sessions = [
            await agents.ensure(Role(role, "Ann"), crew, str(tmp_path))
            for crew, role in (("a", "b/c"), ("a/b", "c"), ("a", "b%2Fc"))
        ]
        assert len(set(sessions)) == 3


async def test_of_two_who_begin_a_conversation_at_once_one_has_it(tmp_path: Path) -> None:
    class Slow(MemoryStore):
        async def open(self, name: str) -> Log:
            try:
                return await super().open(name)
            finally:
                await anyio.wait_all_tasks_blocked()

    store, mocks, came = Slow(), Mocks(tmp_path, {"Ann": COUNTING}, {}), list[str]()
    async with mocks.agents(store) as agents:

        async def begin() -> None:
            try:
                async with open_crew(agents, store, "chat", mocks.roles, cwd=str(tmp_path)):
                    came.append("opened")
                    await anyio.sleep_forever()
            except ValueError as why:
                came.append(str(why))
                tasks.cancel_scope.cancel()

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                for _ in range(2):
                    tasks.start_soon(begin)
    assert came == ["opened", "the crew 'chat' is open already"]


async def test_what_is_said_next_ends_a_round_that_was_interrupted(tmp_path: Path) -> None:
    store = MemoryStore()
    async with crew_of(tmp_path, SCRIPTS, store=store) as (crew, _):
        await crew.say("One.", to=["Ann"]).ended()
    await cut(store, tmp_path, without=1)
    async with crew_of(tmp_path, SCRIPTS, store=store) as (crew, mocks):
        await crew.say("Two.", to=["Bob"]).ended()
        assert [round.why for round in crew.conversation.rounds] == ["interrupted", "done"]
        assert mocks.heard("Bob") == ["You are Bob.\nUser: One.\n\nAssistant (Ann): Ann-1.\n\nUser: Two."]


async def test_others_may_read_a_conversation_that_is_somebodys_but_not_take_it(tmp_path: Path) -> None:
    url = f"jsonl:{tmp_path}/store"
    async with keeping(url) as store, crew_of(tmp_path, SCRIPTS, store=store) as (crew, _):
        await crew.say("One.").ended()
        reader = open_store(url)
        read = await read_crew(reader, "chat", str(tmp_path))
        assert [message.text for message in read.messages] == ["One.", "Ann-1.", "Bob-1."]
        with pytest.raises(LogHeld):
            async with open_crew(crew._sessions, reader, "chat", [*crew.roles.values()], cwd=str(tmp_path)):
                pass


async def test_a_conversation_is_open_once_in_a_process(tmp_path: Path) -> None:
    store = MemoryStore()
    async with crew_of(tmp_path, SCRIPTS, store=store) as (crew, _):
        with pytest.raises(ValueError, match="is open already"):
            async with open_crew(crew._sessions, store, "chat", [*crew.roles.values()], cwd=str(tmp_path)):
                pass
        assert await crew.say("One.").ended() == "done"
    async with crew_of(tmp_path, SCRIPTS, store=store) as (crew, _):
        assert len(crew.log()) == 3


async def test_what_is_secret_of_one_agent_reaches_neither_the_conversation_nor_the_others(tmp_path: Path) -> None:
    scripts = {"Ann": "=== turn\nsay: It is secret-of-ann.\n", "Bob": COUNTING}
    async with crew_of(tmp_path, scripts, env={"ANNS_TOKEN": "secret-of-ann"}) as (crew, mocks):
        assert [reply.text async for reply in crew.say("One.")] == ["It is [redacted].", "Bob-1."]
        assert "secret-of-ann" not in str([entry for _, entry in crew._log.read()] + mocks.heard("Bob"))
