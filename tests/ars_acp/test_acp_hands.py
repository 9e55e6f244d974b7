"""Hands over ACP: what is asked of the client, and what becomes of its answers and silences."""

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from acp_wire import errors
from acp_wire.errors import RpcError
from tests.support.in_memory import Client, house


class Shell(Client):
    """A client with terminals whose commands end as a test says."""

    def __init__(self, *, output: str = "", exit_code: int | None = 0, signal: str | None = None) -> None:
        super().__init__()
        self.ended = {"exitCode": exit_code, "signal": signal}
        self.output = output
        self.log: list[str] = []
        self.waiting = anyio.Event()

    async def terminal_create(self, params: Any, call: Any) -> dict[str, Any]:
        self.log.append("create")
        await self._perhaps_silent(call)
        return {"terminalId": "t1"}

    async def terminal_wait_for_exit(self, params: Any, call: Any) -> dict[str, Any]:
        self.log.append("wait")
        self.waiting.set()
        await self._perhaps_silent(call)
        return {key: value for key, value in self.ended.items() if value is not None}

    async def terminal_output(self, params: Any, call: Any) -> dict[str, Any]:
        self.log.append("output")
        return {"output": self.output, "truncated": False}

    async def terminal_kill(self, params: Any, call: Any) -> dict[str, Any]:
        self.log.append("kill")
        return {}

    async def terminal_release(self, params: Any, call: Any) -> dict[str, Any]:
        self.log.append("release")
        return {}


RUN = '=== turn\ncall run_command {"argv": ["make", "test"]}\n--- step\nsay: $result\n'


async def test_a_command_is_created_waited_for_read_and_released_and_shown_live() -> None:
    shell = Shell(output="all green\n")
    async with house(RUN, client=shell, mode="full") as it:
        assert await it.prompt() == "end_turn"
        assert shell.log == ["create", "wait", "output", "release"]
        assert "all green" in it.said()
        shown = [params["update"].get("content") for params in it.client.updates]
        assert [{"type": "terminal", "terminalId": "t1"}] in shown
        created = next(m["params"] for m in it.stream.sent if m.get("method") == "terminal/create")
        assert (created["command"], created["args"], created["cwd"]) == ("make", ["test"], "/project")


@pytest.mark.parametrize(("code", "signal", "told"), [(2, None, "2"), (None, "SIGKILL", "SIGKILL")])
async def test_the_model_reads_how_a_command_ended(code: int | None, signal: str | None, told: str) -> None:
    async with house(RUN, client=Shell(exit_code=code, signal=signal), mode="full") as it:
        await it.prompt()
        assert told in it.said()


async def test_a_command_over_its_time_is_killed_read_and_released_and_told_as_tool_timeout() -> None:
    shell = Shell(output="so far")
    shell.silent.add("terminal/wait_for_exit")
    async with house(RUN, client=shell, mode="full", command_seconds=0.02) as it:
        assert await it.prompt() == "end_turn"
        assert shell.log[:2] == ["create", "wait"]
        assert shell.log.count("kill") >= 1
        assert shell.log[-1] == "release"
        assert "so far" in it.said()
        [result] = [entry for entry in await it.entries() if entry["type"] == "result"]
        assert result["code"] == "TOOL_TIMEOUT"


async def test_cancel_kills_and_releases_the_terminal_without_waiting_for_it() -> None:
    shell = Shell()
    shell.silent.add("terminal/wait_for_exit")
    async with house(RUN, client=shell, mode="full") as it:
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                assert await it.prompt() == "cancelled"

            tasks.start_soon(ask)
            await shell.waiting.wait()
            it.cancel()
        assert shell.log[-2:] == ["kill", "release"]


async def test_a_terminal_that_comes_after_we_gave_up_on_it_is_released() -> None:
    class Late(Shell):
        async def terminal_create(self, params: Any, call: Any) -> dict[str, Any]:
            self.log.append("create")
            with anyio.CancelScope(shield=True):  # a client that does not know $/cancel_request
                await self.go_on.wait()
            return {"terminalId": "late"}

    late = Late()
    late.go_on = anyio.Event()  # type: ignore[attr-defined]
    async with house(RUN, client=late, mode="full", client_seconds=0.02) as it:
        assert await it.prompt() == "end_turn"
        late.go_on.set()  # type: ignore[attr-defined]
        with anyio.fail_after(5):
            while "release" not in late.log:
                await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize(
    "error",
    [
        RpcError(errors.NOT_FOUND, "Resource not found"),
        RpcError(errors.INTERNAL_ERROR, "Internal error", {"details": "ENOENT: no such file or directory, open '/a'"}),
        RpcError(errors.INTERNAL_ERROR, "[Errno 2] No such file or directory"),
    ],
)
async def test_a_missing_file_can_be_written_however_the_client_says_that_it_is_missing(error: RpcError) -> None:
    class Wordy(Client):
        async def fs_read_text_file(self, params: Any, call: Any) -> dict[str, Any]:
            raise error

    script = '=== turn\ncall write_file {"path": "new.txt", "content": "x"}\n--- step\nsay: $result\n'
    async with house(script, client=Wordy(), mode="full") as it:
        await it.prompt()
        assert it.client.files == {"/project/new.txt": "x"}


async def test_an_error_of_the_client_is_told_to_the_model_and_the_turn_goes_on() -> None:
    class Refusing(Client):
        async def fs_read_text_file(self, params: Any, call: Any) -> dict[str, Any]:
            raise RpcError(errors.INTERNAL_ERROR, "the disk is on fire")

    async with house('=== turn\ncall read_file {"path": "a"}\n--- step\nsay: $result\n', client=Refusing()) as it:
        assert await it.prompt() == "end_turn"
        assert "the disk is on fire" in it.said()


LINK = '=== turn\ncall prompt_user {"question": "Sign in", "url": "https://a.example/x"}\n--- step\nsay: $result\n'


@pytest.mark.parametrize(
    ("action", "told"), [("accept", "agreed"), ("decline", "does not want"), ("cancel", "closed"), ("_odd", "closed")]
)
async def test_a_link_is_an_elicitation_by_url_and_its_answer_is_told(action: str, told: str) -> None:
    client = Client()
    client.elicitation = {"action": action}
    async with house(LINK, client=client) as it:
        assert await it.prompt() == "end_turn"
        [asked] = client.elicited
        assert (asked["mode"], asked["url"], asked["message"]) == ("url", "https://a.example/x", "Sign in")
        assert asked["toolCallId"] in it.tool_calls()
        assert asked["elicitationId"]
        assert told in it.said()


async def test_a_client_without_links_is_never_asked_to_open_one() -> None:
    async with house(LINK, capabilities={"elicitation": {"form": {}, "url": None}}) as it:
        assert await it.prompt() == "end_turn"
        assert it.client.elicited == []
        assert "cannot open addresses" in it.said()


DEEP = "[" * 1000 + "]" * 1000


@pytest.mark.parametrize(
    "error",
    [
        '{"code": -32603, "message": "%s"}' % ("x" * 20_000_000),
        '{"code": -32603, "message": "m", "data": {"details": "%s"}}' % ("x" * 20_000_000),
        f'{{"code": -32603, "message": "m", "data": {DEEP}}}',
        f'{{"code": -32603, "message": "m", "data": {{"details": {DEEP}}}}}',
    ],
    ids=["message", "details", "deep data", "deep details"],
)
async def test_of_an_error_without_measure_the_model_reads_the_beginning(error: str) -> None:
    class Endless(Client):
        async def fs_read_text_file(self, params: Any, call: Any) -> dict[str, Any]:
            if params.path.endswith("/a"):
                it.wire.stream.write(b'{"jsonrpc": "2.0", "id": %d, "error": %b}\n' % (call.id, error.encode()))
                await anyio.sleep_forever()
            return await super().fs_read_text_file(params, call)

    async with house('=== turn\ncall read_file {"path": "a"}\n--- step\nsay: $result\n', client=Endless()) as it:
        assert await it.prompt() == "end_turn"
        assert "the client refused: " in it.said()
        assert len(it.said()) < 2000
