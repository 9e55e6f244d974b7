"""The tool calls of one step, as a model that errs makes them."""

import pytest

from tests.support.in_memory import house


@pytest.mark.parametrize("depth", [*range(200, 1000, 50), *range(925, 950)])
async def test_arguments_that_are_nested_too_deep_are_told_to_the_model_whatever_the_depth(depth: int) -> None:
    deep = "[" * depth + "]" * depth
    script = f'=== turn\ncall! update_plan {{"entries": [], "more": {deep}}}\n--- step\nsay: $result\n'
    async with house(script) as it:
        assert await it.prompt() == "end_turn"
        assert it.said().startswith("The arguments are not a JSON object")
