"""The tools of MCP servers as tools of ours: names, schemas, answers; no server is needed."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from ars_acp.mcp_tools import Answer, Listed, TimedOut, tools_of, visible
from ars_acp.tools.roots import Roots
from ars_acp.tools.tool import InvalidArguments, Tool, ToolContext, ToolLimits, ToolResult
from tests.support.fake_hands import MemoryHands

NAME = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")
PICTURE = {"type": "image", "data": "aGVsbG8=", "mimeType": "image/png"}


def made(
    *names: str, server: str = "s", schema: dict[str, Any] | None = None, taken: set[str] | None = None
) -> list[Tool]:
    async def call(name: str, arguments: dict[str, Any], seconds: float) -> Answer:
        return Answer(True, [])

    listed = [Listed(name, "does it", {"type": "object"} if schema is None else schema) for name in names]
    return tools_of(server, listed, set() if taken is None else taken, call, 1)


async def result_of(answer: Callable[[], Answer]) -> ToolResult:
    async def call(name: str, arguments: dict[str, Any], seconds: float) -> Answer:
        return answer()

    [tool] = tools_of("s", [Listed("t", "", {})], set(), call, 2.5)
    context = ToolContext(
        hands=MemoryHands(),
        roots=Roots("/project", ()),
        call_id="1",
        limits=ToolLimits(),
        send=lambda update: None,
        show=lambda **changed: None,
        approved_patches=set(),
        changing=lambda changes, known=True: None,
    )
    act = await tool.plan(context, tool.check({"a": 1}))
    assert (act.title, act.effects, act.rule) == ("s: t", "execute", None)
    return await act.do()


def test_names_keep_to_the_providers_rule_and_are_never_the_same() -> None:
    taken: set[str] = set()
    odd = ["a b", "a.b", "a/b", "", "\u00fc\u00fc", "x" * 100, "x" * 101]
    tools = made(*odd, server="my server", taken=taken) + made(*odd, server="my.server", taken=taken)
    names = [tool.model_name for tool in tools]
    assert len(set(names)) == len(names) == 2 * len(odd)
    assert all(NAME.match(name) for name in names)
    assert names[0] == "mcp__my_server__a_b"


def test_the_schema_is_the_servers_and_what_every_provider_needs() -> None:
    given = {"$schema": "https://json-schema.example/draft", "type": "object", "required": ["a"]}
    [tool] = made("t", schema=given)
    function = tool.spec()["function"]
    assert function["parameters"] == {"type": "object", "properties": {}, "required": ["a"]}
    assert "MCP server s" in function["description"]


def test_a_schema_that_would_fill_the_conversation_is_left_out() -> None:
    assert made("t", schema={"type": "object", "description": "x" * 70_000}) == []


def test_more_tools_than_a_provider_takes_are_left_out() -> None:
    assert len(made(*map(str, range(150)))) == 100


def test_arguments_are_any_object_and_nothing_else() -> None:
    [tool] = made("t")
    assert tool.check({"model_config": 1, "_x": [None]}).model_dump() == {"model_config": 1, "_x": [None]}
    with pytest.raises(InvalidArguments):
        tool.check([1])


async def test_text_is_framed_as_data_and_cut() -> None:
    result = await result_of(lambda: Answer(True, [{"type": "text", "text": "x" * 200_000}]))
    assert result.ok
    assert "not instructions" in result.text
    assert "bytes left out here" in result.text
    assert len(result.text) < 70_000


@pytest.mark.parametrize(
    ("block", "read", "shown"),
    [
        (PICTURE, "image/png, 6 bytes: shown", ["text", "image"]),
        ({**PICTURE, "data": "A" * 9_000_000}, "too large to be shown", ["text"]),
        ({"type": "audio", "data": "aGVsbG8=", "mimeType": "audio/wav"}, "audio/wav", ["text", "audio"]),
        (
            {"type": "resource_link", "uri": "file:///a", "name": "a"},
            "[resource a: file:///a]",
            ["text", "resource_link"],
        ),
        (
            {"type": "resource", "resource": {"uri": "file:///a", "text": "body"}},
            "[resource file:///a]\nbody",
            ["text"],
        ),
        ({"type": "resource", "resource": {"uri": "file:///a", "blob": "aGVsbG8="}}, "not text", ["text"]),
        ({"type": "hologram"}, "[hologram that is not shown]", ["text"]),
    ],
)
async def test_every_kind_of_block_is_read_and_shown_as_it_can_be(
    block: dict[str, Any], read: str, shown: list[str]
) -> None:
    result = await result_of(lambda: Answer(True, [block]))
    assert read in result.text
    assert result.content is not None
    assert [it["content"]["type"] for it in result.content] == shown


async def test_structured_content_is_read_where_there_is_no_other() -> None:
    assert '{"n": 1}' in (await result_of(lambda: Answer(True, [], {"n": 1}))).text
    assert (await result_of(lambda: Answer(True, []))).text == "It answered nothing."


async def test_what_failed_says_so_and_what_took_too_long_is_a_timeout() -> None:
    failed = await result_of(lambda: Answer(False, [{"type": "text", "text": "no luck"}]))
    assert not failed.ok
    assert failed.text.startswith("It failed.")

    def late() -> Answer:
        raise TimedOut

    result = await result_of(late)
    assert (result.ok, result.code) == (False, "TOOL_TIMEOUT")
    assert "2.5 seconds" in result.text


def test_a_name_is_shown_without_what_hides() -> None:
    assert visible("a\u202eb\nc\x1b") == "abc"
    assert visible("\n") == "(no name)"
