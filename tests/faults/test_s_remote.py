"""Once more for editors that have an agent here over the network: streams cut, agents killed, ids guessed."""

import os
import random
import secrets
import signal
from collections import Counter
from time import perf_counter

import pytest

from tests.gateway.http.editors import SERVED, editor, gone
from tests.gateway.http.test_acp import opened
from tests.gateway.http.test_acp_streams import told_to_go_on
from tests.gateway.talking import GUEST, admit_guest

UPDATES = 40


@pytest.mark.faults("F1 remote")
async def test_cut_streams_lose_and_double_nothing(start, record, count):
    cuts, rng = count(1000, 100), random.Random(30)
    texts: list[str] = []
    async with start(**SERVED) as running, editor(running) as one:
        session = await opened(one)
        stream = one.streams[1]
        id = await one.do(session, *[["say", [UPDATES, 50]], ["wait", 1]] * cuts)
        for _ in range(cuts):
            enough = rng.randrange(1, UPDATES)
            await one.until(lambda: len(stream.messages) >= enough)  # noqa: B023
            await told_to_go_on(one)
            await stream.cut()
            texts += stream.texts()
            stream = await one.listen(session, stream.ids[-1])
        await one.answer(id)
        texts += stream.texts()
    wanted = [f"{n:06d}" for n in range(cuts * UPDATES)]
    lost, doubled = len({*wanted} - {*texts}), len(texts) - len({*texts})
    measured = f"{cuts} cuts, {len(texts)} updates: {lost} lost, {doubled} doubled, order {texts == wanted}"
    record("F1 remote", "cut in mid-turn: 0 lost, 0 doubled, in order", measured, texts == wanted)


@pytest.mark.faults("D1 remote")
async def test_killed_agents_leave_no_request_without_an_answer(start, record, count):
    rounds = count(100, 10)
    answered: Counter[str] = Counter()
    slowest = 0.0
    async with start(**SERVED) as running:
        for _ in range(rounds):
            async with editor(running) as one:
                session = await opened(one)
                ids = [await one.do(session, ["say", [5, 10]], ["wait", 1]), await one.begin("echo")]
                await one.until(lambda: len(one.streams[1].messages) == 5)
                began = perf_counter()
                os.kill(one.pid, signal.SIGKILL)
                for id in ids:
                    answered[(await one.answer(id))["error"]["message"]] += 1
                slowest = max(slowest, perf_counter() - began)
                await one.http.delete("/acp", headers=one.headers())
    held = answered == {"agent main has ended: killed by SIGKILL": 2 * rounds}
    measured = f"{rounds} kills: {dict(answered)}, the slowest after {slowest * 1000:.0f} ms"
    record("D1 remote", "agent killed in mid-turn: every request answered, naming it", measured, held)


@pytest.mark.faults("S30 remote")
async def test_connection_ids_are_not_guessed_and_not_shared(start, record, count):
    guesses = count(10_000, 500)
    answers: Counter[tuple[int, bytes]] = Counter()
    async with start(**SERVED) as running:
        admit_guest(running)
        async with editor(running) as mine, editor(running, headers={"authorization": f"Bearer {GUEST}"}) as theirs:
            await mine.initialize()
            ids = [mine.id, mine.id.swapcase(), mine.id[:-1], *(secrets.token_urlsafe(32) for _ in range(guesses - 3))]
            for theirs.id in ids:
                answer = await theirs.post({"jsonrpc": "2.0", "id": 1, "method": "echo"})
                answers[answer.status_code, answer.content] += 1
            await mine.listen()
            alive = "result" in await mine.request("echo")
            await mine.http.delete("/acp", headers=mine.headers())
            await gone(mine.pid)
    held = alive and len(answers) == 1 and {status for status, _ in answers} == {404}
    measured = f"{guesses} ids, another's among them: {sorted(status for status, _ in answers)}, {len(answers)} answer"
    record("S30 remote", "ids guessed, or another's: 0 accepted, equal answers", measured, held)
