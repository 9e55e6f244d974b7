"""Turns taken back: what the model knows of them, what a replay shows of them, and their files."""

from typing import Any

import pytest

from acp_wire import methods
from ars_acp.export import markdown
from tests.support.in_memory import Client, House, house

Json = dict[str, Any]
SCRIPT = """
=== turn
say: I write
call write_file {"path": "a.py", "content": "two\\n"}
call write_file {"path": "new.py", "content": "new\\n"}
--- step
say: written
=== turn
call write_file {"path": "a.py", "content": "three\\n"}
--- step
say: again
=== turn repeat
say: well
"""


async def undo(it: House, text: str = "/undo") -> str:
    before = len(it.client.updates)
    assert await it.prompt(text) == "end_turn"
    shown = [params["update"] for params in it.client.updates[before:]]
    return str(shown[-1]["content"]["text"])


def client_with(**files: str) -> Client:
    client = Client()
    client.files |= {f"/project/{name}.py": text for name, text in files.items()}
    return client


def history(it: House) -> list[Json]:
    return it.agent._sessions.active[it.session].history.messages


async def test_undo_takes_back_the_files_and_the_conversation_of_the_last_turn() -> None:
    client = client_with(a="one\n")
    async with house(SCRIPT, client=client, mode="accept-edits") as it:
        await it.prompt("first")
        between = list(history(it))
        await it.prompt("second")
        assert client.files["/project/a.py"] == "three\n"
        told = await undo(it)
        assert client.files["/project/a.py"] == "two\n"
        assert told == "Took back the last turn.\n- a.py: put back"
        assert history(it) == between
        assert client.files["/project/new.py"] == "new\n", "of the turn before"


async def test_two_undos_take_back_two_turns_and_a_third_has_nothing_left() -> None:
    client = client_with(a="one\n")
    async with house(SCRIPT, client=client, mode="accept-edits") as it:
        await it.prompt("first")
        await it.prompt("second")
        await undo(it)
        told = await undo(it)
        assert client.files["/project/a.py"] == "one\n"
        assert "- a.py: put back\n- new.py: left as it is: " in told, "this client cannot delete"
        assert history(it) == []
        assert await undo(it) == "There is no turn to take back."


@pytest.mark.parametrize(("text", "told"), [("/undo 3", "There are not so many turns"), ("/undo x", "takes a number")])
async def test_what_cannot_be_taken_back_is_told_and_nothing_is_changed(text: str, told: str) -> None:
    client = client_with(a="one\n")
    async with house(SCRIPT, client=client, mode="accept-edits") as it:
        await it.prompt("first")
        before = list(history(it))
        assert told in await undo(it, text)
        assert client.files["/project/a.py"] == "two\n"
        assert history(it) == before


async def test_several_turns_go_back_to_what_was_before_the_first_of_them() -> None:
    client = client_with(a="one\n")
    async with house(SCRIPT, client=client, mode="accept-edits") as it:
        await it.prompt("first")
        await it.prompt("second")
        assert (await undo(it, "/undo 2")).startswith("Took back the last 2 turns.\n- a.py: put back")
        assert client.files["/project/a.py"] == "one\n"


async def test_a_file_that_was_changed_since_is_left_and_the_others_are_put_back() -> None:
    client = client_with(a="one\n")
    async with house(SCRIPT, client=client, mode="accept-edits") as it:
        await it.prompt("first")
        client.files["/project/new.py"] = "mine\n"
        told = await undo(it)
        assert "- a.py: put back\n- new.py: left as it is: it was changed since" in told
        assert client.files == {"/project/a.py": "one\n", "/project/new.py": "mine\n"}


async def test_a_file_changed_between_two_turns_is_left_as_a_whole() -> None:
    client = client_with(a="one\n")
    async with house(SCRIPT, client=client, mode="accept-edits") as it:
        await it.prompt("first")
        # A formatter, say: the second turn finds and changes what nobody has recorded.
        client.files["/project/a.py"] = "two;\n"
        await it.prompt("second")
        assert "a.py: left as it is: it was changed since" in await undo(it, "/undo 2")
        assert client.files["/project/a.py"] == "three\n"


async def test_what_was_put_back_by_hand_is_unchanged() -> None:
    client = client_with(a="one\n")
    async with house(SCRIPT, client=client, mode="accept-edits") as it:
        await it.prompt("first")
        client.files = {"/project/a.py": "one\n"}
        assert "- a.py: as it was before\n- new.py: as it was before" in await undo(it)


async def test_a_load_an_export_and_a_new_process_know_nothing_of_what_was_taken_back() -> None:
    client = client_with(a="one\n")
    async with house(SCRIPT, client=client, mode="accept-edits") as it:
        await it.prompt("first")
        await it.prompt("second")
        await undo(it)
        before = list(history(it))
        await it.wire.request(methods.SESSION_CLOSE, {"sessionId": it.session})
        client.updates.clear()
        place = {"sessionId": it.session, "cwd": "/project", "mcpServers": []}
        await it.wire.request(methods.SESSION_LOAD, place)
        assert history(it) == before
        assert "written" in it.said()
        assert "again" not in it.said()
        assert "second" not in it.said("user_message_chunk")
        numbered = list(enumerate(await it.entries(), 1))
        assert "again" not in markdown("s", None, numbered)
        assert "written" in markdown("s", None, numbered)


async def test_what_was_chosen_and_paid_for_in_a_turn_taken_back_stays() -> None:
    client = client_with(a="one\n")
    async with house(SCRIPT, client=client, mode="accept-edits") as it:
        await it.prompt("first")
        await it.wire.request(methods.SESSION_SET_MODE, {"sessionId": it.session, "modeId": "full"})
        await undo(it)
        session = it.agent._sessions.active[it.session]
        assert session.mode == "full"
        assert session.facts.title == "first"


@pytest.mark.parametrize("mode", ["ask", "accept-edits", "full"])
async def test_the_request_is_the_permission(mode: str) -> None:
    client = client_with(a="one\n")
    async with house(SCRIPT, client=client, mode=mode) as it:
        await it.prompt("first")
        client.asked.clear()
        await undo(it)
        assert client.files["/project/a.py"] == "one\n"
        assert not client.asked


async def test_a_protected_file_is_asked_for_all_the_same() -> None:
    client = Client()
    client.files["/project/AGENTS.md"] = "- old\n"
    async with house(SCRIPT, client=client, mode="full") as it:
        await it.prompt("/memory new")
        assert client.files["/project/AGENTS.md"] == "- old\n- new\n"
        client.permission = lambda params: "reject_once"
        assert "AGENTS.md: left as it is: it was not allowed" in await undo(it)
        assert client.files["/project/AGENTS.md"] == "- old\n- new\n"


async def test_a_read_only_session_puts_nothing_back() -> None:
    client = client_with(a="one\n")
    async with house(SCRIPT, client=client, mode="accept-edits") as it:
        await it.prompt("first")
        await it.prompt("/mode read-only")
        assert "a.py: left as it is: it was not allowed" in await undo(it)
        assert client.files["/project/a.py"] == "two\n"


async def test_a_plan_that_was_taken_back_is_no_plan() -> None:
    script = '=== turn\ncall update_plan {"entries": [{"content": "look"}]}\n--- step\nsay: planned\n'
    async with house(script) as it:
        await it.prompt("first")
        assert "look" in await undo(it, "/plan")
        await undo(it)
        assert (await undo(it, "/plan")).startswith("There is no plan yet.")
