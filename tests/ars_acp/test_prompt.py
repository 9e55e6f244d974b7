"""What the model reads first."""

import json

import anyio

from ars_acp.prompt import INSTRUCTIONS_LIMIT, cut_instructions, opening
from ars_acp.tools import offered
from tests.support.in_memory import Client, house

EVERYTHING = frozenset({"read", "write", "run", "form"})


def test_the_system_prompt_stays_under_8_kb_and_the_tools_under_another_8() -> None:
    tools = offered(EVERYTHING)
    names = [tool.model_name for tool in tools]
    assert len(opening("/home/person/project", ["/home/person/library"], None, names)["content"].encode()) < 8192
    assert len(json.dumps([tool.spec() for tool in tools]).encode()) < 8192


def test_it_says_where_we_are_and_what_the_project_wants() -> None:
    content = opening("/project", ["/more"], "Always whistle.", ["run_command"])["content"]
    for part in ("/project", "/more", "Always whistle.", "AGENTS.md"):
        assert part in content


def test_it_says_when_the_editor_runs_no_commands() -> None:
    assert "runs no commands" in opening("/project", [], None, ["read_file"])["content"]


def test_instructions_that_are_too_long_are_cut_and_say_so() -> None:
    cut = cut_instructions("x" * (INSTRUCTIONS_LIMIT + 1))
    assert len(cut) < INSTRUCTIONS_LIMIT + 100
    assert "[cut here" in cut
    assert cut_instructions("short") == "short"


async def test_instructions_that_a_cancelled_turn_did_not_get_are_read_by_the_next_one() -> None:
    client = Client()
    client.files["/project/AGENTS.md"] = "Always whistle."
    client.silent.add("fs/read_text_file")
    async with house("=== turn repeat\nsay: ok\n", client=client) as it:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(it.prompt)
            await client.reading.wait()
            it.cancel()
        client.silent.clear()
        await it.prompt()
        [session] = it.agent._sessions.active.values()
        assert session.instructions == "Always whistle."
