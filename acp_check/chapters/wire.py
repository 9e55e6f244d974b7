"""JSON-RPC: ids, errors, notifications, extensions, what may be left out and what may stand besides."""

from typing import Any

from acp_check.hands import NEVER, allow
from acp_check.peer import Json
from acp_check.table import Broken, NotOffered, requirement
from acp_check.trial import Trial, code_of, questions
from acp_check.watch import key_of, quoted

METHOD_NOT_FOUND, INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR, NOT_FOUND = -32601, -32602, -32600, -32700, -32002
IDS: tuple[Any, ...] = (0, 7001, -3, 2**53 - 1, "7001", "", "ünïcode 🦀")
STRANGE = "Grüße, 世界, 🦀, \u2028 and \x85 in one line"
META: Json = {"_meta": {"example.com/x": [1, {"y": None}], "sessionId": "nobody", "cwd": "relative"}}


@requirement("JSONRPC-001", "mandatory", "an answer carries the id of its request, a number as a number", watched=True)
async def ids(trial: Trial) -> str:
    peer = await trial.peer()
    for identity in IDS:
        peer.begin("_acp_check/id", {}, identity=identity)
    await trial.fence(peer, f"requests with the ids {', '.join(map(repr, IDS))}")
    for identity in IDS:
        if key_of(identity) not in peer.answers:
            raise Broken(f"a request with the id {identity!r} had no answer with that id")
    return f"{len(IDS)} ids"


@requirement("JSONRPC-003", "mandatory", "a notification is never answered", rules=("31",))
async def notifications(trial: Trial) -> None:
    peer = await trial.peer()
    await trial.fence(peer, "the hand-shake")
    for method, params in (
        ("session/cancel", {"sessionId": "nobody"}),
        ("$/cancel_request", {"requestId": 990099}),
        ("no/such", {}),
        ("session/new", {}),
    ):
        before = len(peer.messages)
        peer.notify(method, params)
        await trial.fence(peer, f"the notification {method}")
        answers = [it for it in peer.messages[before:] if "method" not in it]
        if len(answers) != 1:
            raise Broken(f"the notification {method} was answered {quoted(answers[0])}")


@requirement("JSONRPC-004", "advisory", "an unknown method is answered -32601")
async def unknown_method(trial: Trial) -> None:
    peer = await trial.peer()
    for method in ("no/such", "session/update", "Initialize"):
        answer = await peer.request(method, {})
        if answer.code != METHOD_NOT_FOUND:
            raise Broken(f"{method} was answered {answer}")


@requirement("JSONRPC-005", "advisory", "after errors the agent goes on answering", rules=("31",))
async def goes_on(trial: Trial) -> None:
    peer = await trial.peer()
    peer.write(b'{"broken\n')
    await peer.request("session/new", {})
    await peer.request("no/such", {})
    await trial.fence(peer, "a broken line and two requests with errors")


@requirement("EXT-001", "mandatory", "an unknown extension request is answered -32601, a notification ignored")
async def extensions(trial: Trial) -> None:
    peer = await trial.peer()
    before = len(peer.messages)
    peer.notify("_acp_check.example/told", {"x": 1})
    answer = await peer.request("_acp_check.example/asked", {"x": 1})
    code_of(answer, METHOD_NOT_FOUND)
    if stray := [it for it in peer.messages[before:-1] if "method" not in it]:
        raise Broken(f"an unknown extension notification was answered {quoted(stray[0])}")


@requirement("META-001", "advisory", "`_meta` is taken anywhere and changes nothing", rules=("34",))
async def meta(trial: Trial) -> None:
    async with trial.fresh(handshake=False) as peer:
        await trial.hello(peer, **META)
        await trial.session(peer)
        session = await trial.session_id(peer, **META)
        if not trial.subject.turns:
            return
        await trial.turns_work()
        blocks = [{**it, **META} for it in trial.blocks("say")]
        turn = trial.begin_turn(peer, session, blocks)
        if "result" not in (answer := await turn.end()).message:
            raise Broken(f"a prompt with _meta in its blocks was answered {answer}")


@requirement("RULE-32", "advisory", "params may be missing or null where nothing is required", rules=("32",))
async def no_params(trial: Trial) -> None:
    peer = await trial.peer()
    if not peer.offers("sessionCapabilities", "list"):
        raise NotOffered("no method without required params is offered (session/list)")
    ways: tuple[Json, ...] = ({}, {"params": None}, {"params": {}})
    for params in ways:
        identity = f"no-params {params}"
        peer.send({"jsonrpc": "2.0", "id": identity, "method": "session/list", **params})
        answer = await peer.answer(identity)
        if "result" not in answer.message:
            raise Broken(f"session/list with {params or 'no params'} was answered {answer}")


@requirement("RULE-34", "advisory", "unknown keys are ignored", rules=("34",))
async def unknown_keys(trial: Trial) -> None:
    async with trial.fresh(handshake=False) as peer:
        await trial.hello(peer, workspaceFolders=[], telepathy={"range": 3})
        await trial.session(peer)
        await trial.session(peer, model="large", telepathy=True)


@requirement("RULE-35", "advisory", "$/cancel_request for another request ends no turn", rules=("35",), turns=True)
async def cancel_request(trial: Trial) -> None:
    peer = await trial.peer()
    session = await trial.session_id(peer)
    turn = await trial.long_turn(peer, session)
    peer.notify("$/cancel_request", {"requestId": 990077})
    peer.notify("$/cancel_request", {"requestId": str(turn.identity)})
    await peer.quiet()
    if turn.over and (await turn.end()).result == {"stopReason": "cancelled"}:
        raise Broken("$/cancel_request for ids that are not the prompt's ended the turn as cancelled")
    peer.notify("session/cancel", {"sessionId": session})
    await turn.end()


@requirement("INFO-PARSE", "info", "what is no JSON is answered -32700 with a null id", rules=("31",))
async def parse_error(trial: Trial) -> None:
    await _refused(trial, b'{"jsonrpc":"2.0","id":5,\n', PARSE_ERROR)


@requirement("INFO-INVALIDREQ", "info", "what is no request is answered -32600 with a null id", rules=("31",))
async def invalid_request(trial: Trial) -> None:
    await _refused(trial, b'{"jsonrpc":"2.0","method":7}\n', INVALID_REQUEST)


async def _refused(trial: Trial, line: bytes, code: int) -> None:
    peer = await trial.peer()
    before = len(peer.strays)
    peer.write(line)
    await trial.fence(peer, f"the line {line.decode().strip()}")
    if not (strays := peer.strays[before:]):
        raise Broken(f"{line.decode().strip()} had no answer, expected {code}")
    if strays[0].get("code") != code:
        raise Broken(f"{line.decode().strip()} was answered {quoted(strays[0])}, expected {code}")


@requirement("INFO-UNKNOWNSESSION", "info", "a session that nobody knows is answered -32002")
async def unknown_session(trial: Trial) -> str:
    peer = await trial.peer()
    params = {"sessionId": "acp-check-nobody", "prompt": [{"type": "text", "text": "hello"}]}
    answer = await peer.request("session/prompt", params, trial.limits.turn)
    if answer.code != NOT_FOUND:
        raise Broken(f"session/prompt for a session that is not there was answered {answer}")
    data = answer.message["error"].get("data")
    named = isinstance(data, dict) and data.get("sessionId") == "acp-check-nobody"
    return "named in the data" if named else "not named in the data"


@requirement(
    "RULE-36", "advisory", "each side numbers its own requests: one id in both directions", rules=("36",), turns=True
)
async def own_numbers(trial: Trial) -> None:
    peer = await trial.peer()
    session = await trial.session_id(peer)
    turn = await trial.asking_turn(peer, session, lambda params: NEVER)
    question = questions(peer)[-1]
    identity = question["id"]
    if key_of(identity) in peer.answers or key_of(identity) in peer.watch.open:
        # Ours was used up already: the agent has told the two apart.
        peer.respond(question, allow(question["params"]))
        await turn.end()
        return
    answer = await peer.answer(peer.begin("_acp_check/same", {}, identity=identity))
    peer.hands.permission = allow
    peer.respond(question, allow(question["params"]))
    if "result" not in (ended := await turn.end()).message:
        raise Broken(f"with the id {identity!r} open in both directions the turn ended {ended}, ours {answer}")
