"""Tools that the client carries out itself: sent whole, shown and recorded like any other call."""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from acp_wire import methods
from acp_wire.build_extensions import tool_result
from acp_wire.errors import INVALID_PARAMS, RpcError
from tests.support.in_memory import EVERYTHING, Client, House, house

Json = dict[str, Any]
HANDLESS: Json = {}
PATCH = "--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-one\n+two\n"


def script(*calls: str) -> str:
    """One call a step, and the last result told."""
    steps = [f"=== turn\ncall {calls[0]}", *(f"--- step\ncall {call}" for call in calls[1:]), "--- step\nsay: $result"]
    return "\n".join(steps) + "\n"


class Doer(Client):
    """Carries out calls by `do`, or never where that is None."""

    def __init__(self, do: Callable[[Json], Json] | None = lambda call: tool_result("done")) -> None:
        super().__init__()
        self.do = do
        self.calls: list[Json] = []
        self.called = anyio.Event()
        self.given_up = anyio.Event()

    async def ars_tool_call(self, params: Any, call: Any) -> Json:
        self.calls.append(call.raw)
        self.called.set()
        self.called = anyio.Event()
        try:
            if self.do is None:
                await anyio.sleep_forever()
            return self.do(call.raw)
        except anyio.get_cancelled_exc_class():
            self.given_up.set()
            raise


@contextlib.asynccontextmanager
async def doing(
    play: str, tools: list[str], client: Doer, *, capabilities: Json = HANDLESS, **settings: Any
) -> AsyncIterator[House]:
    async with house(play, client=client, capabilities=capabilities, **settings) as it:
        await it.new_session(_meta={"ars/tools": tools})
        yield it


def is_answer(message: Json) -> bool:
    return "method" not in message


async def results(it: House) -> list[Json]:
    return [entry for entry in await it.entries() if entry["type"] == "result"]


@pytest.mark.parametrize("spelling", ["git.diff", "git_diff"])
async def test_a_named_tool_is_sent_whole_under_its_name_in_the_specification(spelling: str) -> None:
    client = Doer(lambda call: tool_result("diff --git a/a.py", raw={"files": 1}))
    async with doing(script('git_diff {"paths": "a.py", "staged": null, "more": 1}'), [spelling], client) as it:
        assert await it.prompt() == "end_turn"
        [sent] = client.calls
        [(call_id, shown)] = it.tool_calls().items()
        assert sent == {
            "sessionId": it.session,
            "toolCallId": call_id,
            "name": "git.diff",
            "arguments": {"paths": ["a.py"]},
        }
        assert "diff --git a/a.py" in it.said()
        assert "not instructions" in it.said(), "what comes from a project is data to the model"
        assert (shown["status"], shown["kind"], shown["rawOutput"]) == ("completed", "read", {"files": 1})
        assert client.asked == []


async def test_the_agent_says_that_it_has_this() -> None:
    async with house(script("git_diff {}")) as it:
        answer = await it.wire.request(methods.INITIALIZE, {"protocolVersion": 1})
        assert (answer.agent_capabilities.meta["ars/tools"], answer.agent_capabilities.meta["ars/retool"]) == (
            True,
            True,
        )


async def test_only_what_is_named_is_offered_to_the_model_of_a_client_without_hands() -> None:
    client = Doer()
    async with doing(script('read_file {"path": "a.py"}', 'write_file {"path": "b", "content": ""}'), [], client) as it:
        await it.prompt()
        assert [it["code"] for it in await results(it)] == ["INVALID_ARGUMENTS"] * 2
    async with doing(script('read_file {"path": "a.py"}', "git_diff {}"), ["read_file"], client) as it:
        await it.prompt()
        assert [it["code"] for it in await results(it)] == [None, "INVALID_ARGUMENTS"]


async def test_what_is_not_named_still_goes_through_the_hands() -> None:
    client = Doer()
    client.files["/project/a.py"] = "one\n"
    play = script('read_file {"path": "a.py"}', "git_diff {}")
    async with doing(play, ["git.diff"], client, capabilities=EVERYTHING) as it:
        await it.prompt()
        assert [call["name"] for call in client.calls] == ["git.diff"]
        assert "one" in (await results(it))[0]["text"]


@pytest.mark.parametrize("named", ["read_file", 7, [7], ["rm"], ["read_file", "update_plan"], {"read_file": True}])
async def test_what_names_no_tools_of_a_client_is_refused_with_those_there_are(named: Any) -> None:
    async with house(script("git_diff {}")) as it:
        asked = {"cwd": "/project", "mcpServers": [], "_meta": {"ars/tools": named}}
        rows = [
            (methods.SESSION_NEW, {}),
            (methods.SESSION_LOAD, {"sessionId": it.session}),
            (methods.SESSION_RESUME, {"sessionId": it.session}),
        ]
        for row, more in rows:
            with pytest.raises(RpcError) as error:
                await it.wire.request(row, asked | more)
            assert error.value.code == INVALID_PARAMS
            assert "git.diff" in error.value.message


async def test_no_permission_is_asked_for_what_the_client_does_itself() -> None:
    client = Doer()
    calls = ['write_file {"path": "a", "content": "x"}', 'run_command {"argv": ["make"]}']
    async with doing(script(*calls), ["write_file", "run_command"], client, mode="ask") as it:
        assert await it.prompt() == "end_turn"
        assert client.asked == []
        assert [call["name"] for call in client.calls] == ["write_file", "run_command"]


async def test_read_only_and_plan_refuse_what_changes_something() -> None:
    client = Doer()
    calls = ['read_file {"path": "a"}', 'write_file {"path": "a", "content": "x"}', 'run_command {"argv": ["make"]}']
    tools = ["read_file", "write_file", "run_command"]
    async with doing(script(*calls), tools, client, mode="read-only") as it:
        await it.prompt()
        assert [it["code"] for it in await results(it)] == [None, "REFUSED", "REFUSED"]
    async with doing(script(*calls), tools, client, mode="full") as it:
        await it.prompt("/plan it")
        assert [it["code"] for it in await results(it)] == [None, "INVALID_ARGUMENTS", "INVALID_ARGUMENTS"]
    assert [call["name"] for call in client.calls] == ["read_file", "read_file"]


async def test_the_model_reads_the_filtered_patch_and_the_persons_answer_as_they_came() -> None:
    answers = {"apply_patch_review": PATCH, "prompt_user": "yes, do", "apply_patch": "1 file"}
    client = Doer(lambda call: tool_result(answers[call["name"]]))
    calls = ['apply_patch_review {"patch": "p"}', 'prompt_user {"question": "Sure?"}', 'apply_patch {"patch": "p"}']
    async with doing(script(*calls), list(answers), client) as it:
        await it.prompt()
        assert [it["text"] for it in await results(it)] == list(answers.values())


async def test_an_answer_without_a_text_says_something_to_the_model() -> None:
    answers = iter([tool_result(" \n"), tool_result(""), tool_result("", ok=False)])
    client = Doer(lambda call: next(answers))
    calls = ["git_diff {}", 'write_file {"path": "a", "content": "x"}', 'write_file {"path": "a", "content": "x"}']
    async with doing(script(*calls), ["git.diff", "write_file"], client) as it:
        await it.prompt()
        told = [it["text"] for it in await results(it)]
        assert told == ["it is empty", "done", "it failed; the client did not say why"]


async def test_a_failed_call_tells_the_model_what_the_client_said_and_its_code() -> None:
    client = Doer(lambda call: tool_result("is a directory", ok=False, code="NOT_FOUND"))
    async with doing(script('read_file {"path": "a"}'), ["read_file"], client) as it:
        assert await it.prompt() == "end_turn"
        [result] = await results(it)
        assert (result["ok"], result["code"]) == (False, "NOT_FOUND")
        assert "is a directory" in result["text"]


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"ok": True},
        {"ok": "yes", "content": "x"},
        {"ok": True, "content": ["x"]},
        None,
        [],
    ],
)
async def test_an_answer_that_is_none_is_a_failed_call(answer: Any) -> None:
    async with doing(script('read_file {"path": "a"}'), ["read_file"], Doer(lambda call: answer)) as it:
        it.stream.unchecked = is_answer
        assert await it.prompt() == "end_turn"
        assert [(it["ok"], it["code"]) for it in await results(it)] == [(False, "TOOL_FAILED")]


async def test_an_error_of_the_clients_is_a_failed_call() -> None:
    def refuse(call: Json) -> Json:
        raise RpcError(INVALID_PARAMS, "no such project")

    async with doing(script('read_file {"path": "a"}'), ["read_file"], Doer(refuse)) as it:
        assert await it.prompt() == "end_turn"
        [result] = await results(it)
        assert (result["ok"], result["code"]) == (False, "TOOL_FAILED")
        assert "no such project" in result["text"]


@pytest.mark.parametrize("code", [None, "", "no word", "É", "X" * 65, 7])
async def test_a_code_that_is_no_word_is_ours(code: Any) -> None:
    client = Doer(lambda call: {"ok": False, "content": "", "code": code})
    async with doing(script('read_file {"path": "a"}'), ["read_file"], client) as it:
        it.stream.unchecked = is_answer
        await it.prompt()
        assert [it["code"] for it in await results(it)] == ["TOOL_FAILED"]


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


async def test_what_comes_back_is_bounded_and_plain() -> None:
    raws = iter([nested(150), "x" * 100_000, {"fine": 1}])
    client = Doer(lambda call: tool_result("\x1b[31m\0" + "é" * 100_000, raw=next(raws)))
    calls = ['read_file {"path": "a"}', 'run_command {"argv": ["a"]}', 'apply_patch_review {"patch": "p"}']
    async with doing(script(*calls), ["read_file", "run_command", "apply_patch_review"], client) as it:
        await it.prompt()
        for result in await results(it):
            assert len(result["text"].encode()) < 70_000
            assert "\x1b" not in result["text"]
            assert "\0" not in result["text"]
            assert "cut here" in result["text"] or "left out here" in result["text"]
        shown = list(it.tool_calls().values())
        assert [call.get("rawOutput") for call in shown] == [None, None, {"fine": 1}]


async def test_a_read_only_call_without_an_answer_is_asked_once_more_and_then_told_as_tool_timeout() -> None:
    client = Doer(None)
    async with doing(script('read_file {"path": "a"}'), ["read_file"], client, client_seconds=0.02) as it:
        assert await it.prompt() == "end_turn"
        assert len(client.calls) == 2
        assert client.calls[0] == client.calls[1]
        [result] = await results(it)
        assert result["code"] == "TOOL_TIMEOUT"
        given_up = [m for m in it.stream.sent if m.get("method") == "$/cancel_request"]
        assert len(given_up) == 2
        await client.given_up.wait()


async def test_a_read_only_call_that_is_answered_the_second_time_has_worked() -> None:
    client = Doer(None)

    async def second() -> None:
        await client.called.wait()
        client.do = lambda call: tool_result("the text")

    play = script('read_file {"path": "a"}')
    async with doing(play, ["read_file"], client, client_seconds=0.4) as it, anyio.create_task_group() as tasks:
        tasks.start_soon(second)
        assert await it.prompt() == "end_turn"
        assert "the text" in it.said()


async def test_a_write_without_an_answer_is_not_repeated_and_its_outcome_is_said_to_be_unknown() -> None:
    client = Doer(None)
    settings = {"client_seconds": 0.01, "permission_seconds": 0.01}
    play = script('write_file {"path": "a", "content": "x"}')
    async with doing(play, ["write_file"], client, **settings) as it:
        assert await it.prompt() == "end_turn"
        assert len(client.calls) == 1
        [result] = await results(it)
        assert result["code"] == "TOOL_TIMEOUT"
        assert "outcome is unknown" in result["text"]


async def test_a_question_that_nobody_answers_ends_the_step() -> None:
    client = Doer(None)
    play = (
        '=== turn\ncall prompt_user {"question": "Sure?"}\ncall write_file {"path": "a", "content": "x"}\n'
        "--- step\nsay: well\n"
    )
    async with doing(play, ["prompt_user", "write_file"], client, question_seconds=0.02) as it:
        assert await it.prompt() == "end_turn"
        assert [it["code"] for it in await results(it)] == ["TOOL_TIMEOUT", "SKIPPED"]
        assert len(client.calls) == 1


async def test_a_cancel_in_the_middle_gives_the_call_up_and_closes_it_in_the_log() -> None:
    client = Doer(None)
    async with doing(script('run_command {"argv": ["make"]}'), ["run_command"], client) as it:
        async with anyio.create_task_group() as tasks:

            async def cancel() -> None:
                await client.called.wait()
                it.cancel()

            tasks.start_soon(cancel)
            assert await it.prompt() == "cancelled"
        await client.given_up.wait()
        [result] = await results(it)
        assert (result["ok"], result["code"]) == (False, "CANCELLED")
        [shown] = it.tool_calls().values()
        assert shown["status"] == "failed"


async def test_a_late_answer_and_a_second_one_change_nothing() -> None:
    client = Doer(None)
    play = script('read_file {"path": "a"}') + "=== turn\nsay: next\n"
    async with doing(play, ["read_file"], client, client_seconds=0.02) as it:
        await it.prompt()
        before = await results(it)
        asked = [m for m in it.stream.sent if m.get("method") == "_ars/tool/call"]
        it.stream.unchecked = is_answer
        for message in [*asked, *asked]:
            it.wire.write_lines(b'{"jsonrpc":"2.0","id":%d,"result":{"ok":true,"content":"late"}}\n' % message["id"])
        assert await it.prompt("on") == "end_turn"
        assert await results(it) == before
        assert "late" not in it.said()


async def test_a_client_that_goes_in_the_middle_leaves_a_log_with_a_result_for_each_call() -> None:
    client = Doer(None)
    async with doing(script('run_command {"argv": ["make"]}'), ["run_command"], client) as it:
        async with anyio.create_task_group() as tasks:

            async def prompt() -> None:
                with contextlib.suppress(Exception):
                    await it.prompt()

            tasks.start_soon(prompt)
            await client.called.wait()
            await it.stream.aclose()
        while not (found := await results(it)):
            await anyio.lowlevel.checkpoint()
        assert [(it["ok"], it["code"]) for it in found] == [(False, "CANCELLED")]


async def test_a_load_shows_the_same_and_names_the_tools_anew() -> None:
    client = Doer(lambda call: tool_result("text", raw={"bytes": 4}))
    play = script('read_file {"path": "a"}') + '=== turn\ncall read_file {"path": "b"}\n--- step\nsay: $result\n'
    async with doing(play, ["read_file"], client) as it:
        await it.prompt()
        [live] = it.tool_calls().values()
        client.updates.clear()
        params = {"sessionId": it.session, "cwd": "/project", "mcpServers": []}
        await it.wire.request(methods.SESSION_LOAD, params)
        [loaded] = it.tool_calls().values()
        assert loaded == live | {"sessionUpdate": "tool_call"}
        await it.prompt()
        assert [it["code"] for it in await results(it)] == [None, "INVALID_ARGUMENTS"], "this client named none"


async def test_undo_says_that_what_the_client_did_itself_stays() -> None:
    client = Doer()
    calls = ['read_file {"path": "a"}', 'write_file {"path": "a", "content": "x"}', 'run_command {"argv": ["make"]}']
    async with doing(script(*calls), ["read_file", "write_file", "run_command"], client) as it:
        await it.prompt()
        await it.prompt("/undo")
        assert "The client carried out 2 calls itself" in it.said()
        assert "commands ran" not in it.said()


async def test_a_rewind_counts_what_the_client_did_itself() -> None:
    client = Doer()
    async with doing(script('write_file {"path": "a", "content": "x"}'), ["write_file"], client) as it:
        await it.prompt()
        answer = await it.wire.request(methods.ARS_SESSION_REWIND, {"sessionId": it.session, "turns": 1})
        assert (answer.commands, answer.files) == (1, [])


async def test_a_title_shows_no_control_characters_and_is_one_short_line() -> None:
    client = Doer()
    play = script('run_command {"command": "echo \\u202e a\\nb ' + "x" * 500 + '"}')
    async with doing(play, ["run_command"], client) as it:
        await it.prompt()
        [shown] = it.tool_calls().values()
        assert shown["title"].isprintable()
        assert shown["title"].startswith("Run echo a b xx")
        assert len(shown["title"]) < 250


@pytest.mark.parametrize("row", [methods.SESSION_LOAD, methods.SESSION_RESUME, methods.SESSION_FORK])
async def test_however_a_session_is_opened_its_tools_are_those_that_were_named(row: Any) -> None:
    client = Doer()
    play = '=== turn repeat\ncall read_file {"path": "a"}\n--- step\nsay: $result\n'
    async with house(play, client=client, capabilities=HANDLESS, unstable="fork") as it:
        params = {"sessionId": it.session, "cwd": "/project", "mcpServers": []}
        answer = await it.wire.request(row, params | {"_meta": {"ars/tools": ["read_file"]}})
        it.session = getattr(answer, "session_id", None) or it.session
        await it.prompt()
        assert [call["sessionId"] for call in client.calls] == [it.session]
        with pytest.raises(RpcError) as error:
            await it.wire.request(row, params | {"_meta": {"ars/tools": ["rm"]}})
        assert error.value.code == INVALID_PARAMS
        await it.prompt()
        assert len(client.calls) == 2, "what was refused has changed nothing"


async def retool(it: House, *tools: str, session: str = "") -> None:
    await it.wire.request(methods.ARS_SESSION_RETOOL, {"sessionId": session or it.session, "tools": list(tools)})


async def test_the_tools_of_an_open_session_change_with_its_next_turn_and_nothing_that_was_allowed_is_forgotten() -> (
    None
):
    client = Doer()
    client.permission = lambda params: "allow_always"
    play = '=== turn repeat\ncall git_diff {}\ncall run_command {"argv": ["make"]}\n--- step\nsay: done\n'
    # A command that is allowed fails: this client has no terminals.
    async with doing(play, ["git.diff"], client, capabilities=EVERYTHING) as it:
        await it.prompt()
        assert ([call["name"] for call in client.calls], len(client.asked)) == (["git.diff"], 1)
        await retool(it)
        await it.prompt()
        assert (len(client.calls), len(client.asked)) == (1, 1)
        await retool(it, "git_diff", "run_command")
        await it.prompt()
        assert ([call["name"] for call in client.calls[1:]], len(client.asked)) == (["git.diff", "run_command"], 1)


class Retooling(Doer):
    """Takes its tools back while it carries out a call of one."""

    it: House

    async def ars_tool_call(self, params: Any, call: Any) -> Json:
        await retool(self.it)
        return await super().ars_tool_call(params, call)


async def test_a_turn_that_runs_goes_on_with_the_tools_that_it_began_with() -> None:
    client = Retooling()
    play = (
        script('git_diff {"paths": ["a"]}', 'git_diff {"paths": ["b"]}')
        + "=== turn\ncall git_diff {}\n--- step\nsay: ok\n"
    )
    async with doing(play, ["git.diff"], client) as it:
        client.it = it
        await it.prompt()
        assert [call["arguments"]["paths"] for call in client.calls] == [["a"], ["b"]]
        await it.prompt()
        assert len(client.calls) == 2


@pytest.mark.parametrize("named", [["rm"], ["update_plan"]])
async def test_other_tools_that_no_client_carries_out_change_nothing(named: list[str]) -> None:
    client = Doer()
    async with doing(script("git_diff {}"), ["git.diff"], client) as it:
        with pytest.raises(RpcError) as error:
            await retool(it, *named)
        assert error.value.code == INVALID_PARAMS
        with pytest.raises(RpcError, match="No such session"):
            await retool(it, "git.diff", session="sess_none")
        await it.prompt()
        assert len(client.calls) == 1


class Backwards(Doer):
    """Answers the calls of one step from the last to the first."""

    def __init__(self, together: int) -> None:
        super().__init__()
        self.answered = [anyio.Event() for _ in range(together + 1)]
        self.answered[-1].set()

    async def ars_tool_call(self, params: Any, call: Any) -> Json:
        at = len(self.calls)
        self.calls.append(call.raw)
        await self.answered[at + 1].wait()
        self.answered[at].set()
        return tool_result(f"text of {params.arguments['path']}")


async def test_reads_are_asked_for_together_and_each_has_its_own_answer_whatever_comes_first() -> None:
    client = Backwards(4)
    calls = "".join(f'call read_file {{"path": "f{number}"}}\n' for number in range(4))
    async with doing(f"=== turn\n{calls}--- step\nsay: done\n", ["read_file"], client, parallel_calls=4) as it:
        assert await it.prompt() == "end_turn"
        shown = it.tool_calls()
        assert len(shown) == 4
        for call in shown.values():
            assert f"text of {call['rawInput']['path']}" in call["content"][0]["content"]["text"]
        told = [message["content"] for message in history(it) if message["role"] == "tool"]
        assert [f"text of f{number}" in text for number, text in enumerate(told)] == [True] * 4


def history(it: House) -> list[Json]:
    return it.agent._sessions.active[it.session].history.messages
