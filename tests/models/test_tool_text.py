import json

import pytest

from ars_acp.models.tool_text import TextCalls
from tests.models.support import TOOLS

CALL = {"path": "a.py"}
FORMS = {
    "hermes": 'Let me look. <tool_call>\n{"name": "read_file", "arguments": {"path": "a.py"}}\n</tool_call>',
    "unclosed": 'Let me look. <tool_call>{"name": "read_file", "arguments": {"path": "a.py"}}',
    "arguments as text": 'Let me look. <tool_call>{"name": "read_file", "arguments": "{\\"path\\":\\"a.py\\"}"}',
    "qwen coder": "Let me look. <tool_call>\n<function=read_file>\n<parameter=path>\na.py\n</parameter>\n</function>\n",
    "llama": 'Let me look. <function=read_file>{"path": "a.py"}</function>',
    "python tag": 'Let me look. <|python_tag|>{"name": "read_file", "parameters": {"path": "a.py"}}<|eom_id|>',
}
BARE = {
    "llama": '{"name": "read_file", "parameters": {"path": "a.py"}}',
    "openai": ' {"type": "function", "function": {"name": "read_file", "arguments": {"path": "a.py"}}}',
}


def fed(text: str, size: int) -> tuple[str, list[tuple[str, object]]]:
    gate = TextCalls(TOOLS)
    shown = "".join(gate.feed(text[at : at + size]) for at in range(0, len(text), size))
    rest, calls = gate.finish()
    return shown + rest, [(call.name, json.loads(call.arguments)) for call in calls]


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("form", FORMS)
def test_a_call_in_the_text_becomes_a_call_and_is_never_shown(form: str, size: int):
    assert fed(FORMS[form], size) == ("Let me look. ", [("read_file", CALL)])


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize("form", BARE)
def test_a_call_that_is_the_whole_text_becomes_a_call(form: str, size: int):
    assert fed(BARE[form], size) == ("", [("read_file", CALL)])


def test_several_calls_and_the_text_after_them():
    text = FORMS["hermes"] + "\n" + FORMS["llama"].removeprefix("Let me look. ") + "\nThat is all."
    assert fed(text, 5) == ("Let me look. That is all.", [("read_file", CALL), ("read_file", CALL)])


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize(
    "text",
    [
        'Use <tool_call>{"name": "launch_rocket", "arguments": {}}</tool_call> for that.',
        "The tag <tool_call> begins a call.",
        '<tool_call>{"name": "read_file", "arg',
        "a < b, <b>bold</b>, <tool",
        '{"name": "Anna", "age": 7}',
        '{"names": []}',
        '{"name": "read_file", "param',
        "<function=launch_rocket>{}</function>",
        "[1, 2]",
        "",
    ],
)
def test_everything_else_stays_the_text_that_it_was(text: str, size: int):
    assert fed(text, size) == (text, [])


def test_text_is_shown_at_once_while_no_call_seems_to_begin():
    gate = TextCalls(TOOLS)
    assert gate.feed("Hello") == "Hello"
    assert gate.feed(" a <b") == " a <b"
    assert gate.feed(" <tool") == " "
    assert gate.feed("box>") == "<toolbox>"


def test_parameters_take_the_types_that_the_tool_names():
    text = "<function=read_file><parameter=path>12</parameter><parameter=line>12</parameter></function>"
    assert fed(text, 1000) == ("", [("read_file", {"path": "12", "line": 12})])
