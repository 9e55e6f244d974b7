"""C1-C3: a client that does not answer, answers late, twice, or nonsense."""

import asyncio
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.hands import NEVER, Hands, Refusal, Wrong
from tests.support.process import Client, agent, script, stored

ASKING = """=== turn repeat
call write_file {"path": "a.txt", "content": "x"}
call run_command {"argv": ["rm", "a.txt"]}
--- step
call write_file {"path": "b.txt", "content": "y"}
--- step
say: Done.
"""


@pytest.mark.faults("C1")
async def test_a_permission_that_is_never_answered_is_a_no(
    tmp_path: Path, record: Any, count: Any, at_most: Any
) -> None:
    limit = count(1000, 300) / 1000
    asked: list[float] = []

    def never(params: Any) -> Any:
        asked.append(time.monotonic())
        return NEVER

    hands = Hands(session_request_permission=never)
    env = {"ARS_PERMISSION_SECONDS": f"{limit}"}
    async with agent(tmp_path, *script(tmp_path, ASKING), env=env, hands=hands) as client:
        session_id = await client.new_session()
        running = client.begin_turn(session_id, "go")
        turn = await running.end()
    told = [entry["code"] for entry in stored(tmp_path, session_id) if entry["type"] == "result"]
    executed = hands.times("fs/write_text_file") + hands.times("terminal/create")
    took = client.answers[int, running.request_id].at - asked[0]
    measured = f"{executed} executions, answered after {took:.2f} s, asked {len(asked)} time, results {told}"
    held = executed == 0 and len(asked) == 1 and limit <= took <= limit + at_most(0.2)
    held = held and turn.text == "Done." and told == ["REFUSED", "SKIPPED", "REFUSED"]
    record("C1", "0 executions; answered <= limit (1 s) + 0.2 s", measured, held)


SILENT = """=== turn if "read"
call read_file {"path": "a.txt"}
--- step
say: $result
=== turn if "write"
call write_file {"path": "a.txt", "content": "x"}
--- step
say: $result
=== turn if "create"
call run_command {"argv": ["make"]}
--- step
say: $result
=== turn if "wait"
call run_command {"argv": ["make"], "timeout_seconds": 0.2}
--- step
say: $result
"""


class Silent(Hands):
    """Answers nothing in the sessions that it is told of, but for `terminal/create` where the wait is to hang."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: dict[str, str] = {}
        self.late: list[asyncio.Future[Any]] = []

    def kind(self, params: Any) -> str:
        return self.kinds.get(params["sessionId"], "")

    def fs_read_text_file(self, params: Any) -> Any:
        if self.kind(params) == "read" and params["path"].endswith("a.txt"):
            return NEVER
        raise Refusal(-32002, "no such file")

    def fs_write_text_file(self, params: Any) -> Any:
        return NEVER

    def terminal_create(self, params: Any) -> Any:
        if self.kind(params) != "create":
            return super().terminal_create(params)
        self.late.append(asyncio.get_running_loop().create_future())
        return self.late[-1]

    def terminal_wait_for_exit(self, params: Any) -> Any:
        return NEVER

    def released(self, terminal_id: str) -> bool:
        """Whether this terminal was killed and then released."""
        said = [name for name, params in self.asked if params.get("terminalId") == terminal_id]
        return "terminal/kill" in said and said[-1] == "terminal/release"


@pytest.mark.faults("C2")
async def test_calls_that_are_never_answered_time_out(tmp_path: Path, record: Any, count: Any) -> None:
    times = count(25, 5)
    hands, right = Silent(), dict.fromkeys(("read", "write", "create", "wait"), 0)
    env = {"ARS_CLIENT_SECONDS": "0.5", "ARS_MODE": "full"}

    async def one(client: Client, kind: str) -> None:
        session_id = await client.new_session()
        hands.kinds[session_id] = kind
        turn = await client.prompt(session_id, kind)
        results = [entry for entry in stored(tmp_path, session_id) if entry["type"] == "result"]
        timed_out = [(entry["ok"], entry["code"]) for entry in results] == [(False, "TOOL_TIMEOUT")]
        failed = [update["status"] for update in turn.results] == ["failed"]
        right[kind] += timed_out and failed and turn.stop == "end_turn" and bool(turn.text)

    async with agent(tmp_path, *script(tmp_path, SILENT), env=env, hands=hands, within=60) as client:
        async with anyio.create_task_group() as tasks:
            for kind in right:
                for _ in range(times):
                    tasks.start_soon(one, client, kind)
        waited = [f"term_{number}" for number in range(1, times + 1)]
        # Terminals that come after we had given up are nobody's: they are ended too.
        given = [f"late_{number}" for number in range(len(hands.late))]
        for name, future in zip(given, hands.late, strict=True):
            future.set_result({"terminalId": name})
        await client.until(lambda: all(map(hands.released, [*waited, *given])))
    asked = [(name, hands.kind(params)) for name, params in hands.asked if "AGENTS.md" not in str(params)]
    reads, writes = asked.count(("fs/read_text_file", "read")), asked.count(("fs/write_text_file", "write"))
    measured = f"{sum(right.values())}/{4 * times} {right}, {len(waited) + len(given)} terminals killed and released"
    # A read is retried once by itself; a write and a command never are.
    created = asked.count(("terminal/create", "create"))
    held = set(right.values()) == {times} and reads == 2 * times and writes == created == times
    record("C2", "100/100 TOOL_TIMEOUT to the model, kill and release sent", measured, held)


WRITING = """=== turn repeat
call write_file {"path": "a.txt", "content": "x"}
--- step
say: Done.
"""


def selected(option: Any) -> Any:
    return {"outcome": {"outcome": "selected", "optionId": option}}


def bad_answers() -> dict[str, Any]:
    """Answers to a permission request that are no permission, as functions of its params."""

    def allow(params: Any) -> Any:
        return Hands.choose(params, "allow_once")

    def reject(params: Any) -> Any:
        return Hands.choose(params, "reject_once")

    def error(params: Any) -> Any:
        raise Refusal(-32603, "Internal error")

    return {
        "rejected, then allowed": lambda params: Wrong({"result": reject(params)}, {"result": allow(params)}),
        "cancelled, then allowed": lambda params: Wrong(
            {"result": {"outcome": {"outcome": "cancelled"}}}, {"result": allow(params)}
        ),
        "malformed, then allowed": lambda params: Wrong({"result": {}}, {"result": allow(params)}),
        "unknown option": lambda params: selected("yes"),
        "an option of others": lambda params: selected("allow_always"),
        "its name": lambda params: selected(params["options"][0]["name"]),
        "an index": lambda params: Wrong({"result": selected(0)}),
        "a list": lambda params: Wrong({"result": selected([params["options"][0]["optionId"]])}),
        "no option": lambda params: Wrong({"result": {"outcome": {"outcome": "selected"}}}),
        "no outcome": lambda params: Wrong({"result": {"optionId": params["options"][0]["optionId"]}}),
        "unknown outcome": lambda params: Wrong(
            {"result": {"outcome": {"outcome": "allowed", "optionId": params["options"][0]["optionId"]}}}
        ),
        "null": lambda params: Wrong({"result": None}),
        "true": lambda params: Wrong({"result": True}),
        "both": lambda params: Wrong({"result": allow(params), "error": {"code": 1, "message": "no"}}),
        "an error": error,
        "an error of a kind": lambda params: Wrong({"error": "no"}),
    }


@pytest.mark.faults("C3")
async def test_no_wrong_answer_is_a_permission(tmp_path: Path, record: Any, count: Any) -> None:
    times, kinds, wrong = count(1000, 60), bad_answers(), []
    async with agent(tmp_path, *script(tmp_path, WRITING), within=120) as client:
        session_id = await client.new_session()
        for number in range(times):
            kind = [*kinds, "after the cancel"][number % (len(kinds) + 1)]
            if kind == "after the cancel":
                stop = await _answered_after_the_cancel(client, session_id)
            else:
                client.hands.replace(session_request_permission=kinds[kind])
                stop = (await client.prompt(session_id)).stop
            if client.hands.files or stop != ("cancelled" if kind == "after the cancel" else "end_turn"):
                wrong.append((kind, stop))
                client.hands.files.clear()
        client.hands.replace(session_request_permission=lambda params: Hands.choose(params, "allow_once"))
        await client.prompt(session_id)
        allowed = list(client.hands.files)
    measured = f"{len(wrong)} of {times} went wrong {wrong[:3]}; a good answer then: {allowed}"
    record("C3", "0 executions in 1,000", measured, not wrong and allowed == ["/project/a.txt"])


async def _answered_after_the_cancel(client: Client, session_id: str) -> str | None:
    asked: list[Any] = []
    answer = asyncio.get_running_loop().create_future()

    def hold(params: Any) -> Any:
        asked.append(params)
        return answer

    client.hands.replace(session_request_permission=hold)
    running = client.begin_turn(session_id, "go")
    await client.until(lambda: asked)
    client.cancel(session_id)
    turn = await running.end()
    answer.set_result(Hands.choose(asked[0], "allow_once"))
    await client.request("initialize", {"protocolVersion": 1, "clientCapabilities": client.hands.capabilities})
    return turn.stop
