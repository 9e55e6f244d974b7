"""C5, F12, and what a killed application leaves: late updates, approvals all at once, the record after SIGKILL."""

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from connector import Client, Command, Limits, NotSent, Session, TurnInterrupted, keeping, launch
from connector.approvals import TIME_LIMIT, Approvals, Question
from tests.support.application import command, digest

AGENTS = Path(__file__).parents[2] / "fixtures" / "agents"
Count = Callable[[int, int], int]
Record = Callable[[str, str, str, bool], None]


def agent(name: str) -> Command:
    return Command(name, [sys.executable, "-S", str(AGENTS / f"{name}.py")])


@pytest.mark.faults("C5")
async def test_late_updates_are_in_the_record_marked_and_with_their_turn(
    tmp_path: Path, count: Count, record: Record
) -> None:
    prompts, sessions = count(1000, 6), count(20, 2)
    limits = Limits(late=count(250, 1000) / 1000)
    wrong, marked, unmarked, turns = 0, 0, 0, 0

    async def one() -> None:
        nonlocal wrong, marked, unmarked, turns
        async with launch(agent("late"), Client(), cwd=str(tmp_path), limits=limits, store=store) as connector:
            session = await connector.new_session(str(tmp_path))
            for number in range(prompts // sessions):
                await session.prompt(str(number))
            await session.settle()
            said: dict[int, list[tuple[bool, str]]] = {}
            for _, entry in session.record.read():
                if entry["type"] == "update":
                    said.setdefault(entry["turn"], []).append(
                        (entry.get("late", False), entry["update"]["content"]["text"])
                    )
            for number, turn in enumerate(session.turns):
                turns += 1
                texts = said.get(turn.id, [])
                wrong += "".join(text for _, text in texts) != f"early {number} late {number}"
                late = [text for is_late, text in texts if is_late]
                marked += late == [f" late {number}"]
                unmarked += len(texts) - len(late) != 1
            again = session.record.turns
            wrong += [turn.text for turn in again] != [turn.text for turn in session.turns]
            wrong += [len(turn.late) for turn in again] != [len(turn.late) for turn in session.turns]

    with anyio.fail_after(150):
        async with keeping(f"jsonl:{tmp_path / 'kept'}") as store, anyio.create_task_group() as tasks:
            for _ in range(sessions):
                tasks.start_soon(one)
    measured = f"{marked} of {turns} marked late, {wrong} lost or with another turn"
    held = (wrong, marked, turns) == (0, prompts, prompts) and not unmarked
    record("C5 record", "1,000 late updates: 0 lost, 0 misattributed, all marked late in the record", measured, held)


OPTIONS = [
    {"optionId": "A", "name": "A's", "kind": "allow_once"},
    {"optionId": "B", "name": "B's", "kind": "allow_always"},
    {"optionId": "no", "name": "No", "kind": "reject_once"},
]
ASK = ["ask", "session/request_permission", {"sessionId": "$session", "toolCall": {"toolCallId": "t"}}]
IN_A_TURN = 50


@pytest.mark.faults("F12")
async def test_a_question_has_one_decision_whoever_answers_at_once(
    tmp_path: Path, count: Count, record: Record
) -> None:
    questions, chance = count(1000, 100), random.Random(12)
    won: dict[str, list[str]] = {}
    loop = asyncio.get_running_loop()
    waiting: list[Question] = []
    seconds = 0.004

    def click(question: Question, who: str) -> None:
        """Whoever it is has left right afterwards: nothing is kept for them."""
        if approvals.answer(question.id, who, who):
            won.setdefault(question.id, []).append(who)

    def changed(question: Question) -> None:
        if question.id in {it.id for it in waiting}:
            return
        waiting.append(question)
        # Both at the very end of the time, before and behind it, in every order.
        for who in chance.sample(["A", "B"], 2):
            loop.call_at(loop.time() + seconds + chance.choice([-0.001, 0, 0.001, 0.001]), click, question, who)

    approvals = Approvals(seconds=seconds, on_change=changed)
    told: list[str] = []
    with anyio.fail_after(100):
        async with launch(agent("asks"), Client(policy=approvals), cwd=str(tmp_path), limits=Limits(late=0)) as link:
            session = await link.new_session(str(tmp_path))
            steps = [[*ASK[:2], {**ASK[2], "options": OPTIONS}]] * IN_A_TURN  # type: ignore[dict-item]
            for _ in range(questions // IN_A_TURN):
                turn = await session.prompt(json.dumps(steps))
                told += [answer["outcome"]["optionId"] for answer in json.loads(turn.text)]
            entries = [entry for _, entry in session.record.read()]  # by a reader who comes now
    decided = [entry for entry in entries if entry["type"] == "decided"]
    once = Counter(entry["id"] for entry in decided)
    asked = [entry["id"] for entry in entries if entry["type"] == "asked"]
    other = sum(count != 1 for count in once.values()) + len(set(asked) ^ set(once))
    winners = [won.get(entry["id"], [TIME_LIMIT]) for entry in decided]
    other += sum(winner != [entry["who"]] for winner, entry in zip(winners, decided, strict=True))
    other += sum((option if option != "no" else TIME_LIMIT) != entry["who"]
                 for option, entry in zip(told, decided, strict=True))  # fmt: skip
    tally = Counter(entry["who"] for entry in decided)
    measured = (
        f"{len(decided)} decisions of {len(asked)} questions, {other} not as told ({dict(sorted(tally.items()))})"
    )
    held = len(decided) == len(asked) == questions and other == 0 and len(tally) == 3
    record("F12", "A, B and the time limit at once: 1 decision in each of 1,000", measured, held)


WORDS = 400
SLOW = '=== turn\nsay: Yes.\n=== turn if "second"\n' + "".join(f"say: w{at} \nwait 0.001\n" for at in range(WORDS))
SCRIPTS = {
    "ars": f"=== turn\nsay: Yes.\n=== turn\npace 0.001\nsay: {' '.join(f'w{at}' for at in range(WORDS))}\n"
    "=== turn repeat\nsay: You said: $prompt\n",
    "load only": f"{SLOW}=== turn repeat\nsay: You said: $told\n",
    "neither": f"{SLOW}=== turn repeat\nsay: You said: $told\n",
}


def started_by(kind: str, place: Path) -> list[str]:
    script = place / "script"
    script.write_text(SCRIPTS[kind])
    if kind == "ars":
        state = ["--store", f"jsonl:{place / 'sessions'}"]
        return [str(Path(sys.executable).parent / "ars-acp"), "--script", str(script), *state]
    mock = [sys.executable, "-m", "connector.testing", "--script", str(script), "--store", str(place / "mock")]
    return [*mock, "--offers", "load" if kind == "load only" else ""]


@pytest.mark.parametrize("kind", SCRIPTS)
@pytest.mark.faults("D12")
async def test_a_killed_applications_record_has_all_that_was_seen_and_the_conversation_goes_on(
    tmp_path: Path, count: Count, record: Record, kind: str
) -> None:
    kills, chance = count(33, 1), random.Random(kind)
    lost = doubled = unlike = seen_in_all = 0
    for number in range(kills):
        place = tmp_path / str(number)
        place.mkdir()
        argv, url = started_by(kind, place), f"jsonl:{place / 'kept'}"
        seen = await killed(url, argv, place, chance.randint(10, WORDS // 2))
        seen_in_all += len(seen)
        if kind == "neither":  # its next session begins the script anew
            (place / "script").write_text("=== turn repeat\nsay: You said: $told\n")
        async with (
            keeping(url) as store,
            launch(command(json.dumps(argv)), Client(), cwd=str(place), store=store) as connector,
        ):
            session = await connector.ensure("work", str(place))
            stored = dict(session.record.read())
            lost += sum(digest(stored.get(at, {})) != told for at, told in seen.items())
            words = session.turns[1].text.split()
            if kind == "ars":  # it had gone on, and tells what was missed
                unlike += session.turns[1].text != logged(place, session.id)
            doubled += len(words) - len(set(words)) + (words[:-1] != [f"w{at}" for at in range(len(words) - 1)])
            unlike += not await goes_on(session, kind)
    measured = f"{kills} kills of {kind}: {seen_in_all} seen, {lost} lost, {doubled} doubled, {unlike} unlike"
    required = "SIGKILL of the application: what was seen is recorded, 0 doubled; the conversation goes on"
    record(f"D12 {kind}", required, measured, not lost and not doubled and not unlike)


async def killed(url: str, argv: list[str], cwd: Path, after: int) -> dict[int, str]:
    """Kills the application when its reader has seen so many entries; all that it had seen, by number."""
    program = [sys.executable, "-m", "tests.support.application", url, json.dumps(argv), str(cwd)]
    seen: dict[int, str] = {}
    with anyio.fail_after(60):
        async with await anyio.open_process(program, stderr=None) as process:
            assert process.stdout is not None
            rest = b""
            async for data in process.stdout:
                *lines, rest = (rest + data).split(b"\n")
                seen |= {int(at): told for at, told in (line.decode().split() for line in lines)}
                if len(seen) >= after:
                    process.kill()
    return seen


def logged(place: Path, session_id: str) -> str:
    """What the agent's own log has of the reply to the second prompt."""
    lines = (place / "sessions" / f"{session_id}.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    second = [at for at, entry in enumerate(entries) if entry["type"] == "prompt"][1]
    return "".join(entry["text"] for entry in entries[second:] if entry["type"] == "text")


async def goes_on(session: Session, kind: str) -> bool:
    """Whether it is the conversation that was killed, for us and for the agent."""
    first, second, third = session.turns
    told = [(turn.prompt[0]["text"], type(turn.failure)) for turn in session.turns]
    kept = told == [("first", type(None)), ("second", TurnInterrupted), ("third", NotSent)]
    how = {"ars": "resumed", "load only": "loaded", "neither": "recreated"}[kind]
    turn = await session.prompt("fourth")
    if kind == "ars":
        heard = turn.text == "You said: fourth"
    else:
        heard = "first" in turn.text and turn.text.rstrip().endswith("fourth")
        heard = heard and ("You have lost the conversation" in turn.text) == (kind == "neither")
    right = (first.text, third.text, session.how, kept, heard) == ("Yes.", "", how, True, True)
    return right and bool(second.text) and session.log() == [it.exchange() for it in session.record.turns]
