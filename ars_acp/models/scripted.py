"""A model that plays a script (`script.py`): for demonstrations, for tests, for whoever develops a client."""

import json
import re
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Literal

import anyio
from anyio.lowlevel import checkpoint

from ars_acp.errors import LLM_STREAM_INTERRUPTED
from ars_acp.models.model import BATCH, ModelError, Piece, Reply, Retrying, ToolCallRequest, Usage
from ars_acp.models.script import DEMO, Action, Script

_WORDS = re.compile(r"\s*\S+\s*|\s+")


def words(text: str) -> list[str]:
    """The text in pieces of one word each."""
    return _WORDS.findall(text)


class ScriptedModel:
    """The `Model` that a script describes."""

    def __init__(self, script: Script) -> None:
        self.name = "scripted"
        self._script = script

    @classmethod
    def load(cls, path: str | Path = DEMO) -> "ScriptedModel":
        """The model of a script file. Raises OSError and ScriptError."""
        return cls(Script.load(path))

    async def warm(self) -> None:
        """See `Model.warm`: there is nothing to do."""

    async def resolve_name(self) -> str:
        """See `Model.resolve_name`."""
        return self.name

    async def names(self) -> list[str]:
        """See `Model.names`: there is no other."""
        return [self.name]

    async def reach(self) -> None:
        """See `Model.reach`: it is here."""

    def variant(self, name: str, effort: str | None) -> "ScriptedModel":
        """See `Model.variant`: it plays the same, however hard it thinks."""
        return self

    async def aclose(self) -> None:
        """See `Model.aclose`: there is nothing to let go."""

    async def stream(
        self, messages: list[dict[str, Any]], tools: list[dict[str, Any]]
    ) -> AsyncGenerator[list[Piece] | Retrying | Reply, None]:
        """See `Model.stream`."""
        play = _Play(len(messages))
        for action in self._script.reply_to(messages):
            for pieces in play.pieces(action):
                if play.pace:
                    await anyio.sleep(play.pace)
                else:
                    await checkpoint()
                play.note(pieces)
                yield pieces
            if action.do == "wait":
                await anyio.sleep(action.seconds)
            elif action.do == "retry":
                play.attempts += 1
                yield Retrying(play.attempts, action.seconds, action.text)
                await anyio.sleep(action.seconds)
            else:
                play.act(action)
        await checkpoint()
        yield play.reply()


class _Play:
    """One reply while it is played."""

    def __init__(self, number: int) -> None:
        self.attempts = 1
        self.pace = 0.0
        self._number = number
        self._said: dict[str, list[str]] = {"text": [], "thought": []}
        self._calls: list[ToolCallRequest] = []
        self._finish: Literal["stop", "length", "refusal"] | None = None
        self._usage: Usage | None = None
        self._began = time.monotonic()
        self._first_token: float | None = None

    def pieces(self, action: Action) -> list[list[Piece]]:
        """What a `say` or `think` shows, as lists of pieces that come together."""
        if action.do not in ("say", "think"):
            return []
        kind = "text" if action.do == "say" else "thought"
        text = ("\n" if self._said[kind] else "") + action.text
        pieces = [(kind, word) for word in words(text)]
        size = 1 if self.pace else BATCH
        return [pieces[at : at + size] for at in range(0, len(pieces), size)]

    def note(self, pieces: list[Piece]) -> None:
        """These pieces are shown now."""
        if self._first_token is None:
            self._first_token = time.monotonic() - self._began
        for kind, word in pieces:
            self._said[kind].append(word)

    def act(self, action: Action) -> None:
        """Carries out what neither waits nor shows. Raises ModelError where the script says so."""
        match action.do:
            case "call":
                arguments = action.arguments
                text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
                call_id = f"call_{self._number}_{len(self._calls) + 1}"
                self._calls.append(ToolCallRequest(call_id, action.text, text))
            case "pace":
                self.pace = action.seconds
            case "usage":
                self._usage = Usage(*action.numbers)
            case "finish":
                self._finish = action.text  # type: ignore[assignment]  # the reader has checked it
            case "interrupt":
                raise self._error(LLM_STREAM_INTERRUPTED, action)
            case "fail":
                raise self._error(str(action.arguments), action)

    def reply(self) -> Reply:
        """The whole of it."""
        finish = self._finish or ("tool_calls" if self._calls else "stop")
        seconds = time.monotonic() - self._began
        text, thought = "".join(self._said["text"]), "".join(self._said["thought"])
        calls = self._calls if finish == "tool_calls" else []
        return Reply(text, thought, calls, finish, self._usage, self._first_token, seconds)

    def _error(self, code: str, action: Action) -> ModelError:
        interrupted = code == LLM_STREAM_INTERRUPTED
        details: dict[str, Any] = {"reason": "context_length"} if action.too_long else {}
        if interrupted:
            details["partial_chars"] = sum(map(len, self._said["text"]))
        return ModelError(
            code,
            action.text,
            retryable=action.retryable or interrupted,
            retry_after_ms=round(action.seconds * 1000) or None,
            details=details,
        )
