"""What a tool is: its name and arguments, the plan it makes for one call, and the result it gives.

A turn validates the arguments, awaits `tool.plan(...)`, shows the act to the client, asks for permission as the act's
effects demand, and only then awaits `act.do()`. Nothing is changed before `do`. `HandsError` may leave both.
"""

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ars_acp.hands import Hands, HandsError
from ars_acp.tools.roots import Roots

if TYPE_CHECKING:
    from pydantic import BaseModel

Effects = Literal["none", "write", "execute"]

# Of a JSON schema: titles say nothing, and not every provider takes the limits, which are checked here anyway.
_LEFT_OUT = {
    *("title", "$defs", "minimum", "maximum", "exclusiveMinimum"),
    *("minLength", "maxLength", "minItems", "maxItems"),
}


class InvalidArguments(HandsError):
    """The model called a tool in a way that cannot be carried out; the message says what to send instead."""

    code = "INVALID_ARGUMENTS"


@dataclass(frozen=True, slots=True)
class ToolLimits:
    """Sizes are bytes of UTF-8, times seconds."""

    read_bytes: int = 64 * 1024  # of a file, to the model
    read_lines: int = 2000  # where the model names no limit
    output_bytes: int = 64 * 1024  # of any other output, to the model
    terminal_bytes: int = 1024 * 1024  # that a terminal keeps
    file_bytes: int = 8 * 1024 * 1024  # of a file that is changed, or of its new text
    patch_bytes: int = 1024 * 1024
    command_seconds: float = 120
    max_command_seconds: float = 600
    search_seconds: float = 30
    files_listed: int = 1000
    matches_listed: int = 200
    line_bytes: int = 400  # of one line that a search found


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What came of a call."""

    ok: bool
    text: str  # what the model reads
    content: list[dict[str, Any]] | None = None  # what the person sees in the end; None: the text will do
    raw: Any = None  # rawOutput
    code: str | None = None  # "TOOL_TIMEOUT", "INVALID_ARGUMENTS", ...
    end_turn_step: bool = False  # nobody answered: the step's other calls are not made


@dataclass(frozen=True, slots=True)
class Act:
    """What one call is about to do, in full: the person decides on what stands here.

    `protected` means that the call touches what steers agents or holds secrets: ask, whatever the mode and the rules.
    `approved` means that the person has already approved exactly this. `do` is awaited at most once.
    """

    title: str
    kind: str  # an ACP ToolKind
    effects: Effects  # "none": changes nothing, or asks the person itself
    do: Callable[[], Awaitable[ToolResult]]
    locations: list[dict[str, Any]] = field(default_factory=list)
    content: list[dict[str, Any]] = field(default_factory=list)  # diffs, text
    approved: bool = False
    protected: bool = False
    by_client: bool = False  # the client carries it out itself, and asks its person itself
    rule: str | None = None  # what "always" would allow, to the letter; None where it must not be offered


@dataclass(slots=True)
class ToolContext:
    """What a call may use."""

    hands: Hands
    roots: Roots
    call_id: str
    limits: ToolLimits
    send: Callable[[dict[str, Any]], None]  # any session/update
    show: Callable[..., None]  # fields of this call's tool_call_update: show(content=[...])
    approved_patches: set[str]  # what reviews of this turn have approved and nothing has applied yet
    changing: Callable[..., None]  # called before files are changed: changing(changes, known=...), for undo


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool, as registered in `ars_acp.tools.TOOLS`."""

    name: str  # "git.diff"
    description: str  # a prompt: what it does, when to use it
    arguments: "type[BaseModel]"
    needs: frozenset[str]  # of Hands.can
    read_only: bool  # may run beside others, and be retried
    plan: Callable[[ToolContext, Any], Awaitable[Act]]

    @property
    def model_name(self) -> str:
        """The name by the providers' rule for function names: "git_diff"."""
        return self.name.replace(".", "_")

    def spec(self) -> dict[str, Any]:
        """The entry for a chat completion's `tools`; the same object every time."""
        return _spec(self)

    def check(self, raw: object) -> "BaseModel":
        """`raw`, the call's parsed JSON, as `arguments`. Raises InvalidArguments, which never repeats a value."""
        from pydantic import ValidationError

        try:
            return self.arguments.model_validate(raw)
        except ValidationError as exc:
            faults = exc.errors(include_url=False, include_input=False, include_context=False)
            lines = [f"{'.'.join(map(str, it['loc'])) or 'arguments'}: {it['msg']}" for it in faults[:8]]
            raise InvalidArguments(f"{self.model_name}: {'; '.join(lines)}") from None


@functools.cache
def _spec(tool: Tool) -> dict[str, Any]:
    whole = tool.arguments.model_json_schema()
    schema = _inlined(whole, whole.get("$defs", {}))
    parameters = {"type": "object", "properties": schema["properties"], "required": schema.get("required", [])}
    function = {"name": tool.model_name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "function": function}


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """Pydantic's schema as every provider takes it: no $ref, no null alternatives, nothing superfluous."""
    if isinstance(schema, list):
        return [_inlined(it, definitions) for it in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]] | {k: v for k, v in schema.items() if k != "$ref"}
    others = [it for it in schema.get("anyOf", []) if it != {"type": "null"}]
    if len(others) == 1:
        schema = others[0] | {k: v for k, v in schema.items() if k != "anyOf"}
    kept = {}
    for key, value in schema.items():
        if key == "properties":
            kept[key] = {name: _inlined(it, definitions) for name, it in value.items()}
        elif key not in _LEFT_OUT and not (key == "default" and value in (None, [])):
            kept[key] = _inlined(value, definitions)
    return kept
