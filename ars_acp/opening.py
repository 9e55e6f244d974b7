"""What a session is opened with: looked at before one is made, read or claimed."""

import os.path
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from acp_wire.errors import INVALID_PARAMS
from ars_acp.errors import invalid_message

if TYPE_CHECKING:
    from acp_wire.connection import Call
    from acp_wire.schema.extensions import ForkSessionRequest
    from acp_wire.schema.session_opening import LoadSessionRequest, NewSessionRequest, ResumeSessionRequest

    Opening = NewSessionRequest | LoadSessionRequest | ResumeSessionRequest | ForkSessionRequest


def checked(params: "Opening", call: "Call") -> tuple[str, ...]:
    """The further directories of the session that is asked for. Raises `RpcError` where it cannot be opened so."""
    directories = absolute(params.cwd, params.additional_directories)
    if params.mcp_servers:
        from ars_acp.mcp_servers import check  # late: most sessions name none

        check(params.mcp_servers, call.raw)
    tools_by_client(params.meta)
    return directories


def tools_by_client(meta: dict[str, Any] | None) -> frozenset[str]:
    """The tools that the client carries out itself. Raises `RpcError` for what is no list of them."""
    if not meta or "ars/tools" not in meta:
        return frozenset()
    from ars_acp.tools.by_client import named  # late: most clients name none

    return named(meta)


def absolute(cwd: str, directories: Sequence[str]) -> tuple[str, ...]:
    """The further directories of a session. Raises `RpcError` unless they and `cwd` are absolute paths."""
    for name, path in [("cwd", cwd), *(("additionalDirectories", directory) for directory in directories)]:
        if not os.path.isabs(path) or "\0" in path:
            raise invalid_message(INVALID_PARAMS, f"{name}: an absolute path is needed", field=name)
    return tuple(directories)
