"""Acts that an agent does through our hands, in the words in which it would have asked for them."""

import os.path
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from acp_wire import build
from acp_wire.errors import RpcError
from connector.commands import kind_of
from connector.grants import Texts
from connector.permissions import Act
from connector.protected import Protected
from connector.workspace import Workspace

if TYPE_CHECKING:
    pass

OPTIONS = (
    build.permission_option("allow", "Allow once", "allow_once"),
    build.permission_option("reject", "Reject", "reject_once"),
)
Judge = Callable[[str], Protected | None]


def is_protected(workspace: Workspace, path: str, protected: Judge) -> bool:
    """Whether `path`, or what it leads to when links are followed, is protected."""
    named = os.path.normpath(os.path.join(workspace.roots[0], path))
    if protected(_below(workspace, named)):
        return True
    try:
        return bool(protected(workspace.files.real(named)))
    except RpcError:  # outside the roots
        return False


def writing(session: str, workspace: Workspace, path: str, real: str, texts: Texts, protected: Judge) -> Act:
    """fs/write_text_file: of a file that `path` names, and that is `real` below its root."""
    call = {
        "title": f"Write {path}",
        "kind": "edit",
        "locations": [build.location(path)],
        "content": [build.diff(path, texts.before, texts.after)],
    }
    return _act(session, workspace, call, paths=_paths(workspace, path, real), protected=bool(protected(real)))


def reading(session: str, workspace: Workspace, path: str, real: str) -> Act:
    """fs/read_text_file, of a file that is protected from it."""
    call = {"title": f"Read {path}", "kind": "read", "locations": [build.location(path)]}
    return _act(session, workspace, call, paths=_paths(workspace, path, real), protected=True)


def running(
    session: str,
    workspace: Workspace,
    argv: Sequence[str],
    cwd: str | None,
    env: Mapping[str, str],
    protected: Judge,
) -> Act:
    """terminal/create. A command that only reads inside the roots is of kind `read`; a variable makes it uncertain."""
    where = cwd or workspace.roots[0]
    kind, paths = ("execute", ()) if env else kind_of(argv, where, workspace.files.contains)
    call = {
        "title": " ".join(argv),
        "kind": kind,
        "locations": [build.location(path) for path in paths],
        "rawInput": {"argv": list(argv), "cwd": where, **({"env": dict(env)} if env else {})},
    }
    return _act(
        session,
        workspace,
        call,
        paths=paths,
        argv=tuple(argv),
        cwd=where,
        env=tuple(sorted(env)),
        protected=any(is_protected(workspace, path, protected) for path in paths),
    )


def _paths(workspace: Workspace, path: str, real: str) -> tuple[str, ...]:
    """The path as it is named, and where it leads where that is elsewhere."""
    named = os.path.normpath(path)
    below = _below(workspace, named)
    return (named,) if below == real else (named, named.removesuffix(below) + real)


def _below(workspace: Workspace, path: str) -> str:
    for root in workspace.roots:
        for known in (root, os.path.realpath(root)):
            if path == known or path.startswith(f"{known.rstrip('/')}/"):
                return os.path.relpath(path, known)
    return path


def _act(session: str, workspace: Workspace, call: Mapping[str, Any], **fields: Any) -> Act:
    from acp_wire.schema.permission import PermissionOption
    from acp_wire.schema.tool_calls import ToolCallUpdate

    options: tuple[PermissionOption, ...] = tuple(map(PermissionOption.model_validate, OPTIONS))
    shown = ToolCallUpdate.model_validate({"toolCallId": "", **call})
    root = workspace.roots[0]
    told = {"argv": (), "cwd": root, **fields}
    return Act(
        kind=str(call["kind"]),
        session=session,
        title=str(call["title"]),
        options=options,
        tool_call=shown,
        root=root,
        asked=False,
        **told,
    )
