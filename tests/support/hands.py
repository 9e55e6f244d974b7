"""What a test client does when the agent asks: files in a dict, commands that end well, and every way to misbehave."""

from collections.abc import Callable
from typing import Any

Json = dict[str, Any]
EVERYTHING: Json = {
    "fs": {"readTextFile": True, "writeTextFile": True},
    "terminal": True,
    "elicitation": {"form": {}},
    "session": {"notices": {}},
}
# In the place of a result: the request is not answered.
NEVER = object()


class Wrong:
    """In the place of a result: these answers, `{"result": …}` or `{"error": …}`, which the schema may not know."""

    def __init__(self, *answers: Json) -> None:
        self.answers = answers


class Refusal(Exception):
    """Answers with an error."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message, **({} if data is None else {"data": data})}


class Hands:
    """One method per request of the agent's, named mechanically. A test replaces those that are to misbehave.

    A method returns the result, NEVER, Wrong, or an awaitable of a result, or raises Refusal.
    """

    def __init__(self, capabilities: Json = EVERYTHING, **replaced: Callable[[Json], Any]) -> None:
        self.capabilities = capabilities
        self.files: dict[str, str] = {}
        # Every request in the order of arrival, and every notification that is not an update.
        self.asked: list[tuple[str, Json]] = []
        self.notified: list[tuple[str, Any]] = []
        self.executed: list[Json] = []
        self._replaced = replaced
        self._terminals = 0

    def answer(self, method: str, params: Json) -> Any:
        """What to do with a request."""
        self.asked.append((method, params))
        name = method.replace("/", "_").replace("$", "").strip("_")
        handler = self._replaced.get(name) or getattr(self, name, None)
        if handler is None:
            raise Refusal(-32601, "Method not found")
        return handler(params)

    def told(self, method: str, params: Any) -> None:
        """A notification has come."""
        self.notified.append((method, params))

    def replace(self, **replaced: Callable[[Json], Any]) -> None:
        """Takes other methods from here on."""
        self._replaced.update(replaced)

    def times(self, method: str) -> int:
        """How often `method` was asked for; the look for the project's instructions is not counted."""
        return sum(
            name == method and not str(params.get("path", "")).endswith("/AGENTS.md") for name, params in self.asked
        )

    # ── what a client that is well does ─────────────────────────────────────────────────────────────────────────────

    def fs_read_text_file(self, params: Json) -> Any:
        if params["path"] not in self.files:
            raise Refusal(-32002, "no such file")
        return {"content": self.files[params["path"]]}

    def fs_write_text_file(self, params: Json) -> Any:
        self.files[params["path"]] = params["content"]
        return {}

    def session_request_permission(self, params: Json) -> Any:
        return self.choose(params, "allow_once")

    def terminal_create(self, params: Json) -> Any:
        self.executed.append(params)
        self._terminals += 1
        return {"terminalId": f"term_{self._terminals}"}

    def terminal_wait_for_exit(self, params: Json) -> Any:
        return {"exitCode": 0, "signal": None}

    def terminal_output(self, params: Json) -> Any:
        return {"output": "done\n", "truncated": False, "exitStatus": {"exitCode": 0, "signal": None}}

    def terminal_kill(self, params: Json) -> Any:
        return {}

    def terminal_release(self, params: Json) -> Any:
        return {}

    def elicitation_create(self, params: Json) -> Any:
        return {"action": "decline"}

    @staticmethod
    def choose(params: Json, kind: str) -> Json:
        """The answer that picks the first option of that kind."""
        option = next(option for option in params["options"] if option["kind"] == kind)
        return {"outcome": {"outcome": "selected", "optionId": option["optionId"]}}
