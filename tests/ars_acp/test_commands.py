"""What a person says to the agent itself: listed where it works, answered without the model."""

from typing import Any

import anyio
import pytest

from acp_wire import methods
from ars_acp.commands import COMMANDS
from ars_acp.transfer import read
from tests.support.in_memory import FILES, Client, House, house

HELLO = "=== turn repeat\nsay: the model heard $prompt\n"
PLAN = '=== turn\ncall update_plan {"entries": [{"content": "look", "status": "completed"}, {"content": "leap"}]}\n'
ALWAYS = ["help", "model", "mode", "plan", "compact", "undo", "usage"]


async def answered(it: House, text: str) -> str:
    """What the agent says to that prompt."""
    before = len(it.said())
    assert await it.prompt(text) == "end_turn"
    return it.said()[before:]


def messages_of(it: House) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = it.agent._sessions.active[it.session].history.messages
    return found


@pytest.mark.parametrize(
    ("capabilities", "more"),
    [
        ({}, []),
        ({"fs": {"readTextFile": True}}, []),
        ({"fs": {"writeTextFile": True}}, []),
        ({"terminal": True}, []),
        (FILES, ["export", "memory"]),
    ],
)
async def test_every_listed_command_works_and_is_not_for_the_model(
    capabilities: dict[str, Any], more: list[str]
) -> None:
    async with house(HELLO, capabilities=capabilities) as it:
        names = await it.listed()
        assert names == [*ALWAYS, *more]
        for name in names:
            said = await answered(it, f"/{name}")
            assert said
            assert "the model heard" not in said
        assert messages_of(it) == []
        helped = await answered(it, "/help")
        assert [line.split("`")[1].split()[0] for line in helped.splitlines()] == [f"/{name}" for name in names]


async def test_the_list_follows_the_answer_that_opens_the_session() -> None:
    async with house(HELLO) as it:
        params: dict[str, Any] = {"sessionId": it.session, "cwd": "/project", "mcpServers": []}
        await it.wire.request(methods.SESSION_LOAD, params)
        await it.wire.request(methods.SESSION_RESUME, params)
        await it.listed(3)
        other = await it.new_session()
        lists = [at for at, message in enumerate(it.stream.sent) if is_list(message)]
        assert len(lists) == 4
        assert all("result" in it.stream.sent[at - 1] for at in lists)
        assert it.stream.sent[lists[-1]]["params"]["sessionId"] == other


def is_list(message: dict[str, Any]) -> bool:
    update = message.get("params", {}).get("update", {})
    return bool(update.get("sessionUpdate") == "available_commands_update")


@pytest.mark.parametrize("text", ["/nothing of ours", "/usr/bin/env is missing", "say /help", "/helpme", "/"])
async def test_what_names_no_command_is_for_the_model(text: str) -> None:
    async with house(HELLO) as it:
        assert await answered(it, text) == f"the model heard {text}"


async def test_a_command_behind_an_attachment_is_for_the_model() -> None:
    async with house(HELLO) as it:
        link = {"type": "resource_link", "name": "a.py", "uri": "file:///project/a.py"}
        await it.prompt_with([link, {"type": "text", "text": "/help"}])
        assert it.said().startswith("the model heard")


@pytest.mark.parametrize("name", ["export", "memory"])
async def test_a_command_that_this_client_cannot_do_says_so(name: str) -> None:
    async with house(HELLO, capabilities={}) as it:
        assert "needs an editor" in await answered(it, f"/{name}")


async def test_a_command_is_replayed_and_read_by_no_model() -> None:
    async with house(HELLO) as it:
        await it.prompt("/mode")
        await it.prompt("hello")
        assert [message["content"] for message in messages_of(it)] == ["hello", "the model heard hello"]
        before = len(it.client.updates)
        await it.wire.request(methods.SESSION_LOAD, {"sessionId": it.session, "cwd": "/project", "mcpServers": []})
        again = [params["update"] for params in it.client.updates[before:]]
        texts = [update["content"]["text"] for update in again if "content" in update]
        assert (texts[0], texts[2:]) == ("/mode", ["hello", "the model heard hello"])
        assert "`ask`" in texts[1]


async def test_the_mode_is_shown_and_chosen() -> None:
    async with house(HELLO) as it:
        assert "The mode is `ask`" in await answered(it, "/mode")
        assert "choose one of" in await answered(it, "/mode wild")
        assert "`read-only` now" in await answered(it, "/mode read-only")
        assert it.agent._sessions.active[it.session].mode == "read-only"


async def test_the_model_is_shown() -> None:
    async with house(HELLO) as it:
        assert "`scripted`" in await answered(it, "/model")


async def test_the_last_plan_is_shown() -> None:
    async with house(PLAN + "--- step\nsay: planned\n") as it:
        assert "no plan yet" in await answered(it, "/plan")
        await it.prompt("go")
        assert await answered(it, "/plan") == "- [x] look\n- [ ] leap"


async def test_a_task_to_plan_is_a_turn_that_can_change_nothing() -> None:
    script = """
=== turn
call write_file {"path": "a.txt", "content": "no"}
call read_file {"path": "b.txt"}
--- step
say: planned
=== turn
call write_file {"path": "a.txt", "content": "yes"}
--- step
say: done
"""
    async with house(script) as it:
        it.client.files["/project/b.txt"] = "b"
        assert await answered(it, "/plan the whole thing") == "planned"
        assert [call["status"] for call in it.tool_calls().values()] == ["failed", "completed"]
        assert "/project/a.txt" not in it.client.files
        assert messages_of(it)[0]["content"] == "/plan the whole thing"
        assert await answered(it, "now do it") == "done"
        assert it.client.files["/project/a.txt"] == "yes"


async def test_a_conversation_is_summed_up_on_request() -> None:
    script = f"""
=== turn if "keep above all: the names"
say: names and all
=== turn if "first"
say: {"a long story " * 50}
=== turn
say: going on
"""
    async with house(script) as it:
        assert "nothing to sum up" in await answered(it, "/compact")
        await it.prompt("first")
        assert "was summed up" in await answered(it, "/compact the names")
        assert len(messages_of(it)) == 2
        assert messages_of(it)[0]["content"].endswith("names and all")
        assert "nothing to sum up" in await answered(it, "/compact")
        assert await it.prompt("next") == "end_turn"


async def test_a_summary_on_request_that_fails_is_told() -> None:
    script = '=== turn if "Sum up"\nfail LLM_ERROR "no luck"\n=== turn\nsay: hello\n'
    async with house(script) as it:
        await it.prompt("first")
        assert "Nothing was changed: no luck" in await answered(it, "/compact")
        assert messages_of(it)[0]["content"] == "first"


async def test_tokens_are_counted_over_all_replies() -> None:
    async with house("=== turn\nsay: a\nusage 1000 20\n=== turn\nsay: b\nusage 2000 30\n") as it:
        await it.prompt("one")
        await it.prompt("two")
        assert await answered(it, "/usage") == "Replies: 2. Tokens read: 3,000, written: 50."


async def test_a_session_is_exported_with_permission() -> None:
    async with house(PLAN + "--- step\nsay: planned\n") as it:
        await it.prompt("go")
        name = f"session-{it.session.removeprefix('sess_')[:8]}.md"
        assert name in await answered(it, "/export")
        assert len(it.client.asked) == 1
        text = it.client.files[f"/project/{name}"]
        for part in ("## You\n\ngo\n", "## ARS", "- [x] look\n- [ ] leap", "planned", "> `update_plan`"):
            assert part in text
        assert "Created notes/s.md" in await answered(it, "/export notes/s.md")
        assert await it.prompt("go on") == "end_turn"


async def test_a_session_is_exported_as_json_lines_that_hold_all_but_the_command_itself() -> None:
    async with house(HELLO) as it:
        await it.prompt("go")
        before = await it.entries()
        assert "Created s.jsonl" in await answered(it, "/export s.jsonl")
        brought = read(it.client.files["/project/s.jsonl"].encode())
        assert (brought.id, brought.entries) == (it.session, before)


@pytest.mark.parametrize("path", ["../out.md", "/etc/passwd", "~/x.md"])
async def test_nothing_is_exported_outside_the_project(path: str) -> None:
    async with house(HELLO) as it:
        await answered(it, f"/export {path}")
        assert it.client.files == {}
        assert it.client.asked == []


async def test_what_is_to_be_remembered_is_appended_when_the_person_agrees() -> None:
    client = Client()
    client.files["/project/AGENTS.md"] = "# Rules\nBe brief."
    async with house(HELLO, client=client, mode="full") as it:
        assert await answered(it, "/memory") == "# Rules\nBe brief."
        await answered(it, "/memory  Use\ntabs ")
        assert client.files["/project/AGENTS.md"] == "# Rules\nBe brief.\n- Use tabs\n"
        assert len(client.asked) == 1
        client.permission = lambda params: "reject_once"
        assert "not allowed" in await answered(it, "/memory Use spaces")
        assert client.files["/project/AGENTS.md"] == "# Rules\nBe brief.\n- Use tabs\n"
        assert messages_of(it) == []


async def test_a_cancelled_command_is_answered_cancelled_and_closes_its_call() -> None:
    async with house(HELLO) as it:
        it.client.silent.add("session/request_permission")
        answer: list[str] = []

        async def export() -> None:
            answer.append(await it.prompt("/export"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(export)
            await it.update(lambda update: update.get("title", "").startswith("Create "))
            it.cancel()
        assert answer == ["cancelled"]
        assert [call["status"] for call in it.tool_calls().values()] == ["failed"]
        assert await answered(it, "hello") == "the model heard hello"
        assert len(messages_of(it)) == 2


def test_names_are_plain_words_and_no_two_are_alike() -> None:
    names = [command.name for command in COMMANDS]
    assert len(set(names)) == len(names)
    assert all(name.isalpha() and name.islower() for name in names)
