"""An agent and a client in one event loop: a scripted model, files in a dict, every message held against the schema."""

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import orjson

from acp_wire import build, errors, methods
from acp_wire.connection import AGENT_SIDE, CLIENT_SIDE, Call, Connection
from acp_wire.errors import RpcError
from acp_wire.streams import MemoryStream, memory_pair
from ars_acp.agent import Agent
from ars_acp.log import Log, Sink
from ars_acp.models.scripted import Script, ScriptedModel
from ars_acp.settings import checked
from event_log.stores import Store, open_store
from tests.support.schema import WireCheck

FILES = {"fs": {"readTextFile": True, "writeTextFile": True}}
EVERYTHING = {**FILES, "terminal": True, "elicitation": {"form": {}, "url": {}}, "session": {"notices": {}}}
Json = dict[str, Any]


class Client:
    """The IDE: files in a dict, and answers that a test can choose or hold back."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        # What a session shows; and the lists of commands, which belong to no session's log.
        self.updates: list[Json] = []
        self.lists: list[Json] = []
        self.changed = anyio.Event()
        self.asked: list[Json] = []
        self.elicited: list[Json] = []
        self.elicitation: Json = {"action": "cancel"}
        self.permission: Callable[[Any], str | None] = lambda params: "allow_once"
        # Methods that are never answered, and those that wait for `go_on`.
        self.silent: set[str] = set()
        self.reading = anyio.Event()

    def session_update(self, params: Any) -> None:
        self.changed.set()
        self.changed = anyio.Event()

    async def fs_read_text_file(self, params: Any, call: Call) -> Json:
        self.reading.set()
        await self._perhaps_silent(call)
        if params.path not in self.files:
            raise RpcError(errors.NOT_FOUND, "no such file")
        lines = self.files[params.path].splitlines(keepends=True)
        start = (params.line or 1) - 1
        return {"content": "".join(lines[start : None if params.limit is None else start + params.limit])}

    async def fs_write_text_file(self, params: Any, call: Call) -> Json:
        await self._perhaps_silent(call)
        self.files[params.path] = params.content
        return {}

    async def session_request_permission(self, params: Any, call: Call) -> Json:
        self.asked.append(call.raw)
        await self._perhaps_silent(call)
        chosen = self.permission(params)
        return build.cancelled() if chosen is None else build.selected(chosen)

    async def elicitation_create(self, params: Any, call: Call) -> Json:
        self.elicited.append(call.raw)
        await self._perhaps_silent(call)
        return self.elicitation

    async def _perhaps_silent(self, call: Call) -> None:
        if call.method in self.silent:
            await anyio.sleep_forever()


class CheckedStream:
    """The agent's end of a pair, with every line in both directions checked and kept."""

    def __init__(self, inner: MemoryStream, check: WireCheck, client: Client) -> None:
        self._inner = inner
        self._check = check
        self._client = client
        self.sent: list[Json] = []
        # What of the client's is wrong on purpose.
        self.unchecked: Callable[[Json], bool] = lambda message: False

    @property
    def buffered(self) -> int:
        return self._inner.buffered

    async def receive(self) -> bytes:
        data = await self._inner.receive()
        for line in data.splitlines():
            if not self.unchecked(message := orjson.loads(line)):
                self._check.sent_by_client(message)
        return data

    def write(self, data: bytes) -> None:
        for line in data.splitlines():
            message = orjson.loads(line)
            self._check.sent_by_agent(message)
            self.sent.append(message)
            if message.get("method") == "session/update":
                listing = message["params"]["update"]["sessionUpdate"] == "available_commands_update"
                (self._client.lists if listing else self._client.updates).append(message["params"])
        self._inner.write(data)

    def when_drained(self, fn: Callable[[], None]) -> None:
        self._inner.when_drained(fn)

    async def drain(self, below: int = 0) -> None:
        await self._inner.drain(below)

    async def aclose(self) -> None:
        await self._inner.aclose()


class House:
    """Both ends, and short ways to speak to the agent."""

    def __init__(self, agent: Agent, stream: CheckedStream, wire: Connection, client: Client, store: Store) -> None:
        self.agent = agent
        self.stream = stream
        self.wire = wire
        self.client = client
        self.store = store
        self.session = ""

    async def new_session(self, cwd: str = "/project", **params: Any) -> str:
        answer = await self.wire.request(methods.SESSION_NEW, {"cwd": cwd, "mcpServers": [], **params})
        self.session = answer.session_id
        await self.listed()
        return self.session

    async def listed(self, times: int = 1) -> list[str]:
        """The commands of this session, as they have been listed for the `times`th time: it follows an answer."""
        while len(lists := [it for it in self.client.lists if it["sessionId"] == self.session]) < times:
            await self.client.changed.wait()
        return [command["name"] for command in lists[-1]["update"]["availableCommands"]]

    async def prompt(self, text: str = "go", session: str | None = None) -> str:
        """The stop reason of one turn."""
        return await self.prompt_with([{"type": "text", "text": text}], session)

    async def prompt_with(self, blocks: list[Json], session: str | None = None, **params: Any) -> str:
        """As `prompt`, with any content blocks and further params."""
        params |= {"sessionId": session or self.session, "prompt": blocks}
        answer = await self.wire.request(methods.SESSION_PROMPT, params)
        return str(answer.stop_reason)

    def cancel(self) -> None:
        self.wire.notify(methods.SESSION_CANCEL, {"sessionId": self.session})

    async def update(self, wanted: Callable[[Json], bool]) -> Json:
        """The first update, that came or will come, for which `wanted` holds."""
        while True:
            for params in self.client.updates:
                if wanted(params["update"]):
                    found: Json = params["update"]
                    return found
            await self.client.changed.wait()

    def said(self, kind: str = "agent_message_chunk") -> str:
        """The text of all chunks of one kind."""
        chunks = [it["update"] for it in self.client.updates if it["update"]["sessionUpdate"] == kind]
        return "".join(chunk["content"]["text"] for chunk in chunks)

    async def entries(self) -> list[Json]:
        """The session's log."""
        return [entry for _, entry in (await self.store.open(self.session)).read()]

    def tool_calls(self) -> dict[str, Json]:
        """Each tool call with all that its updates said of it."""
        calls: dict[str, Json] = {}
        for params in self.client.updates:
            update = params["update"]
            if update["sessionUpdate"].startswith("tool_call"):
                calls.setdefault(update["toolCallId"], {}).update(update)
        return calls


@contextlib.asynccontextmanager
async def house(
    script: str,
    /,
    *,
    capabilities: Json | None = None,
    client: Client | None = None,
    store: Store | None = None,
    **settings: Any,
) -> AsyncIterator[House]:
    """An initialized agent with one session, whose model plays `script`."""
    check, client = WireCheck(), client or Client()
    near, far = memory_pair()
    stream = CheckedStream(far, check, client)
    store = store or open_store("memory:")
    chosen = checked({"script": "in memory", **settings})
    log = Log("error", Sink(2))
    with anyio.fail_after(40):
        async with anyio.create_task_group() as tasks:
            agent = Agent(
                chosen,
                store,
                log,
                make_model=lambda _: ScriptedModel(Script.parse(script)),
                reload=lambda: chosen,
                later=tasks.start_soon,
                closing=lambda: None,
            )
            agent.connection = Connection(stream, agent, AGENT_SIDE)
            wire = Connection(near, client, CLIENT_SIDE)
            tasks.start_soon(agent.connection.serve)
            tasks.start_soon(wire.serve)
            found = House(agent, stream, wire, client, store)
            params = {"protocolVersion": 1, "clientCapabilities": EVERYTHING if capabilities is None else capabilities}
            await wire.request(methods.INITIALIZE, params)
            await found.new_session()
            yield found
            await near.aclose()
            await far.aclose()


def script_file(directory: Path, text: str) -> str:
    """The path of a script with that text."""
    path = directory / "play.script"
    path.write_text(text)
    return str(path)
