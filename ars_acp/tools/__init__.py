"""The tools the model may call. Each is a module here that holds one `TOOL`; it is loaded when first asked for."""

import importlib

from ars_acp.tools.tool import Tool

TOOLS = (
    "read_file",
    "list_files",
    "search_in_project",
    "git_diff",
    "write_file",
    "apply_patch",
    "apply_patch_review",
    "run_command",
    "prompt_user",
    "update_plan",
)


def find(name: str) -> Tool | None:
    """The tool of that name, in either spelling ("git_diff" or "git.diff"); None where there is none."""
    module = name.replace(".", "_")
    if module not in TOOLS:
        return None
    tool: Tool = importlib.import_module(f"{__name__}.{module}").TOOL
    return tool


def offered(can: frozenset[str], does: frozenset[str] = frozenset()) -> list[Tool]:
    """The tools that a client with these abilities (`Hands.can`) lets work, in a fixed order.

    Those that it `does` itself (`Hands.does`) are its own, whatever its abilities.
    """
    tools = [tool for tool in map(find, TOOLS) if tool is not None]
    if not does:
        return [tool for tool in tools if tool.needs <= can]
    from ars_acp.tools.by_client import by_client  # late: most clients carry out none

    return [by_client(tool) if tool.name in does else tool for tool in tools if tool.name in does or tool.needs <= can]
