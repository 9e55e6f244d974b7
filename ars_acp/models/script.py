"""The script of a scripted model: a text file that says what the model does, turn by turn. Pure.

    # A comment. Blank lines mean nothing.
    === turn                            one for each prompt, in order
    think: Where is it?                 reasoning
    say: I look at the tests first.     text; a second say of a step begins a new line
    call read_file {"path": "a.py"}     a tool call; several calls of one step are asked for together
    wait 0.05                           seconds
    --- step                            the next reply, once the calls have their results
    say:
      Longer text stands below,
      indented.
    call write_file                     arguments may stand below too, each with its name:
      path: a.py
      content:
        deeper lines are a text of several lines
    usage 10 20                         tokens read and written (and: cached, reasoning)

Also: `pace 0.02` waits before each word from here on; `call! read_file {"path": ` sends its arguments as they stand;
`finish length` and `finish refusal`; `retry 0.5 "busy"` shows a retry and waits; `interrupt` breaks the stream off;
`fail LLM_ERROR "no such model"` ends the reply with that error, `fail LLM_ERROR retryable 2.5 "overloaded"` and
`fail LLM_ERROR context_length "too long"` too.

Conditions: `--- step if "1 failed"` is left out unless one of the last results contains that text, and
`--- step unless "…"` if one does; `=== turn if "hello"` looks at the prompt instead. `=== turn repeat` serves all
further prompts.
In text and arguments `$result` is the last result and `$prompt` the prompt.
"""

import json
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Message = dict[str, Any]
DEMO = Path(__file__).with_name("demo.script")
NO_TURN = "The script has no more turns: it ended before this prompt."
NO_STEP = "The script has no more steps for this turn."
FINISHES = ("stop", "length", "refusal")
_HEADING = re.compile(r'(?:=== turn|--- step)(?P<repeat> repeat)?(?: (?P<word>if|unless) (?P<text>".*"))?\s*')
_VALUE = re.compile(r"([\w-]+):(.*)")


class ScriptError(Exception):
    """A script cannot be read; the message names the line."""


@dataclass(frozen=True, slots=True)
class Action:
    """One line of a script: `do` is its first word, the rest are what that word needs."""

    do: Literal["say", "think", "call", "wait", "pace", "usage", "finish", "retry", "interrupt", "fail"]
    text: str = ""
    seconds: float = 0.0
    arguments: dict[str, Any] | str = ""
    numbers: tuple[int, ...] = ()
    retryable: bool = False
    too_long: bool = False


@dataclass(slots=True)
class Part:
    """A turn or a step: its condition, and what it holds."""

    word: str = ""
    needle: str = ""
    repeat: bool = False
    steps: "list[Part]" = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)

    def fits(self, texts: list[str]) -> bool:
        """Whether the condition, where there is one, holds for these texts."""
        return not self.word or any(self.needle in text for text in texts) == (self.word == "if")


class Script:
    """The turns of one script. Where a conversation stands is read off its messages, so one script serves many."""

    def __init__(self, turns: list[Part]) -> None:
        self._turns = turns

    @classmethod
    def parse(cls, text: str) -> "Script":
        """Raises ScriptError."""
        return cls(_Reader(text).turns())

    @classmethod
    def load(cls, path: str | Path) -> "Script":
        """The script in a file. Raises OSError and ScriptError."""
        return cls.parse(Path(path).read_text(encoding="utf-8"))

    def reply_to(self, messages: list[Message]) -> list[Action]:
        """What the model does next in a conversation (chat completions messages)."""
        prompts = [at for at, message in enumerate(messages) if message.get("role") == "user"]
        turn = self._turn([_text(messages[at]) for at in prompts])
        if turn is None:
            return [Action("say", NO_TURN)]
        since = messages[prompts[-1] :] if prompts else []
        step, results = _step(turn, since)
        if step is None:
            return [Action("say", NO_STEP)]
        prompt = _text(since[0]) if since else ""
        return [_filled(action, results[-1] if results else "", prompt) for action in step.actions]

    def _turn(self, prompts: list[str]) -> Part | None:
        at, turn = -1, None
        for prompt in prompts or [""]:
            if turn is not None and turn.repeat:
                break
            at = next((n for n in range(at + 1, len(self._turns)) if self._turns[n].fits([prompt])), len(self._turns))
            turn = self._turns[at] if at < len(self._turns) else None
        return turn


def _step(turn: Part, messages: list[Message]) -> tuple[Part | None, list[str]]:
    """The step that follows the replies already given since the prompt, and the results given since the last reply."""
    rounds: list[list[str]] = [[]]
    for message in messages:
        if message.get("role") == "assistant":
            rounds.append([])
        elif message.get("role") == "tool":
            rounds[-1].append(_text(message))
    at = -1
    for results in rounds:
        at = next((n for n in range(at + 1, len(turn.steps)) if turn.steps[n].fits(results)), len(turn.steps))
    return (turn.steps[at] if at < len(turn.steps) else None), rounds[-1]


def _text(message: Message) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""


def _filled(action: Action, result: str, prompt: str) -> Action:
    def fill(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace("$result", result).replace("$prompt", prompt)
        if isinstance(value, list):
            return [fill(item) for item in value]
        if isinstance(value, dict):
            return {key: fill(item) for key, item in value.items()}
        return value

    if action.do == "call":
        return Action("call", action.text, arguments=fill(action.arguments))
    if action.do in ("say", "think"):
        return Action(action.do, fill(action.text))
    return action


class _Reader:
    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()
        self._at = 0

    def turns(self) -> list[Part]:
        turns: list[Part] = []
        for line in self._headed():
            if line.startswith("=== "):
                turns.append(self._part(line))
                turns[-1].steps.append(Part())
                continue
            if not turns:
                raise self._error("a script begins with `=== turn`")
            if line.startswith("--- "):
                if turns[-1].steps == [Part()]:
                    turns[-1].steps.clear()
                turns[-1].steps.append(self._part(line))
            else:
                turns[-1].steps[-1].actions.append(self._action(line))
        return turns

    def _headed(self) -> Iterator[str]:
        while self._at < len(self._lines):
            line = self._lines[self._at].rstrip()
            self._at += 1
            if not line or line.startswith("#"):
                continue
            if line[0].isspace():
                raise self._error("an indented line belongs to nothing here")
            yield line

    def _part(self, line: str) -> Part:
        match = _HEADING.fullmatch(line)
        if match is None or (match["repeat"] and line.startswith("---")):
            raise self._error('expected `=== turn`, `--- step`, and perhaps `if "text"` or `unless "text"`')
        return Part(match["word"] or "", self._string(match["text"] or '""'), bool(match["repeat"]))

    def _action(self, line: str) -> Action:
        word, _, rest = line.partition(" ")
        rest = rest.strip()
        match word:
            case "say:" | "think:":
                return Action("say" if word == "say:" else "think", self._block(rest))
            case "call" | "call!":
                return self._call(rest, raw=word == "call!")
            case "wait" | "pace":
                return Action("wait" if word == "wait" else "pace", seconds=self._number(rest))
            case "usage":
                return self._usage(rest)
            case "finish":
                if rest not in FINISHES:
                    raise self._error(f"`finish` needs one of {', '.join(FINISHES)}")
                return Action("finish", rest)
            case "retry":
                seconds, _, reason = rest.partition(" ")
                return Action("retry", self._string(reason or '"busy"'), self._number(seconds))
            case "interrupt":
                return Action("interrupt", self._string(rest or '"the script breaks the stream off"'))
            case "fail":
                return self._fail(rest)
        raise self._error(f"`{word}` is not a word of a script")

    def _call(self, rest: str, *, raw: bool) -> Action:
        name, _, text = rest.partition(" ")
        if not name:
            raise self._error("`call` needs the name of a tool")
        if raw:
            return Action("call", name, arguments=text)
        below = self._indented()
        if text.strip():
            arguments = self._json("\n".join([text, *below]))
            if not isinstance(arguments, dict):
                raise self._error("a call's arguments are an object")
            return Action("call", name, arguments=arguments)
        return Action("call", name, arguments=self._named(below))

    def _named(self, lines: list[str]) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        while lines:
            match = _VALUE.fullmatch(lines.pop(0))
            if match is None:
                raise self._error("expected `name: value` below a call")
            name, value = match[1], match[2].strip()
            deeper = []
            while lines and (not lines[0] or lines[0][0].isspace()):
                deeper.append(lines.pop(0))
            if deeper and not value:
                arguments[name] = textwrap.dedent("\n".join(deeper)).rstrip("\n") + "\n"
            else:
                arguments[name] = _json_or_text(value)
        return arguments

    def _usage(self, rest: str) -> Action:
        numbers = tuple(int(self._number(number)) for number in rest.split())
        if not 2 <= len(numbers) <= 4:
            raise self._error("`usage` needs two to four numbers: read, written, cached, reasoning")
        return Action("usage", numbers=numbers)

    def _fail(self, rest: str) -> Action:
        code, _, message = rest.partition(" ")
        if code not in ("LLM_ERROR", "LLM_STREAM_INTERRUPTED"):
            raise self._error("`fail` needs LLM_ERROR or LLM_STREAM_INTERRUPTED")
        too_long = message.startswith("context_length")
        message = message.removeprefix("context_length").strip()
        retryable = message.startswith("retryable")
        seconds = 0.0
        if retryable:
            message = message.removeprefix("retryable").strip()
            if message and message[0] != '"':
                number, _, message = message.partition(" ")
                seconds = self._number(number)
        return Action(
            "fail", self._string(message or '"the script fails"'), seconds, code, retryable=retryable, too_long=too_long
        )

    def _block(self, first: str) -> str:
        below = "\n".join(self._indented())
        return "\n".join(part for part in (first, below) if part)

    def _indented(self) -> list[str]:
        """The indented lines that follow, without their common indent; blank ones between them count."""
        begin = end = self._at
        for at in range(begin, len(self._lines)):
            line = self._lines[at]
            if line.strip():
                if not line[0].isspace():
                    break
                end = at + 1
        self._at = end
        return textwrap.dedent("\n".join(self._lines[begin:end])).split("\n") if end > begin else []

    def _number(self, text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = -1.0
        if not 0 <= number < float("inf"):
            raise self._error("expected a number that is not negative")
        return number

    def _string(self, text: str) -> str:
        value = self._json(text)
        if not isinstance(value, str):
            raise self._error('expected a text in "quotes"')
        return value

    def _json(self, text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError as error:
            raise self._error(f"not JSON: {error}") from None

    def _error(self, message: str) -> ScriptError:
        return ScriptError(f"line {self._at}: {message}")


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value
