"""At /acp a principal has the sessions that it has begun there: an agent that is not ours has one store for all."""

import json
from pathlib import Path

import pytest

from ars_gateway.index import open_index
from ars_gateway.remote import owned
from ars_gateway.remote.owned import Owned
from tests.gateway.host import Running
from tests.gateway.http.test_acp_socket import Talk, talk
from tests.gateway.talking import GUEST, admit_guest

THEIRS = {"additional_headers": {"authorization": f"Bearer {GUEST}"}}
CWD = {"cwd": "/p", "mcpServers": []}
NAMING_ONE = [
    *("session/load", "session/resume", "session/fork", "session/delete", "session/close", "session/prompt"),
    *("session/set_mode", "session/set_config_option", "_session/steering", "_any/thing"),
]


async def begun(one: Talk) -> str:
    """A session of its own, on a connection of its own."""
    await one.initialize()
    session: str = (await one.request("session/new", CWD))["result"]["sessionId"]
    return session


def heard(running: Running) -> list[bytes]:
    """What the only agent there is will be told from here on."""
    (remote,) = running.gateway.remotes._all.values()
    sent: list[bytes] = []
    passed = remote._process.stream.write
    remote._process.stream.write = lambda data: (sent.append(data), passed(data))[1]
    return sent


@pytest.mark.parametrize("method", NAMING_ONE)
async def test_a_session_of_another_principals_is_as_unknown_as_one_that_never_was(served, method: str):
    async with served() as running:
        admit_guest(running)
        async with talk(running) as mine, talk(running, **THEIRS) as theirs:
            session = await begun(mine)
            await theirs.initialize()
            foreign = await theirs.request(method, {**CWD, "sessionId": session})
            none = await theirs.request(method, {**CWD, "sessionId": "none"})
            assert foreign["error"] == none["error"] == {"code": -32002, "message": "there is no such session of yours"}
            own = (await theirs.request("session/new", CWD))["result"]["sessionId"]
            assert "result" in await theirs.request("session/close", {"sessionId": own})


async def test_what_is_only_told_of_a_session_that_is_not_ones_own_reaches_no_agent(served):
    async with served() as running, talk(running) as one:
        session = await begun(one)
        sent = heard(running)
        for named in ("theirs", session):
            told = {"jsonrpc": "2.0", "method": "session/cancel", "params": {"sessionId": named}}
            await one.socket.send(json.dumps(told))
        await one.request("session/close", {"sessionId": session})
    assert [json.loads(line)["method"] for line in sent] == ["session/cancel", "session/close"]
    assert not [line for line in sent if b"theirs" in line]


async def test_a_list_of_sessions_tells_those_that_the_principal_has_begun_here(served):
    async with served() as running:
        admit_guest(running)
        async with talk(running) as mine, talk(running, **THEIRS) as theirs:
            session = await begun(mine)
            await theirs.initialize()
            listed = [{"sessionId": it, "cwd": "/p"} for it in (session, "of the command line")]
            asked = {"_meta": {"answer": {"sessions": [*listed, {}, "x"], "nextCursor": "2"}}}
            got = (await mine.request("session/list", asked))["result"]
            assert got == {"sessions": listed[:1], "nextCursor": "2"}
            assert (await theirs.request("session/list", asked))["result"] == {"sessions": [], "nextCursor": "2"}
            for odd in ({"sessions": {"0": listed[0]}}, [listed[0]], "x", None):
                got = (await theirs.request("session/list", {"_meta": {"answer": odd}}))["result"]
                assert got == {"sessions": []}


@pytest.mark.parametrize(
    "hidden",
    [
        '"method": "session/load", "params": {"sessionId": "theirs", "sessionId": "%s"}',
        '"method": "session/list", "method": "_x", "params": {"_meta": {"answer": {"sessions": []}}}',
        '"method": "session/load", "params": {"sessionId": "theirs"}, "params": {"sessionId": "%s"}',
        '"method": "session/load", "params": {"session\\u0049d": "theirs", "sessionId": "%s"}',
    ],
)
async def test_what_stands_there_twice_is_passed_on_as_it_was_understood(served, hidden: str):
    async with served() as running, talk(running) as one:
        session = await begun(one)
        sent = heard(running)
        line = '{"jsonrpc": "2.0", "id": 50, ' + (hidden % session if "%s" in hidden else hidden) + "}"
        await one.socket.send(line)
        await one.answer(50)
    pairs: list[list[str]] = []
    json.loads(sent[0], object_pairs_hook=lambda found: pairs.append([name for name, _ in found]) or dict(found))
    assert all(len(names) == len(set(names)) for names in pairs)
    assert b"theirs" not in sent[0]


async def test_no_answer_but_that_to_a_beginning_makes_a_session_ones_own(served):
    async with served() as running, talk(running) as one:
        await begun(one)
        for method in ("session/list", "_x/y"):
            asked = {"_meta": {"answer": {"sessionId": "theirs", "sessions": []}}}
            await one.request(method, asked)
            assert (await one.request("session/load", {**CWD, "sessionId": "theirs"}))["error"]["code"] == -32002


async def test_a_session_is_ones_own_after_a_restart_and_not_once_it_is_deleted(served, tmp_path: Path):
    async with served() as running, talk(running) as one:
        session = await begun(one)
    async with served() as running, talk(running) as one:
        await one.initialize()
        assert (await one.request("session/load", {**CWD, "sessionId": session}))["result"] is None
        assert "result" in await one.request("session/delete", {"sessionId": session})
        assert (await one.request("session/load", {**CWD, "sessionId": session}))["error"]["code"] == -32002


async def test_an_agent_cannot_tell_by_another_what_is_its_own():
    index = open_index(None, [])
    one = Owned(index)
    one.add("owner", "main", "s")
    one.add("owner", "main", "s")
    assert [one.has(*it) for it in (("owner", "main", "s"), ("guest", "main", "s"), ("owner", "other", "s"))] == [
        True,
        False,
        False,
    ]
    assert Owned(index).has("owner", "main", "s")
    one.remove("owner", "main", "s")
    one.remove("guest", "other", "s")
    assert not one.has("owner", "main", "s")
    assert not Owned(index).has("owner", "main", "s")


async def test_of_very_many_sessions_the_oldest_are_nobodys(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(owned, "MOST_KEPT", 2)
    index = open_index(None, [])
    one = Owned(index)
    for session in ("a", "b", "c"):
        one.add("owner", "main", session)
    one.add("guest", "main", "a")
    for kept in (one, Owned(index)):
        assert [kept.has("owner", "main", it) for it in "abc"] == [False, True, True]
        assert kept.has("guest", "main", "a")


async def test_a_disk_that_takes_nothing_more_costs_no_session(served):
    async with served() as running, talk(running) as one:
        running.gateway.index.execute("PRAGMA query_only=ON")
        session = await begun(one)
        assert "result" in await one.request("session/close", {"sessionId": session})
        assert running.log.named("remote.session_not_kept")
        running.gateway.index.execute("PRAGMA query_only=OFF")


async def test_what_is_nested_too_deep_is_refused_and_the_connection_goes_on(served):
    async with served() as running, talk(running) as one:
        session = await begun(one)
        deep = '{"jsonrpc": "2.0", "id": 60, "method": "x", "params": ' + '{"a":' * 1000 + "1" + "}" * 1001
        await one.socket.send(deep)
        await one.answer(60)
        assert "result" in await one.request("session/close", {"sessionId": session})
