"""Tool calls out of their fragments as endpoints really send them: without an index, one id for two, name last."""

import json
import secrets
from typing import Any

from ars_acp.models.model import ToolCallRequest


class _Call:
    __slots__ = ("arguments", "id", "index", "name", "repeats_name")

    def __init__(self, index: int | None, call_id: str) -> None:
        self.index = index
        self.id = call_id
        self.name = ""
        self.arguments: list[str] = []
        self.repeats_name = False

    def goes_on_with(self, call_id: str, name: str, arguments: Any) -> bool:
        """Whether the fragment in this call's place belongs to it: some send index 0, or one id, for every call."""
        if not name or not self.name:
            return True
        if name != self.name or (call_id and self.id and call_id != self.id):
            return False
        # A server that repeats the name in every fragment does not mean a new call by it.
        self.repeats_name = self.repeats_name or not arguments or not self._is_whole()
        return self.repeats_name

    def _is_whole(self) -> bool:
        try:
            json.loads("".join(self.arguments))
        except ValueError:
            return False
        return True


class ToolCalls:
    """Collects fragments in the order in which their calls began."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []

    def add(self, fragment: dict[str, Any]) -> None:
        """Takes one entry of a delta's `tool_calls`."""
        function = fragment.get("function") or {}
        call_id, name, arguments = fragment.get("id") or "", function.get("name") or "", function.get("arguments")
        index = fragment.get("index")
        call = self._find(index if isinstance(index, int) else None, call_id)
        if call is None or not call.goes_on_with(call_id, name, arguments):
            call = _Call(index, call_id)
            self._calls.append(call)
        call.id = call.id or call_id
        call.name = call.name or name
        if arguments is not None and arguments != "":
            call.arguments.append(arguments if isinstance(arguments, str) else json.dumps(arguments))

    def _find(self, index: int | None, call_id: str) -> _Call | None:
        if index is not None:
            return next((call for call in reversed(self._calls) if call.index == index), None)
        last = self._calls[-1] if self._calls else None
        if not call_id or (last and not last.id):
            return last
        return next((call for call in reversed(self._calls) if call.id == call_id), None)

    def finish(self) -> list[ToolCallRequest]:
        """The calls, each with an id of its own. One that has neither a name nor arguments never was one."""
        requests = []
        taken: set[str] = set()
        for call in self._calls:
            arguments = whole_characters("".join(call.arguments))
            if not call.name and not arguments:
                continue
            call_id = call.id if call.id and call.id not in taken else new_call_id()
            taken.add(call_id)
            requests.append(ToolCallRequest(call_id, call.name, arguments))
        return requests


def whole_characters(text: str) -> str:
    """The text with its surrogate halves joined; one that has no other half becomes U+FFFD."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def new_call_id() -> str:
    """An id that no other call of the conversation has."""
    return f"call_{secrets.token_hex(12)}"
