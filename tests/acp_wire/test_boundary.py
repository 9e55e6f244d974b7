"""What must neither end a connection nor fill the memory: callbacks that fail, odd answers, a peer that floods."""

from typing import Any

import anyio
import pytest

from acp_wire import errors, framing, methods
from acp_wire.connection import AGENT_SIDE, Call, Connection
from acp_wire.errors import RpcError
from acp_wire.streams import MemoryStream, memory_pair
from tests.acp_wire.test_connection import Agent, answers, reading, serving

INITIALIZE = b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":1}}\n'
Told = list[tuple[str, dict[str, Any]]]


def fail(*_: object) -> None:
    raise OSError("No space left on device")


@pytest.mark.parametrize("moment", ["then", "ended"])
async def test_a_callback_of_a_request_that_fails_is_told_and_the_next_request_answered(moment: str) -> None:
    class Failing(Agent):
        def received(self, call: Call) -> None:
            getattr(call, moment)(fail)

    told: Told = []
    async with serving(Failing(), on_event=lambda *event: told.append(event)) as (near, _):
        for _ in range(2):
            near.write(INITIALIZE)
            assert (await answers(near, 1))[0]["result"] == {"protocolVersion": 1}
    assert [type(fields["error"]) for name, fields in told if name == "handler.failed"] == [OSError] * 2


async def test_a_program_that_fails_when_a_request_comes_refuses_it_and_answers_the_next() -> None:
    class Failing(Agent):
        def received(self, call: Call) -> None:
            if call.id == 1:
                fail()

    async with serving(Failing()) as (near, _):
        near.write(INITIALIZE + INITIALIZE.replace(b'"id":1', b'"id":2'))
        refused, answered = await answers(near, 2)
        assert refused["error"]["code"] == errors.INTERNAL_ERROR
        assert answered["id"] == 2


async def test_a_program_that_fails_when_it_hears_of_the_end_does_not_keep_its_requests_open() -> None:
    class Failing(Agent):
        def closed(self) -> None:
            fail()

    async with serving(Failing()) as (near, connection):
        near.write(b'{"jsonrpc":"2.0","id":5,"method":"session/prompt","params":{"sessionId":"rude","prompt":[]}}\n')
        while not connection.in_flight:
            await anyio.lowlevel.checkpoint()
    assert connection.in_flight == 0


async def _late(near: MemoryStream, connection: Connection, late: Any) -> None:
    """Gives up on a request of ours, and then answers it."""
    with pytest.raises(errors.RequestTimeout):
        await connection.request(methods.FS_READ_TEXT_FILE, reading("/a"), timeout=0.01, late=late)
    near.write(b'{"jsonrpc":"2.0","id":1,"result":{"content":"x"}}\n')


async def test_giving_back_a_late_answer_may_fail() -> None:
    async with serving() as (near, connection):
        await _late(near, connection, fail)
        near.write(INITIALIZE)
        while not any(answer.get("id") == 1 and "result" in answer for answer in await answers(near, 1)):
            pass


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b'"result":{"content":"x"},"error":null', "x"),
        (b'"error":null', errors.INTERNAL_ERROR),
        (b'"error":7', errors.INTERNAL_ERROR),
        (b'"result":null,"error":{"code":-32002,"message":"no"}', errors.NOT_FOUND),
    ],
)
async def test_an_error_that_is_null_is_none(answer: bytes, expected: object) -> None:
    near, far = memory_pair()
    connection = Connection(far, Agent(), AGENT_SIDE)
    got: list[object] = []

    async def ask() -> None:
        try:
            got.append((await connection.request(methods.FS_READ_TEXT_FILE, reading("/a"))).content)
        except RpcError as why:
            got.append(why.code)
        await near.aclose()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(connection.serve)
            tasks.start_soon(ask)
            await near.receive()
            near.write(b'{"jsonrpc":"2.0","id":1,%b}\n' % answer)
    assert got == [expected]


LONG = b"x" * 1_000_000


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc":"2.0","id":"%b","method":"initialize","params":{"protocolVersion":1}}' % LONG,
        b'{"jsonrpc":"2.0","id":"%b","method":7}' % LONG,
        b'{"jsonrpc":"2.0","id":"%b","result":{}}' % LONG,
        b'{"jsonrpc":"2.0","id":%b1%b,"result":{}}' % (b"[" * 1000, b"]" * 1000),
        b'{"jsonrpc":"2.0","method":"%b"}' % LONG,
        b'{"jsonrpc":"2.0","id":2,"method":"%b"}' % LONG,
    ],
)
async def test_what_is_told_of_a_message_is_short_whatever_it_holds(line: bytes) -> None:
    told: Told = []
    async with serving(on_event=lambda *event: told.append(event)) as (near, _):
        near.write(line + b"\n" + INITIALIZE)
        while not any(fields.get("id") == 1 for _, fields in told):
            await near.receive()
    assert told
    assert all(len(framing.encode(list(fields.values()))) < 2000 for _, fields in told)


async def test_a_result_that_is_nested_too_deep_is_an_internal_error() -> None:
    class Deep(Agent):
        async def session_delete(self, params: Any, call: Call) -> dict[str, Any]:
            result: dict[str, Any] = {}
            for _ in range(100_000):
                result = {"r": result}
            return result

    async with serving(Deep()) as (near, _):
        near.write(b'{"jsonrpc":"2.0","id":1,"method":"session/delete","params":{"sessionId":"s"}}\n')
        assert (await answers(near, 1))[0]["error"]["code"] == errors.INTERNAL_ERROR


async def test_a_peer_that_only_writes_and_never_reads_is_left() -> None:
    near, far = memory_pair()
    connection = Connection(far, Agent(), AGENT_SIDE, unread_limit=1000)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(connection.serve)
            for _ in range(50):
                near.write(b"1\n")
                for _ in range(3):
                    await anyio.lowlevel.checkpoint()
    assert connection.counts["peer.not_reading"] == 1
    assert connection.stream.buffered < 1500


async def test_more_requests_at_once_than_anybody_needs_are_refused_and_the_others_go_on() -> None:
    agent = Agent()
    prompt = b'{"jsonrpc":"2.0","id":%d,"method":"session/prompt","params":{"sessionId":"s","prompt":[]}}\n'
    async with serving(agent, in_flight_limit=3) as (near, _):
        near.write(b"".join(prompt % number for number in range(5)))
        assert [(it["id"], it["error"]["code"]) for it in await answers(near, 2)] == [
            (3, errors.INVALID_REQUEST),
            (4, errors.INVALID_REQUEST),
        ]
        agent.release.set()
        assert [it["id"] for it in await answers(near, 3)] == [0, 1, 2]


async def test_work_that_nobody_waits_for_fails_as_a_handler_does() -> None:
    told: Told = []
    near, _ = memory_pair()
    connection = Connection(near, Agent(), AGENT_SIDE, on_event=lambda *event: told.append(event))

    async def work() -> None:
        fail()

    await connection.guarded("_session/steering", work)
    [(name, fields)] = told
    assert (name, fields["method"], type(fields["error"])) == ("handler.failed", "_session/steering", OSError)
