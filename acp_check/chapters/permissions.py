"""Questions for permission: what counts as an approval, and answers that are late, doubled or missing."""

from acp_check.hands import NEVER, Reply, allow, cancelled, reject, result
from acp_check.peer import Json, Peer
from acp_check.table import Broken, NotSeen, requirement
from acp_check.trial import Trial, Turn, entries, questions
from acp_check.watch import quoted


async def _refused(trial: Trial, reply: Reply, what: str) -> None:
    """A turn whose question is answered so: nothing of what it asked for may be done."""
    peer = await trial.peer()
    session = await trial.session_id(peer)
    before = entries(trial.cwd)
    turn = await trial.asking_turn(peer, session, lambda params: reply)
    await turn.end()
    _nothing_was_done(peer, turn, before, what)


def _nothing_was_done(peer: Peer, turn: Turn, before: set[tuple[str, int]], what: str) -> None:
    asked = {str(it["params"]["toolCall"].get("toolCallId")) for it in questions(peer, turn)}
    if peer.hands.files:
        raise Broken(f"{what} was taken for an approval: {', '.join(peer.hands.files)} was written")
    if made := entries(peer.cwd) - before:
        raise Broken(f"{what} was taken for an approval: {', '.join(sorted(name for name, _ in made))} was made")
    for it in turn.updates:
        if it.update.get("toolCallId") in asked and it.update.get("status") == "completed":
            raise Broken(f"{what} was taken for an approval: {quoted(it.update)}")


@requirement("RULE-06", "advisory", "only a chosen option that was offered is an approval", rules=("6",), turns=True)
async def not_an_approval(trial: Trial) -> None:
    unknown = result({"outcome": {"outcome": "selected", "optionId": "acp-check-never-offered"}})
    await _refused(trial, cancelled({}), "the outcome `cancelled`")
    await _refused(trial, unknown, "an optionId that was not offered")


@requirement("PERM-REJECT", "advisory", "an option that rejects is no approval", rules=("6",), turns=True)
async def rejected(trial: Trial) -> None:
    peer = await trial.peer()
    session = await trial.session_id(peer)
    before = entries(trial.cwd)
    turn = await trial.asking_turn(peer, session, reject)
    await turn.end()
    _nothing_was_done(peer, turn, before, "an option that rejects")


@requirement(
    "PERM-CANCEL", "advisory", "a turn with an open question is cancelled at once", rules=("3", "5"), turns=True
)
async def cancelled_question(trial: Trial) -> None:
    peer = await trial.peer()
    turn, question, before = await _asked(trial, peer)
    peer.notify("session/cancel", {"sessionId": turn.session})
    peer.respond(question, {"error": {"code": -32603, "message": "The client failed"}})
    answer = await turn.end(trial.limits.answer)
    if answer.result != {**(answer.result or {}), "stopReason": "cancelled"}:
        raise Broken(f"session/cancel with a question open, answered by an error; the prompt: {answer}")
    _nothing_was_done(peer, turn, before, "an error")


@requirement("RULE-07", "advisory", "a cancelled turn takes its own open questions back", rules=("7",), turns=True)
async def taken_back(trial: Trial) -> None:
    peer = await trial.peer()
    turn, question, _ = await _asked(trial, peer)
    peer.notify("session/cancel", {"sessionId": turn.session})
    await peer.quiet(max(trial.limits.quiet, 0.3))
    back = [it.get("params") for it in peer.told if it["method"] == "$/cancel_request"]
    peer.respond(question, cancelled({}))
    await turn.end(trial.limits.answer)
    if {"requestId": question["id"]} not in [{"requestId": (it or {}).get("requestId")} for it in back]:
        raise Broken(f"session/cancel with the question {question['id']!r} open brought no $/cancel_request for it")


@requirement(
    "PERM-LATE", "advisory", "an answer that comes after the cancel is no approval and harms nothing", turns=True
)
async def late(trial: Trial) -> None:
    peer = await trial.peer()
    turn, question, before = await _asked(trial, peer)
    peer.notify("session/cancel", {"sessionId": turn.session})
    await peer.quiet(max(trial.limits.quiet, 0.3))
    approval = allow(question["params"])
    peer.respond(question, approval)
    await turn.end(trial.limits.answer)
    await trial.fence(peer, "an approval that came after the cancel")
    _nothing_was_done(peer, turn, before, "an approval after the cancel")


@requirement("PERM-TWICE", "advisory", "a second answer to a question is ignored", turns=True)
async def twice(trial: Trial) -> None:
    peer = await trial.peer()
    turn, question, before = await _asked(trial, peer)
    approval = allow(question["params"])
    refusal = cancelled({})
    peer.hands.permission = cancelled
    peer.respond(question, refusal)
    peer.respond(question, approval)
    await turn.end()
    await trial.fence(peer, "two answers to one question")
    _nothing_was_done(peer, turn, before, "a second answer, after `cancelled`,")


@requirement("PERM-BROKEN", "advisory", "an answer that is none of the protocol's is no approval", turns=True)
async def malformed(trial: Trial) -> None:
    for outcome in ({"outcome": "selected"}, {"outcome": "acp-check"}, "allow_once"):
        await _refused(trial, result({"outcome": outcome}), f"the outcome {quoted(outcome)}")


async def _asked(trial: Trial, peer: Peer) -> tuple[Turn, Json, set[tuple[str, int]]]:
    """A turn that waits for the answer to a question, and what lies in its directory."""
    session = await trial.session_id(peer)
    before = entries(trial.cwd)
    turn = await trial.asking_turn(peer, session, lambda params: NEVER)
    if turn.over:
        raise NotSeen("the turn did not wait for the answer to its question")
    return turn, questions(peer)[-1], before
