"""The client's rules, from the agent's end of a connection in memory; every message is held against the schema."""

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from acp_wire import build, build_extensions, methods
from acp_wire.connection import AGENT_SIDE, Connection
from acp_wire.errors import INVALID_PARAMS, METHOD_NOT_FOUND, NOT_FOUND, REQUEST_CANCELLED, RpcError
from acp_wire.streams import memory_pair
from connector.calls import ToolCall
from connector.client import SERVED, UPDATES, Client, Filled, Hands
from connector.permissions import Act, allow_once, allow_reads, ask
from connector.workspace import Workspace
from tests.support.schema import WireCheck

OPTIONS = [
    build.permission_option("always", "Always", "allow_always"),
    build.permission_option("once", "Once", "allow_once"),
    build.permission_option("no", "No", "reject_once"),
]
FORM = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


class Tap:
    """A stream that shows every line that passes to a `WireCheck`."""

    def __init__(self, stream: Any, check: WireCheck) -> None:
        self._stream = stream
        self._check = check
        self.buffered = 0

    async def receive(self) -> bytes:
        data: bytes = await self._stream.receive()
        for line in data.splitlines():
            self._check.sent_by_agent(json.loads(line))
        return data

    def write(self, data: bytes) -> None:
        for line in data.splitlines():
            self._check.sent_by_client(json.loads(line))
        self._stream.write(data)

    async def drain(self, below: int = 0) -> None:
        await self._stream.drain(below)

    async def aclose(self) -> None:
        await self._stream.aclose()


class Agent:
    """The agent's end: it serves nothing, the tests ask."""


class Ends:
    """Both ends of a connection, with one session, `s`, whose root is `root`."""

    def __init__(self, agent: Connection, client: Client, root: Path) -> None:
        self.agent = agent
        self.client = client
        self.root = root
        self.updates: list[Any] = []
        self.hands: Hands

    async def permission(self, **tool_call: Any) -> dict[str, Any]:
        call = build.permission_tool_call("t1", **tool_call)
        answer = await self.agent.request(
            methods.SESSION_REQUEST_PERMISSION, build.request_permission("s", call, OPTIONS)
        )
        return answer.outcome.model_dump(exclude_none=True)


@contextlib.asynccontextmanager
async def ends(root: Path, client: Client | None = None) -> AsyncIterator[Ends]:
    client = client or Client(policy=allow_once)
    near, far = memory_pair()
    check = WireCheck()
    agent = Connection(far, Agent(), AGENT_SIDE)
    ours = Connection(Tap(near, check), client, SERVED)
    both = Ends(agent, client, root)
    both.hands = client.add("s", Workspace([str(root)]), lambda update, raw: both.updates.append(update))
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(agent.serve)
            tasks.start_soon(ours.serve)
            yield both
            await client.remove("s", both.hands)
            await far.aclose()
    check.all_answered()
    assert check.seen


async def refused(request: Awaitable[Any]) -> RpcError:
    with pytest.raises(RpcError) as why:
        await request
    return why.value


async def test_files_are_read_and_written_inside_the_roots(tmp_path: Path) -> None:
    async with ends(tmp_path) as both:
        write = {"sessionId": "s", "path": f"{tmp_path}/new/a.txt", "content": "one\ntwo\nthr\udc00ee\n"}
        await both.agent.request(methods.FS_WRITE_TEXT_FILE, write)
        read = build.read_text_file("s", f"{tmp_path}/new/a.txt", line=2, limit=2)
        assert (await both.agent.request(methods.FS_READ_TEXT_FILE, read)).content == "two\nthr\udc00ee\n"

        outside = build.read_text_file("s", f"{tmp_path}/../a.txt")
        missing = build.read_text_file("s", f"{tmp_path}/missing")
        assert (await refused(both.agent.request(methods.FS_READ_TEXT_FILE, outside))).code == INVALID_PARAMS
        assert (await refused(both.agent.request(methods.FS_READ_TEXT_FILE, missing))).code == NOT_FOUND


async def test_a_client_that_does_not_write_neither_says_so_nor_does_it(tmp_path: Path) -> None:
    client = Client(writes=False)
    async with ends(tmp_path, client) as both:
        assert client.capabilities()["fs"] == {"readTextFile": True, "writeTextFile": False}
        assert not client.capabilities(withheld={"fs/read_text_file"})["fs"]["readTextFile"]
        write = {"sessionId": "s", "path": f"{tmp_path}/a", "content": "x"}
        assert (await refused(both.agent.request(methods.FS_WRITE_TEXT_FILE, write))).code == METHOD_NOT_FOUND
    assert list(tmp_path.iterdir()) == []


async def test_a_terminal_lives_from_create_to_release(tmp_path: Path) -> None:
    async with ends(tmp_path) as both:
        create = build.create_terminal("s", "sh", args=["-c", "echo $GREETING; kill -9 $$"], env={"GREETING": "hi"})
        terminal = {
            "sessionId": "s",
            "terminalId": (await both.agent.request(methods.TERMINAL_CREATE, create)).terminal_id,
        }
        ended = await both.agent.request(methods.TERMINAL_WAIT_FOR_EXIT, terminal)
        assert (ended.exit_code, ended.signal) == (None, "SIGKILL")
        shown = await both.agent.request(methods.TERMINAL_OUTPUT, terminal)
        assert (shown.output, shown.truncated, shown.exit_status.signal) == ("hi\n", False, "SIGKILL")
        await both.agent.request(methods.TERMINAL_KILL, terminal)
        assert (await both.agent.request(methods.TERMINAL_OUTPUT, terminal)).output == "hi\n"
        await both.agent.request(methods.TERMINAL_RELEASE, terminal)
        for row in (
            methods.TERMINAL_OUTPUT,
            methods.TERMINAL_WAIT_FOR_EXIT,
            methods.TERMINAL_KILL,
            methods.TERMINAL_RELEASE,
        ):
            assert (await refused(both.agent.request(row, terminal))).code == NOT_FOUND


async def test_a_running_terminal_has_output_and_no_exit_status(tmp_path: Path) -> None:
    async with ends(tmp_path) as both:
        create = build.create_terminal("s", "sleep", args=["60"], cwd=str(tmp_path), output_byte_limit=10)
        created = await both.agent.request(methods.TERMINAL_CREATE, create)
        shown = await both.agent.request(methods.TERMINAL_OUTPUT, {"sessionId": "s", "terminalId": created.terminal_id})
        assert (shown.output, shown.truncated, shown.exit_status) == ("", False, None)


async def test_another_sessions_terminal_is_as_unknown_as_one_that_never_was(tmp_path: Path) -> None:
    async with ends(tmp_path) as both:
        other = both.client.add("other", Workspace([str(tmp_path)]), lambda update, raw: None)
        created = await both.agent.request(methods.TERMINAL_CREATE, build.create_terminal("s", "true"))
        for terminal_id in (created.terminal_id, "never"):
            params = {"sessionId": "other", "terminalId": terminal_id}
            why = await refused(both.agent.request(methods.TERMINAL_OUTPUT, params))
            assert (why.code, why.message) == (NOT_FOUND, "No such terminal")
        await both.client.remove("other", other)


async def test_requests_for_an_unknown_session_are_answered_not_found(tmp_path: Path) -> None:
    async with ends(tmp_path) as both:
        call = build.permission_tool_call("t")
        for row, params in (
            (methods.FS_READ_TEXT_FILE, build.read_text_file("x", str(tmp_path))),
            (methods.TERMINAL_CREATE, build.create_terminal("x", "true")),
            (methods.SESSION_REQUEST_PERMISSION, build.request_permission("x", call, OPTIONS)),
        ):
            why = await refused(both.agent.request(row, params))
            assert (why.code, why.data) == (NOT_FOUND, {"sessionId": "x"})


async def test_a_permission_is_answered_by_the_policy(tmp_path: Path) -> None:
    async with ends(tmp_path) as both:
        assert await both.permission(kind="edit") == {"outcome": "selected", "option_id": "once"}


async def test_what_was_reported_of_a_tool_call_counts_when_permission_is_asked(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    client = Client(policy=allow_reads(lambda session, path: client.inside(session, path)))
    async with ends(tmp_path, client) as both:
        asked = {"kind": "read", "locations": [build.location(f"{tmp_path}/a")]}
        assert (await both.permission(**asked))["option_id"] == "once"

        lie = build.tool_call("t1", "read: rm", raw_input={"command": "rm -rf /"})
        both.agent.notify(methods.SESSION_UPDATE, build.session_update("s", lie))
        assert (await both.permission(**asked))["option_id"] == "no"

        done = build.tool_call_update("t1", status="completed")
        both.agent.notify(methods.SESSION_UPDATE, build.session_update("s", done))
        assert (await both.permission(**asked))["option_id"] == "once"


async def cancelled_while(both: Ends, asked: Callable[[], Awaitable[Any]], asking: anyio.Event) -> list[Any]:
    """What two equal questions are answered, the first open when the turn is cancelled, the second asked afterwards."""
    answers: list[Any] = []

    async def question() -> None:
        answers.append(await asked())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(question)
        await asking.wait()
        both.hands.cancel()
    await question()
    return answers


async def test_cancelling_answers_open_permissions_and_later_ones_of_that_turn(tmp_path: Path) -> None:
    asking = anyio.Event()

    async def person(act: Act) -> str | None:
        asking.set()
        await anyio.sleep_forever()
        return "always"

    async with ends(tmp_path, Client(policy=ask(person))) as both:
        answers = await cancelled_while(both, lambda: both.permission(kind="edit"), asking)
    assert answers == [{"outcome": "cancelled"}, {"outcome": "cancelled"}]


async def test_the_next_turn_asks_again(tmp_path: Path) -> None:
    async with ends(tmp_path) as both:
        both.hands.cancel()
        assert await both.permission(kind="edit") == {"outcome": "cancelled"}
        both.hands.begin_turn()
        assert (await both.permission(kind="edit"))["option_id"] == "once"


async def test_a_form_is_filled_and_a_cancelled_one_is_answered_cancel(tmp_path: Path) -> None:
    asking = anyio.Event()

    async def person(form: Any) -> Filled:
        if form.message == "wait":
            asking.set()
            await anyio.sleep_forever()
        return Filled("accept", {"name": form.message}) if form.message == "name?" else Filled("decline", {"name": "x"})

    async with ends(tmp_path, Client(fill=person)) as both:

        async def form(message: str) -> Any:
            params = build.elicitation_form("s", message, FORM, "t1")
            return (await both.agent.request(methods.ELICITATION_CREATE, params)).model_dump(exclude_none=True)

        assert both.client.capabilities()["elicitation"] == {"form": {}}
        assert await form("name?") == {"action": "accept", "content": {"name": "name?"}}
        assert await form("no") == {"action": "decline"}
        without_session = {"mode": "form", "requestId": 1, "message": "name?", "requestedSchema": FORM}
        answer = await both.agent.request(methods.ELICITATION_CREATE, without_session)
        assert answer.action == "accept"
        assert await cancelled_while(both, lambda: form("wait"), asking) == [{"action": "cancel"}] * 2


async def test_forms_that_are_not_offered_are_refused(tmp_path: Path) -> None:
    async def person(form: Any) -> Filled:
        return Filled("accept")

    form = build.elicitation_form("s", "name?", FORM)
    link = build.elicitation_url("s", "sign in", "e1", "https://example.invalid")
    async with ends(tmp_path) as both:
        assert "elicitation" not in both.client.capabilities()
        assert (await refused(both.agent.request(methods.ELICITATION_CREATE, form))).code == METHOD_NOT_FOUND
    async with ends(tmp_path, Client(fill=person)) as both:
        assert (await refused(both.agent.request(methods.ELICITATION_CREATE, link))).code == INVALID_PARAMS
        both.agent.notify(methods.ELICITATION_COMPLETE, {"elicitationId": "unknown"})
        await both.agent.request(methods.ELICITATION_CREATE, form)
        assert both.client.counts["elicitation.unknown"] == 1


async def test_updates_keep_their_order_and_are_there_before_a_later_answer(tmp_path: Path) -> None:
    async with ends(tmp_path) as both:
        for number in range(500):
            chunk = build.agent_message_chunk(str(number))
            both.agent.notify(methods.SESSION_UPDATE, build.session_update("s", chunk))
        await both.permission()
        assert [update.content.text for update in both.updates] == [str(number) for number in range(500)]


async def test_updates_of_a_session_that_is_not_known_yet_are_kept_for_it(tmp_path: Path) -> None:
    async with ends(tmp_path) as both:
        for session_id, text in (("soon", "one"), ("never", "lost"), ("soon", "two")):
            chunk = build.agent_message_chunk(text)
            both.agent.notify(methods.SESSION_UPDATE, build.session_update(session_id, chunk))
        await both.permission()
        early: list[Any] = []
        soon = both.client.add("soon", Workspace([str(tmp_path)]), lambda update, raw: early.append(update))
        assert [update.content.text for update in early] == ["one", "two"]
        await both.client.remove("soon", soon)


async def test_only_so_many_unknown_sessions_are_kept(tmp_path: Path) -> None:
    async with ends(tmp_path) as both:
        for number in range(100):
            chunk = build.agent_message_chunk("x")
            both.agent.notify(methods.SESSION_UPDATE, build.session_update(f"unknown {number}", chunk))
        await both.permission()
        assert list(both.client._early) == [f"unknown {number}" for number in range(84, 100)]


async def test_an_update_of_an_unknown_kind_is_handed_on_as_it_came_only(tmp_path: Path) -> None:
    client = Client(policy=allow_once)
    received: list[Any] = []
    came: list[Any] = []

    def take(update: Any, raw: Any) -> None:
        received.append(update)
        came.append(raw)

    hands = client.add("s", Workspace([str(tmp_path)]), take)
    for update in ({"sessionUpdate": "from_the_future", "x": 1}, build.agent_message_chunk("still here")):
        client.session_update(UPDATES.params({"sessionId": "s", "update": update}))

    assert [update and update.content.text for update in received] == [None, "still here"]
    assert came == [{"sessionUpdate": "from_the_future", "x": 1}, build.agent_message_chunk("still here")]
    assert client.counts["update.unknown"] == 1
    await client.remove("s", hands)


async def test_nothing_of_a_removed_session_is_left_running(tmp_path: Path) -> None:
    async with ends(tmp_path) as both:
        created = await both.agent.request(methods.TERMINAL_CREATE, build.create_terminal("s", "sleep", args=["60"]))
        child = both.hands.workspace.terminals.get(created.terminal_id).child
        await both.client.remove("s", both.hands)
        await both.client.remove("s", both.hands)
        assert child.exit is not None
        assert child.exit.signal == "SIGKILL"


async def test_what_is_asked_when_its_session_is_removed_is_cancelled_and_not_done(tmp_path: Path) -> None:
    asking, begun = anyio.Event(), tmp_path / "begun"

    async def person(act: Act) -> str | None:
        asking.set()
        await anyio.sleep_forever()
        return "always"

    async with ends(tmp_path, Client(policy=ask(person))) as both, anyio.create_task_group() as tasks:
        answers: list[RpcError] = []

        async def run() -> None:
            params = build.create_terminal("s", "touch", args=[str(begun)])
            answers.append(await refused(both.agent.request(methods.TERMINAL_CREATE, params)))

        tasks.start_soon(run)
        await asking.wait()
        await both.client.remove("s", both.hands)
    assert [why.code for why in answers] == [REQUEST_CANCELLED]
    assert not begun.exists()


def call_of(name: str, session: str = "s") -> dict[str, Any]:
    return build_extensions.tool_call(session, "call_1", name, {"path": "a"})


@contextlib.asynccontextmanager
async def carrying_out(root: Path, do: Callable[[ToolCall], Awaitable[dict[str, Any]]]) -> AsyncIterator[Ends]:
    client = Client(call=do)
    async with ends(root, client) as both:
        await client.remove("s", both.hands)
        both.hands = client.add("s", Workspace([str(root)]), lambda update, raw: None, tools=["read_file"])
        yield both


async def test_a_call_of_a_tool_that_the_session_was_opened_with_is_carried_out(tmp_path: Path) -> None:
    async def do(call: ToolCall) -> dict[str, Any]:
        return build_extensions.tool_result(f"{call.session} {call.id} {call.arguments}", raw={"n": 1})

    async with carrying_out(tmp_path, do) as both:
        answer = await both.agent.request(methods.ARS_TOOL_CALL, call_of("read_file"))
        assert (answer.ok, answer.content, answer.raw) == (True, "s call_1 {'path': 'a'}", {"n": 1})


async def test_a_tool_that_was_not_named_is_not_carried_out(tmp_path: Path) -> None:
    async def do(call: ToolCall) -> dict[str, Any]:
        raise AssertionError("it must not be")

    async with carrying_out(tmp_path, do) as both:
        for params, code in [(call_of("write_file"), METHOD_NOT_FOUND), (call_of("read_file", "other"), NOT_FOUND)]:
            assert (await refused(both.agent.request(methods.ARS_TOOL_CALL, params))).code == code
    async with ends(tmp_path) as both:
        assert (await refused(both.agent.request(methods.ARS_TOOL_CALL, call_of("read_file")))).code == METHOD_NOT_FOUND


async def test_a_call_ends_with_its_turn_and_none_is_carried_out_for_one_that_is_cancelled(tmp_path: Path) -> None:
    begun, ended = anyio.Event(), anyio.Event()

    async def do(call: ToolCall) -> dict[str, Any]:
        assert not begun.is_set(), "the turn was cancelled"
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()
        return {}

    async with carrying_out(tmp_path, do) as both, anyio.create_task_group() as tasks:

        async def cancel() -> None:
            await begun.wait()
            both.hands.cancel()

        tasks.start_soon(cancel)
        for _ in range(2):
            answer = await both.agent.request(methods.ARS_TOOL_CALL, call_of("read_file"))
            assert (answer.ok, answer.code) == (False, "CANCELLED")
        assert ended.is_set()


async def test_what_goes_wrong_in_the_application_is_an_error_without_its_text(tmp_path: Path) -> None:
    async def do(call: ToolCall) -> dict[str, Any]:
        raise ValueError("sk-secret")

    async with carrying_out(tmp_path, do) as both:
        error = await refused(both.agent.request(methods.ARS_TOOL_CALL, call_of("read_file")))
        assert "secret" not in f"{error.message} {error.data}"


@pytest.mark.parametrize("session_id", [["s"], {}, 7, None])
async def test_an_id_that_is_no_id_is_refused_and_the_connection_goes_on(session_id: object) -> None:
    near, far = memory_pair()
    agent, ours = Connection(far, Agent(), AGENT_SIDE), Connection(near, Client(), SERVED)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(agent.serve)
            tasks.start_soon(ours.serve)
            for _ in range(2):
                why = await refused(agent.request(methods.FS_READ_TEXT_FILE, {"sessionId": session_id, "path": "/a"}))
                assert why.code == INVALID_PARAMS
            await far.aclose()
