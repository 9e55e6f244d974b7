"""The remote transport over HTTP, request by request, in front of an agent that does as it is told."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ars_gateway.access.auth import Credential, Credentials, digest
from ars_gateway.access.scopes import READ
from ars_gateway.config import Config, DoorConfig
from ars_gateway.limits import LIMITS
from tests.gateway.http.asking import asking, error_of
from tests.gateway.http.editors import AGENT, Editor, editor, gone
from tests.gateway.talking import GUEST, admit_guest
from tests.support.waiting import until

INITIALIZE = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": 1}}


async def opened(one: Editor) -> str:
    """A session, and its stream and the connection's."""
    await one.initialize()
    await one.listen()
    session: str = (await one.request("session/new", {"cwd": "/p", "mcpServers": []}))["result"]["sessionId"]
    await one.listen(session)
    return session


# ── a conversation ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_initialize_opens_a_connection_and_delete_ends_it_with_its_agent(served):
    async with served() as running, editor(running) as one:
        await one.initialize()
        assert one.told["_meta"]["cwd"] == running.gateway.talks.workspace
        assert len(one.id) >= 43
        stream = await one.listen()
        answer = await one.http.delete("/acp", headers=one.headers())
        assert (answer.status_code, answer.content) == (202, b"")
        await gone(one.pid)
        await stream.over.wait()
        assert (await one.http.delete("/acp", headers=one.headers())).status_code == 404
        assert (await one.post(INITIALIZE | {"method": "x"})).status_code == 404


async def test_what_is_of_a_session_comes_on_its_stream_and_the_rest_on_the_connections(served):
    async with served() as running, editor(running) as one:
        session = await opened(one)
        ask = ["ask", ["fs/read_text_file", {"sessionId": session, "path": "/p/ä"}]]
        id = await one.do(session, ["say", [2, 0]], ask, ["ask", ["_global", {}]])
        connection, own = one.streams
        asked = await one.until(lambda: [it for it in own.messages if it.get("id") == "ask-0"])
        assert asked[0]["params"]["path"] == "/p/ä"
        # Whoever answers names the session, or does not: one of the official SDKs does, the other does not.
        assert (await one.post({"jsonrpc": "2.0", "id": "ask-0", "result": {"a": 1}})).status_code == 202
        await one.until(lambda: [it for it in connection.messages if it.get("id") == "ask-1"])
        assert (await one.post({"jsonrpc": "2.0", "id": "ask-1", "result": {"b": 2}}, session)).status_code == 202
        answer = await one.answer(id)
        assert [it.get("result") for it in answer["result"]["_meta"]["asked"]] == [{"a": 1}, {"b": 2}]
        assert own.texts() == ["000000", "000001"]
        assert own.messages[-1] == answer
        assert [it.get("id") for it in connection.messages] == [1, "ask-1"]


async def test_what_came_before_anybody_listened_waits_in_order(served):
    async with served() as running, editor(running) as one:
        await one.initialize()
        first = await one.begin("session/new", {"cwd": "/p"})
        second = await one.begin("session/new", {"cwd": "/p"})
        await until(lambda: running.gateway.remotes.owned.has("owner", "main", "session-2"))
        await one.do("session-2", ["say", [3, 1]])
        stream = await one.listen()
        await one.answer(second)
        assert [it["id"] for it in stream.messages] == [first, second]
        await one.listen("session-2")
        await one.until(lambda: len(one.streams[1].messages) == 4)
        assert one.streams[1].texts() == ["000000", "000001", "000002"]


async def test_two_sessions_do_not_see_each_others_messages(served):
    async with served() as running, editor(running) as one:
        first = await opened(one)
        second = (await one.request("session/new", {}))["result"]["sessionId"]
        other = await one.listen(second)
        await one.answer(await one.do(first, ["say", [2, 0]]))
        await one.answer(await one.do(second, ["say", [3, 0]]))
        assert [len(one.streams[1].texts()), len(other.texts())] == [2, 3]


async def test_a_session_that_is_loaded_has_its_stream_where_its_header_or_a_stream_says_so(served):
    params = {"sessionId": "old", "cwd": "/p"}
    async with served() as running, editor(running) as one:
        running.gateway.remotes.owned.add("owner", "main", "old")
        await one.initialize()
        connection = await one.listen()
        # As the Python SDK does it: what is replayed tells the client of the session.
        loading = await one.begin("session/load", params)
        assert (await one.answer(loading))["result"] is None
        assert [it.get("method", it.get("id")) for it in connection.messages] == ["session/update", loading]
        later = await one.listen("old")
        await one.answer(await one.do("old", ["say", [1, 0]]))
        assert (len(connection.texts()), later.messages) == (2, [])
    async with served() as running, editor(running) as one:
        running.gateway.remotes.owned.add("owner", "main", "older")
        await one.initialize()
        connection = await one.listen()
        # As the TypeScript SDK does it: the answer stays behind what is replayed.
        own = await one.listen("old")
        loading = await one.begin("session/load", params, "old")
        await one.answer(loading)
        assert [it.get("method", it.get("id")) for it in own.messages] == ["session/update", loading]
        # As the RFD has it: the answer on the connection's stream, what is replayed on that which is opened then.
        again = await one.begin("session/load", params | {"sessionId": "older"}, "older")
        await one.answer(again)
        assert [it.get("id") for it in connection.messages] == [again]
        older = await one.listen("older")
        await one.until(lambda: older.messages)


async def test_messages_are_passed_on_as_they_are(served):
    line = (
        '{"jsonrpc":"2.0","method":"x/y","params":{"big":123456789012345678901234567890,"f":1.0,"t":"\\u0000ä\\n世😀"}}'
    )
    async with served() as running, editor(running) as one:
        session = await opened(one)
        await one.answer(await one.do(session, ["raw", line], ["raw", "no message at all"], ["raw", "[1]"]))
        await one.until(lambda: len(one.streams[0].messages) == 2)
        assert one.streams[0].messages[1] == json.loads(line)
        # A message of an editor's may stand on many lines; an agent reads one.
        pretty = json.dumps({"jsonrpc": "2.0", "id": 77, "method": "x", "params": {"t": "ä\n\x00😀"}}, indent=2)
        assert (await one.post(pretty.encode())).status_code == 202
        assert (await one.answer(77))["result"]["params"] == {"t": "ä\n\x00😀"}


# ── what is refused ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b'"text"', 400),
        (b"7", 400),
        (b"{}", 400),
        (b'{"method": 5, "id": 1}', 400),
        (b'{"method": ["session/new"], "id": 1}', 400),
        (b'{"jsonrpc": "2.0", "method": "x", "n": NaN}', 400),
        (b"\xff{}", 400),
        (b"[" * 100_000, 400),
        (b'[{"jsonrpc": "2.0", "id": 1, "method": "x"}]', 501),
        (b"[]", 501),
        (b'{"jsonrpc": "2.0", "method": "initialize"}', 202),
        (b'{"jsonrpc": "2.0", "id": null, "method": "x"}', 202),
        (b'{"jsonrpc": "2.0", "id": 5, "method": "initialize"}', 400),
        (b'{"jsonrpc": "2.0", "id": 5, "method": "session/prompt", "params": {"sessionId": "s"}}', 400),
    ],
)
async def test_a_body_that_is_no_message_is_refused_and_the_connection_goes_on(served, body, status):
    async with served() as running, editor(running) as one:
        await one.initialize()
        answer = await one.post(body)
        assert answer.status_code == status
        if status >= 400:
            assert error_of(answer)["code"] == "INVALID_MESSAGE"
        await one.listen()
        assert (await one.request("echo", {"a": 1}))["result"] == {"method": "echo", "params": {"a": 1}}


async def test_requests_that_lack_something_are_refused_as_the_transport_says(served):
    message = INITIALIZE | {"method": "x"}
    prompt = INITIALIZE | {"method": "session/prompt", "params": {"sessionId": "s"}}
    events = {"accept": "text/event-stream"}
    async with served() as running, editor(running) as one:
        assert (await one.http.post("/acp", json=message)).status_code == 400
        assert (await one.http.get("/acp", headers=events)).status_code == 400
        assert (await one.http.delete("/acp")).status_code == 400
        await one.initialize()
        own = one.headers()
        assert (
            await one.http.post("/acp", content=b"{}", headers=own | {"content-type": "text/plain"})
        ).status_code == 415
        assert (await one.http.post("/acp", content=b"{}", headers=own)).status_code == 415
        assert (await one.http.get("/acp", headers=own | {"accept": "application/json"})).status_code == 406
        assert (await one.post(prompt, "other")).status_code == 400
        assert (await one.post(prompt, "s" * 257)).status_code == 400
        twice = [*own.items(), ("acp-connection-id", one.id)]
        assert (await one.http.get("/acp", headers=[*twice, *events.items()])).status_code == 400
        assert (await one.http.head("/acp", headers=own | events)).status_code == 405
        put = await one.http.put("/acp", headers=own)
        assert (put.status_code, put.headers["allow"]) == (405, "DELETE, GET, HEAD, POST")


async def test_a_message_that_is_too_long_is_refused_before_all_of_it_came(served):
    async with served(limits=replace(LIMITS, remote_message_bytes=100_000)) as running, editor(running) as one:
        await one.initialize()
        assert (await one.post(b" " * 100_001)).status_code == 413
        await one.listen()
        assert "result" in await one.request("echo")


async def test_an_agent_that_is_unknown_or_not_named_by_the_configuration_is_not_found(served):
    async with served() as running, editor(running) as one:
        for agent in ("nobody", "", "../main", "m" * 9000):
            answer = await one.http.post("/acp", params={"agent": agent}, json=INITIALIZE)
            assert answer.status_code == (200 if agent == "" else 404), agent
        assert (await one.http.post("/acp", headers={"acp-agent": "nobody"}, json=INITIALIZE)).status_code == 404
        assert (await one.http.post("/acp", headers={"acp-agent": "main"}, json=INITIALIZE)).status_code == 200


@pytest.mark.parametrize("config", [Config(), Config(gateway=DoorConfig(remote_agents=[]))])
async def test_an_agent_with_hands_of_its_own_serves_nobody_elsewhere_unless_it_is_named(start, config):
    async with start(agent=AGENT, config=config) as running, editor(running) as one:
        answer = await one.http.post("/acp", json=INITIALIZE)
        assert answer.status_code == 404
        assert "remoteAgents" in error_of(answer)["message"]
        assert len(running.gateway.remotes) == 0


async def test_an_agent_that_cannot_be_started_or_does_not_answer_says_so_and_leaves_nothing(served):
    async with served(agent="/no/such/agent") as running, editor(running) as one:
        answer = await one.http.post("/acp", json=INITIALIZE)
        assert (answer.status_code, error_of(answer)["code"]) == (503, "AGENT_UNAVAILABLE")
    async with served(agent="/bin/false") as running, editor(running) as one:
        answer = await one.http.post("/acp", json=INITIALIZE)
        assert answer.status_code == 503
        assert "exit status 1" in error_of(answer)["message"]
    limits = replace(LIMITS, remote_start_seconds=0.3)
    async with served(limits=limits) as running, editor(running) as one:
        answer = await one.http.post("/acp", json=INITIALIZE | {"params": {"_meta": "never"}})
        assert (answer.status_code, error_of(answer)["retryable"]) == (504, True)


async def test_an_mcp_server_that_is_a_program_is_not_started_here(served):
    program = {"name": "x", "command": "/bin/sh", "args": [], "env": []}
    async with served() as running, editor(running) as one:
        session = await opened(one)
        for method, header in (("session/new", None), ("session/load", session), ("session/resume", session)):
            params = {"sessionId": session, "cwd": "/p"}
            for servers in (
                [program],
                [program | {"type": "stdio"}],
                [{"type": "http", "command": "x"}],
                {"0": program},
                [[]],
            ):
                answer = await one.request(method, params | {"mcpServers": servers}, header)
                assert answer["error"]["code"] == -32602, servers
            served_by = [{"type": "http", "name": "x", "url": "http://x", "headers": []}]
            assert "result" in await one.request(method, params | {"mcpServers": served_by}, header)


# ── whose ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_nobody_comes_in_without_a_credential_or_without_the_scope(served):
    async with served() as running:
        for headers in ({}, {"authorization": "Bearer wrong"}):
            async with asking(running, headers=headers) as client:
                for method in ("POST", "GET", "DELETE"):
                    assert (await client.request(method, "/acp", json=INITIALIZE)).status_code == 401
        held = (Credential("owner", digest("reader-token-000"), frozenset({READ})),)
        running.gateway.credentials = Credentials("token", held)
        async with asking(running, headers={"authorization": "Bearer reader-token-000"}) as client:
            for method in ("POST", "GET", "DELETE"):
                assert (await client.request(method, "/acp", json=INITIALIZE)).status_code == 403
        assert len(running.gateway.remotes) == 0


async def test_a_thousand_foreign_ids_are_as_unknown_as_those_that_never_were(served):
    async with served() as running:
        admit_guest(running)
        async with editor(running) as mine, editor(running, headers={"authorization": f"Bearer {GUEST}"}) as theirs:
            await mine.initialize()
            ids = [mine.id, mine.id[:-1], mine.id.swapcase(), "x" * 43, "0", *(f"{n:043d}" for n in range(995))]
            answers = set()
            for theirs.id in ids:
                listened = await theirs.http.get("/acp", headers=theirs.headers(accept="*/*"))
                posted = await theirs.post(INITIALIZE | {"method": "x"})
                answers |= {(listened.status_code, listened.content), (posted.status_code, posted.content)}
            ended = await theirs.http.delete("/acp", headers=theirs.headers())
            answers.add((ended.status_code, ended.content))
            assert {status for status, _ in answers} == {404}
            assert len(answers) == 1
            await mine.listen()
            assert "result" in await mine.request("echo")


async def test_a_principal_has_so_many_connections_and_gets_the_next_when_one_is_over(served):
    limits = replace(LIMITS, remote_connections=3)
    async with served(limits=limits) as running:
        admit_guest(running)
        async with editor(running) as one, editor(running, headers={"authorization": f"Bearer {GUEST}"}) as guest:
            for _ in range(3):
                await one.initialize()
            answer = await one.http.post("/acp", json=INITIALIZE)
            assert (answer.status_code, error_of(answer)["code"]) == (429, "RATE_LIMITED")
            await guest.initialize()
            assert (await one.http.delete("/acp", headers=one.headers())).status_code == 202
            await one.initialize()


async def test_our_own_agent_keeps_each_principals_sessions_apart_and_starts_no_programs(start, tmp_path, monkeypatch):
    def environment(remote: Any) -> dict[str, str]:
        raw = Path(f"/proc/{remote._process.child.pid}/environ").read_bytes().decode()
        return dict(line.split("=", 1) for line in raw.split("\0") if line)

    monkeypatch.setenv("ARS_MCP_STDIO", "1")
    monkeypatch.setenv("ARS_STORE", f"jsonl:{tmp_path}/everybody")
    async with start() as running:
        admit_guest(running)
        async with editor(running) as one, editor(running, headers={"authorization": f"Bearer {GUEST}"}) as guest:
            await one.http.post("/acp", json=INITIALIZE)
            await guest.http.post("/acp", json=INITIALIZE)
            found = [environment(it) for it in running.gateway.remotes._all.values()]
    assert [it["ARS_MCP_STDIO"] for it in found] == ["0", "0"]
    stores = {it["ARS_STORE"] for it in found}
    assert len(stores) == 2
    assert all(it.startswith(f"jsonl:{running.gateway.settings.state_dir}/remote/") for it in stores)
