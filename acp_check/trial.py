"""What a requirement is tried with: the agent, shared or started for it alone; sessions; turns."""

import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acp_check import v1
from acp_check.hands import FULL
from acp_check.peer import DEFAULTS, Answer, Json, Limits, Peer, Update
from acp_check.table import Broken, NotOffered, NotSeen
from acp_check.watch import Faults, quoted

CLIENT = {"name": "acp-check", "title": "ACP conformance kit", "version": "1"}
FENCE = "_acp_check/fence"
AUTH_REQUIRED = -32000
FILES = {"notes.txt": "The word is heron.\n", "README.md": "A project for a conformance run.\n"}

# What the agent is asked for in a turn of each kind; {cwd} is the session's directory.
PROMPTS: Mapping[str, str] = {
    "say": "Say hello in one short sentence. Use no tools.",
    "long": "Count from 1 to 500 in words, one number a line. Use no tools.",
    "write": "Write the word done into the file {cwd}/out.txt with your tool for writing files, then say: done.",
    "tools": "Read the file {cwd}/notes.txt, write its content to {cwd}/copy.txt, run the command `true` in the "
    "terminal, each with the tool for it, then say: done.",
}


@dataclass(frozen=True)
class Subject:
    """The agent under test, and how it is tried.

    `env` is its whole environment. `cwd`: the directory of its sessions; a throw-away one where None. `prompts`
    replaces texts of `PROMPTS`; `turns` False sends none. `sign_in` is the method for `authenticate`, where the agent
    wants one. `line_mib` is the longest line that is sent, `endless_mib` how much of a line that never ends.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    turns: bool = True
    sign_in: str | None = None
    line_mib: float = 8
    endless_mib: float = 0
    limits: Limits = DEFAULTS


@dataclass
class Turn:
    """A prompt that was sent, and what its session has shown since."""

    peer: Peer
    session: str
    identity: Any
    first: int
    first_asked: int

    @property
    def over(self) -> bool:
        """Whether it has been answered."""
        return (type(self.identity), self.identity) in self.peer.answers

    @property
    def updates(self) -> list[Update]:
        """Its session's updates since it began."""
        return [it for it in self.peer.updates[self.first :] if it.session == self.session]

    @property
    def asked(self) -> list[Json]:
        """What the agent has asked of its client since it began."""
        return self.peer.asked[self.first_asked :]

    @property
    def text(self) -> str:
        """What the agent has said in it."""
        contents = [it.update.get("content") for it in self.updates if it.kind == "agent_message_chunk"]
        return "".join(str(it.get("text", "")) for it in contents if isinstance(it, dict))

    async def end(self, within: float | None = None) -> Answer:
        """Its answer."""
        limit = self.peer.limits.turn if within is None else within
        return await self.peer.answer(self.identity, limit, "the answer to session/prompt")

    async def begun(self) -> None:
        """Waits until it has shown something of a turn, or is over."""
        shown = {"agent_message_chunk", "agent_thought_chunk", "tool_call"}
        what = "the first update of a prompt"
        await self.peer.until(
            lambda: self.over or any(it.kind in shown for it in self.updates), what, self.peer.limits.turn
        )


class Trial:
    """One run over one agent. `peer` is shared by the requirements; `fresh` is one of its own."""

    def __init__(self, subject: Subject, cwd: str) -> None:
        self.subject = subject
        self.limits = subject.limits
        self.cwd = cwd
        self.faults = Faults()
        self.stderr_bytes = 0
        self._shared: Peer | None = None
        # What can never be done with this agent, once it is known: a reason each, so that no row waits for it again.
        self._never: dict[str, str] = {}
        self._fence = FENCE
        self._known: dict[str, Any] = {}
        self.kept: dict[str, list[Any]] = {}  # what one row has and others use

    # ── peers ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def peer(self) -> Peer:
        """An agent after its hand-shake, used by others before. Raises `NotSeen` where there can be none."""
        if "peer" in self._never:
            raise NotSeen(self._never["peer"])
        if self._shared is not None and self._shared.gone:
            await self.drop()
        if self._shared is None:
            self._shared = self._start(FULL)
            await self._handshake(self._shared)
        return self._shared

    def next(self) -> None:
        """Another requirement is tried: the client is as it was at first."""
        if self._shared is not None:
            self._shared.hands.reset()

    async def drop(self) -> None:
        """Ends the shared agent: the next requirement gets another."""
        if self._shared is not None:
            peer, self._shared = self._shared, None
            await self._stop(peer)

    @contextlib.asynccontextmanager
    async def fresh(
        self, capabilities: Mapping[str, Any] = FULL, *, handshake: bool = True, cwd: str | None = None
    ) -> AsyncIterator[Peer]:
        """An agent of one's own, whose client offers these capabilities."""
        if "peer" in self._never:
            raise NotSeen(self._never["peer"])
        peer = self._start(capabilities, cwd)
        try:
            if handshake:
                await self._handshake(peer)
            yield peer
        finally:
            await self._stop(peer)

    def _start(self, capabilities: Mapping[str, Any], cwd: str | None = None) -> Peer:
        subject = self.subject
        return Peer(
            subject.argv,
            subject.env,
            cwd or self.cwd,
            capabilities=capabilities,
            faults=self.faults,
            limits=self.limits,
        )

    async def _stop(self, peer: Peer) -> None:
        await peer.stop()
        self.stderr_bytes += peer.process.stderr_bytes

    async def _handshake(self, peer: Peer) -> None:
        try:
            await self.hello(peer)
        except Broken as why:
            raise NotSeen(f"no hand-shake: {why}") from None
        if "fence" not in self._known:
            await self._find_fence(peer)
        if self.subject.sign_in is not None:
            await peer.request("authenticate", {"methodId": self.subject.sign_in}, self.limits.session)

    async def hello(self, peer: Peer, version: int = 1, **more: Any) -> Json:
        """Sends initialize and returns its result. Raises `Broken`."""
        params = {"protocolVersion": version, "clientCapabilities": peer.capabilities, "clientInfo": CLIENT, **more}
        try:
            found = await peer.ask("initialize", params, self.limits.start)
            if not isinstance(found, dict):
                raise Broken(f"initialize was answered with {found!r}")
        except Broken as why:
            if "hello" not in self._known:
                self._never["peer"] = f"no hand-shake: {why}"
            raise
        self._known["hello"] = True
        peer.hello = found
        return found

    async def _find_fence(self, peer: Peer) -> None:
        """Whether requests of unknown methods are answered; else session/new is what shows that an agent lives."""
        try:
            await peer.answer(peer.begin(FENCE, {}), min(self.limits.answer, 3))
        except Broken:
            self._fence = "session/new"
        self._known["fence"] = True

    async def fence(self, peer: Peer, what: str) -> None:
        """Waits until the agent has answered one more request and is quiet. Raises `Broken`, `what` in it."""
        params = {} if self._fence == FENCE else self.new_params()
        limit = self.limits.answer if self._fence == FENCE else self.limits.session
        await peer.answer(peer.begin(self._fence, params), limit, f"after {what}, the answer to another request")
        await peer.quiet()

    # ── sessions ────────────────────────────────────────────────────────────────────────────────────────────────────

    def new_params(self, cwd: str | None = None, **more: Any) -> Json:
        """What session/new takes."""
        return {"cwd": cwd or self.cwd, "mcpServers": [], **more}

    async def session(self, peer: Peer, **more: Any) -> Json:
        """The result of session/new, signed in where the subject says how.

        Raises `NotSeen` where there is none, `Broken` where there is none with `more` params.
        """
        if "session" in self._never:
            raise NotSeen(self._never["session"])
        answer = await peer.request("session/new", self.new_params(**more), self.limits.session)
        if answer.code == AUTH_REQUIRED and self.subject.sign_in is not None:
            await peer.request("authenticate", {"methodId": self.subject.sign_in}, self.limits.session)
            answer = await peer.request("session/new", self.new_params(**more), self.limits.session)
        if not isinstance(answer.result, dict) or not isinstance(answer.result.get("sessionId"), str):
            hint = "; --sign-in METHOD signs in first" if answer.code == AUTH_REQUIRED else ""
            reason = f"no session: session/new was answered {answer}{hint}"
            if more:
                raise Broken(f"session/new with {quoted(more)} was answered {answer}")
            self._never["session"] = reason
            raise NotSeen(reason)
        return dict(answer.result)

    async def session_id(self, peer: Peer, **more: Any) -> str:
        """The id of a new session."""
        return str((await self.session(peer, **more))["sessionId"])

    # ── turns ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def blocks(self, kind: str) -> list[Json]:
        """The prompt of that kind."""
        text = {**PROMPTS, **self.subject.prompts}[kind]
        return [{"type": "text", "text": text.replace("{cwd}", self.cwd)}]

    def begin_turn(self, peer: Peer, session: str, blocks: list[Json]) -> Turn:
        """Sends a prompt."""
        first = len(peer.updates)
        asked = len(peer.asked)
        params = {"sessionId": session, "prompt": blocks}
        return Turn(peer, session, peer.begin("session/prompt", params), first, asked)

    async def turn(self, peer: Peer, session: str, kind: str = "say", *more: Json) -> tuple[Turn, Answer]:
        """A whole turn of that kind, which may end with an error."""
        await self.turns_work()
        turn = self.begin_turn(peer, session, [*self.blocks(kind), *more])
        return turn, await turn.end()

    async def turns_work(self) -> None:
        """Raises `NotSeen` unless the agent can carry out a prompt at all: it may have no model here."""
        if not self.subject.turns:
            raise NotSeen("no prompts are sent in this run")
        if "turn" in self._never:
            raise NotSeen(self._never["turn"])
        if "turn" not in self._known:
            peer = await self.peer()
            session = await self.session_id(peer)
            turn = self.begin_turn(peer, session, self.blocks("say"))
            try:
                answer = await turn.end()
            except Broken as why:
                await self.drop()
                self._never["turn"] = f"no turn: {why}"
                raise NotSeen(self._never["turn"]) from None
            if "result" not in answer.message:
                self._never["turn"] = f"no turn: session/prompt was answered {answer}"
                raise NotSeen(self._never["turn"])
            self._known["turn"] = (turn, answer)

    async def first_turn(self) -> tuple[Turn, Answer]:
        """The first plain turn of the run, which has ended with a result."""
        await self.turns_work()
        found: tuple[Turn, Answer] = self._known["turn"]
        return found

    async def long_turn(self, peer: Peer, session: str) -> Turn:
        """A turn that has begun to say something and goes on. Raises `NotSeen` where it ended first."""
        await self.turns_work()
        turn = self.begin_turn(peer, session, self.blocks("long"))
        await turn.begun()
        if turn.over:
            raise NotSeen("the turn was over before anything could be done in it; --prompt-long gives a longer one")
        return turn

    async def asking_turn(self, peer: Peer, session: str, reply: Callable[[Json], Any], kind: str = "write") -> Turn:
        """A turn that has come to a question for permission, which `reply` answers. `NotSeen` where it asks none."""
        await self.turns_work()
        asked = len(questions(peer))
        peer.hands.permission = reply
        turn = self.begin_turn(peer, session, self.blocks(kind))
        await peer.until(
            lambda: turn.over or len(questions(peer)) > asked, "a question for permission", self.limits.turn
        )
        if len(questions(peer)) == asked:
            raise NotSeen("the agent asked for no permission; --prompt-write gives a prompt that makes it ask")
        return turn

    async def conversation(self) -> Peer:
        """A little of everything, for what is watched: a hand-shake, a session, turns where there are any."""
        peer = await self.peer()
        if "talked" not in self._known:
            self._known["talked"] = True
            with contextlib.suppress(NotSeen):
                session = await self.session_id(peer)
                await self._empty_results(peer, session)
                session = await self.session_id(peer)
                for kind in ("say", "tools"):
                    await self.turn(peer, session, kind)
            if not peer.gone:
                await peer.quiet()
        return peer

    async def _empty_results(self, peer: Peer, session: str) -> None:
        """Calls what is offered of the methods that a session needs besides prompts."""
        for name in ("list", "close", "delete"):
            if peer.offers("sessionCapabilities", name):
                params = {"cwd": self.cwd} if name == "list" else {"sessionId": session}
                await peer.request(f"session/{name}", params, self.limits.session)

    async def once(self, name: str, attempt: Callable[[], Awaitable[None]]) -> None:
        """Does something a single time in the run; who comes later gets what was raised then."""
        if name not in self._known:
            self._known[name] = None
            try:
                await attempt()
            except (Broken, NotOffered, NotSeen) as why:
                self._known[name] = why
        if self._known[name] is not None:
            raise self._known[name]

    # ── capabilities ────────────────────────────────────────────────────────────────────────────────────────────────

    def need(self, peer: Peer, *path: str) -> None:
        """Raises `NotOffered` unless the agent offers it."""
        if not peer.offers(*path):
            raise NotOffered(f"agentCapabilities has no {'.'.join(path)}")


def questions(peer: Peer, turn: Turn | None = None) -> list[Json]:
    """The questions for permission that the agent has asked, in that turn or ever."""
    asked = peer.asked if turn is None else turn.asked
    return [it for it in asked if it.get("method") == "session/request_permission"]


def code_of(answer: Answer, *codes: int) -> None:
    """Raises `Broken` unless it is an error with one of these codes."""
    if answer.code not in codes:
        wanted = " or ".join(map(str, codes))
        raise Broken(f"expected the error {wanted}, came {answer}")


def fits(definition: str, value: Any, what: str) -> None:
    """Raises `Broken` unless the value is as the schema has it."""
    if (why := v1.fault(definition, value)) is not None:
        raise Broken(f"{what}: {why}")


def make_project(directory: str) -> None:
    """Puts the few files into a directory of the kit's own."""
    for name, text in FILES.items():
        Path(directory, name).write_text(text, encoding="utf-8")


def entries(directory: str) -> set[tuple[str, int]]:
    """What lies in a directory, each name with the time of its last change."""
    with os.scandir(directory) as found:
        return {(it.name, it.stat(follow_symlinks=False).st_mtime_ns) for it in found}
