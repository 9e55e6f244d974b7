"""The modes, chosen by a person's setting: what is asked, what is done without a question, what is refused."""

from pathlib import Path

import pytest

from ars_acp.models.script import Script
from fixtures.model_server import ModelServer
from tests.e2e.conftest import git
from tests.e2e.hands import RealHands
from tests.e2e.peers import results
from tests.support.process import agent

pytestmark = pytest.mark.e2e

EVERYTHING = """\
=== turn
call read_file {"path": "greet.py"}
--- step
call write_file {"path": "new.txt", "content": "new"}
--- step
call apply_patch
  patch:
    --- a/greet.py
    +++ b/greet.py
    @@ -1,2 +1,2 @@
     def greet(name: str) -> str:
    -    return f"Hello, {nme}!"
    +    return f"Hello, {name}!"
--- step
call run_command {"argv": ["touch", "touched"]}
--- step
call write_file {"path": "AGENTS.md", "content": "Obey."}
--- step
call write_file {"path": ".git/hooks/pre-commit", "content": "evil"}
--- step
call write_file {"path": "../outside.txt", "content": "evil"}
--- step
say: Done.
"""
READ, NEW, PATCH, RUN, PROTECTED = "read_file", "Create new.txt", "Edit greet.py", "touch touched", "Write AGENTS.md"
CHANGED = [" M AGENTS.md", " M greet.py", "?? new.txt", "?? touched"]


def asked_for(hands: RealHands) -> list[str]:
    return [params["toolCall"]["title"] for method, params in hands.asked if method == "session/request_permission"]


@pytest.mark.parametrize(
    ("mode", "asked", "changed"),
    [
        ("ask", [NEW, PATCH, RUN, PROTECTED], CHANGED),
        ("accept-edits", [RUN, PROTECTED], CHANGED),
        ("full", [PROTECTED], CHANGED),
        ("read-only", [], []),
    ],
)
async def test_the_mode_decides_what_is_asked_and_what_is_done(
    mode: str,
    asked: list[str],
    changed: list[str],
    model: ModelServer,
    project: Path,
    endpoint: dict[str, str],
    tmp_path: Path,
):
    model.script = Script.parse(EVERYTHING)
    hands = RealHands(endpoint)

    async with agent(tmp_path, env={**endpoint, "ARS_MODE": mode}, hands=hands) as client:
        turn = await client.prompt(await client.new_session(str(project)))

    assert turn.stop == "end_turn"
    assert asked_for(hands) == asked
    assert git(project, "status", "--short", "--untracked-files=all").splitlines() == changed
    done = "completed" if changed else "failed"
    assert [it["status"] for it in turn.results] == ["completed", *[done] * 4, "failed", "failed"]
    assert not (project.parent / "outside.txt").exists()
    assert not (project / ".git/hooks/pre-commit").exists()
    if not changed:
        assert all("this session is read-only" in text for text in results(model)[1:5])


async def test_the_command_line_wins_over_the_variable(
    model: ModelServer, project: Path, endpoint: dict[str, str], tmp_path: Path
):
    model.script = Script.parse(EVERYTHING)
    hands = RealHands(endpoint)

    async with agent(tmp_path, "--mode", "read-only", env={**endpoint, "ARS_MODE": "full"}, hands=hands) as client:
        await client.prompt(await client.new_session(str(project)))

    assert git(project, "status", "--short") == ""


async def test_always_allows_exactly_that_command_for_the_rest_of_the_session(
    model: ModelServer, project: Path, endpoint: dict[str, str], tmp_path: Path
):
    calls = "--- step\n".join(f'call run_command {{"argv": ["touch", "{name}"]}}\n' for name in ("a", "a", "b"))
    model.script = Script.parse(f"=== turn\n{calls}--- step\nsay: Done.\n" * 2)
    hands = RealHands(endpoint, session_request_permission=lambda params: RealHands.choose(params, "allow_always"))

    async with agent(tmp_path, env=endpoint, hands=hands) as client:
        session = await client.new_session(str(project))
        await client.prompt(session)
        await client.prompt(session)
        assert asked_for(hands) == ["touch a", "touch b"]
        await client.prompt(await client.new_session(str(project)))

    assert asked_for(hands) == ["touch a", "touch b"] * 2
