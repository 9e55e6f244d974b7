"""What to answer when an agent asks for permission, or acts without asking: one function, `decide`, and its policies.

An option is chosen by its kind, never by its position. A policy's yes takes the one `allow_once`, its no the one
`reject_once`, and where there is not exactly one, nothing: the answer is `cancelled`, which is never approval. Only a
person who points at that very option can grant `allow_always`, and only a person allows what is protected.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

import anyio

from acp_wire import build

if TYPE_CHECKING:
    from acp_wire.schema.permission import PermissionOption
    from acp_wire.schema.tool_calls import ToolCall, ToolCallUpdate

# The arguments that a tool which only reads has; with any other the call is not what `kind: read` says.
PATH_ARGUMENTS = ("path", "paths", "file", "files", "file_path", "filePath", "filepath", "absolute_path", "abs_path")
# Where else tools that change something name their paths.
MORE_PATH_ARGUMENTS = ("source", "destination", "target", "dest", "old_path", "new_path", "oldPath", "newPath")
WINDOW_ARGUMENTS = ("line", "limit", "offset", "start_line", "end_line", "startLine", "endLine", "encoding")
ARGV_ARGUMENTS = ("argv", "command", "cmd", "args")
CWD_ARGUMENTS = ("cwd", "workdir", "directory", "dir_path")
ANSWER_SECONDS = 300.0


class Answer(Enum):
    """What a policy may say without choosing an option itself."""

    ALLOW = "allow"
    REFUSE = "refuse"
    CANCEL = "cancel"


@dataclass(frozen=True)
class Act:
    """What an agent is about to do, as far as its own words can be trusted.

    `kind` is the tool call's, or `execute` where that is missing or contradicted by the rest. `title` is for people and
    decides nothing. `tool_call` holds everything known about the call, earlier updates included. `root` is the
    session's own directory, `cwd` where the command runs, `env` names the variables that it is given. `protected` says
    that a path is one that a person has to be asked about, `asked` that the agent asked rather than just did it. `id`
    is what the session's record calls the question.
    """

    kind: str
    paths: tuple[str, ...]
    argv: tuple[str, ...]
    session: str
    title: str
    options: "tuple[PermissionOption, ...]"
    tool_call: "ToolCall | ToolCallUpdate"
    root: str = ""
    cwd: str = ""
    env: tuple[str, ...] = ()
    protected: bool = False
    asked: bool = True
    id: str = ""


@dataclass(frozen=True)
class Decision:
    """The chosen option, or None for `cancelled`; whether that allows the act, who decided, and why.

    `by` is what has decided: a person, a policy, a grant; `who` that one's name, where it has one.
    """

    option_id: str | None
    reason: str
    allowed: bool = False
    by: str = "policy"
    who: str = ""

    def outcome(self) -> dict[str, Any]:
        """The result of session/request_permission."""
        return build.cancelled() if self.option_id is None else build.selected(self.option_id)


@dataclass(frozen=True)
class Said:
    """An answer with the name of who has given it."""

    answer: Answer | str
    who: str


# Says yes, no or neither, or returns the id of the option that a person has picked; None leaves it to the next policy.
Policy = Callable[[Act], Awaitable[Answer | str | Said | None]]


async def decide(act: Act, policy: Policy) -> Decision:
    """What to answer to a request for `act` when `policy` governs. Nothing is asked where no answer can be right."""
    counted = Counter(option.option_id for option in act.options)
    if not counted or "" in counted or max(counted.values()) > 1:
        return Decision(None, "the options have no ids that tell them apart")
    answer = await policy(act)
    if isinstance(answer, Said):
        return replace(_decision(act, answer.answer), who=answer.who)
    return _decision(act, answer)


def _decision(act: Act, answer: Answer | str | None) -> Decision:
    if isinstance(answer, str):
        kinds = [option.kind for option in act.options if option.option_id == answer]
        if not kinds:
            return Decision(None, "an option was picked that was not offered", by="person")
        return Decision(answer, f"picked {kinds[0]}", kinds[0].startswith("allow"), "person")
    if answer is Answer.CANCEL:
        return Decision(None, "cancelled", by="person")
    if answer is Answer.ALLOW and act.protected:
        return _by_kind(act, "reject_once", "protected, and nobody was asked")
    if answer is Answer.ALLOW:
        return _by_kind(act, "allow_once", "by policy: allow")
    return _by_kind(act, "reject_once", "by policy: refuse" if answer is Answer.REFUSE else "no policy allows it")


def _by_kind(act: Act, kind: str, reason: str) -> Decision:
    fitting = [option.option_id for option in act.options if option.kind == kind]
    if len(fitting) == 1:
        return Decision(fitting[0], reason, kind == "allow_once")
    return Decision(None, f"{reason}, but {len(fitting)} options are {kind}")


async def deny_all(act: Act) -> Answer:
    """Refuses everything."""
    return Answer.REFUSE


async def allow_once(act: Act) -> Answer:
    """Allows everything, each time for this time only."""
    return Answer.ALLOW


def ask(person: Callable[[Act], Awaitable[str | None]], *, seconds: float | None = ANSWER_SECONDS) -> Policy:
    """Lets `person` pick an option's id; None means that nothing was picked. No answer within `seconds` is a no."""

    async def asked(act: Act) -> Answer | str:
        picked = None
        with anyio.move_on_after(seconds) as waiting:
            picked = await person(act)
        if waiting.cancelled_caught:
            return Answer.REFUSE
        return Answer.CANCEL if picked is None else picked

    return asked


def allow_reads(inside: Callable[[str, str], bool], otherwise: Policy = deny_all) -> Policy:
    """Allows what is known to read files inside the roots, and leaves the rest to `otherwise`.

    `inside(session, path)` tells whether a path lies inside that session's roots, by descriptor.
    """

    async def reads_allowed(act: Act) -> Answer | str | Said | None:
        if (
            act.kind == "read"
            and not act.protected
            and act.paths
            and all(inside(act.session, path) for path in act.paths)
        ):
            return Answer.ALLOW
        return await otherwise(act)

    return reads_allowed


def act_of(
    session: str,
    options: "Sequence[PermissionOption]",
    asked: "ToolCallUpdate",
    known: "ToolCall | ToolCallUpdate | None" = None,
    *,
    root: str = "",
    protected: Callable[[str], bool] = lambda path: False,
) -> Act:
    """The act behind a permission request for `asked`, where `known` is what was said of that tool call before.

    What one of them leaves out the other tells; where either contradicts a harmless kind, the act is `execute`. A
    command runs in `root` unless they say otherwise.
    """
    said = [call for call in (asked, known) if call is not None]
    kinds = {call.kind for call in said if call.kind is not None and "kind" in call.model_fields_set}
    inputs = [call.raw_input for call in said if call.raw_input is not None]
    contents = [item for call in said for item in call.content or ()]
    paths = [place.path for call in said for place in call.locations or ()]
    paths += [item.path for item in contents if item.type == "diff"]
    paths += [path for raw in inputs for path in _paths(raw)]
    argv = next((argv for raw in inputs if (argv := _argv(raw))), ())
    kind = kinds.pop() if len(kinds) == 1 and not argv else "execute"
    shows_more = any(item.type != "content" for item in contents)
    if kind == "read" and (shows_more or not all(_only_reads(raw) for raw in inputs)):
        kind = "execute"
    return Act(
        kind=kind,
        paths=tuple(dict.fromkeys(paths)),
        argv=argv,
        session=session,
        title=next((call.title for call in said if call.title), ""),
        options=tuple(options),
        tool_call=asked if known is None else merged(known, asked),
        root=root,
        cwd=next((found for raw in inputs if (found := _cwd(raw))), root),
        protected=any(map(protected, paths)),
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
    return [path for name in (*PATH_ARGUMENTS, *MORE_PATH_ARGUMENTS) for path in _strings(raw.get(name))]


def _argv(raw: Any) -> tuple[str, ...]:
    if not isinstance(raw, Mapping):
        return ()
    return tuple(word for name in ARGV_ARGUMENTS for word in _strings(raw.get(name)))


def _cwd(raw: Any) -> str:
    told = [raw.get(name) for name in CWD_ARGUMENTS] if isinstance(raw, Mapping) else []
    return next((one for one in told if isinstance(one, str)), "")


def _strings(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, str)] if all(isinstance(one, str) for one in values) else []
