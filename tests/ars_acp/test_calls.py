"""The tool calls of one step, as a model that errs makes them."""

import re

import pytest

from tests.support.in_memory import house


@pytest.mark.parametrize("depth", [*range(200, 1000, 50), *range(925, 950)])
async def test_arguments_that_are_nested_too_deep_are_told_to_the_model_whatever_the_depth(depth: int) -> None:
    deep = "[" * depth + "]" * depth
    script = f'=== turn\ncall! update_plan {{"entries": [], "more": {deep}}}\n--- step\nsay: $result\n'
    async with house(script) as it:
        assert await it.prompt() == "end_turn"
        assert it.said().startswith("The arguments are not a JSON object")


@pytest.mark.parametrize("name", ["functions.read_file", "чтение", "a" * 5_000_000, "|"])
async def test_a_name_that_no_provider_takes_is_not_in_the_history_that_it_gets(name: str) -> None:
    async with house(f"=== turn\ncall {name} {{}}\n--- step\nsay: $result\n") as it:
        assert await it.prompt() == "end_turn"
        assert it.said().startswith("There is no tool ")
        [session] = it.agent._sessions.active.values()
        [call] = session.history.messages[1]["tool_calls"]
        assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", call["function"]["name"])
        assert len(it.said()) < 200
