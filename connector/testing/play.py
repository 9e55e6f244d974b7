"""One turn of the mock agent: the steps of a script, carried out one after the other."""

import json
import os
import re
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from acp_wire import build, methods
from acp_wire.connection import Call
from acp_wire.errors import RpcError
from connector.testing.script import Step, Turn

if TYPE_CHECKING:
    from connector.testing.agent import MockAgent, MockSession

WINDOW = 100_000
_WORDS = re.compile(r"\s*\S+\s*|\s+")


@dataclass(eq=False)
class Remembered:
    """A prompt, and what was said to it."""

    prompt: str
    reply: str = ""


class AnyRequest(methods.Request[Any, Any]):
    """A request that no table knows: its answer is taken as it is."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "", "", "")

    def result(self, raw: Any) -> Any:
        """As it came."""
        return raw


class _Ended(Exception):
    """The turn is over; the reason is why."""


class Play:
    """One prompt being answered. `turn` plays it; what is in `late` is to be said after the answer."""

    def __init__(self, agent: "MockAgent", session: "MockSession", prompt: str, call: Call) -> None:
        self.call = call
        self.remembered = Remembered(prompt)
        self.late: list[str] = []
        self._agent = agent
        self._session = session
        self._quirks = agent.vendor.quirks
        self._result = ""
        self._outcome = ""
        session.said.append(self.remembered)

    async def turn(self, turn: Turn) -> str:
        """Plays it to its end and returns the stop reason. Raises RpcError where the script wants one."""
        self._ask_model()
        try:
            for step in turn.steps:
                if step.outcome in ("", self._outcome):
                    await self._step(step)
        except _Ended as end:
            return str(end)
        return "end_turn"

    async def _step(self, step: Step) -> None:
        text = self._filled(step.text)
        match step.do:
            case "say" | "think":
                await self._say(text, step.do)
            case "plan":
                entries = [build.plan_entry(entry, status=status) for entry, status in step.value]
                self._update(build.plan(entries))
            case "read":
                await self._use_tool("read", f"Read {text}", {"path": self._path(text)})
            case "write":
                await self._use_tool(
                    "edit", f"Write {text}", {"path": self._path(text), "content": self._filled(step.value)}
                )
            case "run":
                await self._use_tool("execute", " ".join(step.value), {"command": step.value})
            case "ask":
                await self._use_tool(step.value, text, {})
            case "usage":
                used, cost = step.value
                told = None if cost is None else build.cost(cost, "USD")
                self._update(build.usage_update(used, WINDOW, cost=told))
            case "wait":
                await anyio.sleep(step.value)
            case "stop":
                raise _Ended(text)
            case _:
                await self._fault(step, text)

    async def _fault(self, step: Step, text: str) -> None:
        stream = self._agent.connection.stream
        match step.do:
            case "stderr":
                os.write(2, f"{text}\n".encode())
            case "noise":
                stream.write(f"{text}\n".encode())
            case "late":
                self.late.append(text)
            case "flood":
                await self._say("word " * int(step.value), "say")
            case "error":
                raise RpcError(step.value["code"], step.value["message"], step.value.get("data"))
            case "hang":
                with anyio.CancelScope(shield=True):
                    await anyio.sleep_forever()
            case "exit":
                await stream.drain()
                _leave(text)
            case "call":
                self._result = await self._call(text, step.value)
            case "tell":
                self._agent.connection.notify(methods.Notification(text, "", ""), step.value)

    async def _say(self, text: str, how: str) -> None:
        chunk = build.agent_message_chunk if how == "say" else build.agent_thought_chunk
        for word in _WORDS.findall(text):
            self._update(chunk(word))
            if how == "say":
                self.remembered.reply += word
        await self._agent.connection.stream.drain(1 << 20)

    # ── tool calls ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _use_tool(self, kind: str, title: str, raw: dict[str, Any]) -> None:
        self._session.calls += 1
        call_id = f"call_{self._session.calls}"
        places = [build.location(raw["path"])] if "path" in raw else []
        fields: dict[str, Any] = {"title": title, "kind": kind, "locations": places, "raw_input": raw}
        self._update(build.tool_call(call_id, status="pending", **fields))
        if kind != "read" and not await self._granted(call_id, fields):
            self._update(build.tool_call_update(call_id, status="failed", content=[build.content("It was refused")]))
            if self._quirks.refusal is not None:
                raise _Ended(self._quirks.refusal)
        else:
            status = await self._carry_out(kind, raw)
            self._update(build.tool_call_update(call_id, status=status, content=[build.content(self._result)]))
        for name in self._quirks.requests:
            await self._call(name, {"sessionId": self._session.id})
        self._ask_model()

    async def _granted(self, call_id: str, fields: dict[str, Any]) -> bool:
        """Asks, with the options in this vendor's order."""
        options = [build.permission_option(option, option, kind) for option, kind in self._quirks.options]
        raw = fields["raw_input"]
        content = [build.diff(raw["path"], None, raw["content"])] if "content" in raw else []
        asked = build.permission_tool_call(call_id, status="pending", content=content, **fields)
        params = build.request_permission(self._session.id, asked, options)
        answer = await self._agent.connection.request(methods.SESSION_REQUEST_PERMISSION, params)
        kinds = dict(self._quirks.options)
        chosen = kinds.get(getattr(answer.outcome, "option_id", ""), "")
        self._outcome = self._result = "granted" if chosen.startswith("allow") else "refused"
        return self._outcome == "granted"

    async def _carry_out(self, kind: str, raw: dict[str, Any]) -> str:
        """Does it, by the client where this vendor does so and the client offers it. Returns the call's status."""
        try:
            if "command" in raw:
                self._result = await self._run(raw["command"])
            elif "content" in raw:
                await self._write(raw["path"], raw["content"])
                self._result = "written"
            elif "path" in raw:
                self._result = await self._read(raw["path"])
        except (RpcError, OSError) as why:
            self._result = str(why)
            return "failed"
        return "completed"

    async def _read(self, path: str) -> str:
        if not self._by_client("fs/read_text_file"):
            return await anyio.Path(path).read_text()
        found = await self._agent.connection.request(
            methods.FS_READ_TEXT_FILE, build.read_text_file(self._session.id, path)
        )
        return found.content

    async def _write(self, path: str, text: str) -> None:
        if not self._by_client("fs/write_text_file"):
            await anyio.Path(path).write_text(text)
            return
        params = {"sessionId": self._session.id, "path": path, "content": text}
        await self._agent.connection.request(methods.FS_WRITE_TEXT_FILE, params)

    async def _run(self, argv: list[str]) -> str:
        if not self._by_client("terminal/create"):
            return (await anyio.run_process(argv, cwd=self._session.cwd, check=False)).stdout.decode()
        ask, session = self._agent.connection.request, {"sessionId": self._session.id}
        params = {**session, "command": argv[0], "args": argv[1:], "cwd": self._session.cwd}
        terminal = {**session, "terminalId": (await ask(methods.TERMINAL_CREATE, params)).terminal_id}
        await ask(methods.TERMINAL_WAIT_FOR_EXIT, terminal)
        output = (await ask(methods.TERMINAL_OUTPUT, terminal)).output
        await ask(methods.TERMINAL_RELEASE, terminal)
        return output

    def _by_client(self, method: str) -> bool:
        client = self._agent.client
        offered = {
            "fs/read_text_file": client.fs.read_text_file,
            "fs/write_text_file": client.fs.write_text_file,
            "terminal/create": client.terminal,
        }
        return method in self._quirks.calls and bool(offered[method])

    # ── the rest ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _call(self, method: str, params: Any) -> str:
        try:
            return json.dumps(await self._agent.connection.request(AnyRequest(method), params))
        except RpcError as why:
            return f"{why.code} {why.message}"

    def _ask_model(self) -> None:
        self._agent.on_heard([remembered.prompt for remembered in self._session.said])

    def _update(self, update: dict[str, Any]) -> None:
        self._agent.update(self._session, update)

    def _path(self, name: str) -> str:
        return os.path.join(self._session.cwd, name)

    def _filled(self, text: str) -> str:
        told = " | ".join(remembered.prompt for remembered in self._session.said)
        return text.replace("$result", self._result).replace("$prompt", self.remembered.prompt).replace("$told", told)


def _leave(how: str) -> None:
    """Ends the process by that signal, or with that exit status."""
    if how.startswith("SIG"):
        os.kill(os.getpid(), signal.Signals[how])
    sys.stderr.flush()
    os._exit(int(how or 0))
