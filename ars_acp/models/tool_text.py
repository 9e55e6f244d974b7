"""Tool calls that a model wrote into its text because its server did not recognise them, for the rows that say so.

Known forms: `<tool_call>{"name", "arguments"}</tool_call>` (Hermes, Qwen), `<function=name><parameter=a>…` (Qwen
coder), `<function=name>{…}</function>` and `<|python_tag|>{"name", "parameters"}` (Llama), or that object alone.
"""

import json
import re
from typing import Any

from ars_acp.models.model import ToolCallRequest
from ars_acp.models.tool_calls import new_call_id

OPENERS = ("<tool_call>", "<function=", "<|python_tag|>")
BARE = ('{"name":', '{"type":"function"')
_TAGS = re.compile(r"</?tool_call>|<\|(?:python_tag|eom_id|eot_id)\|>")
_FUNCTION = re.compile(r"<function=([\w.-]+)>\s*(.*?)\s*(?:</function>|\Z)", re.DOTALL)
_PARAMETER = re.compile(r"<parameter=([\w.-]+)>\n?(.*?)\n?</parameter>", re.DOTALL)
_GAP = re.compile(r"[\s;,]*")


class TextCalls:
    """Lets text through until a call seems to begin, then holds it; what was held is judged at the end.

    Only a call of a tool that was offered is one. Everything else comes out as the text that it was.
    """

    def __init__(self, tools: list[dict[str, Any]]) -> None:
        self._schemas = {tool["function"]["name"]: tool["function"].get("parameters", {}) for tool in tools}
        self._start: str | None = ""
        self._carry = ""
        self._held: list[str] = []

    def feed(self, text: str) -> str:
        """The part of what has come so far that can be shown now, often all of `text`, sometimes nothing."""
        if self._held:
            self._held.append(text)
            return ""
        if self._start is not None:
            self._start += text
            if self._may_be_bare(self._start):
                return ""
            text, self._start = self._start, None
        text = self._carry + text
        self._carry = ""
        if "<" not in text:
            return text
        begins = [at for at in (text.find(opener) for opener in OPENERS) if at >= 0]
        if begins:
            self._held.append(text[min(begins) :])
            return text[: min(begins)]
        last = text.rindex("<")
        if any(opener.startswith(text[last:]) for opener in OPENERS):
            self._carry = text[last:]
            return text[:last]
        return text

    def finish(self) -> tuple[str, list[ToolCallRequest]]:
        """What is still to be shown, and the calls. Comes after the last feed."""
        held = (self._start or "") + self._carry + "".join(self._held)
        calls, rest = self._parse(_TAGS.sub("\n", held))
        return (rest.strip(), calls) if calls else (held, [])

    @staticmethod
    def _may_be_bare(text: str) -> bool:
        dense = "".join(text[:64].split())
        return any(dense.startswith(form) or form.startswith(dense) for form in BARE)

    def _parse(self, text: str) -> tuple[list[ToolCallRequest], str]:
        calls: list[ToolCallRequest] = []
        at = 0
        while True:
            at = _GAP.match(text, at).end()  # type: ignore[union-attr]  # matches the empty string too
            found = self._tagged(text, at) or self._object(text, at)
            if found is None:
                return calls, text[at:]
            call, at = found
            calls.append(call)

    def _tagged(self, text: str, at: int) -> tuple[ToolCallRequest, int] | None:
        match = _FUNCTION.match(text, at)
        if match is None or match[1] not in self._schemas:
            return None
        name, body = match[1], match[2]
        if not body.startswith("{"):
            properties = self._schemas[name].get("properties", {})
            body = json.dumps({key: _value(value, properties.get(key, {})) for key, value in _PARAMETER.findall(body)})
        return ToolCallRequest(new_call_id(), name, body), match.end()

    def _object(self, text: str, at: int) -> tuple[ToolCallRequest, int] | None:
        if not text.startswith("{", at):
            return None
        try:
            value, end = json.JSONDecoder().raw_decode(text, at)
        except ValueError:
            return None
        if isinstance(value.get("function"), dict):
            value = value["function"]
        name = value.get("name")
        if name not in self._schemas:
            return None
        arguments = value.get("arguments", value.get("parameters", {}))
        text = arguments if isinstance(arguments, str) else json.dumps(arguments)
        return ToolCallRequest(new_call_id(), name, text), end


def _value(text: str, schema: dict[str, Any]) -> Any:
    if schema.get("type") == "string":
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
