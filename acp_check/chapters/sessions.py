"""Sessions: new, load, resume, list, delete, close, further directories, paths."""

import os
import tempfile

from acp_check.chapters.wire import INVALID_PARAMS
from acp_check.peer import Json, Peer
from acp_check.table import Broken, NotSeen, requirement
from acp_check.trial import Trial, Turn
from acp_check.watch import quoted

CAPABILITY = "sessionCapabilities"
OF_CONVERSATION = {"user_message_chunk", "agent_message_chunk", "agent_thought_chunk", "tool_call", "tool_call_update"}
RELATIVE = ("", "project", "./project", "~/project", "file:///project")
MOST_PAGES = 20


@requirement("SESSION-001", "mandatory", "session/new gives an id that is not empty")
async def new(trial: Trial) -> None:
    peer = await trial.peer()
    if not (found := await trial.session_id(peer)).strip():
        raise Broken(f"the id is {found!r}")


@requirement("SESSION-002", "mandatory", "two sessions have two ids", rules=("12",))
async def two(trial: Trial) -> None:
    peer = await trial.peer()
    await trial.session(peer)
    begun = [peer.begin("session/new", trial.new_params()) for _ in range(3)]
    found = [(await peer.answer(it, trial.limits.session)).result["sessionId"] for it in begun]
    if len(set(found)) < len(found):
        raise Broken(f"session/new gave {', '.join(map(repr, found))}")


async def talked(trial: Trial) -> tuple[str, Turn]:
    """A session of an agent that has ended, after one turn; the same for all that ask."""
    found: list[tuple[str, Turn]] = trial.kept.setdefault("talked", [])

    async def talk() -> None:
        found.append(await _talked(trial))

    await trial.once("talked to", talk)
    return found[0]


async def _talked(trial: Trial) -> tuple[str, Turn]:
    async with trial.fresh() as peer:
        session = await trial.session_id(peer)
        turn, answer = await trial.turn(peer, session)
        if "result" not in answer.message:
            raise NotSeen(f"no conversation to take up: session/prompt was answered {answer}")
        await peer.quiet()
        peer.process.close_stdin()
        await peer.process.ended(trial.limits.end)  # what it keeps it may write at its end
        return session, turn


def of_conversation(peer: Peer, session: str, first: int = 0, last: int | None = None) -> list[Json]:
    """The updates that show what was said and done, among the peer's."""
    return [it.update for it in peer.updates[first:last] if it.session == session and it.kind in OF_CONVERSATION]


def known(trial: Trial, session: str) -> Json:
    """What opens a session that there is."""
    return {"sessionId": session, **trial.new_params()}


@requirement("LOAD-001", "conditional", "session/load shows the whole conversation before it answers", turns=True)
async def load(trial: Trial) -> str:
    trial.need(await trial.peer(), "loadSession")
    session, turn = await talked(trial)
    async with trial.fresh() as peer:
        await peer.ask("session/load", known(trial, session), trial.limits.session)
        answered = len(of_conversation(peer, session))
        await peer.quiet()
        late = of_conversation(peer, session)[answered:]
        shown = of_conversation(peer, session)[:answered]
        if late:
            raise Broken(f"after the answer to session/load came {quoted(late[0])}")
        said = "".join(_text(it) for it in shown if it["sessionUpdate"] == "agent_message_chunk")
        asked = "".join(_text(it) for it in shown if it["sessionUpdate"] == "user_message_chunk")
        if turn.text.strip() not in said:
            raise Broken(f"the agent had said {turn.text[:60]!r}, session/load showed {said[:60]!r} of it")
        if trial.blocks("say")[0]["text"][:20] not in asked:
            raise Broken(f"session/load showed {asked[:60]!r} of the prompt")
        return f"{len(shown)} updates"


def _text(update: Json) -> str:
    content = update.get("content")
    return str(content.get("text", "")) if isinstance(content, dict) else ""


@requirement("LOAD-002", "conditional", "a loaded session goes on where it was", turns=True)
async def load_goes_on(trial: Trial) -> None:
    await _goes_on(trial, "session/load", "loadSession")


@requirement("LOAD-003", "advisory", "the answer to session/load is an object", rules=("11",), turns=True)
async def load_object(trial: Trial) -> None:
    trial.need(await trial.peer(), "loadSession")
    session, _ = await talked(trial)
    async with trial.fresh() as peer:  # nowhere else: a session may be open in one process only
        found = await peer.ask("session/load", known(trial, session), trial.limits.session)
        if not isinstance(found, dict):
            raise Broken(f"session/load was answered with {found!r}")


@requirement("RESUME-001", "conditional", "a resumed session goes on where it was", turns=True)
async def resume(trial: Trial) -> None:
    await _goes_on(trial, "session/resume", CAPABILITY, "resume")


async def _goes_on(trial: Trial, method: str, *capability: str) -> None:
    trial.need(await trial.peer(), *capability)
    session, _ = await talked(trial)
    async with trial.fresh() as peer:
        await peer.ask(method, known(trial, session), trial.limits.session)
        _, answer = await trial.turn(peer, session)
        if "result" not in answer.message:
            raise Broken(f"a prompt after {method} was answered {answer}")


@requirement("RESUME-002", "conditional", "session/resume shows nothing of what was before", turns=True)
async def resume_silent(trial: Trial) -> None:
    trial.need(await trial.peer(), CAPABILITY, "resume")
    session, _ = await talked(trial)
    async with trial.fresh() as peer:
        await peer.ask("session/resume", known(trial, session), trial.limits.session)
        await peer.quiet()
        if shown := of_conversation(peer, session):
            raise Broken(f"session/resume showed {quoted(shown[0])}")


async def listed(trial: Trial, peer: Peer, **params: object) -> list[Json]:
    """Every page of session/list."""
    found: list[Json] = []
    cursor: Json = {}
    for _ in range(MOST_PAGES):
        page = await peer.ask("session/list", {**params, **cursor}, trial.limits.session)
        found += page["sessions"]
        if not page.get("nextCursor"):
            break
        cursor = {"cursor": page["nextCursor"]}
    return found


async def _in_the_list(trial: Trial, peer: Peer) -> tuple[str, Json]:
    """A session that the list names: some agents list a session only when it has had a turn."""
    session = await trial.session_id(peer)
    for _ in range(2):
        for it in await listed(trial, peer, cwd=trial.cwd):
            if it.get("sessionId") == session:
                return session, it
        await trial.turn(peer, session)
    raise Broken(f"after session/new and a turn session/list does not name {session!r}")


@requirement("LIST-001", "conditional", "session/list names the sessions, each with its directory")
async def in_list(trial: Trial) -> None:
    peer = await trial.peer()
    trial.need(peer, CAPABILITY, "list")
    session, entry = await _in_the_list(trial, peer)
    if not _same(entry.get("cwd"), trial.cwd):
        raise Broken(f"{session!r} of {trial.cwd} is listed as {quoted(entry)}")


@requirement(
    "LIST-002", "conditional", "session/list keeps to the directory that is asked for; an empty list is a list"
)
async def list_of_directory(trial: Trial) -> None:
    peer = await trial.peer()
    trial.need(peer, CAPABILITY, "list")
    with tempfile.TemporaryDirectory(prefix="acp-check-", ignore_cleanup_errors=True) as empty:
        if found := await listed(trial, peer, cwd=empty):
            raise Broken(f"a directory without sessions has {quoted(found[0])} in session/list")
    for it in await listed(trial, peer, cwd=trial.cwd):
        if not _same(it.get("cwd"), trial.cwd):
            raise Broken(f"session/list for {trial.cwd} names {quoted(it)}")


def _same(cwd: object, other: str) -> bool:
    return isinstance(cwd, str) and os.path.realpath(cwd) == os.path.realpath(other)


@requirement("DELETE-001", "conditional", "a deleted session is listed no more")
async def delete(trial: Trial) -> None:
    peer = await trial.peer()
    trial.need(peer, CAPABILITY, "delete")
    if peer.offers(CAPABILITY, "list"):
        session, _ = await _in_the_list(trial, peer)
    else:
        session = await trial.session_id(peer)
    await peer.ask("session/delete", {"sessionId": session}, trial.limits.session)
    if peer.offers(CAPABILITY, "list"):
        names = [it.get("sessionId") for it in await listed(trial, peer, cwd=trial.cwd)]
        if session in names:
            raise Broken(f"session/list still names {session!r} after session/delete")


@requirement("DELETE-002", "advisory", "to delete what is not there succeeds")
async def delete_nothing(trial: Trial) -> None:
    peer = await trial.peer()
    trial.need(peer, CAPABILITY, "delete")
    await peer.ask("session/delete", {"sessionId": "acp-check-nobody"})


@requirement("CLOSE-001", "conditional", "a closed session takes no prompt")
async def close(trial: Trial) -> None:
    peer = await trial.peer()
    trial.need(peer, CAPABILITY, "close")
    session = await trial.session_id(peer)
    await peer.ask("session/close", {"sessionId": session}, trial.limits.session)
    turn = trial.begin_turn(peer, session, trial.blocks("say"))
    if "error" not in (answer := await turn.end()).message:
        raise Broken(f"a prompt for a closed session was answered {answer}")


@requirement("CLOSE-002", "conditional", "the prompt of a session that is closed is answered `cancelled`", turns=True)
async def close_cancels(trial: Trial) -> None:
    peer = await trial.peer()
    trial.need(peer, CAPABILITY, "close")
    session = await trial.session_id(peer)
    turn = await trial.long_turn(peer, session)
    closing = peer.begin("session/close", {"sessionId": session})
    answer = await turn.end()
    await peer.answer(closing, trial.limits.session)
    reason = answer.result.get("stopReason") if isinstance(answer.result, dict) else None
    if reason == "end_turn":
        raise NotSeen("the turn was over before the session was closed")
    if reason != "cancelled":
        raise Broken(f"session/close in mid-turn; the prompt was answered {answer}")


@requirement("ADDDIRS-001", "conditional", "further directories are taken, and listed with the session")
async def further(trial: Trial) -> None:
    peer = await trial.peer()
    trial.need(peer, CAPABILITY, "additionalDirectories")
    await trial.session(peer)
    with tempfile.TemporaryDirectory(prefix="acp-check-", ignore_cleanup_errors=True) as library:
        params = trial.new_params(additionalDirectories=[library])
        session = (await peer.ask("session/new", params, trial.limits.session))["sessionId"]
        if peer.offers(CAPABILITY, "list"):
            entry = [it for it in await listed(trial, peer, cwd=trial.cwd) if it.get("sessionId") == session]
            if entry and entry[0].get("additionalDirectories") != [library]:
                raise Broken(f"a session with {library} besides is listed as {quoted(entry[0])}")


@requirement("RULE-16", "advisory", "relative paths are refused with -32602", rules=("16",))
async def relative(trial: Trial) -> None:
    peer = await trial.peer()
    await trial.session(peer)
    wrong = []
    for path in RELATIVE:
        answer = await peer.request("session/new", {"cwd": path, "mcpServers": []}, trial.limits.session)
        if answer.code != INVALID_PARAMS:
            wrong.append(f"{path!r} was answered {answer}")
    if wrong:
        raise Broken(f"session/new with the cwd {'; '.join(wrong)}")
