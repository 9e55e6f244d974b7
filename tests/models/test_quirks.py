import json

import pytest

from ars_acp.models.quirks import DEFAULT, ROWS, quirks_for, request_body
from tests.models.support import PROMPT, TOOLS

ASSISTANT = {"role": "assistant", "content": "Yes.", "reasoning_content": "Hm."}


@pytest.mark.parametrize(
    ("base_url", "model", "row"),
    [
        ("https://api.openai.com/v1", "gpt-4.1-mini", "openai"),
        ("https://api.openai.com/v1", "gpt-5", "openai-reasoning"),
        ("https://api.openai.com/v1", "o4-mini", "openai-reasoning"),
        ("https://gateway.example/v1", "openai/gpt-5-mini", "openai-reasoning"),
        ("https://gateway.example/v1", "gpt-4.1", "openai"),
        ("https://gateway.example/v1", "gpt-oss-20b", "default"),
        ("http://10.0.0.7:8000/v1", "meta-llama/Llama-3.1-70B-Instruct", "llama-3"),
        ("http://localhost:11434/v1", "llama3.1", "ollama"),
        ("http://localhost:8080/v1", "whatever", "llama.cpp"),
        ("http://localhost:9000/v1", "qwen2.5-coder.gguf", "llama.cpp"),
        ("https://api.anthropic.com/v1/", "claude-sonnet-4-5", "claude"),
        ("https://openrouter.ai/api/v1", "anthropic/claude-sonnet-4.5", "openrouter"),
        ("https://api.deepseek.com", "deepseek-reasoner", "deepseek"),
        ("https://models.example/v1", "Qwen/Qwen3-Coder", "qwen"),
        ("https://models.example/v1", "something-new", "default"),
    ],
)
def test_each_endpoint_finds_its_row(base_url: str, model: str, row: str):
    assert quirks_for(base_url, model).name == row


def test_a_row_can_be_chosen_by_name_and_an_unknown_name_is_an_error():
    assert quirks_for("https://api.openai.com/v1", "gpt-5", "ollama").name == "ollama"
    assert quirks_for("https://api.openai.com/v1", "gpt-5", "default") is DEFAULT
    with pytest.raises(ValueError, match="vllm"):
        quirks_for("https://api.openai.com/v1", "gpt-5", "vllm")


def body(row: str, messages: list[dict[str, object]] = PROMPT) -> dict[str, object]:
    return request_body(quirks_for("", "", row), "m", messages, TOOLS, max_tokens=100, temperature=0.5)


def test_the_default_row_asks_plainly():
    assert body("default") == {
        "model": "m",
        "messages": PROMPT,
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": TOOLS,
        "max_tokens": 100,
        "temperature": 0.5,
    }


def test_reasoning_models_of_openai_get_their_own_names_and_no_temperature():
    sent = body("openai-reasoning")
    assert sent["max_completion_tokens"] == 100
    assert not {"max_tokens", "temperature"} & sent.keys()
    assert sent["messages"] == [{"role": "developer", "content": "You help."}, PROMPT[1]]
    assert PROMPT[0]["role"] == "system"


def test_tool_parameters_go_only_where_they_are_understood_and_only_with_tools():
    assert body("llama-3")["parallel_tool_calls"] is False
    assert body("llama-3")["tool_choice"] == "auto"
    assert "parallel_tool_calls" not in body("default")
    assert "tools" not in request_body(quirks_for("", "", "llama-3"), "m", PROMPT, [])
    assert "tool_choice" not in request_body(quirks_for("", "", "llama-3"), "m", PROMPT, [])


@pytest.mark.parametrize(
    ("row", "sent"),
    [
        ("default", {"role": "assistant", "content": "Yes."}),
        ("deepseek", ASSISTANT),
        ("openrouter", {"role": "assistant", "content": "Yes.", "reasoning": "Hm."}),
    ],
)
def test_reasoning_goes_back_under_the_rows_own_name_or_not_at_all(row: str, sent: dict[str, object]):
    assert body(row, [*PROMPT, ASSISTANT])["messages"] == [*PROMPT, sent]
    assert ASSISTANT["reasoning_content"] == "Hm."


def test_strict_stays_only_where_it_is_understood():
    function = {**TOOLS[0]["function"], "strict": True}
    tools = [{"type": "function", "function": function}]
    assert request_body(quirks_for("", "", "openai"), "m", PROMPT, tools)["tools"] == tools
    assert request_body(DEFAULT, "m", PROMPT, tools)["tools"] == TOOLS
    assert function["strict"] is True


def test_every_row_makes_a_body_that_is_json():
    for row in ROWS:
        assert json.loads(json.dumps(request_body(row, "m", PROMPT, TOOLS)))["stream"] is True


@pytest.mark.parametrize(
    ("row", "sent"),
    [
        ("default", {"reasoning_effort": "high"}),
        ("openrouter", {"reasoning": {"effort": "high"}}),
        ("claude", {}),
        ("deepseek", {}),
        ("openai-no-thought", {"reasoning_effort": "none"}),
    ],
)
def test_a_level_of_thought_goes_where_the_row_takes_it(row: str, sent: dict[str, object]):
    made = request_body(quirks_for("", "", row), "m", PROMPT, TOOLS, effort="high")
    assert {key: made[key] for key in ("reasoning_effort", "reasoning") if key in made} == sent


@pytest.mark.parametrize(
    ("model", "row"),
    [
        ("gpt-5.2", "openai-no-thought"),
        ("gpt-5.10-mini", "openai-no-thought"),
        ("gpt-6", "openai-no-thought"),
        ("gpt-5.2-chat-latest", "openai-reasoning"),
        ("gpt-5.1", "openai-reasoning"),
        ("gpt-5", "openai-reasoning"),
        ("gpt-4.1", "openai"),
    ],
)
def test_openais_later_models_take_tools_only_without_thought(model: str, row: str):
    assert quirks_for("https://api.openai.com/v1", model).name == row
    assert quirks_for("https://openrouter.ai/api/v1", model).name == "openrouter"
