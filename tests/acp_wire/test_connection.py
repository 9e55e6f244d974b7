"""The connection: what each kind of line gets for an answer, and that nothing ends it."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import anyio
import orjson
import pytest

from acp_wire import errors, methods
from acp_wire.connection import AGENT_SIDE, CLIENT_SIDE, Call, Connection
from acp_wire.errors import ConnectionClosed, RequestTimeout, RpcError
from acp_wire.streams import MemoryStream, memory_pair


class Agent:
    """Answers `session/new` with the cwd it was given, and keeps a prompt open until it is told to end."""

    def __init__(self) -> None:
        self.cancelled: list[str] = []
        self.prompted = anyio.Event()
        self.release = anyio.Event()

    async def initialize(self, params: Any, call: Call) -> dict[str, Any]:
        return {"protocolVersion": params.protocol_version}

    async def session_new(self, params: Any, call: Call) -> dict[str, Any]:
        return {"sessionId": params.cwd}

    async def session_prompt(self, params: Any, call: Call) -> dict[str, Any]:
        call.if_cancelled = {"stopReason": "cancelled"} if params.session_id == "polite" else None
        self.prompted.set()
        await self.release.wait()
        return {"stopReason": "end_turn"}

    async def session_close(self, params: Any, call: Call) -> dict[str, Any]:
        raise ZeroDivisionError("secret detail")

    async def session_delete(self, params: Any, call: Call) -> dict[str, Any]:
        return {"bad": float("nan"), "worse": object()}

    def session_cancel(self, params: Any) -> None:
        self.cancelled.append(params.session_id)


@contextlib.asynccontextmanager
async def serving(agent: object | None = None, **options: Any) -> AsyncIterator[tuple[MemoryStream, Connection]]:
    near, far = memory_pair()
    connection = Connection(far, agent or Agent(), AGENT_SIDE, **options)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(connection.serve)
            yield near, connection
            await near.aclose()


async def answers(near: MemoryStream, count: int) -> list[dict[str, Any]]:
    got = b""
    while got.count(b"\n") < count:
        data = await near.receive()
        assert data, f"the connection ended after {got!r}"
        got += data
    return [orjson.loads(line) for line in got.splitlines()]


async def exchange(line: bytes) -> dict[str, Any]:
    """The answer to `line`, after having seen that the next request is answered too."""
    async with serving() as (near, _):
        near.write(
            line + b"\n" + b'{"jsonrpc":"2.0","id":"next","method":"initialize","params":{"protocolVersion":1}}\n'
        )
        first, second = await answers(near, 2)
        if first.get("id") == "next":
            first, second = second, first
        assert second == {"jsonrpc": "2.0", "id": "next", "result": {"protocolVersion": 1}}
        return first


BAD_LINES = {
    b"hello": (None, errors.PARSE_ERROR),
    b'{"jsonrpc":"2.0","id":1,"method"': (None, errors.PARSE_ERROR),
    b'{"jsonrpc":"2.0","id":1,"method":"initialize"}{}': (None, errors.PARSE_ERROR),
    b'"\xff\xfe"': (None, errors.PARSE_ERROR),
    b'{"id":NaN}': (None, errors.PARSE_ERROR),
    b'{"id":1e999}': (None, errors.PARSE_ERROR),
    b"1" * 5000: (None, errors.PARSE_ERROR),
    b"[" * 100_000 + b"]" * 100_000: (None, errors.PARSE_ERROR),
    b"[" * 1_000 + b"]" * 1_000: (None, errors.INVALID_REQUEST),
    b'{"jsonrpc":"2.0","id":1,"method":"x","params":' + b'{"a":' * 1_000 + b"1" + b"}" * 1_001: (
        1,
        errors.METHOD_NOT_FOUND,
    ),
    b"[]": (None, errors.INVALID_REQUEST),
    b'[{"jsonrpc":"2.0","id":1,"method":"initialize"}]': (None, errors.INVALID_REQUEST),
    b"null": (None, errors.INVALID_REQUEST),
    b"1": (None, errors.INVALID_REQUEST),
    b'"s"': (None, errors.INVALID_REQUEST),
    b"{}": (None, errors.INVALID_REQUEST),
    b'{"jsonrpc":"2.0","id":7}': (7, errors.INVALID_REQUEST),
    b'{"id":7,"method":"initialize"}': (7, errors.INVALID_REQUEST),
    b'{"jsonrpc":"1.0","id":"a","method":"initialize"}': ("a", errors.INVALID_REQUEST),
    b'{"jsonrpc":"2.0","id":7,"method":5}': (7, errors.INVALID_REQUEST),
    b'{"jsonrpc":"2.0","id":1.5,"method":"initialize"}': (None, errors.INVALID_REQUEST),
    b'{"jsonrpc":"2.0","id":true,"method":"initialize"}': (None, errors.INVALID_REQUEST),
    b'{"jsonrpc":"2.0","id":{"a":1},"method":"initialize"}': (None, errors.INVALID_REQUEST),
    b'{"jsonrpc":"2.0","id":[1],"method":"initialize"}': (None, errors.INVALID_REQUEST),
    b'{"jsonrpc":"2.0","id":8,"method":"session/unheard_of"}': (8, errors.METHOD_NOT_FOUND),
    b'{"jsonrpc":"2.0","id":8,"method":"_vendor/x","params":{}}': (8, errors.METHOD_NOT_FOUND),
    b'{"jsonrpc":"2.0","id":8,"method":"session/load","params":{}}': (8, errors.METHOD_NOT_FOUND),
    b'{"jsonrpc":"2.0","id":8,"method":"session/new","params":{"cwd":1,"mcpServers":[]}}': (8, errors.INVALID_PARAMS),
    b'{"jsonrpc":"2.0","id":8,"method":"session/new","params":[1]}': (8, errors.INVALID_PARAMS),
    b'{"jsonrpc":"2.0","id":8,"method":"session/new","params":"x"}': (8, errors.INVALID_PARAMS),
    b'{"jsonrpc":"2.0","id":8,"method":"session/new"}': (8, errors.INVALID_PARAMS),
    b'{"jsonrpc":"2.0","id":8,"method":"session/new","params":null}': (8, errors.INVALID_PARAMS),
    b'{"jsonrpc":"2.0","id":9,"method":"session/close","params":{"sessionId":"s"}}': (9, errors.INTERNAL_ERROR),
    b'{"jsonrpc":"2.0","id":9,"method":"session/delete","params":{"sessionId":"s"}}': (9, errors.INTERNAL_ERROR),
}


@pytest.mark.parametrize("line", BAD_LINES, ids=lambda line: line[:60].decode("ascii", "replace"))
async def test_a_bad_line_gets_one_error_with_its_id_where_readable_and_the_next_request_is_answered(
    line: bytes,
) -> None:
    answer = await exchange(line)

    assert (answer["id"], answer["error"]["code"]) == BAD_LINES[line]
    assert "secret" not in orjson.dumps(answer).decode()


GOOD_IDS = [b"0", b"-1", b'""', b'"a"', b"null", b"9007199254740993", b"18446744073709551617", b"-9223372036854775809"]


@pytest.mark.parametrize("raw_id", GOOD_IDS)
async def test_an_id_comes_back_exactly_as_it_went(raw_id: bytes) -> None:
    async with serving() as (near, _):
        near.write(b'{"jsonrpc":"2.0","id":%b,"method":"initialize","params":{"protocolVersion":1}}\n' % raw_id)
        line = await near.receive()
    assert b'"id":%b,' % raw_id in line or b'"id":%b}' % raw_id in line


async def test_blank_lines_carriage_returns_and_a_byte_order_mark_are_accepted() -> None:
    async with serving() as (near, connection):
        near.write(
            b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":1}}\r\n\n  \r\n'
        )
        assert (await answers(near, 1))[0]["result"] == {"protocolVersion": 1}
        assert not connection.counts


async def test_a_request_that_ends_without_a_newline_is_served_when_the_stream_ends() -> None:
    seen: list[str] = []

    class Listener(Agent):
        def received(self, call: Call) -> None:
            seen.append(call.method)

    async with serving(Listener()) as (near, _):
        near.write(b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":1}}')
    assert seen == ["initialize"]


async def test_answers_nobody_waits_for_and_unknown_notifications_are_counted_and_get_no_reply() -> None:
    async with serving() as (near, connection):
        near.write(b'{"jsonrpc":"2.0","id":99,"result":{}}\n{"jsonrpc":"2.0","id":true,"result":{}}\n')
        near.write(
            b'{"jsonrpc":"2.0","method":"session/strange"}\n{"jsonrpc":"2.0","method":"session/cancel","params":[]}\n'
        )
        near.write(b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":1}}\n')
        assert [answer["id"] for answer in await answers(near, 1)] == [1]
    assert connection.counts == {"answer.unknown": 2, "notification.unknown": 1, "notification.malformed": 1}


async def test_a_second_request_with_an_id_in_flight_is_refused_and_the_first_one_goes_on() -> None:
    agent = Agent()
    async with serving(agent) as (near, _):
        prompt = b'{"jsonrpc":"2.0","id":"p","method":"session/prompt","params":{"sessionId":"s","prompt":[]}}\n'
        near.write(prompt + prompt)
        [refused] = await answers(near, 1)
        assert (refused["id"], refused["error"]["code"]) == ("p", errors.INVALID_REQUEST)
        agent.release.set()
        assert (await answers(near, 1))[0]["result"] == {"stopReason": "end_turn"}


async def test_the_integer_1_the_string_1_and_null_are_three_ids() -> None:
    async with serving() as (near, _):
        for raw_id in (b"1", b'"1"', b"null"):
            near.write(b'{"jsonrpc":"2.0","id":%b,"method":"initialize","params":{"protocolVersion":1}}\n' % raw_id)
        assert [answer["id"] for answer in await answers(near, 3)] == [1, "1", None]


@pytest.mark.parametrize(("session", "expected"), [("rude", "error"), ("polite", "result")])
async def test_cancel_request_ends_the_request_with_its_own_answer_or_request_cancelled(
    session: str, expected: str
) -> None:
    agent = Agent()
    async with serving(agent) as (near, _):
        near.write(
            b'{"jsonrpc":"2.0","id":5,"method":"session/prompt","params":{"sessionId":"%b","prompt":[]}}\n'
            % session.encode()
        )
        await agent.prompted.wait()
        near.write(b'{"jsonrpc":"2.0","method":"$/cancel_request","params":{"requestId":5}}\n')
        [answer] = await answers(near, 1)
    assert expected in answer
    assert answer.get("result", answer.get("error")) == (
        {"stopReason": "cancelled"}
        if session == "polite"
        else {"code": errors.REQUEST_CANCELLED, "message": "Request cancelled"}
    )


async def test_a_cancel_in_the_same_read_as_its_request_finds_it() -> None:
    agent = Agent()
    async with serving(agent) as (near, _):
        near.write(
            b'{"jsonrpc":"2.0","id":5,"method":"session/prompt","params":{"sessionId":"rude","prompt":[]}}\n'
            b'{"jsonrpc":"2.0","method":"$/cancel_request","params":{"requestId":5}}\n'
        )
        assert (await answers(near, 1))[0]["error"]["code"] == errors.REQUEST_CANCELLED


async def test_a_line_over_the_limit_is_refused_at_once_and_the_next_one_served() -> None:
    async with serving(limit=1000) as (near, _):
        near.write(b"x" * 1500)
        assert (await answers(near, 1))[0]["error"]["code"] == errors.INVALID_REQUEST
        near.write(b'x\n{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":1}}\n')
        assert (await answers(near, 1))[0]["id"] == 1


async def test_a_line_that_never_ends_closes_the_connection() -> None:
    near, far = memory_pair()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Connection(far, Agent(), AGENT_SIDE, limit=1000).serve)
            near.write(b"x" * 2500)
        assert [answer["error"]["code"] for answer in await answers(near, 2)] == [errors.INVALID_REQUEST] * 2


class Client:
    def __init__(self) -> None:
        self.asked = anyio.Event()
        self.may_answer = anyio.Event()

    async def fs_read_text_file(self, params: Any, call: Call) -> dict[str, Any]:
        self.asked.set()
        await self.may_answer.wait()
        if params.path == "/missing":
            raise RpcError(errors.NOT_FOUND, "no such file", {"path": params.path})
        return {"content": params.path} if params.path != "/odd" else {"contents": 1}


@contextlib.asynccontextmanager
async def both_ends() -> AsyncIterator[tuple[Connection, Connection, Client]]:
    one, other = memory_pair()
    client = Client()
    agent_end, client_end = Connection(one, Agent(), AGENT_SIDE), Connection(other, client, CLIENT_SIDE)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(agent_end.serve)
            tasks.start_soon(client_end.serve)
            yield agent_end, client_end, client
            client.may_answer.set()
            await one.aclose()


def reading(path: str) -> dict[str, Any]:
    return {"sessionId": "s", "path": path}


async def test_request_returns_the_typed_answer_and_raises_the_peers_error() -> None:
    async with both_ends() as (agent_end, _, client):
        client.may_answer.set()
        answer = await agent_end.request(methods.FS_READ_TEXT_FILE, reading("/a"))
        assert answer.content == "/a"
        with pytest.raises(RpcError) as missing:
            await agent_end.request(methods.FS_READ_TEXT_FILE, reading("/missing"))
        with pytest.raises(RpcError) as malformed:
            await agent_end.request(methods.FS_READ_TEXT_FILE, reading("/odd"))
    assert (missing.value.code, missing.value.data) == (errors.NOT_FOUND, {"path": "/missing"})
    assert "content" in malformed.value.message


async def test_a_request_that_is_not_answered_in_time_raises_and_a_result_that_comes_too_late_is_handed_back() -> None:
    late: list[str] = []
    async with both_ends() as (agent_end, client_end, client):
        with pytest.raises(RequestTimeout):
            await agent_end.request(
                methods.FS_READ_TEXT_FILE, reading("/a"), timeout=0.01, late=lambda answer: late.append(answer.content)
            )
        client.may_answer.set()  # before the client has read that the request is cancelled
        assert (await agent_end.request(methods.FS_READ_TEXT_FILE, reading("/b"))).content == "/b"
        assert agent_end.counts == client_end.counts == {}
    assert late == ["/a"]


async def test_a_result_that_comes_together_with_the_cancel_is_handed_back() -> None:
    late: list[str] = []
    scope = anyio.CancelScope()

    class Cancelling(Agent):
        def session_cancel(self, params: Any) -> None:
            scope.cancel()

    async with serving(Cancelling()) as (near, connection):
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                row = methods.FS_READ_TEXT_FILE
                with scope:
                    await connection.request(row, reading("/a"), late=lambda answer: late.append(answer.content))

            tasks.start_soon(ask)
            await near.receive()
            cancel = b'{"jsonrpc":"2.0","method":"session/cancel","params":{"sessionId":"s"}}\n'
            answer = b'{"jsonrpc":"2.0","id":1,"result":{"content":"/a"}}\n'
            near.write(cancel + answer)
        near.write(b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":1}}\n')
        assert [it.get("method") for it in await answers(near, 1)] == [None]
        assert connection.counts == {}
    assert scope.cancelled_caught
    assert late == ["/a"]


async def test_a_request_that_gives_up_is_cancelled_at_the_peer() -> None:
    async with both_ends() as (agent_end, client_end, client):
        with pytest.raises(RequestTimeout):
            await agent_end.request(methods.FS_READ_TEXT_FILE, reading("/a"), timeout=0.01)
        while client_end.in_flight:
            await anyio.lowlevel.checkpoint()
        assert not client.may_answer.is_set()


async def test_a_pending_request_fails_when_the_peer_goes() -> None:
    near, far = memory_pair()
    connection = Connection(near, Agent(), AGENT_SIDE)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(connection.serve)

            async def ask() -> None:
                with pytest.raises(ConnectionClosed):
                    await connection.request(methods.FS_READ_TEXT_FILE, reading("/a"))

            tasks.start_soon(ask)
            await far.receive()
            await far.aclose()
        with pytest.raises(ConnectionClosed):
            await connection.request(methods.FS_READ_TEXT_FILE, reading("/a"))


async def test_lone_surrogates_cross_in_both_directions() -> None:
    async with both_ends() as (agent_end, _, client):
        client.may_answer.set()
        answer = await agent_end.request(methods.FS_READ_TEXT_FILE, reading("/\ud800x"))
        assert answer.content == "/\ud800x"


@pytest.mark.parametrize("cut", [False, True])
async def test_what_is_nothing_like_a_message_can_be_heard_instead_of_answered(cut: bool) -> None:
    printed = [b"Loaded.", b"[]", b"1", b"null", b'{"level":"info"}', b'{"half"', b"y" * 5000]
    heard: list[bytes] = []
    async with serving(on_noise=heard.append) as (near, connection):
        lines = b"\n".join([*printed, b'{"jsonrpc":"2.0","id":1}', b'{"id":2,"method":"initialize"}']) + b"\n"
        near.write(lines[:9] if cut else lines)
        if cut:
            await near.drain()
            near.write(lines[9:])
        refused = await answers(near, 2)
    assert heard == [line[:1024] for line in printed]
    assert [(it["id"], it["error"]["code"]) for it in refused] == [(1, -32600), (2, -32600)]
    assert connection.counts["message.noise"] == len(printed)
