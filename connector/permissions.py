"""What to answer when an agent asks for permission: one function, `decide`, and the policies that it asks.

An option is chosen by its kind, never by its position. A policy's yes takes the one `allow_once`, its no the one
`reject_once`, and where there is not exactly one, nothing: the answer is `cancelled`, which is never approval. Only a
person who points at that very option can grant `allow_always`.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from acp_wire import build

if TYPE_CHECKING:
    from acp_wire.schema.permission import PermissionOption
    from acp_wire.schema.tool_calls import ToolCall, ToolCallUpdate

# The arguments that a tool which only reads has; with any other the call is not what `kind: read` says.
PATH_ARGUMENTS = ("path", "paths", "file", "files", "file_path", "filePath", "filepath", "absolute_path", "abs_path")
WINDOW_ARGUMENTS = ("line", "limit", "offset", "start_line", "end_line", "startLine", "endLine", "encoding")
ARGV_ARGUMENTS = ("argv", "command", "cmd", "args")


class Answer(Enum):
    """What a policy may say without choosing an option itself."""

    ALLOW = "allow"
    REFUSE = "refuse"
    CANCEL = "cancel"


@dataclass(frozen=True)
class Act:
    """What an agent is about to do, as far as its own words can be trusted.

    `kind` is the tool call's, or `execute` where that is missing or contradicted by the rest. `title` is for people and
    decides nothing. `tool_call` holds everything known about the call, earlier updates included.
    """

    kind: str
    paths: tuple[str, ...]
    argv: tuple[str, ...]
    session: str
    title: str
    options: "tuple[PermissionOption, ...]"
    tool_call: "ToolCall | ToolCallUpdate"


@dataclass(frozen=True)
class Decision:
    """The chosen option, or None for `cancelled`, and the reason for a log."""

    option_id: str | None
    reason: str

    def outcome(self) -> dict[str, Any]:
        """The result of session/request_permission."""
        return build.cancelled() if self.option_id is None else build.selected(self.option_id)


# Says yes, no or neither, or returns the id of the option that a person has picked.
Policy = Callable[[Act], Awaitable[Answer | str]]


async def decide(act: Act, policy: Policy) -> Decision:
    """What to answer to a request for `act` when `policy` governs. Nothing is asked where no answer can be right."""
    counted = Counter(option.option_id for option in act.options)
    if not counted or "" in counted or max(counted.values()) > 1:
        return Decision(None, "the options have no ids that tell them apart")
    answer = await policy(act)
    if answer is Answer.CANCEL:
        return Decision(None, "cancelled")
    if isinstance(answer, Answer):
        kind = "allow_once" if answer is Answer.ALLOW else "reject_once"
        fitting = [option.option_id for option in act.options if option.kind == kind]
        if len(fitting) == 1:
            return Decision(fitting[0], f"by policy: {answer.value}")
        return Decision(None, f"by policy: {answer.value}, but {len(fitting)} options are {kind}")
    if answer in counted:
        return Decision(answer, "picked by a person")
    return Decision(None, "an option was picked that was not offered")


async def deny_all(act: Act) -> Answer:
    """Refuses everything."""
    return Answer.REFUSE


async def allow_once(act: Act) -> Answer:
    """Allows everything, each time for this time only."""
    return Answer.ALLOW


def ask(person: Callable[[Act], Awaitable[str | None]]) -> Policy:
    """Lets `person` pick an option's id; None means that nothing was picked."""

    async def asked(act: Act) -> Answer | str:
        picked = await person(act)
        return Answer.CANCEL if picked is None else picked

    return asked


def allow_reads(inside: Callable[[str, str], bool], otherwise: Policy = deny_all) -> Policy:
    """Allows what is known to read files inside the roots, and leaves the rest to `otherwise`.

    `inside(session, path)` tells whether a path lies inside that session's roots, by descriptor.
    """

    async def reads_allowed(act: Act) -> Answer | str:
        if act.kind == "read" and act.paths and all(inside(act.session, path) for path in act.paths):
            return Answer.ALLOW
        return await otherwise(act)

    return reads_allowed


def act_of(
    session: str,
    options: "Sequence[PermissionOption]",
    asked: "ToolCallUpdate",
    known: "ToolCall | ToolCallUpdate | None" = None,
) -> Act:
    """The act behind a permission request for `asked`, where `known` is what was said of that tool call before.

    What one of them leaves out the other tells; where either contradicts a harmless kind, the act is `execute`.
    """
    said = [call for call in (asked, known) if call is not None]
    kinds = {call.kind for call in said if call.kind is not None and "kind" in call.model_fields_set}
    inputs = [call.raw_input for call in said if call.raw_input is not None]
    contents = [item for call in said for item in call.content or ()]
    paths = [place.path for call in said for place in call.locations or ()]
    paths += [item.path for item in contents if item.type == "diff"]
    paths += [path for raw in inputs for path in _paths(raw)]
    kind = kinds.pop() if len(kinds) == 1 else "execute"
    shows_more = any(item.type != "content" for item in contents)
    if kind == "read" and (shows_more or not all(_only_reads(raw) for raw in inputs)):
        kind = "execute"
    return Act(
        kind=kind,
        paths=tuple(dict.fromkeys(paths)),
        argv=next((argv for raw in inputs if (argv := _argv(raw))), ()),
        session=session,
        title=next((call.title for call in said if call.title), ""),
        options=tuple(options),
        tool_call=asked if known is None else merged(known, asked),
    )


def merged(known: "ToolCall | ToolCallUpdate", update: "ToolCallUpdate") -> "ToolCall | ToolCallUpdate":
    """`known` with what `update` changes."""
    changed = {name: getattr(update, name) for name in update.model_fields_set if getattr(update, name) is not None}
    changed.pop("session_update", None)
    return known.model_copy(update=changed)


def _only_reads(raw: Any) -> bool:
    return isinstance(raw, Mapping) and all(
        name in WINDOW_ARGUMENTS or (name in PATH_ARGUMENTS and _strings(value)) for name, value in raw.items()
    )


def _paths(raw: Any) -> list[str]:
    if not isinstance(raw, Mapping):
        return []
    return [path for name in PATH_ARGUMENTS for path in _strings(raw.get(name))]


def _argv(raw: Any) -> tuple[str, ...]:
    if not isinstance(raw, Mapping):
        return ()
    return tuple(word for name in ARGV_ARGUMENTS for word in _strings(raw.get(name)))


def _strings(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, str)] if all(isinstance(one, str) for one in values) else []
