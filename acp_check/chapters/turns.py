"""Prompts: stop reasons, cancel, order, the blocks of a prompt."""

import base64

from acp_check.chapters.wire import INVALID_PARAMS
from acp_check.hands import EXTENSIONS, OF_CLIENTS
from acp_check.peer import Answer, Json
from acp_check.table import Broken, NotOffered, NotSeen, requirement
from acp_check.trial import Trial, Turn

STOP_REASONS = {"end_turn", "max_tokens", "max_turn_requests", "refusal", "cancelled"}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WAVE = base64.b64encode(b"RIFF$\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0@\x1f\0\0@\x1f\0\0\1\0\x08\0data\0\0\0\0").decode()
BLOCKS: dict[str, Json] = {
    "image": {"type": "image", "data": PIXEL, "mimeType": "image/png"},
    "audio": {"type": "audio", "data": WAVE, "mimeType": "audio/wav"},
    "embeddedContext": {
        "type": "resource",
        "resource": {"uri": "file:///project/a.txt", "mimeType": "text/plain", "text": "a"},
    },
}
LINKS = ("file:///project/a%20b.txt", "https://example.org/x", "zed:///agent/thread/1")


@requirement("PROMPT-001", "mandatory", "a prompt is answered with one of the stop reasons", turns=True)
async def stop_reason(trial: Trial) -> str:
    _, answer = await trial.first_turn()
    reason = answer.result.get("stopReason") if isinstance(answer.result, dict) else None
    if reason not in STOP_REASONS:
        raise Broken(f"a prompt was answered {answer}")
    return str(reason)


@requirement("PROMPT-002", "mandatory", "the updates of a turn carry the id of its session", turns=True, watched=True)
async def session_of_updates(trial: Trial) -> None:
    peer = await trial.peer()
    sessions = [await trial.session_id(peer) for _ in range(2)]
    for session in sessions:
        turn, _ = await trial.turn(peer, session)
        if not turn.updates:
            strangers = [it for it in peer.updates[turn.first :] if it.session != session]
            if strangers:
                raise Broken(f"the turn of {session!r} was shown with the id {strangers[0].session!r}")
            raise NotSeen("the turn showed nothing")


@requirement("PROMPT-003", "advisory", "a resource link is taken without any capability", rules=("13",), turns=True)
async def link(trial: Trial) -> None:
    peer = await trial.peer()
    session = await trial.session_id(peer)
    for uri in LINKS:
        block = {"type": "resource_link", "uri": uri, "name": "x", "mimeType": None, "size": 0, "annotations": None}
        _, answer = await trial.turn(peer, session, "say", block)
        if "result" not in answer.message:
            raise Broken(f"a prompt with a link to {uri} was answered {answer}")


async def _cancelled(turn: Turn) -> Answer:
    """The answer to a turn that was cancelled. Raises `Broken` unless it is the result `cancelled`."""
    answer = await turn.end()
    reason = answer.result.get("stopReason") if isinstance(answer.result, dict) else None
    if reason in STOP_REASONS - {"cancelled"}:
        raise NotSeen(f"the turn was over ({reason}) before the cancel could reach it")
    if reason != "cancelled":
        raise Broken(f"session/cancel in mid-turn; the prompt was answered {answer}")
    return answer


async def _or_not_seen(turn: Turn) -> None:
    """Waits for the end of a cancelled turn; that it is none is another row's matter."""
    try:
        await _cancelled(turn)
    except Broken as why:
        raise NotSeen(str(why)) from None


@requirement(
    "CANCEL-001", "mandatory", "a cancelled prompt is answered `cancelled`, not an error", rules=("3", "5"), turns=True
)
async def cancel(trial: Trial) -> None:
    peer = await trial.peer()
    session = await trial.session_id(peer)
    turn = await trial.long_turn(peer, session)
    peer.notify("session/cancel", {"sessionId": session})
    await _cancelled(turn)
    _, answer = await trial.turn(peer, session)
    if "result" not in answer.message:
        raise Broken(f"the prompt after a cancelled one was answered {answer}")


@requirement(
    "CANCEL-002",
    "mandatory",
    "nothing of a cancelled turn is shown after its answer",
    rules=("1",),
    turns=True,
    watched=True,
)
async def silent_after_cancel(trial: Trial) -> None:
    peer = await trial.peer()
    session = await trial.session_id(peer)
    turn = await trial.long_turn(peer, session)
    peer.notify("session/cancel", {"sessionId": session})
    await _or_not_seen(turn)
    await trial.fence(peer, "a cancelled turn")


@requirement(
    "RULE-01", "advisory", "all updates of a turn are written before its answer", rules=("1",), turns=True, watched=True
)
async def before_the_answer(trial: Trial) -> None:
    peer = await trial.peer()
    session = await trial.session_id(peer)
    await trial.turn(peer, session)
    await trial.fence(peer, "a turn")


@requirement(
    "RULE-04", "advisory", "a cancel for nobody harms no later prompt and no other session", rules=("4",), turns=True
)
async def cancel_for_nobody(trial: Trial) -> None:
    peer = await trial.peer()
    idle, busy = await trial.session_id(peer), await trial.session_id(peer)
    peer.notify("session/cancel", {"sessionId": idle})
    peer.notify("session/cancel", {"sessionId": "acp-check-nobody"})
    _, answer = await trial.turn(peer, idle)
    if answer.result is None or answer.result.get("stopReason") == "cancelled":
        raise Broken(f"a cancel while nothing ran; the next prompt was answered {answer}")
    turn = await trial.long_turn(peer, busy)
    peer.notify("session/cancel", {"sessionId": idle})
    await peer.quiet()
    if turn.over and (ended := await turn.end()).result == {"stopReason": "cancelled"}:
        raise Broken(f"a cancel of another session ended the turn: {ended}")
    peer.notify("session/cancel", {"sessionId": busy})
    await turn.end()


@requirement("RULE-05", "advisory", "other requests are answered while a prompt runs", rules=("5",), turns=True)
async def others_meanwhile(trial: Trial) -> None:
    peer = await trial.peer()
    session = await trial.session_id(peer)
    turn = await trial.long_turn(peer, session)
    answer = await peer.request("_acp_check/meanwhile", {})
    over = turn.over and peer.answers[int, turn.identity].at < answer.at
    peer.notify("session/cancel", {"sessionId": session})
    ended = await turn.end()
    if over and ended.result == {"stopReason": "end_turn"}:
        raise Broken("a request in mid-turn was answered when the turn was over")


async def _capable(trial: Trial, name: str) -> None:
    peer = await trial.peer()
    trial.need(peer, "promptCapabilities", name)
    session = await trial.session_id(peer)
    _, answer = await trial.turn(peer, session, "say", BLOCKS[name])
    if "result" not in answer.message:
        raise Broken(f"promptCapabilities has {name}, and a prompt with one was answered {answer}")


@requirement("PROMPTCAP-001", "conditional", "an image is taken where that is offered", turns=True)
async def image(trial: Trial) -> None:
    await _capable(trial, "image")


@requirement("PROMPTCAP-002", "conditional", "audio is taken where that is offered", turns=True)
async def audio(trial: Trial) -> None:
    await _capable(trial, "audio")


@requirement("PROMPTCAP-003", "conditional", "an embedded resource is taken where that is offered", turns=True)
async def embedded(trial: Trial) -> None:
    await _capable(trial, "embeddedContext")


@requirement("PROMPTCAP-OTHER", "advisory", "blocks that are not offered are refused with -32602", turns=True)
async def not_capable(trial: Trial) -> str:
    peer = await trial.peer()
    session = await trial.session_id(peer)
    wrong = [name for name in BLOCKS if not peer.offers("promptCapabilities", name)]
    if not wrong:
        raise NotOffered("every kind of block is offered")
    for name in wrong:
        _, answer = await trial.turn(peer, session, "say", BLOCKS[name])
        if answer.code != INVALID_PARAMS:
            raise Broken(f"promptCapabilities has no {name}, and a prompt with one was answered {answer}")
    return ", ".join(wrong)


@requirement("RULE-09", "advisory", "the open tool calls of a cancelled turn end as failed", rules=("9",), turns=True)
async def open_calls(trial: Trial) -> str:
    peer = await trial.peer()
    session = await trial.session_id(peer)
    await trial.turns_work()
    # Reading is answered: an agent may read before it does anything that shows.
    held = {"session/request_permission", "fs/write_text_file", "terminal/create"}
    peer.hands.held |= held
    turn = trial.begin_turn(peer, session, trial.blocks("tools"))
    await peer.until(
        lambda: turn.over or any(it["method"] in held for it in turn.asked), "a tool call", trial.limits.turn
    )
    if turn.over:
        raise NotSeen("the agent used no tool that waits for its client; --prompt-tools gives a prompt that does")
    peer.notify("session/cancel", {"sessionId": session})
    for request in turn.asked:
        if request.get("method") == "session/request_permission":
            peer.respond(request, {"result": {"outcome": {"outcome": "cancelled"}}})
    await _or_not_seen(turn)
    if open_ones := [name for name, status in _calls(turn).items() if status not in ("completed", "failed")]:
        raise Broken(f"after the answer `cancelled` the tool calls {', '.join(open_ones)} are still open")
    return f"{len(_calls(turn))} calls"


def _calls(turn: Turn) -> dict[str, str]:
    """Each tool call of the turn, and its last status."""
    found: dict[str, str] = {}
    for it in turn.updates:
        if it.kind in ("tool_call", "tool_call_update"):
            name = str(it.update.get("toolCallId"))
            found[name] = it.update.get("status") or found.get(name, "pending")
    return found


@requirement(
    "RULE-12", "advisory", "the ids of tool calls are unique in a session", rules=("12",), turns=True, watched=True
)
async def call_ids(trial: Trial) -> str:
    peer = await trial.peer()
    session = await trial.session_id(peer)
    seen = 0
    for _ in range(2):
        turn, answer = await trial.turn(peer, session, "tools")
        if "result" not in answer.message:
            raise NotSeen(f"a prompt was answered {answer}")
        seen += len(_calls(turn))
    if not seen:
        raise NotSeen("the agent used no tool; --prompt-tools gives a prompt that does")
    return f"{seen} calls"


@requirement(
    "RULE-16B", "advisory", "no turn waits for an extension that a client does not know", rules=("16b",), turns=True
)
async def unanswered_extension(trial: Trial) -> str:
    peer = await trial.peer()
    session = await trial.session_id(peer)
    await trial.turns_work()
    peer.hands.held.add(EXTENSIONS)
    turn = trial.begin_turn(peer, session, trial.blocks("tools"))
    await turn.end()
    held = [name for it in turn.asked if not (name := str(it["method"])).startswith(OF_CLIENTS)]
    if not held:
        raise NotSeen("the agent called no extension of its client's")
    return f"unanswered: {', '.join(held)}"
