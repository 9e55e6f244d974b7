"""What the kit's client does when an agent asks it: files in memory over those on the disk, commands that do nothing.

Nothing is executed and no file is written: an agent under test gets the answers of a client, not its hands.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any, Final

Json = dict[str, Any]

FULL: Mapping[str, Any] = {
    "fs": {"readTextFile": True, "writeTextFile": True},
    "terminal": True,
    "session": {"notices": {}, "compaction": {}, "configOptions": {"boolean": {}}},
}
OF_CLIENTS = ("session/request_permission", "fs/", "terminal/", "elicitation/")
EXTENSIONS = "every other method"  # in `Hands.held`
METHOD_NOT_FOUND, INVALID_PARAMS, NOT_FOUND = -32601, -32602, -32002


class _Never:
    """Says that a request is not answered."""


NEVER: Final = _Never()
Reply = Json | _Never


def result(value: Any) -> Json:
    """An answer with that result."""
    return {"result": value}


def error(code: int, message: str) -> Json:
    """An answer with that error."""
    return {"error": {"code": code, "message": message}}


def allow(params: Json) -> Json:
    """Chooses what allows once, else whatever allows, else the first option."""
    return _choose(params, "allow_once", "allow_always")


def reject(params: Json) -> Json:
    """Chooses what rejects; where nothing does, the question is cancelled."""
    options = [it for it in params.get("options") or [] if str(it.get("kind", "")).startswith("reject")]
    return _selected(options[0]) if options else cancelled(params)


def cancelled(params: Json) -> Json:
    """The answer of a client whose turn was cancelled."""
    return result({"outcome": {"outcome": "cancelled"}})


def _choose(params: Json, *kinds: str) -> Json:
    options = params.get("options") or []
    for kind in kinds:
        for option in options:
            if option.get("kind") == kind:
                return _selected(option)
    return _selected(options[0]) if options else cancelled(params)


def _selected(option: Json) -> Json:
    return result({"outcome": {"outcome": "selected", "optionId": option.get("optionId")}})


class Hands:
    """Answers an agent's requests. `permission` and `other` may be replaced; so may `held`: methods left unanswered."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.reset()
        self._terminals: set[str] = set()
        self._numbers = 0

    def reset(self) -> None:
        """Forgets what was done, and answers everything again."""
        self.files: dict[str, str] = {}
        self.permission: Callable[[Json], Reply] = allow
        self.held: set[str] = set()

    def answer(self, method: str, params: Json, offered: Callable[..., bool]) -> Reply:
        """The answer to one request, `result` or `error` in it; `offered` tells which capabilities the client has."""
        if method in self.held or (EXTENSIONS in self.held and not method.startswith(OF_CLIENTS)):
            return NEVER
        if method == "session/request_permission":
            return self.permission(params)
        if method == "fs/read_text_file" and offered("fs", "readTextFile"):
            return self._read(params)
        if method == "fs/write_text_file" and offered("fs", "writeTextFile"):
            self.files[str(params.get("path"))] = str(params.get("content"))
            return result({})
        if method.startswith("terminal/") and offered("terminal"):
            return self._terminal(method.partition("/")[2], params)
        return error(METHOD_NOT_FOUND, f"This client does not serve {method}")

    def _read(self, params: Json) -> Reply:
        path = str(params.get("path"))
        if path not in self.files:
            inside = os.path.realpath(path).startswith(os.path.realpath(self.directory) + os.sep)
            try:
                if not inside:
                    return error(NOT_FOUND, "There is no such file in the project")
                with open(path, encoding="utf-8") as file:
                    text = file.read()
            except (OSError, UnicodeDecodeError):
                return error(NOT_FOUND, "There is no such text file")
        else:
            text = self.files[path]
        lines = text.splitlines(keepends=True)
        first = max(int(params.get("line") or 1) - 1, 0)
        limit = params.get("limit")
        return result({"content": "".join(lines[first : None if limit is None else first + int(limit)])})

    def _terminal(self, method: str, params: Json) -> Reply:
        if method == "create":
            self._numbers += 1
            self._terminals.add(f"terminal-{self._numbers}")
            return result({"terminalId": f"terminal-{self._numbers}"})
        terminal = str(params.get("terminalId"))
        if terminal not in self._terminals:
            return error(NOT_FOUND, "There is no such terminal")
        if method == "output":
            return result({"output": "", "truncated": False, "exitStatus": {"exitCode": 0}})
        if method == "wait_for_exit":
            return result({"exitCode": 0})
        if method == "release":
            self._terminals.discard(terminal)
        return result({}) if method in ("kill", "release") else error(METHOD_NOT_FOUND, f"terminal/{method}")
