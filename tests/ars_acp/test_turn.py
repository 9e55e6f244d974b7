"""A turn, from a prompt to its stop reason, over a scripted model and a client in memory."""

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from acp_wire.errors import INTERNAL_ERROR, INVALID_PARAMS, NOT_FOUND, RpcError
from tests.support.in_memory import FILES, Client, house

WRITE = """
=== turn
call write_file {"path": "a.txt", "content": "new\\n"}
--- step
say: $result
"""


async def test_text_and_thought_are_streamed_in_order_then_the_prompt_is_answered() -> None:
    async with house("=== turn\nthink: hm hm\nsay: one two three\n") as it:
        assert await it.prompt() == "end_turn"
        assert it.said("agent_thought_chunk") == "hm hm"
        assert it.said() == "one two three"
        assert it.stream.sent[-1]["result"] == {"stopReason": "end_turn"}


async def test_each_update_carries_its_number_and_that_of_the_one_before() -> None:
    async with house('=== turn\nsay: a b c\ncall update_plan {"entries": []}\n--- step\nsay: done\n') as it:
        await it.prompt()
        metas = [params["_meta"] for params in it.client.updates]
        assert [meta["ars/prev"] for meta in metas] == [0, *(meta["ars/seq"] for meta in metas[:-1])]
        stored = dict((await it.store.open(it.session)).read())
        for params in it.client.updates:
            entry = stored[params["_meta"]["ars/seq"]]
            update = params["update"]
            assert entry.get("update", entry) == (entry if "text" in entry else update)
            assert entry.get("text") == (update["content"]["text"] if "text" in entry else None)


async def test_a_second_turn_carries_the_first_ones_messages() -> None:
    async with house("=== turn\nsay: hello $prompt\n=== turn\nsay: again $prompt\n") as it:
        await it.prompt("ann")
        await it.prompt("bob")
        [session] = it.agent._sessions.active.values()
        assert [(message["role"], message["content"]) for message in session.history.messages] == [
            ("user", "ann"),
            ("assistant", "hello ann"),
            ("user", "bob"),
            ("assistant", "again bob"),
        ]


@pytest.mark.parametrize(
    ("ending", "reason"), [("finish length", "max_tokens"), ("finish refusal", "refusal"), ("usage 1 1", "end_turn")]
)
async def test_stop_reasons_are_those_of_the_protocol(ending: str, reason: str) -> None:
    async with house(f"=== turn\nsay: some\n{ending}\n") as it:
        assert await it.prompt() == reason


async def test_a_refused_prompt_is_not_in_the_next_ones_messages() -> None:
    async with house('=== turn if "bad"\nsay: no\nfinish refusal\n=== turn if "good"\nsay: yes\n') as it:
        await it.prompt("bad")
        await it.prompt("good")
        [session] = it.agent._sessions.active.values()
        assert [message["content"] for message in session.history.messages] == ["good", "yes"]


async def test_a_turn_ends_after_its_steps() -> None:
    steps = '=== turn\ncall update_plan {"entries": []}\n' + '--- step\ncall update_plan {"entries": []}\n' * 9
    async with house(steps, steps_per_turn=3) as it:
        assert await it.prompt() == "max_turn_requests"
        assert len(it.tool_calls()) == 3


# ── permission ──────────────────────────────────────────────────────────────────────────────


async def test_a_write_is_asked_for_with_its_diff_and_done_when_allowed() -> None:
    client = Client()
    client.files["/project/a.txt"] = "old\n"
    async with house(WRITE, client=client) as it:
        await it.prompt()
        [asked] = client.asked
        [diff] = [content for content in asked["toolCall"]["content"] if content["type"] == "diff"]
        assert (diff["path"], diff["oldText"], diff["newText"]) == ("/project/a.txt", "old\n", "new\n")
        assert {option["kind"] for option in asked["options"]} >= {"allow_once", "reject_once"}
        assert client.files["/project/a.txt"] == "new\n"
        [call] = it.tool_calls().values()
        assert (call["status"], call["kind"], call["name"]) == ("completed", "edit", "write_file")


@pytest.mark.parametrize("answer", ["reject_once", None, "allow_everything_for_ever"])
async def test_a_refusal_is_told_to_the_model_and_nothing_is_written(answer: str | None) -> None:
    client = Client()
    client.permission = lambda params: answer
    async with house(WRITE, client=client) as it:
        assert await it.prompt() == "end_turn"
        assert client.files == {}
        assert "Refused by the person" in it.said()
        assert next(iter(it.tool_calls().values()))["status"] == "failed"


@pytest.mark.parametrize(("mode", "asked", "written"), [("full", 0, 1), ("accept-edits", 0, 1), ("read-only", 0, 0)])
async def test_modes_decide_without_asking(mode: str, asked: int, written: int) -> None:
    async with house(WRITE, mode=mode) as it:
        await it.prompt()
        assert (len(it.client.asked), len(it.client.files)) == (asked, written)


async def test_no_answer_in_time_is_no_the_step_is_skipped_and_later_acts_are_refused_unasked() -> None:
    client = Client()
    client.silent.add("session/request_permission")
    script = """
=== turn
call write_file {"path": "a.txt", "content": "1"}
call write_file {"path": "b.txt", "content": "2"}
call update_plan {"entries": []}
--- step
call write_file {"path": "c.txt", "content": "3"}
--- step
say: $result
"""
    async with house(script, client=client, permission_seconds=0.02) as it:
        assert await it.prompt() == "end_turn"
        assert client.files == {}
        assert len(client.asked) == 1
        codes = [entry["code"] for entry in await it.entries() if entry["type"] == "result"]
        assert codes == ["REFUSED", "SKIPPED", "SKIPPED", "REFUSED"]
        assert "nobody is there to ask" in it.said()


# ── tools ───────────────────────────────────────────────────────────────────────────────────


async def test_read_only_calls_run_side_by_side_and_a_write_waits_for_them() -> None:
    client = Client()
    client.files |= {"/project/a": "A", "/project/b": "B"}
    both = anyio.Event()
    waiting: list[str] = []

    class Gate(Client):
        async def fs_read_text_file(self, params: Any, call: Any) -> dict[str, Any]:
            if params.path in ("/project/a", "/project/b"):
                waiting.append(params.path)
                if len(waiting) == 2:
                    both.set()
                await both.wait()
            return await super().fs_read_text_file(params, call)

    gate = Gate()
    gate.files = client.files
    script = """
=== turn
call read_file {"path": "a"}
call read_file {"path": "b"}
call write_file {"path": "c", "content": "C"}
--- step
say: done
"""
    async with house(script, client=gate, mode="full") as it:
        assert await it.prompt() == "end_turn"
        assert waiting == ["/project/a", "/project/b"]
        kinds = [
            (u["update"]["toolCallId"], u["update"].get("status")) for u in gate.updates if "toolCallId" in u["update"]
        ]
        ids = list(it.tool_calls())
        assert kinds.index((ids[2], "pending")) > max(
            kinds.index((ids[0], "completed")), kinds.index((ids[1], "completed"))
        )


async def test_a_read_that_is_not_answered_is_tried_once_more_then_told_as_tool_timeout() -> None:
    client = Client()
    client.silent.add("fs/read_text_file")
    async with house(
        '=== turn\ncall read_file {"path": "a"}\n--- step\nsay: $result\n', client=client, client_seconds=0.02
    ) as it:
        assert await it.prompt() == "end_turn"
        reads = [
            m for m in it.stream.sent if m.get("method") == "fs/read_text_file" and m["params"]["path"] == "/project/a"
        ]
        assert len(reads) == 2
        [result] = [entry for entry in await it.entries() if entry["type"] == "result"]
        assert (result["ok"], result["code"]) == (False, "TOOL_TIMEOUT")


async def test_a_write_that_is_not_answered_is_not_tried_again() -> None:
    client = Client()
    client.silent.add("fs/write_text_file")
    async with house(WRITE, client=client, client_seconds=0.5, mode="full") as it:
        assert await it.prompt() == "end_turn"
        assert len([m for m in it.stream.sent if m.get("method") == "fs/write_text_file"]) == 1


@pytest.mark.parametrize(
    "call",
    [
        "call launch_rocket {}",
        'call! read_file {"path": ',
        'call! read_file ["a"]',
        'call read_file {"path": 7}',
        "call read_file {}",
    ],
)
async def test_a_model_that_repeats_an_invalid_call_is_stopped_after_the_third(call: str) -> None:
    async with house(f"=== turn\n{call}\n" + f"--- step\n{call}\n" * 5 + "=== turn\nsay: well\n") as it:
        with pytest.raises(RpcError) as error:
            await it.prompt()
        assert (error.value.code, error.value.data["code"], error.value.data["retryable"]) == (
            INTERNAL_ERROR,
            "LLM_ERROR",
            False,
        )
        calls = it.tool_calls().values()
        assert [made["status"] for made in calls] == ["failed"] * 3
        assert await it.prompt() == "end_turn"


async def test_invalid_calls_of_different_kinds_are_stopped_after_the_fifth() -> None:
    steps = "".join(f"--- step\ncall nothing_{n} {{}}\n" for n in range(9))
    async with house("=== turn\ncall nothing {}\n" + steps) as it:
        with pytest.raises(RpcError):
            await it.prompt()
        assert len(it.tool_calls()) == 5


async def test_broken_arguments_are_kept_out_of_the_history() -> None:
    async with house('=== turn\ncall! read_file {"path": \n--- step\nsay: sorry\n') as it:
        await it.prompt()
        [session] = it.agent._sessions.active.values()
        [call] = session.history.messages[1]["tool_calls"]
        assert call["function"]["arguments"] == "{}"
        assert session.history.messages[2] == {
            "role": "tool",
            "tool_call_id": call["id"],
            "content": "The arguments are not a JSON object. Send the call again with complete, valid JSON.",
        }


async def test_tools_that_the_client_has_no_hands_for_do_not_exist() -> None:
    async with house('=== turn\ncall run_command {"argv": ["ls"]}\n--- step\nsay: $result\n', capabilities=FILES) as it:
        await it.prompt()
        assert "no tool 'run_command'" in it.said()


async def test_the_projects_instructions_are_read_once_through_the_client() -> None:
    client = Client()
    client.files["/project/AGENTS.md"] = "Always whistle."
    async with house("=== turn repeat\nsay: ok\n", client=client) as it:
        await it.prompt()
        await it.prompt()
        assert len([m for m in it.stream.sent if m.get("method") == "fs/read_text_file"]) == 1
        [session] = it.agent._sessions.active.values()
        assert session.instructions == "Always whistle."


# ── models that fail ────────────────────────────────────────────────────────────────────────


async def test_a_broken_stream_keeps_its_text_marks_it_and_reports_how_much_there_was() -> None:
    async with house("=== turn\nsay: half of\ninterrupt\n=== turn\nsay: $prompt\n") as it:
        with pytest.raises(RpcError) as error:
            await it.prompt()
        assert error.value.data["code"] == "LLM_STREAM_INTERRUPTED"
        assert error.value.data["details"]["partialChars"] == len("half of")
        assert it.said() == "half of"
        assert await it.prompt("on") == "end_turn"
        [session] = it.agent._sessions.active.values()
        assert session.history.messages[1]["content"].startswith("half of\n[This reply was interrupted: ")


async def test_an_error_of_the_provider_is_typed_and_the_session_goes_on() -> None:
    async with house('=== turn\nfail LLM_ERROR retryable 2.5 "overloaded"\n=== turn\nsay: fine\n') as it:
        with pytest.raises(RpcError) as error:
            await it.prompt()
        assert error.value.data == {"code": "LLM_ERROR", "retryable": True, "retryAfterMs": 2500, "details": {}}
        assert await it.prompt() == "end_turn"


@pytest.mark.parametrize("notices", [True, False])
async def test_a_retry_is_visible_as_a_notice_or_else_as_a_thought(notices: bool) -> None:
    capabilities = {"session": {"notices": {}}} if notices else {}
    async with house('=== turn\nretry 0 "busy"\nsay: ok\n', capabilities=capabilities) as it:
        await it.prompt()
        kinds = [params["update"]["sessionUpdate"] for params in it.client.updates]
        assert kinds[0] == ("notice" if notices else "agent_thought_chunk")


# ── cancel ──────────────────────────────────────────────────────────────────────────────────


async def test_cancel_answers_the_prompt_with_stop_reason_cancelled_and_the_next_turn_is_clean() -> None:
    async with house("=== turn\nsay: begin\nwait 60\n=== turn\nsay: next\n") as it:
        async with anyio.create_task_group() as tasks:
            reasons: list[str] = []

            async def ask() -> None:
                reasons.append(await it.prompt())

            tasks.start_soon(ask)
            await it.update(lambda update: update["sessionUpdate"] == "agent_message_chunk")
            it.cancel()
        assert reasons == ["cancelled"]
        assert (await it.entries())[-1]["stop"] == "cancelled"
        assert await it.prompt() == "end_turn"


async def test_cancel_while_asking_ends_the_turn_and_takes_the_question_back() -> None:
    client = Client()
    client.silent.add("session/request_permission")
    async with house(WRITE, client=client) as it:
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                assert await it.prompt() == "cancelled"

            tasks.start_soon(ask)
            await it.update(lambda update: update.get("kind") == "edit")
            while not client.asked:
                await anyio.lowlevel.checkpoint()
            it.cancel()
        assert [m["method"] for m in it.stream.sent if m.get("method", "").startswith("$/")] == ["$/cancel_request"]
        assert next(iter(it.tool_calls().values()))["status"] == "failed"
        assert client.files == {}
        result = next(entry for entry in await it.entries() if entry["type"] == "result")
        assert result["code"] == "CANCELLED"


async def test_cancel_ends_the_running_prompt_and_those_that_wait_behind_it() -> None:
    async with house("=== turn\nsay: a\nwait 60\n=== turn\nsay: b\nwait 60\n") as it:
        async with anyio.create_task_group() as tasks:
            reasons: list[str] = []

            async def ask() -> None:
                reasons.append(await it.prompt())

            tasks.start_soon(ask)
            tasks.start_soon(ask)
            await it.update(lambda update: update["sessionUpdate"] == "agent_message_chunk")
            it.cancel()
        assert reasons == ["cancelled", "cancelled"]


async def test_a_prompt_sent_during_a_turn_runs_after_it() -> None:
    async with house("=== turn\nsay: first $prompt\n=== turn\nsay:  second $prompt\n") as it:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(it.prompt, "A")
            tasks.start_soon(it.prompt, "B")
        assert it.said() == "first Asecond B"


async def test_cancel_without_a_turn_or_for_another_session_changes_nothing() -> None:
    async with house("=== turn repeat\nsay: ok\n") as it:
        it.cancel()
        assert await it.prompt() == "end_turn"
        first = it.session
        await it.new_session()
        it.cancel()
        assert await it.prompt(session=first) == "end_turn"


# ── bad prompts ─────────────────────────────────────────────────────────────────────────────


async def test_a_prompt_for_an_unknown_session_is_not_found_and_names_it() -> None:
    async with house("=== turn\nsay: x\n") as it:
        with pytest.raises(RpcError) as error:
            await it.prompt(session="sess_nobody")
        assert (error.value.code, error.value.data) == (NOT_FOUND, {"sessionId": "sess_nobody"})


@pytest.mark.parametrize(
    "blocks", [[], [{"type": "text", "text": " "}], [{"type": "image", "data": "aGk", "mimeType": "image/png"}]]
)
async def test_a_prompt_that_says_nothing_or_what_we_cannot_take_is_refused(blocks: list[Any]) -> None:
    async with house("=== turn\nsay: x\n") as it:
        from acp_wire import methods

        with pytest.raises(RpcError) as error:
            await it.wire.request(methods.SESSION_PROMPT, {"sessionId": it.session, "prompt": blocks})
        assert error.value.code == INVALID_PARAMS


async def test_links_and_embedded_resources_reach_the_model_as_text() -> None:
    async with house("=== turn\nsay: $prompt\n") as it:
        from acp_wire import methods

        blocks = [
            {"type": "text", "text": "see"},
            {"type": "resource_link", "uri": "file:///a.py", "name": "a.py"},
            {"type": "resource", "resource": {"uri": "file:///b.py", "text": "print()"}},
        ]
        await it.wire.request(methods.SESSION_PROMPT, {"sessionId": it.session, "prompt": blocks})
        assert "[a.py](file:///a.py)" in it.said()
        assert "print()" in it.said()
