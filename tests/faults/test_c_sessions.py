"""C9-C11: many sessions, strange files, and clients that cannot do everything."""

import itertools
from pathlib import Path
from typing import Any

import anyio
import pytest

from ars_acp.models.script import Script
from fixtures.model_server import model_server
from tests.support.hands import Hands, Refusal, Wrong
from tests.support.process import agent, script, stored

MIB = 1 << 20
ECHO = "=== turn repeat\npace 0.0005\nsay: $prompt\n"


@pytest.mark.faults("C9")
async def test_sessions_do_not_mix_and_prompts_of_one_wait(tmp_path: Path, record: Any, count: Any) -> None:
    sessions, words = 100, count(100, 20)
    async with agent(tmp_path, *script(tmp_path, ECHO), within=60) as client:
        said = {
            await client.new_session(): " ".join(f"s{at}w{word}" for word in range(words)) for at in range(sessions)
        }
        running = [client.begin_turn(session_id, text) for session_id, text in said.items()]
        turns = [await turn.end(30) for turn in running]
        mixed = sum(turn.text != text for turn, text in zip(turns, said.values(), strict=True))
        updates = sum(len(turn.updates) for turn in turns)
        one = await client.new_session()
        first = client.begin_turn(one, "first of the two prompts")
        await first.shows("agent_message_chunk")
        second = client.begin_turn(one, "second")
        both = [await turn.end() for turn in (first, second)]
        # The second one has shown nothing before the first one's answer.
        after = client.answers[int, first.request_id].updates
        texts = [
            "".join(it["update"]["content"]["text"] for it in part if "messageId" in it["update"])
            for part in (client.updates[first.first : after], client.updates[after:])
        ]
    queued = texts == ["first of the two prompts", "second"] and [turn.stop for turn in both] == ["end_turn"] * 2
    measured = f"{mixed} of {sessions} texts differ in {updates} updates; a second prompt waited: {queued}"
    record(
        "C9", "no cross-talk in 10,000 updates of 100 sessions; a second prompt queued", measured, not mixed and queued
    )


READING = '=== turn repeat\ncall read_file {"path": "a.txt"}\n--- step\nsay: $result\n'
BIG = ("x" * 99 + "\n") * (50 * MIB // 100)


def files() -> dict[str, Any]:
    """What a client may answer to fs/read_text_file, as functions of its params, and what the model must read then."""

    def refuse(code: int, message: str, data: Any = None) -> Any:
        def handler(params: Any) -> Any:
            raise Refusal(code, message, data)

        return handler

    return {
        "50 MiB": (lambda params: {"content": BIG}, "cut here, read on with line=", True),
        "50 MiB in a line": (lambda params: {"content": BIG.replace("\n", " ")}, "is too long and was cut", True),
        "binary": (lambda params: {"content": "\x7fELF\x00\x01\x02"}, "is binary", False),
        "CRLF": (lambda params: {"content": "one\r\ntwo\r\n"}, "one\r\ntwo\r\n", True),
        "not found": (refuse(-32002, "Resource not found"), "not found", False),
        "an error": (refuse(-32603, "Internal error", {"details": "EACCES"}), "EACCES", False),
        "a number": (lambda params: Wrong({"result": {"content": 5}}), "content", False),
        "nothing": (lambda params: Wrong({"result": None}), "content", False),
        "half an error": (lambda params: Wrong({"error": {"code": "x"}}), "the client refused", False),
    }


@pytest.mark.faults("C10")
async def test_strange_files_are_typed_results_and_cost_little(tmp_path: Path, record: Any, count: Any) -> None:
    wrong, rise = [], 0
    async with agent(tmp_path, *script(tmp_path, READING), within=60) as client:
        await client.prompt(await client.new_session())
        for name, (handler, told, ok) in files().items():
            if not count(1, 0) and name.startswith("50"):
                continue
            session_id = await client.new_session()
            client.hands.replace(fs_read_text_file=lambda params, it=handler: _only_a(params, it))
            before = client.rss()
            client.reset_peak()
            turn = await client.prompt(session_id)
            rise = max(rise, client.rss("VmHWM") - before)
            result = next(entry for entry in stored(tmp_path, session_id) if entry["type"] == "result")
            if (
                turn.stop != "end_turn"
                or told not in result["text"]
                or result["ok"] != ok
                or len(result["text"]) > 70_000
            ):
                wrong.append((name, turn.stop, result["text"][:100]))
    measured = f"{len(wrong)} wrong {wrong[:2]}, RSS +{rise / MIB:.0f} MiB"
    record("C10", "RSS rise <= 150 MiB; turn ok; typed tool errors", measured, not wrong and rise <= 150 * MIB)


def _only_a(params: Any, handler: Any) -> Any:
    if params["path"].endswith("/a.txt"):
        return handler(params)
    raise Refusal(-32002, "no such file")


EVERY_TOOL = """=== turn repeat
call read_file {"path": "a.txt"}
call list_files {}
call search_in_project {"pattern": "x"}
call git_diff {}
--- step
call write_file {"path": "a.txt", "content": "x"}
call apply_patch {"patch": "*** Begin Patch\\n*** Add File: b.txt\\n+x\\n*** End Patch\\n"}
--- step
call run_command {"argv": ["make"]}
--- step
say: Done.
"""
NEEDS = {"fs/read_text_file": 0, "fs/write_text_file": 1, "terminal/": 2}


@pytest.mark.faults("C11")
async def test_what_a_client_cannot_do_is_neither_offered_nor_asked(tmp_path: Path, record: Any, count: Any) -> None:
    combinations = list(itertools.product([False, True], repeat=3))
    calls: dict[tuple[bool, ...], int] = {}
    offered: dict[tuple[bool, ...], set[str]] = {}
    stops = []
    async with model_server(Script.parse(EVERY_TOOL)) as models:

        async def one(can: tuple[bool, ...]) -> None:
            directory = tmp_path / "".join(map(str, map(int, can)))
            directory.mkdir()
            hands = Hands({"fs": {"readTextFile": can[0], "writeTextFile": can[1]}, "terminal": can[2]})
            name = f"model-{directory.name}"
            env = {
                "OPENAI_BASE_URL": models.base_url,
                "OPENAI_MODEL": name,
                "ARS_MODE": "full",
                "ARS_INVALID_CALLS_PER_TURN": "20",
            }
            async with agent(directory, env=env, hands=hands) as client:
                stops.append((await client.prompt(await client.new_session())).stop)
            asked = [method for method, _ in hands.asked]
            calls[can] = sum(method.startswith(need) and not can[at] for need, at in NEEDS.items() for method in asked)
            body = next(it.body for it in models.chats() if it.body["model"] == name)
            offered[can] = {tool["function"]["name"] for tool in body.get("tools", [])}

        async with anyio.create_task_group() as tasks:
            for can in combinations:
                tasks.start_soon(one, can)
    forbidden = {
        0: {"read_file", "apply_patch"},
        1: {"write_file", "apply_patch"},
        2: {"run_command", "list_files", "git_diff"},
    }
    offers = sum(len(offered[can] & forbidden[at]) for can in combinations for at in range(3) if not can[at])
    everything = set.union(*forbidden.values()) <= offered[True, True, True]
    measured = f"{sum(calls.values())} calls, {offers} offers of what is missing in {len(calls)} combinations"
    held = not sum(calls.values()) and not offers and everything and stops == ["end_turn"] * 8
    record("C11", "0 calls to a missing capability, 0 offers, 2^3 combinations", measured, held)
