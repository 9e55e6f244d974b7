"""A crew at work, on mock agents that are processes of their own: what each is told, what fails, what ends a round."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from connector.crew import Budget, Floor, Reply, Role, debate, parallel, pipeline
from event_log import LogStorageFailed
from tests.connector.crew.support import COUNTING, crew_of
from tests.support.disk import Disk

SILENT = "=== turn\nhang\n" + COUNTING


async def said(talk: Any) -> dict[str, str]:
    """What came of a round: the text of each reply, or how it failed."""
    return {reply.role: reply.kind or reply.text async for reply in talk}


# ── what each is told ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_each_role_is_told_once_what_it_has_not_seen_and_remembers_the_rest(tmp_path: Path) -> None:
    scripts = dict.fromkeys(("Ann", "Bob", "Cid"), COUNTING)
    async with crew_of(tmp_path, scripts, roles={"Ann": {"remind_every": 2, "reminder": "Plan!"}}) as (crew, mocks):
        assert await said(crew.say("One.")) == {"Ann": "Ann-1.", "Bob": "Bob-1.", "Cid": "Cid-1."}
        assert await said(crew.say("Two.", to=["Cid", "Ann"])) == {"Cid": "Cid-2.", "Ann": "Ann-2."}
        assert await said(crew.say("Three.", round=parallel)) == {"Ann": "Ann-3.", "Bob": "Bob-2.", "Cid": "Cid-3."}
        heard = {role: mocks.heard(role) for role in scripts}
    assert heard["Ann"] == [
        "You are Ann.\nUser: One.",
        "Assistant (Bob): Bob-1.\n\nAssistant (Cid): Cid-1.\n\nUser: Two.\n\nAssistant (Cid): Cid-2.",
        "System: Plan!\n\nUser: Three.",
    ]
    assert heard["Bob"] == [
        "You are Bob.\nUser: One.\n\nAssistant (Ann): Ann-1.",
        "Assistant (Cid): Cid-1.\n\nUser: Two.\n\nAssistant (Cid): Cid-2.\n\nAssistant (Ann): Ann-2.\n\nUser: Three.",
    ]
    assert heard["Cid"] == [
        "You are Cid.\nUser: One.\n\nAssistant (Ann): Ann-1.\n\nAssistant (Bob): Bob-1.",
        "User: Two.",
        "Assistant (Ann): Ann-2.\n\nUser: Three.",
    ]


async def test_a_pipeline_hands_on_work_and_a_debate_answers_the_others(tmp_path: Path) -> None:
    scripts = dict.fromkeys(("Ann", "Bob", "Cid"), COUNTING)
    asked: list[Sequence[str]] = []

    def until(replies: Sequence[Reply]) -> bool:
        asked.append([reply.text for reply in replies])
        return len(asked) == 2

    async with crew_of(tmp_path, scripts) as (crew, mocks):
        await crew.say("Build.", round=pipeline).ended()
        assert mocks.heard("Cid") == ["You are Cid.\nUser: Build.\n\nAssistant (Bob): Bob-1."]
        await crew.say("Agree.", round=debate(3, until), to=["Ann", "Bob"]).ended()
        assert mocks.heard("Ann")[-1] == "Assistant (Bob): Bob-2."
        assert mocks.heard("Bob")[-1] == "Assistant (Ann): Ann-2."
    assert asked == [["Ann-2.", "Bob-2."], ["Ann-3.", "Bob-3."]]


async def test_a_round_of_ones_own_is_a_function_that_asks(tmp_path: Path) -> None:
    async def moderated(floor: Floor) -> None:
        first, *others = floor.roles
        while (await floor.ask(first)).text != "Ann-3.":
            for role in others:
                await floor.ask(role)

    async with crew_of(tmp_path, dict.fromkeys(("Ann", "Bob"), COUNTING)) as (crew, _):
        await crew.say("Go.", round=moderated).ended()
        assert [message.text for message in crew.log()] == ["Go.", "Ann-1.", "Bob-1.", "Ann-2.", "Bob-2.", "Ann-3."]
        with pytest.raises(ValueError, match="there is no role Zed; there are Ann, Bob"):
            crew.say("Go.", to=["Zed"])
        with pytest.raises(ValueError, match="nothing was said"):
            crew.say(" ")


async def test_who_wants_to_sees_the_pieces_as_they_come_and_the_entries_before_the_replies(tmp_path: Path) -> None:
    told: list[Any] = []

    def update(role: str, update: Any) -> None:
        if update.session_update == "agent_message_chunk":
            told.append((role, update.content.text))

    entries: list[tuple[int, Any]] = []
    async with crew_of(
        tmp_path,
        {"Ann": "=== turn\nsay: One two.\n"},
        on_update=update,
        on_entry=lambda number, entry: entries.append((number, entry)),
    ) as (crew, _):
        readers: list[list[int]] = [[], []]

        async def follow(numbers: list[int], after: int) -> None:
            async for number, _ in crew.follow(after):
                numbers.append(number)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow, readers[0], 0)
            await crew.say("Go.").ended()
            tasks.start_soon(follow, readers[1], 2)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
    assert told == [("Ann", "One "), ("Ann", "two.")]
    assert [entry["type"] for _, entry in entries] == ["opened", "round", "said", "asked", "replied", "over"]
    assert [number for number, _ in entries] == readers[0] == [1, 2, 3, 4, 5, 6]
    assert readers[1] == [3, 4, 5, 6]


# ── what fails ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_role_that_dies_refuses_fails_or_is_slow_is_told_of_and_stops_nobody(tmp_path: Path) -> None:
    scripts = {
        "Dead": '=== turn if "Again."\nsay: Back.\n=== turn\nsay: I fall.\nexit SIGKILL\n',
        "Refusing": "=== turn\nstop refusal\n" + COUNTING,
        "Slow": SILENT,
        "Well": COUNTING,
    }
    async with crew_of(tmp_path, scripts, roles={"Slow": {"seconds": 0.3}}) as (crew, mocks):
        replies = [reply async for reply in crew.say("Go.")]
        assert [(reply.role, reply.kind, reply.seen) for reply in replies] == [
            ("Dead", "AgentInterrupted", True),
            ("Refusing", "refusal", False),
            ("Slow", "slow", False),
            ("Well", "", True),
        ]
        assert (replies[0].text, replies[2].error) == ("I fall.", "it took longer than 0.3 s")
        assert "the agent ended" in replies[0].error
        # What failed is for the person; to the others it was never said.
        assert mocks.heard("Well") == ["You are Well.\nUser: Go."]
        again = await said(crew.say("Again.", to=["Dead", "Refusing", "Well"]))
        assert again == {"Dead": "Back.", "Refusing": "Refusing-1.", "Well": "Well-2."}
        assert mocks.heard("Dead")[-1].endswith("\nAssistant (Well): Well-1.\n\nUser: Again.")
        assert mocks.heard("Refusing")[-1] == (
            "You are Refusing.\nUser: Go.\n\nAssistant (Well): Well-1.\n\nUser: Again.\n\nAssistant (Dead): Back."
        )


async def test_an_agent_that_is_not_there_is_a_role_that_fails(tmp_path: Path) -> None:
    async with crew_of(tmp_path, {"Ann": COUNTING}) as (crew, _):
        crew.roles["Bob"] = Role("Bob", "nobody")
        replies = [reply async for reply in crew.say("Go.", to=["Bob", "Ann"])]
    assert [(reply.role, reply.error or reply.text) for reply in replies] == [
        ("Bob", "Bob has no agent of that name"),
        ("Ann", "Ann-1."),
    ]


async def test_what_cannot_be_written_was_not_said(tmp_path: Path) -> None:
    disk = Disk()
    async with crew_of(tmp_path, {"Ann": COUNTING}, store=disk) as (crew, mocks):
        disk.full = lambda entries: entries[0].get("type") == "asked" and "ask" in entries[0]
        with pytest.raises(LogStorageFailed):
            await crew.say("One.").ended()
        assert mocks.heard("Ann") == []
        disk.full = lambda entries: False
        assert await said(crew.say("Two.")) == {"Ann": "Ann-1."}
        assert mocks.heard("Ann") == ["You are Ann.\nUser: One.\n\nUser: Two."]


async def test_what_cannot_be_written_of_an_earlier_process_ends_the_round_and_not_the_crew(tmp_path: Path) -> None:
    disk = Disk()
    async with crew_of(tmp_path, {"Ann": COUNTING}, store=disk) as (crew, _):
        await crew.say("One.").ended()
        asked = {"type": "asked", "ask": 2, "role": "Ann", "round": 1, "upto": 1, "shown": [0], "reminded": False}
        crew.write({**asked, "mark": None, "at": 0.1})
        disk.full = lambda entries: entries[0]["type"] == "failed"
        with pytest.raises(LogStorageFailed):
            await crew.say("Two.").ended()
        disk.full = lambda entries: False
        assert await said(crew.say("Three.")) == {"Ann": "Ann-2."}


async def test_a_role_that_its_round_gives_up_has_an_outcome_and_may_be_asked_again(tmp_path: Path) -> None:
    begun = anyio.Event()

    async def impatient(floor: Floor) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(floor.ask, "Ann")
            await begun.wait()
            tasks.cancel_scope.cancel()
        await floor.ask("Bob")
        await floor.ask("Ann")

    scripts = {"Ann": "=== turn\nsay: Hm.\nwait 20\n" + COUNTING, "Bob": COUNTING}
    async with crew_of(tmp_path, scripts, on_update=lambda *told: begun.set()) as (crew, _):
        talk = crew.say("Go.", round=impatient)
        assert await talk.ended() == "done"
        assert [(reply.role, reply.kind, reply.text) for reply in talk.replies] == [
            ("Ann", "interrupted", "Hm."),
            ("Bob", "", "Bob-1."),
            ("Ann", "", "Ann-1."),
        ]
        assert crew.conversation.asks == {}


async def test_a_cost_below_nothing_makes_no_room_in_the_budget(tmp_path: Path) -> None:
    script = "=== turn\nusage 100 0.2\nsay: A.\n=== turn repeat\nusage 100 -5\nsay: B.\n"
    async with crew_of(tmp_path, {"Ann": script}) as (crew, _):
        for _ in range(2):
            await crew.say("Go.").ended()
        assert crew.spent.cost == {"USD": 0.2}


# ── what ends a round ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_agent_that_forgets_a_cancelled_prompt_is_given_it_again(tmp_path: Path) -> None:
    scripts = dict.fromkeys(("Ann", "Bob"), "=== turn\nsay: Hm.\nwait 20\n" + COUNTING)  # like qwen and gemini
    async with crew_of(tmp_path, scripts, roles={role: {"seconds": 0.3} for role in scripts}) as (crew, mocks):
        talk = crew.say("One.", round=parallel)
        await talk.ended()
        assert {reply.role: (reply.kind, reply.seen) for reply in talk.replies} == {
            "Ann": ("slow", True),
            "Bob": ("slow", False),
        }
        await crew.say("Two.", round=parallel).ended()
        assert mocks.heard("Ann")[1:] == ["User: Two."]
        assert mocks.heard("Bob") == ["You are Bob.\nUser: One.\n\nUser: Two."]


async def test_a_cancel_ends_who_is_at_work_and_what_waits(tmp_path: Path) -> None:
    scripts = {"Ann": "=== turn\nsay: Hm.\nwait 20\n" + COUNTING, "Bob": COUNTING}
    begun = anyio.Event()
    async with crew_of(tmp_path, scripts, on_update=lambda role, update: begun.set()) as (crew, _):
        first, second = crew.say("One."), crew.say("Two.")
        await begun.wait()
        crew.cancel()
        assert (await first.ended(), await second.ended()) == ("cancelled", "cancelled")
        assert [(reply.role, reply.kind, reply.text) for reply in first.replies] == [("Ann", "cancelled", "Hm.")]
        assert second.replies == []
        assert await said(crew.say("Three.", to=["Bob"])) == {"Bob": "Bob-1."}


@pytest.mark.parametrize(
    ("budget", "script", "texts", "told"),
    [
        (Budget(replies=2), COUNTING, ["$name-1.", "$name-1."], "the budget of 2 replies is used up"),
        (Budget(seconds=0.3), COUNTING.replace("=== turn\n", "=== turn\nsay: Hm.\nhang\n", 1), [], "0.3 seconds"),
        (Budget(tokens=150), "=== turn repeat\nusage 100\nwait 0.2\nsay: A.\n", ["A."], "150 tokens"),
        (Budget(cost=0.3), "=== turn repeat\nusage 100 0.2\nwait 0.2\nsay: A.\n", ["A."], "0.3 for costs"),
    ],
    ids=["replies", "seconds", "tokens", "cost"],
)
async def test_a_budget_that_is_used_up_ends_the_round_and_is_told(
    tmp_path: Path, budget: Budget, script: str, texts: list[str], told: str
) -> None:
    scripts = dict.fromkeys(("Ann", "Bob", "Cid"), script)
    async with crew_of(tmp_path, scripts) as (crew, _):
        talk = crew.say("Go.", budget=budget)
        assert await talk.ended() == "budget"
        answered = [reply for reply in talk.replies if not reply.failed]
        assert [reply.text for reply in answered] == [
            text.replace("$name", role) for role, text in zip(scripts, texts, strict=False)
        ]
        assert told in talk.told
        assert {reply.kind for reply in talk.replies} <= {"", "budget"}


async def test_in_a_parallel_round_no_more_are_asked_than_the_budget_has_replies_for(tmp_path: Path) -> None:
    scripts = dict.fromkeys(("Ann", "Bob", "Cid"), COUNTING)
    async with crew_of(tmp_path, scripts, budget=Budget(replies=2)) as (crew, mocks):
        talk = crew.say("Go.", round=parallel)
        assert (await talk.ended(), len(talk.replies)) == ("budget", 2)
        assert await crew.say("More.").ended() == "budget"
        assert crew.spent.replies == 2
        assert [mocks.heard(role) == [] for role in scripts] == [False, False, True]
