"""The script of the mock agent: a text file that says what the agent does, prompt by prompt. Pure.

    # A comment. Blank lines mean nothing.
    === turn                        one for each prompt, in order
    think: Where is it?             reasoning; word by word, as everything that is said
    say: I look.                    the reply; longer text stands below, indented
    plan:                           the whole plan, whenever it changes
      [x] Look
      [>] Write
      [ ] Test
    read notes.txt                  a tool call; paths are taken from the session's directory
    write out.txt: One line.        asks for permission, as its vendor does; longer text stands below, indented
    run ["python3", "-V"]           asks too
    ask edit "Delete everything?"   only asks, for an act of that kind
    --- if refused                  from here to the next `---` only where the last question was refused (or: `granted`)
    say: Then not.
    ---
    wait 0.5                        seconds
    usage 1200 0.05                 tells the tokens in the context, and what the session has cost so far in USD
    stop max_tokens                 ends the turn with that stop reason; without it, end_turn

`=== turn if "text"` waits for a prompt that contains it, `=== turn repeat` serves all further prompts. In text
`$prompt` is the prompt, `$told` is everything that was ever told in the session, and `$result` is the last result: what
was read or written by a command, `written`, `granted` or `refused`. Where the vendor ends its turns with a refusal,
nothing follows one.

Faults: `exit 7` and `exit SIGSEGV` end the process, `hang` never goes on, cancelled or not, `stderr: text` writes a
line there, `noise: text` a line to stdout that is no message, `late: text` is said after the answer, `flood 1000` says
so many words at once, `error {"code": -32603, "message": "no"}` answers the prompt with that error.
`call some/method {"a": 1}` sends a request, whose answer is `$result`, `tell some/method {}` a notification.
"""

import json
import re
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DEFAULT = "=== turn repeat\nsay: You said: $told\n"
_HEADING = re.compile(r'=== turn(?P<repeat> repeat)?(?: if (?P<needle>".*"))?')
_CONDITION = re.compile(r"---(?: if (?P<outcome>granted|refused))?")
_ENTRY = re.compile(r"\[(?P<mark>[x> ])\] (?P<text>.+)")
_MARKS = {"x": "completed", ">": "in_progress", " ": "pending"}
_TEXTS = ("say", "think", "stderr", "noise", "late", "plan")
_PLAIN = ("read", "hang", "stop", "exit")
_NUMBERS = ("wait", "flood")


class ScriptError(Exception):
    """A script cannot be read; the message names the line."""


@dataclass(frozen=True)
class Step:
    """One line of a script: `do` is its first word; `text` and `value` are what that word needs.

    `outcome` is what the last question must have come to for the step to be taken; "" is any.
    """

    do: str
    text: str = ""
    value: Any = None
    outcome: str = ""


@dataclass
class Turn:
    """What is done for one prompt."""

    needle: str = ""
    repeat: bool = False
    steps: list[Step] = field(default_factory=list)


class Script:
    """The turns of one script. Where a session stands in it is the session's to know."""

    def __init__(self, turns: list[Turn]) -> None:
        self._turns = turns

    @classmethod
    def parse(cls, text: str) -> "Script":
        """Raises ScriptError."""
        return cls(_Reader(text).turns())

    @classmethod
    def load(cls, path: str | Path) -> "Script":
        """The script in a file. Raises OSError and ScriptError."""
        return cls.parse(Path(path).read_text(encoding="utf-8"))

    def turn(self, at: int, prompt: str) -> tuple[Turn, int]:
        """The turn for a prompt of a session that stands `at`, and where it stands then."""
        for number, turn in enumerate(self._turns[at:], at):
            if turn.needle in prompt:
                return turn, number if turn.repeat else number + 1
        return Turn(steps=[Step("say", "The script has no turn for this prompt.")]), at


class _Reader:
    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()
        self._at = 0

    def turns(self) -> list[Turn]:
        turns: list[Turn] = []
        outcome = ""
        while self._at < len(self._lines):
            line = self._lines[self._at].rstrip()
            self._at += 1
            if not line or line.startswith("#"):
                continue
            if heading := _HEADING.fullmatch(line):
                turns.append(Turn(self._json(heading["needle"] or '""'), bool(heading["repeat"])))
                outcome = ""
            elif not turns:
                raise self._error("a script begins with `=== turn`")
            elif condition := _CONDITION.fullmatch(line):
                outcome = condition["outcome"] or ""
            else:
                turns[-1].steps.append(self._step(line, outcome))
        return turns

    def _step(self, line: str, outcome: str) -> Step:
        word, _, rest = line.partition(" ")
        rest = rest.strip()
        if word.endswith(":") and word[:-1] in _TEXTS:
            text = "\n".join(part for part in (rest, self._below()) if part)
            return Step(word[:-1], text, self._plan(text) if word == "plan:" else None, outcome)
        if word in _PLAIN:
            return Step(word, rest, None, outcome)
        if word in _NUMBERS:
            return Step(word, "", self._number(rest), outcome)
        return self._other(word, rest, outcome)

    def _other(self, word: str, rest: str, outcome: str) -> Step:
        first, _, more = rest.partition(" ")
        match word:
            case "write":
                path, _, text = rest.partition(":")
                lines = [part for part in (text.strip(), self._below()) if part]
                return Step("write", path.strip(), "".join(f"{part}\n" for part in lines), outcome)
            case "usage":
                return Step("usage", "", (int(self._number(first)), self._number(more) if more else None), outcome)
            case "run" | "error":
                return Step(word, "", self._json(rest), outcome)
            case "ask":
                return Step("ask", self._json(more or '""'), first, outcome)
            case "call" | "tell":
                return Step(word, first, self._json(more or "{}"), outcome)
        raise self._error(f"`{word}` is not a word of a script")

    def _plan(self, text: str) -> list[tuple[str, str]]:
        entries = [_ENTRY.fullmatch(line) for line in text.splitlines()]
        if not all(entries):
            raise self._error("a plan's entries are `[x]` done, `[>]` begun or `[ ]` open, each with its text")
        return [(entry["text"], _MARKS[entry["mark"]]) for entry in entries if entry is not None]

    def _below(self) -> str:
        """The indented lines that follow, without their common indent; blank ones between them count."""
        begin = end = self._at
        for at in range(begin, len(self._lines)):
            if self._lines[at].strip():
                if not self._lines[at][0].isspace():
                    break
                end = at + 1
        self._at = end
        return textwrap.dedent("\n".join(self._lines[begin:end]))

    def _number(self, text: str) -> float:
        try:
            return float(text)
        except ValueError:
            raise self._error("expected a number") from None

    def _json(self, text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError as error:
            raise self._error(f"not JSON: {error}") from None

    def _error(self, message: str) -> ScriptError:
        return ScriptError(f"line {self._at}: {message}")
