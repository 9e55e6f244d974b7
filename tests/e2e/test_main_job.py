"""The main job over the executable: plan, look, review hunk by hunk, apply, test, show, answer. All of it is v1."""

import json
from pathlib import Path
from typing import Any

import pytest

from ars_acp.models.script import Script
from fixtures.model_server import SCRIPTS, ModelServer
from tests.e2e.conftest import BROKEN, FAREWELL, FIXED, git
from tests.e2e.hands import WITHOUT_FORMS, RealHands
from tests.e2e.peers import results
from tests.support.process import Turn, agent

pytestmark = pytest.mark.e2e

JOB = Script.load(SCRIPTS / "main_job.script")
WANTED = FAREWELL.replace("Goodbye, {name}", "Goodbye, {name}!").replace("(times - 1)", "times")
ANSWER = "It greets and parts as it should; `later` stays as you wanted it."
ONE_HUNK = """\
  patch:
    --- a/greet.py
    +++ b/greet.py
    @@ -1,2 +1,2 @@
     def greet(name: str) -> str:
    -    return f"Hello, {nme}!"
    +    return f"Hello, {name}!"
"""


def asked_for(hands: RealHands) -> list[str]:
    """The titles of the permission requests."""
    return [params["toolCall"]["title"] for method, params in hands.asked if method == "session/request_permission"]


def assert_the_job_is_done(turn: Turn, model: ModelServer, project: Path, hands: RealHands) -> None:
    assert turn.stop == "end_turn"
    assert turn.text == f"I plan, and look at what is there.Please choose.{ANSWER}"
    assert turn.thought == "First a plan, then a look."
    assert (project / "greet.py").read_text() == FIXED
    assert (project / "farewell.py").read_text() == WANTED
    assert git(project, "status", "--short") == " M farewell.py\n M greet.py\n"
    assert [it["status"] for it in turn.results] == ["completed"] * 10
    plans = [it["entries"] for it in turn.updates if it["sessionUpdate"] == "plan"]
    assert [[entry["status"] for entry in plan] for plan in plans] == [["in_progress", "pending"], ["completed"] * 2]
    _, listed, found, read, _, reviewed, applied, tested, shown, _ = results(model)
    assert "farewell.py\ngreet.py\n" in listed
    assert 'greet.py:2:    return f"Hello, {nme}!"' in found
    assert BROKEN in read
    assert "rejected: farewell.py, line 5" in reviewed
    assert "See ya" not in reviewed
    assert applied.startswith("applied:")
    assert tested.startswith("exit code 0")
    assert {"-" + BROKEN.splitlines()[1], "+" + FIXED.splitlines()[1]} < set(shown.splitlines())
    assert "later" not in shown.replace("@@ def later", "").replace(" def later", "")
    assert hands.terminals == {}


async def test_with_a_form_the_person_chooses_hunks_and_these_are_applied_without_another_question(
    model: ModelServer, project: Path, endpoint: dict[str, str], tmp_path: Path
):
    def choose(params: Any) -> Any:
        return {"action": "accept", "content": {"hunks": ["1", "2", "4"]}}

    model.script = JOB
    hands = RealHands(endpoint, elicitation_create=choose)

    async with agent(tmp_path, env=endpoint, hands=hands) as client:
        turn = await client.prompt(await client.new_session(str(project)), "Mend the greeting")

    assert_the_job_is_done(turn, model, project, hands)
    [form] = [params for method, params in hands.asked if method == "elicitation/create"]
    choices = form["requestedSchema"]["properties"]["hunks"]["items"]["anyOf"]
    assert [it["const"] for it in choices] == ["1", "2", "3", "4"]
    assert [it["title"].partition(" (")[0] for it in choices] == [
        "1: greet.py, line 1",
        "2: farewell.py, line 1",
        "3: farewell.py, line 5",
        "4: farewell.py, line 9",
    ]
    assert asked_for(hands) == ["python3 -m unittest -q"]


async def test_without_forms_each_hunk_is_a_permission_of_its_own(
    model: ModelServer, project: Path, endpoint: dict[str, str], tmp_path: Path
):
    def choose(params: Any) -> Any:
        return RealHands.choose(params, "reject_once" if "Hunk 3 of 4" in params["toolCall"]["title"] else "allow_once")

    model.script = JOB
    hands = RealHands(endpoint, WITHOUT_FORMS, session_request_permission=choose)

    async with agent(tmp_path, env=endpoint, hands=hands) as client:
        turn = await client.prompt(await client.new_session(str(project)), "Mend the greeting")

    assert_the_job_is_done(turn, model, project, hands)
    requests = [params["toolCall"] for method, params in hands.asked if method == "session/request_permission"]
    assert [it["title"].partition(" (")[0] for it in requests] == [
        "Hunk 1 of 4: greet.py, line 1",
        "Hunk 2 of 4: farewell.py, line 1",
        "Hunk 3 of 4: farewell.py, line 5",
        "Hunk 4 of 4: farewell.py, line 9",
        "python3 -m unittest -q",
    ]
    diffs = [it["content"][0] for it in requests[:4]]
    assert [it["path"] for it in diffs] == [str(project / name) for name in ("greet.py", *["farewell.py"] * 3)]
    assert (diffs[0]["oldText"], diffs[0]["newText"]) == (BROKEN, FIXED)
    assert [it["newText"].count("\n") for it in diffs] == [2, 2, 2, 2]


@pytest.mark.parametrize(("answer", "text"), [("allow_once", FIXED.replace("Hello", "Hi")), ("reject_once", BROKEN)])
async def test_a_patch_that_differs_from_the_approved_one_is_asked_for(
    answer: str, text: str, model: ModelServer, project: Path, endpoint: dict[str, str], tmp_path: Path
):
    other = ONE_HUNK.replace('+    return f"Hello', '+    return f"Hi')
    model.script = Script.parse(
        f"=== turn\ncall apply_patch_review\n{ONE_HUNK}--- step\ncall apply_patch\n{other}--- step\nsay: Done."
    )
    hands = RealHands(
        endpoint,
        elicitation_create=lambda params: {"action": "accept", "content": {"hunks": ["1"]}},
        session_request_permission=lambda params: RealHands.choose(params, answer),
    )

    async with agent(tmp_path, env=endpoint, hands=hands) as client:
        turn = await client.prompt(await client.new_session(str(project)))

    assert turn.stop == "end_turn"
    assert asked_for(hands) == ["Edit greet.py"]
    assert (project / "greet.py").read_text() == text


async def test_an_approval_is_used_up_by_the_patch_that_it_was_for(
    model: ModelServer, project: Path, endpoint: dict[str, str], tmp_path: Path
):
    back = f"call write_file {json.dumps({'path': 'greet.py', 'content': BROKEN})}\n"
    model.script = Script.parse(
        f"=== turn\ncall apply_patch_review\n{ONE_HUNK}--- step\ncall apply_patch\n{ONE_HUNK}--- step\n{back}"
        f"--- step\ncall apply_patch\n{ONE_HUNK}--- step\nsay: Done."
    )
    hands = RealHands(endpoint, elicitation_create=lambda params: {"action": "accept", "content": {"hunks": ["1"]}})

    async with agent(tmp_path, env=endpoint, hands=hands) as client:
        turn = await client.prompt(await client.new_session(str(project)))

    assert [it["status"] for it in turn.results] == ["completed"] * 4
    assert asked_for(hands) == ["Write greet.py", "Edit greet.py"]
    assert (project / "greet.py").read_text() == FIXED
