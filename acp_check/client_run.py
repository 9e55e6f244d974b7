"""One run of the client's command: its process, the agents that it starts, what it prints, what it leaves behind."""

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.abc

from acp_check.client_agent import PING, Agent, Answer, Changes, code_of, greeted, part, update_of
from acp_check.client_judge import Judge, Tally
from acp_check.client_table import Broken, Gone, Json, NotSeen, Verdict
from acp_check.report import Outcome, one_line
from connector import guarded
from connector.child import Child, Exit

KEPT_BYTES = 8 * 1024 * 1024
CHUNK = 1 << 16
READS = 16  # at once: a client that prints for ever does not keep the kit from anything else
# What the client's keeping of rule 25 may take: stdin closed, SIGTERM, SIGKILL, with time between them.
GRACE_SECONDS = 5.0
TERM_SECONDS = 1.0
AGENT_INFO = {"name": "acp-check", "title": "The kit's scripted agent", "version": "1"}


@dataclass
class Script:
    """What the agent does by itself until a prompt comes."""

    initialize: Json = field(
        default_factory=lambda: {"protocolVersion": 1, "agentCapabilities": {}, "agentInfo": AGENT_INFO}
    )
    banner: bytes = b""  # on stdout, before anything else
    agent: list[str] = field(default_factory=list)  # another command than ours
    session: Json = field(default_factory=dict)
    session_id: str = "session-1"
    early: list[Json] = field(default_factory=list)  # updates before the answer to session/new
    at_once: list[Json] = field(default_factory=list)  # updates right behind it
    late: list[Json] = field(default_factory=list)  # updates behind the answer to a prompt
    answers: dict[str, Answer] = field(default_factory=dict)

    def all_answers(self) -> dict[str, Answer]:
        """What is to be done for which method of the client's."""
        opened = 0

        async def initialize(agent: Agent, request: Json) -> None:
            await agent.write(self.banner)
            await agent.result(request, self.initialize)

        async def session_new(agent: Agent, request: Json) -> None:
            nonlocal opened
            opened += 1
            session = self.session_id if opened == 1 else f"{self.session_id}-{opened}"
            result = {"sessionId": session, **self.session}
            agent.judge.answered(request, result)
            early = [update_of(session, it) for it in self.early]
            at_once = [update_of(session, it) for it in self.at_once]
            await agent.send(*early, {"id": request.get("id"), "result": result}, *at_once)

        return {"initialize": initialize, "session/new": session_new, **self.answers}


@dataclass
class Kit:
    """What all runs have in common: the command, how long things may take, what was found so far."""

    argv: Sequence[str]
    env: Mapping[str, str]
    limit: float
    startup: float
    grace: float
    prompt: str
    shows_text: bool = False
    silence: float | None = None
    tally: Tally = field(default_factory=Tally)
    results: dict[str, tuple[Outcome, str]] = field(default_factory=dict)
    # How the client ended when nothing was wrong; None where it does not end by itself.
    usual: Exit | None = None


class Printed:
    """What the client prints on a descriptor, drained always, its beginning and its end kept."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.data = bytearray()
        os.set_blocking(fd, False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(fd, self.read)

    def read(self) -> None:
        """Takes what is there."""
        try:
            for _ in range(READS):
                data = os.read(self.fd, CHUNK)
                if not data:
                    self._loop.remove_reader(self.fd)
                    return
                self.data += data
                del self.data[KEPT_BYTES // 2 : -KEPT_BYTES // 2]
        except BlockingIOError:
            return

    def text(self) -> str:
        """As text."""
        return self.data.decode(errors="replace")

    def close(self) -> None:
        """The last of it."""
        self.read()
        self._loop.remove_reader(self.fd)
        os.close(self.fd)


class Run:
    """A running client. Made by `running`."""

    def __init__(self, kit: Kit, script: Script, place: Path) -> None:
        self.kit = kit
        self.script = script
        self.changes = Changes()
        self.project = place / "project"
        self.outside = place / "project-outside"
        self.socket = str(place / "s")
        self.agents: list[Agent] = []
        self.holding: dict[str, bool] = {}
        self.child: Child
        self.out: Printed
        self.err: Printed
        for directory in (self.project, self.outside):
            directory.mkdir()

    # ── what it does ────────────────────────────────────────────────────────────────────────────────────────────────

    async def agent(self) -> Agent:
        """The first agent that it started. Raises `NotSeen`."""
        if not await self.changes.until(lambda: self.agents or self.child.exit, self.kit.startup) or not self.agents:
            raise NotSeen(f"it started no agent: {self.told()}")
        return self.agents[0]

    async def prompted(self) -> "Turn":
        """The first prompt that it sends. Raises `NotSeen`."""

        def first() -> Agent | None:
            return next((agent for agent in self.agents if agent.prompts), None)

        await self.changes.until(lambda: first() or self.child.exit is not None, self.kit.startup)
        if (agent := first()) is None:
            raise NotSeen(f"it sent no prompt: {self.told()}")
        return Turn(self, agent, agent.prompts.popleft())

    async def ended(self, limit: float | None = None) -> Exit | None:
        """How the client ended; None where it has not in time, in which it may have to end its agent."""
        seconds = self.kit.limit + self.kit.grace if limit is None else limit
        await self.changes.until(lambda: self.child.exit, seconds)
        return self.child.exit

    async def ends_as_usual(self) -> None:
        """Raises `Broken` unless it ends as it does when nothing is wrong."""
        if self.kit.usual is None:
            return
        if (how := await self.ended()) is None:
            raise Broken(f"it did not end in {self.kit.limit + self.kit.grace:g} s, as it otherwise does")
        if how != self.kit.usual:
            raise Broken(f"it ended with {self.told()}, otherwise with {self.kit.usual}")

    async def fails(self, limit: float | None = None) -> Exit:
        """Raises `Broken` unless it ends by itself with an error; `NotSeen` where it never ends by itself."""
        if self.kit.usual is None:
            raise NotSeen("it does not end by itself")
        if (how := await self.ended(limit)) is None:
            seconds = self.kit.limit + self.kit.grace if limit is None else limit
            raise Broken(f"it had not ended after {seconds:g} s")
        if how == self.kit.usual:
            raise Broken(f"it ended with {how}, as if nothing had been wrong")
        return how

    async def all_gone(self, names: Sequence[str], seconds: float) -> list[str]:
        """Waits for the ends of the agents and of what holds those names, and returns what is still there."""

        def left() -> list[str]:
            agents = ["the agent"] if any(not agent.gone for agent in self.agents) else []
            return agents + [name for name in names if self.holding.get(name)]

        await self.changes.until(lambda: not left(), seconds)
        return left()

    async def holds(self, name: str, limit: float) -> bool:
        """Whether a process of that name has come up."""
        return await self.changes.until(lambda: self.holding.get(name), limit)

    def interrupt(self) -> None:
        """What Ctrl-C is in a terminal, to the client's whole group."""
        self.child.signal(signal.SIGINT)

    def settle(self, row: str, why: Verdict | None = None) -> None:
        """What was found of a row; it is met where nothing was."""
        self.kit.results[row] = ("met", "") if why is None else (why.outcome, one_line(str(why)))

    async def settling(self, row: str, play: Callable[[], Awaitable[None]]) -> None:
        """Tries it, and settles the row."""
        try:
            await play()
        except Verdict as why:
            self.settle(row, why)
        except Gone:
            self.settle(row, Broken(f"the client, or its end of the connection, was gone: {self.told()}"))
        else:
            self.settle(row)

    def told(self) -> str:
        """How it ended, and its last words."""
        self.err.read()
        self.out.read()
        last = (self.err.text().strip() or self.out.text().strip())[-200:]
        how = str(self.child.exit) if self.child.exit else "still running"
        return one_line(f"{how}, {last!r}" if last else how)

    # ── the socket ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def serve(self, stream: anyio.abc.SocketStream) -> None:
        """One process of ours that has come up."""
        async with stream:
            with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                hello = await greeted(stream)
                if "holds" in hello:
                    await self._hold(stream, hello["holds"])
                else:
                    await self._serve_agent(stream, hello)

    async def _hold(self, stream: anyio.abc.ByteStream, name: str) -> None:
        self.holding[name] = True
        self.changes.tell()
        try:
            while True:
                await stream.receive()
        finally:
            self.holding[name] = False
            self.changes.tell()

    async def _serve_agent(self, stream: anyio.abc.ByteStream, hello: Json) -> None:
        judge = Judge(self.kit.tally)
        agent = Agent(stream, judge, self.script.all_answers(), self.changes, self.kit.limit)
        async with anyio.create_task_group() as tasks:
            self.agents.append(agent)
            self.changes.tell()
            await agent.serve(hello, tasks)
            tasks.cancel_scope.cancel()


class Turn:
    """An open prompt."""

    def __init__(self, run: Run, agent: Agent, request: Json) -> None:
        self.run = run
        self.agent = agent
        self.request = request
        self.session = str(part(request, "params").get("sessionId"))
        self.probe: str | None = PING

    async def find_out(self) -> None:
        """What it answers without asking anybody, as that tells whether it still lives. Raises `Gone`.

        That is what it does not know, or what is malformed; a client that answers neither is deaf: `probe` is None.
        """
        for self.probe in (PING, "session/request_permission", None):
            if self.probe is None:
                return
            with contextlib.suppress(Broken):
                await self.agent.ask(self.probe, {})
                return

    async def alive(self, limit: float | None = None) -> bool:
        """Whether the client is still there and reads on."""
        try:
            if self.probe is not None:
                await self.agent.ask(self.probe, {}, limit=limit)
        except (Broken, Gone):
            return False
        return not self.agent.lost

    async def ask(self, method: str, **params: Any) -> Json:
        """A request of this session."""
        return await self.agent.ask(method, {"sessionId": self.session, **params})

    async def got(self, method: str, **params: Any) -> Json:
        """The result of a request of this session. Raises `Broken` for an error."""
        answer = await self.ask(method, **params)
        if code_of(answer) is not None:
            raise Broken(f"{method} was answered {answer['error']}")
        return part(answer, "result")

    async def update(self, *updates: Json) -> None:
        """Updates of this session."""
        await self.agent.update(self.session, *updates)

    async def end(self, reason: str = "end_turn", *updates: Json, late: Sequence[Json] = ()) -> None:
        """Answers the prompt: the last updates, the answer and what is late for it in one write."""
        result = {"stopReason": reason}
        self.agent.judge.answered(self.request, result)
        before, behind = ([update_of(self.session, it) for it in some] for some in (updates, late))
        await self.agent.send(*before, {"id": self.request.get("id"), "result": result}, *behind)


@contextlib.asynccontextmanager
async def running(kit: Kit, script: Script) -> AsyncIterator[Run]:
    """The client, started in a directory of its own. Nothing of it, or of what it started, is left afterwards.

    Raises `OSError` where it cannot be started.
    """
    place = Path(tempfile.mkdtemp(prefix="acp-")).resolve()
    try:
        run = Run(kit, script, place)
        async with await anyio.create_unix_listener(run.socket) as listener:
            _start(run)
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(listener.serve, run.serve)
                    tasks.start_soon(_watch, run)
                    yield run
                    tasks.cancel_scope.cancel()
            finally:
                with anyio.CancelScope(shield=True):
                    await _end(run)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def command(argv: Sequence[str], run: Run) -> list[str]:
    """The client's command with its places filled in."""
    agent = run.script.agent or [sys.executable, "-m", "acp_check.agent", run.socket]
    words: list[str] = []
    for word in argv:
        if word == "{agent_argv}":
            words += agent
            continue
        for name, value in (("agent", shlex.join(agent)), ("prompt", run.kit.prompt), ("cwd", str(run.project))):
            word = word.replace(f"{{{name}}}", value)
        words.append(word)
    return words


def _start(run: Run) -> None:
    said = run.project.parent / "stdin"
    said.write_text(f"{run.kit.prompt}\n")
    (out, theirs_out), (err, theirs_err) = os.pipe(), os.pipe()
    directory = os.open(run.project, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with said.open("rb") as given:
            run.child = guarded.start(
                command(run.kit.argv, run),
                env=run.kit.env,
                directory=directory,
                stdin=given.fileno(),
                stdout=theirs_out,
                stderr=theirs_err,
            )
    except BaseException:
        os.close(out)
        os.close(err)
        raise
    finally:
        for fd in (directory, theirs_out, theirs_err):
            os.close(fd)
    run.out, run.err = Printed(out), Printed(err)


async def _watch(run: Run) -> None:
    await run.child.wait()
    run.changes.tell()


async def _end(run: Run) -> None:
    """The client first, by the signal that asks; then whatever is left."""
    if run.child.exit is None:
        run.child.signal(signal.SIGTERM)
        with anyio.move_on_after(TERM_SECONDS):
            await run.child.wait()
    await run.child.finish()
    for printed in (run.out, run.err):
        printed.close()
