"""F3, F5, F9, F10, F12, S30, S31: runs whatever their clients and the gateway do, and sessions that are not yours."""

import random
import re
import shlex
import statistics
import sys
import time
import uuid
from collections import Counter
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from ars_gateway.index import open_index
from ars_gateway.sessions.rooms import Rooms
from ars_gateway.talks.approvals import Approvals, Unknown
from tests.gateway.client import Client, Refusal
from tests.gateway.host import program, starter
from tests.gateway.talking import GUEST, admit_guest, heard, last, mock, said, send

QUICK = "=== turn repeat\nsay: You said: $prompt\n"
SLOW = "=== turn repeat\nsay: Hello\nwait 60\nsay: never\n"
SOCKETS = 50


@pytest.fixture
def start(tmp_path: Path):
    return starter(tmp_path / "state")


# ── runs and the clients that they belong to ────────────────────────────────────────────────────────────────────────


@pytest.mark.faults("F3")
async def test_how_a_run_has_ended_is_told_on_return(start, record, count, tmp_path):
    runs = count(100, 10)
    script = '=== turn repeat if "fail"\nwait 0.1\nsay: Half\nerror {"code": -32603, "message": "overloaded"}\n'
    script = script.replace(" repeat if", " if") * runs + "=== turn repeat\nwait 0.1\nsay: All of $prompt\n"
    right = 0
    async with start(agent=mock(tmp_path, script)) as gateway:
        for number in range(runs):
            key, text = f"s{number % 10}", f"fail {number}" if number % 2 else f"do {number}"
            async with gateway.client() as one:
                await send(one, f"k{number}", text, key)
            async with gateway.client() as back:
                waited = await back.request("agent.wait", {"runId": f"k{number}"}, within=15)
                messages = (await back.request("chat.history", {"sessionKey": key}))["messages"]
                shown = messages[-1]["content"][0]["text"]
                try:
                    again = (await send(back, f"k{number}", text, key))["status"]
                except Refusal as refused:
                    again = refused.code
            wanted = ("error", "UNAVAILABLE", "Half") if number % 2 else ("ok", "ok", f"All of {text}")
            right += (waited["status"], again, shown) == wanted
    record("F3", f"{runs}/{runs} told, failures as failures", f"{right}/{runs}", right == runs)


@pytest.mark.faults("F5")
async def test_a_key_is_one_run_however_often_it_comes(start, record, count, tmp_path):
    trials = count(1000, 25)
    agent = mock(tmp_path, QUICK)
    one_each = 0

    async def all_at_once(clients: list[Client], number: int) -> Counter[str]:
        params = {"sessionKey": f"s{number % 100}", "message": f"m{number}", "idempotencyKey": f"k{number}"}
        asked = [await client.begin("chat.send", params) for client in clients]
        answers = [await client.answer(request, within=30) for client, request in zip(clients, asked, strict=True)]
        return Counter(answer["status"] for answer in answers)

    async with start(agent=agent) as gateway, anyio.create_task_group() as tasks:
        clients: list[Client] = []
        done = anyio.Event()

        async def connected() -> None:
            async with gateway.client("operator.write") as client:
                clients.append(client)
                await done.wait()

        for _ in range(SOCKETS):
            tasks.start_soon(connected)
        with anyio.fail_after(30):
            while len(clients) < SOCKETS:
                await anyio.lowlevel.checkpoint()
        for number in range(trials):
            told = await all_at_once(clients, number)
            one_each += told["started"] == 1 and sum(told.values()) == SOCKETS
        async with gateway.client() as one:
            for number in range(trials):
                await one.request("agent.wait", {"runId": f"k{number}"}, within=30)
        done.set()
    prompts = Counter(heard(tmp_path))
    once = sum(found == 1 for found in prompts.values())
    async with start(agent=agent) as gateway, gateway.client() as back:
        after = [await send(back, f"k{it}", f"m{it}", f"s{it % 100}") for it in range(trials)]
    same = sum(answer["status"] == "ok" for answer in after)
    held = one_each == trials == same and sum(prompts.values()) == once == trials
    measured = f"{one_each} answered as one, {sum(prompts.values())} prompts at the agent, {same} known after a restart"
    record("F5", f"1 run for each of {trials} keys, sent by {SOCKETS} sockets at once", measured, held)


# ── the end of the gateway ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.faults("F9")
@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
async def test_each_run_is_settled_once_when_the_gateway_is_restarted(record, count, tmp_path, how):
    runs = count(50, 50)
    state, arguments = tmp_path / "state", ("--agent", mock(tmp_path, SLOW), "--no-socket")
    names = [f"k{number}" for number in range(runs)]
    async with program(state, *arguments) as gateway, gateway.client() as one:
        for name in names:
            await send(one, name, "hi", f"s{name}")
        for name in names:
            await last(one, name, "delta", within=60)
        if how == "SIGTERM":
            gateway.process.terminate()
        else:
            gateway.process.kill()
        code, _ = await one.ended(within=15)
        shutdown, ended = len(one.named("shutdown")), sum(bool(said(one, name, "aborted")) for name in names)
        await gateway.process.wait()
    settled: list[Counter[str]] = []
    for _ in range(2):
        async with program(state, *arguments) as gateway, gateway.client() as back:
            waited = [await back.request("agent.wait", {"runId": name, "timeoutMs": 0}) for name in names]
            settled.append(Counter(f"{it['status']} {it.get('endedAt')}" for it in waited))
            again = []
            for name in names:
                try:
                    again.append((await send(back, name, "hi", f"s{name}"))["status"])
                except Refusal as refused:
                    again.append(refused.code if refused.error["retryable"] else "")
            shown = [await back.request("chat.history", {"sessionKey": f"s{name}"}) for name in names[:3]]
    kept = sum(it["messages"][-1]["content"][0]["text"].startswith("Hello") for it in shown)
    wanted = "aborted" if how == "SIGTERM" else "UNAVAILABLE"
    prompts = len(heard(tmp_path))
    held = settled[0] == settled[1] and again == [wanted] * runs and prompts == runs and kept == len(shown)
    held = held and all(it.startswith("error ") for it in settled[0])
    if how == "SIGTERM":
        held = held and (code, shutdown, ended) == (1012, 1, runs)
    measured = f"{again.count(wanted)}/{runs} {wanted}, the same after another start; {prompts} prompts at the agent"
    record(f"F9 {how}", f"{runs}/{runs} settled once", measured, held)


@pytest.mark.faults("F10")
@pytest.mark.parametrize(
    ("what", "command"),
    [
        ("no such program", "/nowhere/agent --acp"),
        ("it ends at once", shlex.join([sys.executable, "-c", "raise SystemExit(3)"])),
    ],
)
async def test_an_agent_that_cannot_be_reached_is_told_within_a_second(start, record, what, command, at_most):
    async with start(agent=command) as gateway, gateway.client() as one:
        times = []
        for number in range(3):
            began = time.monotonic()
            request = await one.begin("agent", {"message": "hi", "agentId": "main", "idempotencyKey": f"k{number}"})
            with pytest.raises(Refusal) as refused:
                await one.answer(request, 2)
            times.append(time.monotonic() - began)
            error = refused.value.error
            assert (error["code"], error["retryable"]) == ("UNAVAILABLE", True)
            assert error["retryAfterMs"] > 0
        degraded = (await one.request("health", {}))["degraded"]
    held = max(times) <= at_most(1.5) and degraded is True
    record(f"F10 {what}", "UNAVAILABLE, retryable, in ≤ 1 s; degraded", f"{max(times):.2f} s; {degraded}", held)


# ── questions ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.faults("F12")
async def test_of_two_answers_and_the_end_of_the_time_one_counts(record, count):
    trials = count(1000, 300)
    chance = random.Random(3)
    told: Counter[str] = Counter()
    decided: dict[str, list[str | None]] = {}
    approvals = Approvals(lambda event, payload, principal: told.update([f"{event} {payload['id']}"]))

    async def answer(id: str, by: str, at: float) -> None:
        await anyio.sleep_until(at)
        try:
            approvals.resolve("owner", id, "allow-once" if by == "a" else "deny", by=by, who=by)
        except Unknown:
            return
        decided[id].append(by)

    async def trial(id: str) -> None:
        decided[id] = []
        # All three of one clock, so that their order is theirs however slow the machine is.
        first, second, end = (anyio.current_time() + chance.uniform(0.05, 0.1) for _ in range(3))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answer, id, "a", first)
            tasks.start_soon(answer, id, "b", second)
            question = await approvals.ask("owner", {}, id=id, seconds=end - anyio.current_time())
        if question.decision is None:
            decided[id].append(None)
        assert question.by == (decided[id][0] if decided[id] else None)

    for number in range(0, trials, 50):
        async with anyio.create_task_group() as tasks:
            for one in range(number, min(number + 50, trials)):
                tasks.start_soon(trial, f"q{one}")
    ways = Counter(str(found[0]) for found in decided.values())
    once = sum(len(found) == 1 for found in decided.values())
    resolved = sum(number == 1 for name, number in told.items() if name.startswith("exec.approval.resolved"))
    held = once == trials and len(ways) > 1 and resolved == trials
    record("F12", f"1 decision for each of {trials}", f"{once}; by {dict(ways)}, each told once: {resolved}", held)


# ── sessions that are not yours, and names that are none ────────────────────────────────────────────────────────────


@pytest.mark.faults("S30")
async def test_sessions_of_others_are_not_found_by_guessing(start, record, count, tmp_path):
    guesses = count(10_000, 500)
    async with start() as gateway:
        admit_guest(gateway)
        async with gateway.client() as one, gateway.client(token=GUEST) as guest:
            entries = [await one.request("sessions.patch", {"key": f"s{it}", "label": f"l{it}"}) for it in range(50)]
            known = [it["entry"]["sessionId"] for it in entries]
            found, texts = 0, set()
            for number in range(guesses):
                id = known[number % 50] if number % 2 else str(uuid.uuid4())
                try:
                    await guest.request("sessions.resolve", {"sessionId": id})
                    found += 1
                except Refusal as refused:
                    texts.add((refused.code, refused.message.replace(id, "…")))
    # Of a difference that is one every round shows it; of a moment's noise not.
    welch = min(_difference(count(100_000, 20_000)) for _ in range(3))
    held = found == 0 and len(texts) == 1 and welch < 4.5
    record("S30", f"0 of {guesses} guesses, equal answers and times", f"{found}; {texts}; t = {welch:.1f}", held)


def _difference(number: int) -> float:
    """How sure it is that to look for somebody else's id takes another time than to look for nobody's: Welch's t.

    Among as many of each, asked for as often: where one id's hash happens to fall takes its own time, whosever it is.
    """
    rooms = Rooms(open_index(None, []))
    theirs = [rooms.open("owner", f"k{it}", "/").session_id for it in range(5000)]
    nobodys = [str(uuid.uuid4()) for _ in theirs]
    tries = [random.random() < 0.5 for _ in range(number)]
    # A text of its own each time, as it would come: one that was looked up before knows its hash.
    ids = [random.choice(theirs if it else nobodys).encode().decode() for it in tries]
    times: dict[bool, list[int]] = {True: [], False: []}
    for is_theirs, id in zip(tries, ids, strict=True):
        began = time.perf_counter_ns()
        rooms.by_id("guest", id)
        took = time.perf_counter_ns() - began  # before the list is looked for, which takes its own time
        times[is_theirs].append(took)
    return abs(_welch(*(sorted(it)[: len(it) * 9 // 10] for it in times.values())))


def _welch(one: list[int], other: list[int]) -> float:
    spread = statistics.variance(one) / len(one) + statistics.variance(other) / len(other)
    return (statistics.fmean(one) - statistics.fmean(other)) / spread**0.5


HOSTILE = [
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    "a/../../b",
    "\\..\\x",
    "%2e%2e/x",
    "a\0b",
    "~/x",
    "x" * 500,
    "$(id)",
]


@pytest.mark.faults("S31")
async def test_no_name_of_a_session_leads_to_a_file(start, record, count, tmp_path):
    names = count(1000, 60)
    chance = random.Random(5)
    outside = {*tmp_path.rglob("*")} - {*(tmp_path / "state").rglob("*")}
    refused = 0
    async with start(agent=mock(tmp_path, QUICK)) as gateway, gateway.client() as one:
        before = _files(tmp_path)
        for number in range(names):
            name = chance.choice(HOSTILE) + chance.choice(["", "/", "\n", f"{number}", "/../" * 4])
            try:
                await send(one, f"k{number}", "hi", name)
                await one.request("agent.wait", {"runId": f"k{number}"}, within=30)
                await one.request("chat.history", {"sessionKey": name})
            except Refusal:
                refused += 1
            with pytest.raises(Refusal, match="No session found"):
                await one.request("sessions.resolve", {"sessionId": name})
        after = _files(tmp_path)
    strange = {it for it in after - before if not _is_ours(it)}
    measured = f"{len(strange)} files elsewhere {sorted(strange)[:2]}; {refused} names refused"
    record("S31", f"{names} names: 0 files outside", measured, not strange and outside <= after and refused > 0)


def _files(directory: Path) -> set[Path]:
    return {*directory.rglob("*")}


def _is_ours(path: Path) -> bool:
    """Whether a file is one of the index's, a transcript named by a hash, or what the agent of the test has heard."""
    in_store = "transcripts" in path.parts and re.fullmatch(r"(named-)?[0-9a-z.]+", path.name) is not None
    return in_store or path.name.startswith("index.sqlite") or path.name in ("workspace", "heard")
