"""prompt_user: a question to the person: a form, a link, or, where there are no forms, permission options."""

from collections.abc import Awaitable, Callable
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field

from acp_wire import build
from ars_acp.hands import Timeout, Unsupported
from ars_acp.tools import text
from ars_acp.tools.arguments import Arguments
from ars_acp.tools.tool import Act, InvalidArguments, Tool, ToolContext, ToolResult


class Question(Arguments):
    name: str = Field(min_length=1, max_length=100, description="Key of the answer.")
    title: str | None = Field(None, max_length=500, description="What is asked.")
    type: Literal["string", "integer", "number", "boolean"] = "string"
    choices: list[str] = Field([], max_length=50, description="The only answers, for a string.")


class PromptUser(Arguments):
    question: str = Field(min_length=1, max_length=8000, description="The question, complete in itself.")
    choices: list[str] = Field([], max_length=20, description="Possible answers; free text if absent.")
    fields: list[Question] = Field([], max_length=20, description="Several things to ask in one form.")
    url: str | None = Field(None, max_length=2000, description="Web page to open, instead of choices or fields.")


async def plan(ctx: ToolContext, args: PromptUser) -> Act:
    if args.url is not None:
        return _link(ctx, args, args.url)
    if args.choices and args.fields:
        raise InvalidArguments("prompt_user: give either choices or fields")
    if len(set(args.choices)) < len(args.choices) or any(not it.strip() for it in args.choices):
        raise InvalidArguments("prompt_user: choices must differ and must not be empty")
    if len({it.name for it in args.fields}) < len(args.fields):
        raise InvalidArguments("prompt_user: fields must have different names")
    if "form" not in ctx.hands.can and not args.choices:
        raise Unsupported("this client cannot show forms: ask with choices, or ask in your answer and end the turn")

    by = _by_form if "form" in ctx.hands.can else _by_options
    return _asking(args.question, args.question, lambda: by(ctx, args))


def _asking(question: str, shown: str, ask: Callable[[], Awaitable[ToolResult]]) -> Act:
    async def do() -> ToolResult:
        try:
            return await ask()
        except Timeout:
            return ToolResult(False, "the person did not answer in time", code="TOOL_TIMEOUT", end_turn_step=True)

    return Act(
        title=f"Ask: {text.head(question.partition(chr(10))[0], 200)}",
        kind="other",
        effects="none",
        do=do,
        content=[build.content(shown)],
    )


def _link(ctx: ToolContext, args: PromptUser, url: str) -> Act:
    if args.choices or args.fields:
        raise InvalidArguments("prompt_user: give a url without choices and fields")
    if not _is_web_address(url):
        raise InvalidArguments("prompt_user: url is a whole https:// or http:// address, without a user name")
    if "link" not in ctx.hands.can:
        raise Unsupported("this client cannot open addresses: give it in your answer instead")

    async def ask() -> ToolResult:
        action = await ctx.hands.link(args.question, url, ctx.call_id)
        if action == "accept":
            done = "the person agreed to open it; whether they are done there is not known: ask them where it matters"
            return ToolResult(True, done, raw={"action": action})
        if action == "decline":
            return ToolResult(True, "the person does not want to open it: go on without", raw={"action": action})
        return _unanswered(action)

    # The whole address, as it is: whoever opens it should see where it leads.
    return _asking(args.question, f"{args.question}\n\n{url}", ask)


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and not any(it in url for it in ' "<>\\^`{|}')
    return named and plain and parts.scheme in ("http", "https") and parts.username is None


async def _by_form(ctx: ToolContext, args: PromptUser) -> ToolResult:
    fields = args.fields or [Question(name="answer", title="Answer", choices=args.choices)]
    schema = {
        "type": "object",
        "properties": {it.name: _property(it) for it in fields},
        "required": [it.name for it in fields],
    }
    form = await ctx.hands.form(args.question, schema, ctx.call_id)
    if form.action != "accept":
        return _unanswered(form.action)
    answers = {it.name: form.content[it.name] for it in fields if _fits(it, form.content.get(it.name))}
    if not answers:
        return ToolResult(False, "the form came back empty")
    lines = [f"{name}: {answer}" for name, answer in answers.items()] if args.fields else [str(answers["answer"])]
    return ToolResult(True, "\n".join(["the person answered:", *lines]), raw=answers)


def _property(field: Question) -> dict[str, Any]:
    title = {"title": field.title or field.name}
    if field.choices:
        return {"type": "string", **title, "oneOf": [{"const": it, "title": it} for it in field.choices]}
    return {"type": field.type, **title}


def _fits(field: Question, answer: Any) -> bool:
    """A client may send anything back; what was not asked for is not an answer."""
    if field.choices:
        return answer in field.choices
    if field.type in ("integer", "number"):
        return isinstance(answer, int if field.type == "integer" else int | float) and not isinstance(answer, bool)
    return isinstance(answer, bool if field.type == "boolean" else str)


async def _by_options(ctx: ToolContext, args: PromptUser) -> ToolResult:
    call = build.permission_tool_call(
        ctx.call_id, title=args.question, kind="other", content=[build.content(args.question)]
    )
    options = [
        build.permission_option(f"answer-{number}", answer, "allow_once")
        for number, answer in enumerate(args.choices, 1)
    ]
    options.append(build.permission_option("none", "None of these", "reject_once"))
    chosen = await ctx.hands.ask(call, options)
    for option in options[:-1]:
        if option["optionId"] == chosen:
            return ToolResult(True, f"the person chose: {option['name']}", raw={"answer": option["name"]})
    return _unanswered("decline" if chosen == "none" else "cancel")


def _unanswered(action: str) -> ToolResult:
    if action == "decline":
        return ToolResult(True, "the person chose none of this: go on without", raw={"answer": None})
    return ToolResult(False, "the person closed the question without an answer")


TOOL = Tool(
    name="prompt_user",
    description=(
        "Ask the person when you cannot go on without a decision that is theirs. Give choices where you can. "
        "Never ask for passwords or keys."
    ),
    arguments=PromptUser,
    needs=frozenset(),
    read_only=False,
    plan=plan,
)
