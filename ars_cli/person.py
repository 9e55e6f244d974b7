"""Who decides: the person at the terminal, or, where there is none, a policy."""

import string
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import anyio

from ars_cli import diffs, forms
from ars_cli.keyboard import Keyboard
from ars_cli.plain import clean, visible
from ars_cli.review import Hunk, ask_key, review
from ars_cli.screen import Screen
from ars_cli.transcript import Transcript, command_line
from connector.client import Filled
from connector.permissions import Act, Answer

if TYPE_CHECKING:
    from acp_wire.schema.elicitation import ElicitationFormMode, ElicitationUrlMode
    from acp_wire.schema.permission import PermissionOption

Action = Literal["accept", "decline", "cancel"]
VISIT_KEYS: dict[str, Action] = {"y": "accept", "n": "decline", "q": "cancel"}
VISIT_HELP = (
    ("y", "you open it yourself, and the agent goes on"),
    ("n", "you do not want to"),
    ("q", "no answer"),
)
KIND_KEYS = {"allow_once": "y", "reject_once": "n", "allow_always": "a", "reject_always": "d"}


class Person:
    """Asks the person, one question at a time, in the order in which they came."""

    def __init__(self, screen: Screen, keyboard: Keyboard, transcript: Transcript) -> None:
        self._screen = screen
        self._keyboard = keyboard
        self._transcript = transcript
        self._one_at_a_time = anyio.Lock()

    async def permit(self, act: Act) -> str | None:
        """The id of the option that the person picks; None when they pick none."""
        async with self._one_at_a_time:
            self._transcript.end_block()
            self._screen.gap()
            self._screen.line(f"Permission: {self._transcript.heading(act.tool_call)}", "warning")
            self._transcript.consider_begun(act.tool_call)
            self._transcript.show_diffs(act.tool_call)
            self._show_facts(act)
            keys = option_keys(act.options)
            offered = "  ".join(f"[{key}] {visible(option.name)}" for key, option in keys.items())
            self._keyboard.forget()
            help_lines = tuple((key, visible(option.name)) for key, option in keys.items())
            with self._keyboard.quiet():
                key = await ask_key(
                    self._screen,
                    self._keyboard,
                    f"{offered}  [q] neither › ",
                    "".join(keys) + "q?",
                    (*help_lines, ("q", "no answer: the agent may not")),
                )
            return keys[key].option_id if key in keys else None

    async def fill(self, form: "ElicitationFormMode") -> Filled:
        """Shows a form; the review of a patch is asked hunk by hunk."""
        async with self._one_at_a_time:
            self._transcript.end_block()
            self._screen.gap()
            self._screen.line(clean(forms.lead(form)), "warning")
            if form.tool_call_id is not None and (call := self._transcript.known(form.tool_call_id)):
                self._transcript.consider_shown(call)
            self._keyboard.forget()
            if reviewed := forms.hunks_of(form):
                name, hunks = reviewed
                with self._keyboard.quiet():
                    wanted = await review(self._screen, self._keyboard, hunks)
                    return Filled("accept", {name: wanted}, approves=bool(wanted))
            content = await forms.fill(self._screen, self._keyboard, form)
            return Filled("cancel") if content is None else Filled("accept", content)

    async def visit(self, asked: "ElicitationUrlMode") -> Action:
        """Shows the whole address and asks whether the person wants to go there. Nothing is opened for them."""
        async with self._one_at_a_time:
            show_address(self._screen, self._transcript, asked)
            if not host_of(asked.url):
                self._screen.line("  declined: that is no address of the web", "warning")
                return "decline"
            self._keyboard.forget()
            with self._keyboard.quiet():
                key = await ask_key(
                    self._screen, self._keyboard, "Open it in your browser? [y,n,q,?] ", "ynq?", VISIT_HELP
                )
            return VISIT_KEYS[key]

    def _show_facts(self, act: Act) -> None:
        """What decides, whatever the title says: the command, and the files."""
        command = command_line(act.tool_call.raw_input)
        if command and command not in self._transcript.heading(act.tool_call):
            self._screen.line(f"  $ {command}")
        elsewhere = [path for path in act.paths if path not in (act.tool_call.title or "")]
        for path in elsewhere[:10]:
            self._screen.line(f"  {visible(path)}", "dim")


class Unattended:
    """Nobody is there: forms are answered with all hunks, where the policy would allow them, or with the defaults."""

    def __init__(self, screen: Screen, transcript: Transcript, *, allows: bool) -> None:
        self._screen = screen
        self._transcript = transcript
        self._allows = allows

    async def permit(self, act: Act) -> Answer:
        """Yes, for this time, or no."""
        self._transcript.end_block()
        self._screen.gap()
        verdict = "allowed this time" if self._allows else "refused"
        self._screen.line(f"Permission: {self._transcript.heading(act.tool_call)}", "warning")
        self._transcript.consider_begun(act.tool_call)
        self._transcript.show_diffs(act.tool_call)
        self._screen.line(f"  {verdict}; nobody is there to ask", "dim")
        return Answer.ALLOW if self._allows else Answer.REFUSE

    async def fill(self, form: "ElicitationFormMode") -> Filled:
        """Prints the question and its answer."""
        self._transcript.end_block()
        self._screen.gap()
        self._screen.line(clean(forms.lead(form)), "warning")
        if form.tool_call_id is not None and (call := self._transcript.known(form.tool_call_id)):
            self._transcript.consider_shown(call)
        content = forms.unattended(form, accept_hunks=self._allows)
        reviewed = forms.hunks_of(form)
        if reviewed:
            await self._show_review(reviewed[1], accepted=content is not None)
        elif content is None:
            self._screen.line("  declined, nobody is there to ask", "warning")
        return Filled("decline") if content is None else Filled("accept", content, approves=bool(reviewed))

    async def visit(self, asked: "ElicitationUrlMode") -> Action:
        """Prints the address; nobody goes there."""
        show_address(self._screen, self._transcript, asked)
        self._screen.line("  declined, nobody is there to ask", "warning")
        return "decline"

    async def _show_review(self, hunks: list[Hunk], *, accepted: bool) -> None:
        file = None
        for number, hunk in enumerate(hunks, 1):
            if hunk.file != file:
                file = hunk.file
                self._screen.gap()
                self._screen.line(clean(file), "bold")
            diffs.show(self._screen, hunk.lines)
            answer = "y" if accepted else "n"
            self._screen.line(f"({number}/{len(hunks)}) Apply this hunk? {answer}, nobody is there to ask", "title")


def show_address(screen: Screen, transcript: Transcript, asked: "ElicitationUrlMode") -> None:
    """The address whole, and apart from it the host, which is what decides where it leads."""
    transcript.end_block()
    screen.gap()
    screen.line(clean(asked.message), "warning")
    screen.line(f"  {visible(asked.url)}", "bold")
    screen.line(f"  on {visible(host_of(asked.url) or 'no host of the web')}", "dim")


def host_of(url: str) -> str:
    """The host of an address of the web; "" for any other, and for one that has a name in front of its host."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.username is None
        return f"{parts.hostname or ''}{'' if parts.port is None else f':{parts.port}'}" if known else ""
    except ValueError:
        return ""


def option_keys(options: "tuple[PermissionOption, ...]") -> "dict[str, PermissionOption]":
    """A key for each option: the usual one where its kind is there once, a number or a letter where it is not."""
    kinds = [option.kind for option in options]
    spare = iter([key for key in string.digits[1:] + string.ascii_letters if key not in "ynadq"])
    return {KIND_KEYS[one.kind] if kinds.count(one.kind) == 1 else next(spare): one for one in options}
