"""The client of the official Python SDK drives the real executable through whole turns."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import acp
import anyio
import httpx2
import pytest
from acp import schema

from ars_acp.models.script import Script
from fixtures.model_server import ModelServer
from tests.e2e.conftest import BROKEN, FIXED, git
from tests.e2e.hands import kill
from tests.e2e.peers import WAYS, answers, checked, reached, results

# What the SDK asks of httpx this has under the same names: it is what openai brings along.
sys.modules.setdefault("httpx", httpx2)
from acp.http import create_http_stream  # noqa: E402
from acp.ws import create_websocket_stream  # noqa: E402

pytestmark = pytest.mark.e2e

FIX = """\
=== turn
call list_files
call read_file {"path": "greet.py"}
--- step
call write_file
  path: greet.py
  content:
    def greet(name: str) -> str:
        return f"Hello, {name}!"
--- step
call run_command {"argv": ["python3", "-m", "unittest", "-q"]}
--- step
say: Done.
"""
CAPABILITIES = schema.ClientCapabilities(
    fs=schema.FileSystemCapabilities(read_text_file=True, write_text_file=True),
    terminal=True,
    elicitation=schema.ElicitationCapabilities(form=schema.ElicitationFormCapabilities()),
)


class Editor(acp.Client):
    """What an editor made with the SDK does: real files, real commands, and a person who answers as a test says."""

    def __init__(self, answer: str = "allow_once") -> None:
        self.answer = answer
        self.updates: list[Any] = []
        self.asked: list[Any] = []
        self.forms: list[Any] = []
        self.terminals: dict[str, asyncio.subprocess.Process] = {}
        self._changed = asyncio.Event()

    async def session_update(self, session_id: str, update: Any, **_: Any) -> None:
        self.updates.append(update)
        self._changed.set()

    async def request_permission(
        self, session_id: str, tool_call: Any, options: list[schema.PermissionOption], **_: Any
    ) -> schema.RequestPermissionResponse:
        self.asked.append(tool_call)
        chosen = next(option for option in options if option.kind == self.answer)
        outcome = schema.AllowedOutcome(outcome="selected", option_id=chosen.option_id)
        return schema.RequestPermissionResponse(outcome=outcome)

    async def read_text_file(
        self, session_id: str, path: str, line: int | None = None, limit: int | None = None, **_: Any
    ) -> schema.ReadTextFileResponse:
        if not Path(path).exists():
            raise acp.RequestError.resource_not_found(path)
        lines = Path(path).read_text().splitlines(keepends=True)[(line or 1) - 1 :]
        return schema.ReadTextFileResponse(content="".join(lines[:limit]))

    async def write_text_file(self, session_id: str, path: str, content: str, **_: Any) -> schema.WriteTextFileResponse:
        Path(path).write_text(content)
        return schema.WriteTextFileResponse()

    async def create_terminal(
        self, session_id: str, command: str, args: list[str] | None = None, cwd: str | None = None, **_: Any
    ) -> schema.CreateTerminalResponse:
        pipe, joined = asyncio.subprocess.PIPE, asyncio.subprocess.STDOUT
        try:
            child = await asyncio.create_subprocess_exec(command, *(args or ()), cwd=cwd, stdout=pipe, stderr=joined)
        except FileNotFoundError:
            raise acp.RequestError.resource_not_found(command) from None
        terminal_id = f"terminal-{len(self.terminals)}"
        self.terminals[terminal_id] = child
        return schema.CreateTerminalResponse(terminal_id=terminal_id)

    async def wait_for_terminal_exit(
        self, session_id: str, terminal_id: str, **_: Any
    ) -> schema.WaitForTerminalExitResponse:
        code = await self.terminals[terminal_id].wait()
        return schema.WaitForTerminalExitResponse(exit_code=code if code >= 0 else None)

    async def terminal_output(self, session_id: str, terminal_id: str, **_: Any) -> schema.TerminalOutputResponse:
        output = await self.terminals[terminal_id].stdout.read()
        return schema.TerminalOutputResponse(output=output.decode(), truncated=False)

    async def kill_terminal(self, session_id: str, terminal_id: str, **_: Any) -> None:
        kill(self.terminals[terminal_id])

    async def release_terminal(self, session_id: str, terminal_id: str, **_: Any) -> None:
        await self.kill_terminal(session_id, terminal_id)
        await self.terminals[terminal_id].communicate()

    async def create_elicitation(self, message: str, mode: Any, **_: Any) -> schema.AcceptElicitationResponse:
        self.forms.append(mode)
        return schema.AcceptElicitationResponse(action="accept", content={"answer": "Ada"})

    async def saw(self, wanted: Callable[[Any], bool]) -> None:
        """Waits until there has been an update for which `wanted` holds."""
        while not any(map(wanted, self.updates)):
            self._changed.clear()
            await self._changed.wait()

    def text(self) -> str:
        return "".join(it.content.text for it in self.updates if it.session_update == "agent_message_chunk")

    def statuses(self) -> list[str]:
        ended = [it for it in self.updates if it.session_update == "tool_call_update"]
        return [it.status for it in ended if it.status in ("completed", "failed")]


class Talk:
    """One connection of the SDK with the agent."""

    def __init__(self, connection: acp.Agent) -> None:
        self.connection = connection
        self.session = ""

    async def prompt(self, text: str) -> str:
        answer = await self.connection.prompt(session_id=self.session, prompt=[acp.text_block(text)])
        return answer.stop_reason


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """How the agent is reached."""
    found: str = request.param
    return found


@contextlib.asynccontextmanager
async def connected(way: str, editor: Editor, command: list[str], env: dict[str, str]) -> AsyncIterator[acp.Agent]:
    """The SDK's connection to the agent, which it starts, or finds at an address."""
    if way == "stdio":
        to_nobody = {"stderr": asyncio.subprocess.DEVNULL}
        async with acp.spawn_agent_process(
            editor, *command, env=env, transport_kwargs=to_nobody, use_unstable_protocol=True
        ) as (connection, child):
            yield connection
        assert child.returncode == 0
        return
    headers = {"authorization": f"Bearer {env['TOKEN']}"}
    async with contextlib.AsyncExitStack() as open_:
        if way == "http":
            client = await open_.enter_async_context(httpx2.AsyncClient(timeout=None, trust_env=False))
            transport = create_http_stream(*command, client=client, headers=headers)
        else:
            transport = await create_websocket_stream(*command, headers=headers)
        connection = acp.connect_to_agent(editor, transport, use_unstable_protocol=True)
        try:
            yield connection
        finally:
            await connection.close()


@contextlib.asynccontextmanager
async def talk(
    way: str, editor: Editor, project: Path, env: dict[str, str], record: Path, load: str | None = None
) -> AsyncIterator[Talk]:
    """The agent with a new session, or with one that is loaded."""
    with anyio.fail_after(30):
        async with reached(way, record, env) as (command, env), connected(way, editor, command, env) as connection:
            it = Talk(connection)
            await connection.initialize(protocol_version=1, client_capabilities=CAPABILITIES)
            if load is None:
                it.session = (await connection.new_session(cwd=str(project), mcp_servers=[])).session_id
            else:
                await connection.load_session(cwd=str(project), session_id=load, mcp_servers=[])
                it.session = load
            yield it


async def test_a_whole_turn_reads_writes_and_runs_the_tests(
    way: str, model: ModelServer, project: Path, endpoint: dict[str, str], tmp_path: Path
):
    model.script = Script.parse(FIX)
    editor = Editor()

    async with talk(way, editor, project, endpoint, tmp_path / "wire") as it:
        assert await it.prompt("Fix the greeting") == "end_turn"

    assert (project / "greet.py").read_text() == FIXED
    assert editor.text() == "Done."
    assert editor.statuses() == ["completed"] * 4
    assert [it.title for it in editor.asked] == ["Write greet.py", "python3 -m unittest -q"]
    assert BROKEN in results(model)[1]
    assert all(child.returncode is not None for child in editor.terminals.values())
    checked(tmp_path / "wire")


async def test_refused_it_changes_nothing_and_says_so(
    way: str, model: ModelServer, project: Path, endpoint: dict[str, str], tmp_path: Path
):
    model.script = Script.parse(FIX)
    editor = Editor("reject_once")

    async with talk(way, editor, project, endpoint, tmp_path / "wire") as it:
        assert await it.prompt("Fix the greeting") == "end_turn"

    assert git(project, "status", "--short") == ""
    assert editor.statuses() == ["completed", "completed", "failed", "failed"]
    assert [text.startswith("Refused by the person") for text in results(model)] == [False, False, True, True]
    checked(tmp_path / "wire")


def _call_begins(update: Any) -> bool:
    return getattr(update, "status", None) == "in_progress"


def _terminal_is_shown(update: Any) -> bool:
    content = update.content if update.session_update == "tool_call_update" else None
    return any(it.type == "terminal" for it in content or ())


@pytest.mark.parametrize("moment", [_call_begins, _terminal_is_shown])
async def test_cancel_while_a_command_runs_ends_the_command_and_the_turn(
    way: str, moment: Callable[[Any], bool], model: ModelServer, project: Path, endpoint: dict[str, str], tmp_path: Path
):
    model.script = Script.parse('=== turn\ncall run_command {"argv": ["sleep", "60"]}\n=== turn\nsay: Next.')
    editor = Editor()

    async with talk(way, editor, project, endpoint, tmp_path / "wire") as it:
        async with anyio.create_task_group() as tasks:

            async def cancel() -> None:
                await editor.saw(moment)
                await it.connection.cancel(session_id=it.session)

            tasks.start_soon(cancel)
            assert await it.prompt("Wait") == "cancelled"
        assert await it.prompt("Go on") == "end_turn"
        assert [await child.wait() for child in editor.terminals.values()] == [-9]

    assert editor.statuses() == ["failed"]
    assert editor.text() == "Next."
    said = checked(tmp_path / "wire")
    assert answers(said, "session/prompt") == [{"stopReason": "cancelled"}, {"stopReason": "end_turn"}]


async def test_a_form_is_shown_and_its_answer_reaches_the_model(
    way: str, model: ModelServer, project: Path, endpoint: dict[str, str], tmp_path: Path
):
    model.script = Script.parse(
        '=== turn\ncall prompt_user {"question": "Who?", "choices": ["Ada", "Bob"]}\n--- step\nsay: I greet them.'
    )
    editor = Editor()

    async with talk(way, editor, project, endpoint, tmp_path / "wire") as it:
        assert await it.prompt("Ask me") == "end_turn"

    assert [list(form.requested_schema.properties) for form in editor.forms] == [["answer"]]
    assert "Ada" in results(model)[0]
    checked(tmp_path / "wire")


async def test_a_loaded_session_is_shown_again_and_goes_on(
    way: str, model: ModelServer, project: Path, endpoint: dict[str, str], tmp_path: Path
):
    model.script = Script.parse(f"{FIX}=== turn\nsay: Again.")
    async with talk(way, Editor(), project, endpoint, tmp_path / "wire") as it:
        await it.prompt("Fix the greeting")
        session = it.session

    editor = Editor()
    async with talk(way, editor, project, endpoint, tmp_path / "again", load=session) as it:
        kinds = [update.session_update for update in editor.updates]
        assert await it.prompt("And now?") == "end_turn"
        listed = await it.connection.list_sessions(cwd=str(project))

    shown = [kind for kind in kinds if kind.endswith("_chunk") or kind == "tool_call"]
    assert shown == ["user_message_chunk", *["tool_call"] * 4, "agent_message_chunk"]
    assert editor.text() == "Done.Again."
    assert [info.session_id for info in listed.sessions] == [session]
    assert "Fix the greeting" in [it["content"] for it in model.chats()[-1].body["messages"]]
    for record in ("wire", "again"):
        checked(tmp_path / record)
