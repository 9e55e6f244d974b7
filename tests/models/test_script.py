from pathlib import Path

import pytest

from ars_acp.models.script import DEMO, NO_STEP, NO_TURN, Action, Script, ScriptError
from fixtures.model_server import SCRIPTS

USER = {"role": "user", "content": "hello"}
SAID = {"role": "assistant", "content": "..."}


def result(text: str) -> dict[str, str]:
    return {"role": "tool", "content": text}


def reply(script: str, *messages: dict[str, object]) -> list[Action]:
    return Script.parse(script).reply_to([{"role": "system", "content": "hello"}, *messages])


def said(script: str, *messages: dict[str, object]) -> str:
    return "|".join(action.text for action in reply(script, *messages) if action.do == "say")


def test_every_word_of_the_format():
    script = """
# A comment.
=== turn
think: Hm.
say: Hello,
  world.

  A second paragraph.
call read_file {"path": "a.py",
  "line": 3}
call write_file
  path: a.py
  line: 7
  content:
    one
      two

    three
call git_diff
call! read_file {"path": "a.
wait 0.5
pace 0.25
usage 10 20 3 4
finish length
retry 1.5 "busy"
interrupt
fail LLM_ERROR "no such model"
fail LLM_ERROR retryable 2.5 "overloaded"
fail LLM_STREAM_INTERRUPTED retryable
"""
    assert reply(script, USER) == [
        Action("think", "Hm."),
        Action("say", "Hello,\nworld.\n\nA second paragraph."),
        Action("call", "read_file", arguments={"path": "a.py", "line": 3}),
        Action("call", "write_file", arguments={"path": "a.py", "line": 7, "content": "one\n  two\n\nthree\n"}),
        Action("call", "git_diff", arguments={}),
        Action("call", "read_file", arguments='{"path": "a.'),
        Action("wait", seconds=0.5),
        Action("pace", seconds=0.25),
        Action("usage", numbers=(10, 20, 3, 4)),
        Action("finish", "length"),
        Action("retry", "busy", 1.5),
        Action("interrupt", "the script breaks the stream off"),
        Action("fail", "no such model", arguments="LLM_ERROR"),
        Action("fail", "overloaded", 2.5, "LLM_ERROR", retryable=True),
        Action("fail", "the script fails", arguments="LLM_STREAM_INTERRUPTED", retryable=True),
    ]


TWO = """
=== turn
say: one
--- step
say: two
=== turn
say: three
"""


def test_turns_follow_prompts_and_steps_follow_replies():
    assert said(TWO, USER) == "one"
    assert said(TWO, USER, SAID, result("x")) == "two"
    assert said(TWO, USER, SAID, result("x"), SAID, USER) == "three"


def test_a_script_that_has_run_out_says_so():
    assert said(TWO, USER, SAID, result("x"), SAID, result("x")) == NO_STEP
    assert said(TWO, USER, USER, USER) == NO_TURN
    assert said("", USER) == NO_TURN


def test_a_turn_that_repeats_serves_all_further_prompts():
    script = TWO + "=== turn repeat\nsay: again\n--- step\nsay: and again\n"
    assert said(script, *[USER] * 9) == "again"
    assert said(script, *[USER] * 9, SAID, result("x")) == "and again"


STEPS = """
=== turn
call run_command {}
--- step if "failed"
say: it fails
--- step unless "failed"
say: it passes
--- step
say: done
"""


@pytest.mark.parametrize(("answer", "expected"), [("1 failed", "it fails"), ("2 passed", "it passes")])
def test_a_step_is_left_out_where_its_condition_does_not_hold(answer: str, expected: str):
    assert said(STEPS, USER, SAID, result(answer)) == expected


def test_a_condition_looks_at_all_results_since_the_last_reply_and_at_no_others():
    assert said(STEPS, USER, SAID, result("1 failed"), result("fine")) == "it fails"
    assert said(STEPS, USER, SAID, result("1 failed"), SAID, result("fine")) == "it passes"
    assert said(STEPS, USER, SAID, result("fine"), SAID, result("1 failed")) == "done"


def test_a_turn_is_left_out_where_its_condition_does_not_hold():
    script = '=== turn if "bye"\nsay: goodbye\n=== turn\nsay: welcome\n'
    assert said(script, USER) == "welcome"
    assert said(script, {"role": "user", "content": [{"type": "text", "text": "bye now"}]}) == "goodbye"


def test_the_last_result_and_the_prompt_can_be_repeated():
    script = '=== turn\n--- step\nsay: $prompt: $result\ncall x {"a": ["$result", 1, {"b": "$prompt"}]}\n'
    actions = reply(script, USER, result("old"), result("new"))
    assert actions == [
        Action("say", "hello: new"),
        Action("call", "x", arguments={"a": ["new", 1, {"b": "hello"}]}),
    ]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("say: hello", "line 1: a script begins with `=== turn`"),
        ("=== turn\n\nsing: la", "line 3: `sing:` is not a word of a script"),
        ("=== turn\nsay hello", "line 2: `say` is not a word of a script"),
        ("=== turn\n  loose", "line 2: an indented line belongs to nothing here"),
        ("=== turn\n=== turn when", "line 2: expected `=== turn`, `--- step`"),
        ("=== turn\n--- step repeat", "line 2: expected"),
        ("=== turn\n--- step if failed", "line 2: expected"),
        ("=== turn\ncall", "line 2: `call` needs the name of a tool"),
        ('=== turn\ncall x {"a": }', "line 2: not JSON"),
        ("=== turn\ncall x [1]", "line 2: a call's arguments are an object"),
        ("=== turn\ncall x\n  no value", "line 3: expected `name: value`"),
        ("=== turn\nwait soon", "line 2: expected a number"),
        ("=== turn\nwait -1", "line 2: expected a number"),
        ("=== turn\nwait nan", "line 2: expected a number"),
        ("=== turn\nusage 1", "line 2: `usage` needs two to four numbers"),
        ("=== turn\nfinish tomorrow", "line 2: `finish` needs one of stop, length, refusal"),
        ('=== turn\nfail TEAPOT "x"', "line 2: `fail` needs LLM_ERROR or"),
        ("=== turn\nfail LLM_ERROR x", "line 2: not JSON"),
        ("=== turn\nfail LLM_ERROR 7", 'line 2: expected a text in "quotes"'),
    ],
)
def test_a_mistake_in_a_script_is_told_with_its_line(script: str, message: str):
    with pytest.raises(ScriptError) as caught:
        Script.parse(script)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("path", [DEMO, *sorted(SCRIPTS.glob("*.script"))], ids=lambda path: path.name)
def test_every_script_that_is_shipped_can_be_read(path: Path):
    assert Script.load(path).reply_to([USER])
