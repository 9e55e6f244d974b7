"""Acts that an agent does through our hands, in the words in which it would have asked for them."""

import os.path
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from acp_wire import build
from connector.commands import kind_of
from connector.permissions import Act
from connector.workspace import Workspace

if TYPE_CHECKING:
    pass

OPTIONS = (
    build.permission_option("allow", "Allow once", "allow_once"),
    build.permission_option("reject", "Reject", "reject_once"),
)
Protected = Callable[[str], bool]


def is_protected(workspace: Workspace, path: str, protected: Protected) -> bool:
    """Whether `path`, or what it leads to when links are followed, is protected. `protected` gets it below its root."""
    named = os.path.normpath(os.path.join(workspace.roots[0], path))
    return any(protected(_below(workspace, whole)) for whole in {named, os.path.realpath(named)})


def _below(workspace: Workspace, path: str) -> str:
    for root in workspace.roots:
        for known in (root, os.path.realpath(root)):
            if path == known or path.startswith(f"{known.rstrip('/')}/"):
                return os.path.relpath(path, known)
    return path


def writing(session: str, workspace: Workspace, path: str, before: str | None, after: str, protected: Protected) -> Act:
    """fs/write_text_file: `before` is the file's text so far, None for a new one."""
    call = {
        "title": f"Write {path}",
        "kind": "edit",
        "locations": [build.location(path)],
        "content": [build.diff(path, before, after)],
    }
    return _act(
        session, workspace, call, paths=(os.path.normpath(path),), protected=is_protected(workspace, path, protected)
    )


def running(
    session: str,
    workspace: Workspace,
    argv: Sequence[str],
    cwd: str | None,
    env: Mapping[str, str],
    protected: Protected,
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
