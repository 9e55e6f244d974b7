"""Answers that go on: when something is written, when nothing is, and when a client is given up."""

from typing import Any

import anyio
from starlette.requests import Request

from ars_gateway.http.sse import EVENTS, LINES, LONGEST_ID, Streamed, event, last_event_id


class Told:
    """A source of what `say` is given."""

    def __init__(self) -> None:
        self.waiting: list[bytes] = []
        self.over = False
        self.asked = 0
        self._more = anyio.Event()

    def say(self, *told: bytes, last: bool = False) -> None:
        self.waiting += told
        self.over = last
        self._more.set()
        self._more = anyio.Event()

    def ready(self) -> bytes | None:
        self.asked += 1
        told, self.waiting = b"".join(self.waiting), []
        return None if self.over and not told else told

    async def more(self) -> None:
        await self._more.wait()


class Client:
    """The other side of ASGI: takes what it is sent while it is `open`, and says how much waits."""

    def __init__(self, method: str = "POST") -> None:
        self.sent: list[Any] = []
        self.left = anyio.Event()
        self.open = anyio.Event()
        self.open.set()
        self.unsent = 0
        self.dropped = anyio.Event()
        state = {"unsent": lambda: self.unsent, "drop": self.dropped.set}
        self.scope = {"type": "http", "method": method, "headers": [], "query_string": b"", "state": state}
        self._came = anyio.Event()

    async def send(self, message: Any) -> None:
        await self.open.wait()
        self.sent.append(message)
        self._came.set()
        self._came = anyio.Event()

    async def receive(self) -> Any:
        await self.left.wait()
        return {"type": "http.disconnect"}

    @property
    def body(self) -> bytes:
        return b"".join(it["body"] for it in self.sent if it["type"] == "http.response.body")

    async def until(self, body: bytes) -> None:
        while self.body != body:
            await self._came.wait()


async def test_what_is_ready_is_written_at_once_and_in_one_piece():
    source, client = Told(), Client()
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Streamed(source, stalled=5), client.scope, client.receive, client.send)
            source.say(b"a", b"b")
            await client.until(b"ab")
            source.say(b"c")
            await client.until(b"abc")
            source.say(last=True)
    start, *bodies = client.sent
    assert (start["status"], dict(start["headers"])) == (
        200,
        {
            b"content-type": b"text/event-stream",
            b"cache-control": b"no-store",
            b"x-accel-buffering": b"no",
            b"x-content-type-options": b"nosniff",
        },
    )
    assert [(it["body"], it["more_body"]) for it in bodies] == [(b"ab", True), (b"c", True), (b"", False)]


async def test_nothing_is_asked_of_a_source_while_the_client_takes_nothing():
    source, client = Told(), Client()
    source.say(b"a")
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Streamed(source, stalled=5), client.scope, client.receive, client.send)
            await client.until(b"a")
            client.open = anyio.Event()
            source.say(b"b")
            await anyio.wait_all_tasks_blocked()
            asked = source.asked
            source.say(b"c")
            source.say(b"d")
            await anyio.wait_all_tasks_blocked()
            assert source.asked == asked
            client.open.set()
            await client.until(b"abcd")
            source.say(last=True)


async def test_a_silent_stream_of_events_comments_and_one_of_lines_does_not():
    source, client, lines = Told(), Client(), Client()
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            kept = Streamed(source, EVENTS, stalled=5, keep_alive=0.05)
            tasks.start_soon(kept, client.scope, client.receive, client.send)
            silent = Streamed(source, LINES, stalled=5, keep_alive=0.05)
            tasks.start_soon(silent, lines.scope, lines.receive, lines.send)
            await client.until(b":\n\n:\n\n")
            assert lines.body == b""
            client.left.set()
            lines.left.set()


async def test_a_client_that_takes_nothing_is_dropped_and_one_that_is_slow_is_not():
    source, stuck, slow = Told(), Client(), Client()
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            stuck.unsent = 10
            slow.unsent = 1_000_000
            for client in (stuck, slow):
                tasks.start_soon(Streamed(source, stalled=1), client.scope, client.receive, client.send)
            while not stuck.dropped.is_set():
                slow.unsent -= 1
                with anyio.move_on_after(0.02):
                    await stuck.dropped.wait()
            assert not slow.dropped.is_set()
            stuck.left.set()
            slow.left.set()


async def test_a_client_that_leaves_ends_the_answer():
    source, client = Told(), Client()
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Streamed(source, stalled=5), client.scope, client.receive, client.send)
            await anyio.wait_all_tasks_blocked()
            client.left.set()


async def test_a_head_request_gets_the_head():
    client = Client("HEAD")
    with anyio.fail_after(20):
        await Streamed(Told(), stalled=5)(client.scope, client.receive, client.send)
    assert [it["type"] for it in client.sent] == ["http.response.start", "http.response.body"]


def test_an_event_has_a_name_data_and_an_id_where_it_can_be_taken_up_from():
    assert event("token", "{}") == "event: token\ndata: {}\n\n"
    assert event("token", "{}", "f-1") == "event: token\ndata: {}\nid: f-1\n\n"


def asked(query: bytes = b"", *headers: tuple[bytes, bytes]) -> Request:
    return Request({"type": "http", "query_string": query, "headers": headers})


def test_where_a_client_was_is_in_its_header_or_its_query():
    assert last_event_id(asked(b"last_event_id=a-1", (b"last-event-id", b"b-2"))) == "b-2"
    assert last_event_id(asked(b"last_event_id=a-1")) == "a-1"
    assert last_event_id(asked()) == ""
    assert last_event_id(asked(b"", (b"last-event-id", b"x" * (LONGEST_ID + 1)))) == "x" * LONGEST_ID
