"""`ars chat`: a conversation with an agent in this terminal, or one prompt where there is none."""

import contextlib
import os
import sys
from dataclasses import dataclass, replace

import anyio

from ars_cli import __version__, named, settings, signals
from ars_cli.exits import DONE, INTERRUPTED, exit_of
from ars_cli.in_order import InOrder
from ars_cli.keyboard import Keyboard
from ars_cli.person import Person, Unattended
from ars_cli.plain import clean, visible
from ars_cli.sample import PROMPT
from ars_cli.screen import Screen
from ars_cli.transcript import Transcript
from connector import (
    AgentError,
    Client,
    Connector,
    Session,
    allow_once,
    allow_reads,
    ask,
    deny_all,
    launch,
)
from connector.client import Update
from connector.permissions import Policy
from connector.vendors import Vendor

HELP = "Type a prompt. Ctrl-C cancels the turn, twice quits; Ctrl-D or /quit ends."
SCRIPTED = """\
No model is configured, so a script plays the model's part. Everything else is
real: the agent, its tools, your review, the tests. To talk to a model, set
OPENAI_API_KEY or OPENAI_BASE_URL, and OPENAI_MODEL, or run `ars-acp login`."""
WORKING = "… working; Ctrl-C cancels"
REASONS = {
    "max_tokens": "the model's reply reached its limit",
    "max_turn_requests": "the turn reached its limit of steps",
    "refusal": "the model refused; it will not remember this prompt",
    "cancelled": "cancelled",
}


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line."""

    agent: Vendor
    cwd: str
    prompt: str | None
    policy: str
    # A script plays the model's part: there is no point in asking for a second prompt.
    scripted: bool = False
    demo: bool = False
    late_seconds: float = 0.0
    # Our own agent asks where its mode says so: what it then does is not asked about a second time.
    trusted: bool = False
    name: str | None = None


class Chat:
    """One conversation from launch to exit code."""

    def __init__(self, options: Options) -> None:
        look = settings.look(sys.stdout)
        self._options = options
        self._screen = Screen(colour=look.colour, live=look.live, width=look.width)
        self._transcript = Transcript(self._screen, options.cwd)
        self._order = InOrder(self._show)
        self._keyboard = Keyboard() if sys.stdin.isatty() and sys.stdout.isatty() else None
        self._session: Session | None = None
        self._scope = anyio.CancelScope()
        self._exit = DONE
        self._interrupted = False
        self._running = False

    async def run(self) -> int:
        """Converses until the end and returns the exit code. Raises `ConnectorError`."""
        client = self._client()
        limits = replace(self._options.agent.limits, late=self._options.late_seconds)
        info = {"name": "ars", "title": "ars chat", "version": __version__}
        closing = contextlib.closing(self._keyboard) if self._keyboard else contextlib.nullcontext()
        with signals.handled(self._interrupt, self._quit), closing, self._scope:
            options = self._options
            async with (
                named.kept(options.name) as store,
                launch(
                    options.agent, client, cwd=options.cwd, limits=limits, client_info=info, store=store
                ) as connector,
            ):
                self._greet(connector)
                output = self._transcript.terminal_output
                session = await named.opened(connector, options.name, options.cwd, on_output=output)
                for line in named.account(session):
                    self._screen.line(line, "info")
                session.outside = self._order.outside
                self._session = session
                await self._converse(session)
        return self._exit

    def _client(self) -> Client:
        chosen = self._options.policy
        if self._keyboard is not None:
            person = Person(self._screen, self._keyboard, self._transcript)
            asking: Policy = ask(person.permit)
            fill, visit = person.fill, person.visit
        else:
            nobody = Unattended(self._screen, self._transcript, allows=chosen == "allow-once")
            asking = nobody.permit
            fill, visit = nobody.fill, nobody.visit
        policies: dict[str, Policy] = {
            "ask": asking,
            "allow-reads": allow_reads(lambda session, path: client.inside(session, path), asking),
            "deny": deny_all if self._keyboard else asking,
            "allow-once": allow_once if self._keyboard else asking,
        }
        unasked = allow_once if self._options.trusted and chosen == "ask" else None
        client = Client(policy=policies[chosen], unasked=unasked, fill=fill, visit=visit)
        return client

    # ── the conversation ────────────────────────────────────────────────────────────────────────────────────────────

    def _greet(self, connector: Connector) -> None:
        info = connector.agent.agent_info
        agent = f"{info.name} {info.version}" if info else connector.command.name
        self._screen.line(f"ars {__version__}, agent {visible(agent)}, in {visible(self._options.cwd)}", "dim")
        if self._options.scripted:
            self._screen.line(SCRIPTED, "info")
        if self._keyboard is not None and not self._options.scripted:
            self._screen.line(HELP, "dim")

    async def _converse(self, session: Session) -> None:
        prompt = self._options.prompt
        if self._keyboard is None:
            prompt = prompt or (PROMPT if self._options.demo else sys.stdin.read())
        elif prompt is None and self._options.scripted and self._options.demo:
            prompt = PROMPT
        if prompt is not None:
            self._exit = await self._turn(session, prompt, echo=True)
            if self._keyboard is None or self._options.scripted:
                return
        while self._keyboard is not None:
            prompt = await self._next_prompt(self._keyboard)
            if prompt is None:
                self._exit = DONE
                return
            if prompt:
                try:
                    await self._turn(session, prompt)
                except AgentError as why:
                    self._screen.line(f"✗ {clean(str(why))}", "bad")

    async def _next_prompt(self, keyboard: Keyboard) -> str | None:
        """What the person types: empty for nothing, None for the end."""
        self._screen.gap()
        suggestion = PROMPT if self._options.demo and self._session and not self._session.turns else ""
        if suggestion:
            self._screen.line(f"Enter alone sends: {suggestion}", "dim")
        self._screen.write("› ", "title")
        typed = await keyboard.line()
        if typed is None:
            self._screen.line()
            return None
        self._screen.entered()
        self._interrupted = False
        if suggestion and not typed.strip():
            self._screen.line(suggestion, "dim")
        typed = typed.strip() or suggestion
        if typed in ("/quit", "/exit"):
            return None
        if typed == "/help":
            self._screen.line(HELP, "dim")
            return ""
        return typed

    async def _turn(self, session: Session, prompt: str, *, echo: bool = False) -> int:
        if echo:
            self._screen.gap()
            self._screen.line(f"› {visible(prompt.strip())}", "title")
        self._running, self._interrupted = True, False
        began = anyio.current_time()
        try:
            with self._keyboard.quiet() if self._keyboard else contextlib.nullcontext():
                turn = session.start(prompt)
                self._screen.idle(WORKING)
                await self._order.follow(turn)
        finally:
            self._running = False
            self._transcript.end_block()
        reason = await turn.result()
        self._screen.gap()
        words = REASONS.get(reason, "done")
        style = "dim" if reason == "end_turn" else "warning"
        self._screen.line(f"─ {words}, {anyio.current_time() - began:.1f} s", style)
        interrupted, self._interrupted = self._interrupted, False
        return exit_of(reason, interrupted=interrupted)

    def _show(self, update: Update) -> None:
        self._transcript.update(update)
        if self._running and not update.session_update.endswith("_chunk"):
            self._screen.idle(WORKING)

    # ── Ctrl-C ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _interrupt(self) -> None:
        """The first Ctrl-C cancels the turn, the second one ends the program."""
        if self._interrupted or self._session is None:
            self._quit(INTERRUPTED)
            return
        self._interrupted = True
        if self._running:
            self._transcript.end_block()
            self._screen.line("cancelling; Ctrl-C again quits", "warning")
            self._session.cancel()
        else:
            self._screen.line("Ctrl-C again or Ctrl-D quits", "warning")
            self._screen.write("› ", "title")

    def _quit(self, code: int) -> None:
        self._exit = code
        self._scope.cancel()


async def chat(options: Options) -> int:
    """Runs a conversation and returns the exit code of `ars`."""
    return await Chat(options).run()


def working_directory(named: str | None) -> str:
    """The absolute directory to work in. Raises `NotADirectoryError`."""
    path = os.path.realpath(named or os.getcwd())
    if not os.path.isdir(path):
        raise NotADirectoryError(f"no such directory: {named}")
    return path
