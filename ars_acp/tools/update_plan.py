"""update_plan: the model's own list of what is to be done, shown to the person."""

from typing import Literal

from pydantic import Field

from acp_wire import build
from ars_acp.tools.arguments import Arguments
from ars_acp.tools.tool import Act, Tool, ToolContext, ToolResult


class Entry(Arguments):
    content: str = Field(min_length=1, max_length=2000, description="What is to be done.")
    status: Literal["pending", "in_progress", "completed"] = "pending"
    priority: Literal["high", "medium", "low"] = "medium"


class UpdatePlan(Arguments):
    entries: list[Entry] = Field(max_length=100, description="All entries, also those that have not changed.")


async def plan(ctx: ToolContext, args: UpdatePlan) -> Act:
    entries = [build.plan_entry(it.content, priority=it.priority, status=it.status) for it in args.entries]
    completed = sum(it.status == "completed" for it in args.entries)

    async def do() -> ToolResult:
        ctx.send(build.plan(entries))
        return ToolResult(True, f"the plan is shown: {completed} of {len(entries)} completed")

    return Act(title=f"Plan: {completed} of {len(entries)} done", kind="think", effects="none", do=do)


TOOL = Tool(
    name="update_plan",
    description=(
        "Show the person your plan for work of several steps. Always give the complete list: it replaces the one "
        "before. Keep one entry in_progress, and mark entries completed as soon as they are."
    ),
    arguments=UpdatePlan,
    needs=frozenset(),
    read_only=False,
    plan=plan,
)
