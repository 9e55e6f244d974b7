"""Turns taken back over the executable: by what a person types, and by what a client asks; also in a later process."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.hands import EVERYTHING, Hands, Refusal
from tests.support.process import agent, script

pytestmark = pytest.mark.e2e

SCRIPT = """
=== turn
call write_file {"path": "a.py", "content": "two\\n"}
call write_file {"path": "new.py", "content": "new\\n"}
call run_command {"argv": ["make"]}
--- step
say: done
=== turn repeat
say: I go on
"""


class Disk(Hands):
    """Files that can be moved and removed by commands, as those of an editor's terminal."""

    def __init__(self) -> None:
        super().__init__(EVERYTHING)
        self.files = {"/project/a.py": "one\n"}

    def terminal_create(self, params: Any) -> Any:
        argv = [params["command"], *params.get("args", ())]
        if argv[:2] == ["rm", "--"] and self.files.pop(argv[2], None) is None:
            raise Refusal(-32603, "no such file")
        return super().terminal_create(params)


async def test_undo_in_a_later_process_puts_files_back_removes_new_ones_and_names_what_ran(tmp_path: Path):
    hands = Disk()
    async with agent(tmp_path, *script(tmp_path, SCRIPT), env={"ARS_MODE": "full"}, hands=hands) as client:
        session = await client.new_session()
        await client.prompt(session, "change it")
        assert hands.files == {"/project/a.py": "two\n", "/project/new.py": "new\n"}
    async with agent(tmp_path, *script(tmp_path, SCRIPT), env={"ARS_MODE": "full"}, hands=hands) as client:
        await client.request("session/resume", {"sessionId": session, "cwd": "/project", "mcpServers": []})
        turn = await client.prompt(session, "/undo")
        assert turn.text.endswith(
            "Took back the last turn.\n- a.py: put back\n- new.py: put back\n\n"
            "A command ran in between; what commands do cannot be taken back."
        )
        assert hands.files == {"/project/a.py": "one\n"}
        [shown] = list(turn.results)
        assert (shown["status"], [part["path"] for part in shown["content"] if part["type"] == "diff"]) == (
            "completed",
            ["/project/a.py", "/project/new.py"],
        )
    async with agent(tmp_path, *script(tmp_path, SCRIPT), hands=hands) as client:
        await client.request("session/load", {"sessionId": session, "cwd": "/project", "mcpServers": []})
        assert "change it" not in str(client.updates)


async def test_a_rewind_refuses_file_by_file_what_was_changed_since(tmp_path: Path):
    hands = Disk()
    async with agent(tmp_path, *script(tmp_path, SCRIPT), env={"ARS_MODE": "full"}, hands=hands) as client:
        able = (await client.answer(1))["result"]["agentCapabilities"]["_meta"]
        assert able["ars/rewind"] is True
        session = await client.new_session()
        await client.prompt(session, "change it")
        hands.files["/project/a.py"] = "mine\n"
        assert await client.request("_ars/session/ack", {"sessionId": session, "seq": 1}) == {}
        answer = await client.request("_ars/session/rewind", {"sessionId": session, "turns": 1})
        assert answer["files"] == [
            {"path": "/project/a.py", "outcome": "left", "reason": "it was changed since"},
            {"path": "/project/new.py", "outcome": "restored"},
        ]
        assert (answer["turns"], answer["commands"]) == (1, 1)
        assert hands.files == {"/project/a.py": "mine\n"}
