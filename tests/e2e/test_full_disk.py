"""A session whose file may grow no further, over the executable."""

from pathlib import Path

import pytest

from tests.support.process import ARS_ACP, agent, script, stored

pytestmark = pytest.mark.e2e

# Blocks of 512 bytes that any file of the agent's may have.
LIMITED = ("sh", "-c", f'ulimit -f 24; exec {ARS_ACP} "$@"', "sh")
SCRIPT = f"=== turn repeat\nsay: {'word ' * 200}\n"


async def test_a_session_whose_file_is_full_goes_on_in_memory_and_leaves_whole_lines(tmp_path: Path):
    # A cache of a module would be cut off there, and stay so.
    env = {"PYTHONDONTWRITEBYTECODE": "1"}
    async with agent(tmp_path, *script(tmp_path, SCRIPT), argv=LIMITED, env=env) as client:
        session = await client.new_session()
        turns = [await client.prompt(session, f"prompt {number}") for number in range(4)]
        assert [turn.stop for turn in turns] == ["end_turn"] * 4
        assert [len(turn.text) for turn in turns] == [len(turns[0].text)] * 4
        titles = [it["update"]["title"] for it in client.updates if it["update"]["sessionUpdate"] == "notice"]
        unsaved = [title for title in titles if "not being saved" in title]
        assert len(unsaved) == 1
        assert unsaved[0].endswith("File too large")
        numbers = [params["_meta"]["ars/seq"] for params in client.updates]
        assert numbers == sorted(set(numbers))
        answer = await client.request("_ars/session/replay", {"sessionId": session, "after": 0})
        assert len(str(answer["updates"])) > 4 * len(turns[0].text)
    assert [entry["n"] for entry in stored(tmp_path, session)] == list(range(1, len(stored(tmp_path, session)) + 1))
