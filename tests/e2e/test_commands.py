"""Commands over the executable: each that is listed works, with every set of abilities that a client may have."""

import itertools
from pathlib import Path

import pytest

from tests.e2e.conformance.support import HELLO, playing
from tests.support.hands import EVERYTHING, Hands

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("abilities", list(itertools.product([True, False], repeat=3)))
async def test_each_command_that_is_listed_works(abilities: tuple[bool, bool, bool], tmp_path: Path) -> None:
    read, write, terminal = abilities
    offered = {**EVERYTHING, "fs": {"readTextFile": read, "writeTextFile": write}, "terminal": terminal}
    async with playing(tmp_path, hands=Hands(offered)) as client:
        session = await client.new_session()
        await client.until(lambda: client.lists)
        [listed] = client.lists
        assert listed["sessionId"] == session
        names = [command["name"] for command in listed["update"]["availableCommands"]]
        assert ("export" in names) == (read and write)
        for name in names:
            turn = await client.prompt(session, f"/{name}")
            assert turn.stop == "end_turn"
            assert turn.text
            assert "Hello there." not in turn.text
            assert all(result["status"] == "completed" for result in turn.results)
        turn = await client.prompt(session, "/unknown")
        assert turn.text in HELLO
