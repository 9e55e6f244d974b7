"""How a client opens a conversation, carries out a plain turn, cancels one, and ends when its agent does not behave."""

import re
from collections.abc import Callable
from typing import Any

from acp_check.client_agent import Agent, Answer, part, said
from acp_check.client_run import Run, Script, Turn
from acp_check.client_table import Broken, Gone, Json, NotSeen, Row, opening, scene
from acp_check.client_turns import option, question

CHUNKS = 2000
FLOOD_BYTES = 8 * 1024 * 1024
DAEMON_SECONDS = 1.0
WORDS = "acp-check: these are the last words of the agent"
LOST = -32603
AUTH_REQUIRED = -32000

# ── opening ──────────────────────────────────────────────────────────────────────────────────────────────────────────

SELECT = {
    "type": "select",
    "id": "model",
    "name": "Model",
    "category": "_acp_check.example",
    "currentValue": "a",
    "options": [{"value": "a", "name": "A"}, {"value": "b", "name": "B"}],
}
DIAL = {"type": "dial", "id": "dial", "name": "Dial", "currentValue": 7, "notches": 11}


@opening("INIT-003", "mandatory", "What it does not know in the answer to initialize is ignored", group="more")
def _(script: Script) -> None:
    capabilities = {
        "loadSession": False,
        "sessionCapabilities": {"list": None, "ofAnotherVersion": {}},
        "ofAnotherVersion": {"x": 1},
        "_meta": {"example.com/x": True},
    }
    script.initialize = {**script.initialize, "agentCapabilities": capabilities, "authMethods": [], "ownKey": 1}


@opening("LINE-009", "advisory", "What an agent prints before its first message is skipped", group="more")
def _(script: Script) -> None:
    script.banner = b"Welcome to the agent!\n\x1b[2J{...\n"


@opening("INIT-004", "mandatory", "An answer to initialize with nothing but the version will do", group="less")
def _(script: Script) -> None:
    script.initialize = {"protocolVersion": 1}


@opening("SESSION-003", "mandatory", "Updates that come before the id of their session are no error", group="more")
def _(script: Script) -> None:
    command = {"name": "web", "description": "Looks", "input": None}
    script.early = [{"sessionUpdate": "available_commands_update", "availableCommands": [command]}, said("early")]
    script.at_once = [{"sessionUpdate": "available_commands_update", "availableCommands": []}, said("at once")]


@opening("SESSION-005", "mandatory", "A session's id may be any text", group="less")
def _(script: Script) -> None:
    script.session_id = "../a b/ü🙂?x=1&y#'\"\\"


@opening("CONFIG-001", "mandatory", "An option of a type that it does not know is ignored alone", group="more")
def _(script: Script) -> None:
    script.session = {**script.session, "configOptions": [DIAL, SELECT]}
    script.at_once = [*script.at_once, {"sessionUpdate": "config_option_update", "configOptions": [SELECT, DIAL]}]


@opening(
    "CONFIG-002", "mandatory", "A category that it does not know is no error, nor is a grouped option", group="less"
)
def _(script: Script) -> None:
    groups = [{"group": "g", "name": "G", "options": SELECT["options"]}]
    strange = {**SELECT, "id": "other", "category": "of_another_version"}
    script.session = {**script.session, "configOptions": [{**strange, "options": groups}], "modes": None}


@opening("UPDATE-009", "mandatory", "Updates that come after the answer to a prompt are no error", group="less")
def _(script: Script) -> None:
    script.late = [said("late"), {"sessionUpdate": "usage_update", "used": 1, "size": 2}]


# ── a plain turn ─────────────────────────────────────────────────────────────────────────────────────────────────────


@scene(
    Row("TURN-001", "mandatory", "It opens a session and sends a prompt"),
    Row("UPDATE-001", "mandatory", "What is said arrives whole and in order, before the end of the turn"),
    Row("PROC-011", "advisory", "An agent is let end by itself: its stdin is closed, or SIGTERM sent"),
)
async def plain(run: Run) -> None:
    try:
        turn = await run.prompted()
    except NotSeen as why:
        run.settle("TURN-001", Broken(str(why)) if run.agents else why)
        raise
    pieces = [f"q{number:04d} " for number in range(CHUNKS)]
    await turn.end("end_turn", *map(said, pieces))
    run.settle("TURN-001")
    run.kit.usual = await run.ended(max(run.kit.limit + run.kit.grace, run.kit.startup / 4))
    await run.settling("UPDATE-001", lambda: _shown(run, pieces))
    await run.settling("PROC-011", lambda: _let_end(run, turn))


async def _shown(run: Run, pieces: list[str]) -> None:
    await run.ended()
    run.out.read()
    printed = run.out.text()
    found = re.findall(r"q\d{4}", printed)
    wanted = [piece.strip() for piece in pieces]
    if run.kit.shows_text and "".join(pieces).strip() not in printed:
        raise Broken(f"the text of {CHUNKS} pieces does not stand in what it printed: {_first_gap(found, wanted)}")
    if not found:
        raise NotSeen("it does not print what the agent says; if it does, say so with --shows-text")
    # Once as they come, and perhaps once more as a whole.
    if list(dict.fromkeys(found)) != wanted:
        raise Broken(_first_gap(found, wanted))


def _first_gap(found: list[str], wanted: list[str]) -> str:
    pairs = zip(dict.fromkeys(found), wanted, strict=False)
    at = next((number for number, (one, other) in enumerate(pairs) if one != other), len(set(found)))
    after = f"after {wanted[at - 1]} came" if at else "first came"
    came = list(dict.fromkeys(found))[at : at + 1]
    return f"{len(set(found))} of {len(wanted)} pieces arrived, {after} {came[0] if came else 'nothing more'}"


async def _let_end(run: Run, turn: Turn) -> None:
    agent = turn.agent
    if not await run.changes.until(lambda: agent.input_ended or agent.signals or agent.gone, run.kit.grace):
        raise NotSeen("it had not ended its agent yet")
    if agent.gone and not agent.input_ended and not agent.signals:
        raise Broken("the agent was killed at once")


# ── agents that do not behave ────────────────────────────────────────────────────────────────────────────────────────


def crashing(method: str) -> Callable[[Script], None]:
    """The agent says something on stderr and is gone when it is asked that."""

    async def crash(agent: Agent, request: Json) -> None:
        await agent.do("exit", wait=False, code=3, words=f"{WORDS}\n")

    return _answering(method, crash)


def failing(method: str) -> Callable[[Script], None]:
    """The agent answers that with an error."""

    async def fail(agent: Agent, request: Json) -> None:
        await agent.error(request, LOST, "the agent has lost its mind")

    return _answering(method, fail)


def _answering(method: str, answer: Answer) -> Callable[[Script], None]:
    return lambda script: script.answers.update({method: answer})


async def ends_with_an_error(run: Run) -> None:
    """Whatever it was started for, it cannot do."""
    await run.agent()
    await run.fails()


async def _crash(run: Run, row: str, words: str) -> None:
    async def told() -> None:
        await run.fails()
        run.err.read()
        run.out.read()
        if WORDS not in run.err.text() + run.out.text():
            raise Broken(f"the agent's last words on stderr are nowhere: {run.told()}")

    await run.settling(row, lambda: ends_with_an_error(run))
    await run.settling(words, told)


@scene(
    Row("PROC-005", "mandatory", "An agent that dies in initialize is the client's end, with an error"),
    Row("PROC-006", "advisory", "That error has the end of what the agent wrote on stderr (initialize)"),
    script=crashing("initialize"),
)
async def crash_in_initialize(run: Run) -> None:
    await _crash(run, "PROC-005", "PROC-006")


@scene(
    Row("PROC-007", "mandatory", "An agent that dies in session/new is the client's end, with an error"),
    Row("PROC-008", "advisory", "That error has the end of what the agent wrote on stderr (session/new)"),
    script=crashing("session/new"),
)
async def crash_in_new(run: Run) -> None:
    await _crash(run, "PROC-007", "PROC-008")


@scene(
    Row("PROC-009", "mandatory", "An agent that dies in a turn is the client's end, with an error"),
    Row("PROC-010", "advisory", "That error has the end of what the agent wrote on stderr (session/prompt)"),
    script=crashing("session/prompt"),
)
async def crash_in_prompt(run: Run) -> None:
    await _crash(run, "PROC-009", "PROC-010")


async def _close(agent: Agent, request: Json) -> None:
    await agent.do("close", wait=False)


@scene(
    Row("PROC-013", "mandatory", "An agent that closes its stdout in a turn is the client's end, with an error"),
    script=_answering("session/prompt", _close),
)
async def closed(run: Run) -> None:
    await run.settling("PROC-013", lambda: ends_with_an_error(run))


def _missing(script: Script) -> None:
    script.agent = ["/no/such/agent", "--acp"]


@scene(
    Row("PROC-014", "mandatory", "An agent that cannot be started is the client's end, with an error"),
    script=_missing,
)
async def missing(run: Run) -> None:
    async def fails() -> None:
        await run.fails(run.kit.startup)

    await run.settling("PROC-014", fails)


@scene(
    Row("ERROR-001", "mandatory", "An error for session/new is the client's end, with an error"),
    script=failing("session/new"),
)
async def error_in_new(run: Run) -> None:
    await run.settling("ERROR-001", lambda: ends_with_an_error(run))


@scene(
    Row("ERROR-002", "mandatory", "An error for a prompt ends the turn, with an error"),
    script=failing("session/prompt"),
)
async def error_in_prompt(run: Run) -> None:
    await run.settling("ERROR-002", lambda: ends_with_an_error(run))


def _other_version(script: Script) -> None:
    script.initialize = {**script.initialize, "protocolVersion": 65_535}


@scene(
    Row("INIT-005", "mandatory", "It goes no further with an agent of a version that it does not speak"),
    script=_other_version,
)
async def other_version(run: Run) -> None:
    async def stops() -> None:
        agent = await run.agent()
        on = ("session/new", "session/load", "session/prompt")

        def went_on() -> list[str]:
            return [it["method"] for it in agent.calls if it["method"] in on]

        await run.changes.until(lambda: agent.lost or went_on(), run.kit.limit)
        if went_on():
            raise Broken(f"the agent speaks version 65535, and was asked for {went_on()[0]}")
        if not agent.lost:
            raise Broken(f"it had not closed the connection after {run.kit.limit:g} s")

    await run.settling("INIT-005", stops)


def _wants_a_person(script: Script) -> None:
    async def new(agent: Agent, request: Json) -> None:
        await agent.error(request, AUTH_REQUIRED, "Authentication required")

    methods: list[Json] = [
        {"id": "browser", "name": "In a browser"},
        {"type": "terminal", "id": "console", "name": "In a terminal", "args": ["--login"]},
    ]
    script.initialize = {**script.initialize, "authMethods": methods[:1]}
    script.answers["session/new"] = new

    async def initialize(agent: Agent, request: Json) -> None:
        offered = methods if agent.client_offers("auth.terminal") else methods[:1]
        await agent.result(request, {**script.initialize, "authMethods": offered})

    async def authenticate(agent: Agent, request: Json) -> None:
        await agent.error(request, LOST, "nobody came")

    script.answers.update({"initialize": initialize, "authenticate": authenticate})


@scene(
    Row("AUTH-001", "mandatory", "Where a sign-in is wanted it ends with an error, or asks for one that is offered"),
    script=_wants_a_person,
)
async def signed_out(run: Run) -> None:
    async def ends() -> None:
        agent = await run.agent()
        try:
            await ends_with_an_error(run)
        finally:
            asked = [part(it, "params").get("methodId") for it in agent.calls if it["method"] == "authenticate"]
            if any(one != "browser" for one in asked):
                raise Broken(f"authenticate was asked for {asked}; it may be asked for 'browser'")

    await run.settling("AUTH-001", ends)


# ── processes ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _flooding(script: Script) -> None:
    async def initialize(agent: Agent, request: Json) -> None:
        await agent.do("flood", bytes=FLOOD_BYTES)
        await agent.result(request, script.initialize)

    script.answers["initialize"] = initialize


@scene(
    Row("PROC-001", "mandatory", "stderr is drained: 8 MiB in initialize and in a turn hold nothing up"),
    script=_flooding,
)
async def flooded(run: Run) -> None:
    async def drained() -> None:
        agent = await run.agent()
        await agent.until(lambda: agent.prompts, "with 8 MiB on stderr no prompt came", 2 * run.kit.limit)
        turn = await run.prompted()
        await agent.do("flood", bytes=FLOOD_BYTES)
        await turn.end()
        await run.ends_as_usual()

    await run.settling("PROC-001", drained)


@scene(
    Row("PROC-002", "mandatory", "When it ends so has its agent, which ignores SIGTERM and the end of stdin"),
    Row("PROC-003", "mandatory", "When it ends so have the agent's children, its whole process group"),
    Row("PROC-004", "advisory", "When it ends so have those of the agent's children that left its group"),
    Row("PROC-012", "advisory", "The agent has the person's PATH and HOME"),
)
async def stubborn(run: Run) -> None:
    turn = await run.prompted()
    agent = turn.agent
    await agent.do("stubborn")
    for name in ("child", "daemon"):
        await agent.do("start", name=name, detached=name == "daemon")
        if not await run.holds(name, run.kit.startup):
            raise NotSeen(f"the agent could not start a child: {run.told()}")
    await turn.end()
    missing = {"PATH", "HOME"} - set(agent.hello["env"])
    run.settle("PROC-012", Broken(f"it has no {', '.join(sorted(missing))}") if missing else None)
    if await run.ended() is None:
        seconds = run.kit.limit + run.kit.grace
        if run.kit.usual is not None:
            run.settle("PROC-002", Broken(f"it did not end in {seconds:g} s, as it otherwise does"))
        raise NotSeen("it does not end by itself")
    left = await run.all_gone(["child"], run.kit.grace)
    if await run.all_gone(["daemon"], DAEMON_SECONDS):
        left.append("daemon")
    for row, name in (("PROC-002", "the agent"), ("PROC-003", "child"), ("PROC-004", "daemon")):
        why = f"{name} still runs, {run.kit.grace:g} s after the client has ended"
        run.settle(row, Broken(why) if name in left else None)


# ── cancelling ───────────────────────────────────────────────────────────────────────────────────────────────────────


@scene(
    Row("CANCEL-001", "conditional", "Told to stop (SIGINT) it sends session/cancel"),
    Row("CANCEL-002", "conditional", "It takes updates and requests until the cancelled prompt is answered"),
    Row("PERM-005", "conditional", "A question that is open when it cancels is answered cancelled"),
    Row("PERM-006", "advisory", "A question that comes after it has cancelled is answered cancelled"),
)
async def cancelled(run: Run) -> None:
    turn = await run.prompted()
    agent = turn.agent
    await turn.find_out()
    options = [option("no", "reject_once"), option("once", "allow_once")]
    asked = {"sessionId": turn.session, **question(options, "Wait until it is cancelled")}
    questions = [await agent.begin("session/request_permission", asked) for _ in range(2)]
    await agent.update(turn.session, said("working"))
    await turn.alive()
    open_ones = [one for one in questions if agent.answered(one) is None]
    run.interrupt()

    def instead() -> bool:
        """Whether it has given up the request, which is not what cancels a turn."""
        given_up = [part(it, "params") for it in agent.calls if it["method"] == "$/cancel_request"]
        return any(it.get("requestId") == turn.request["id"] for it in given_up)

    await run.changes.until(lambda: agent.cancelled or agent.lost or instead(), run.kit.limit)
    if not agent.cancelled and instead():
        raise Broken("it sent $/cancel_request for the prompt, and no session/cancel")
    if not agent.cancelled:
        raise NotSeen("SIGINT did not make it cancel" + ("" if agent.lost else ", nor end"))
    run.settle("CANCEL-001")
    await run.settling("PERM-005", lambda: _all_cancelled(agent, open_ones))
    await run.settling("CANCEL-002", lambda: _goes_on(turn))
    if not agent.lost:
        await run.settling("PERM-006", lambda: _later(turn, asked))
        await turn.end("cancelled")


async def _all_cancelled(agent: Agent, questions: list[Any]) -> None:
    if not questions:
        raise NotSeen("nobody had to be asked: the questions were answered at once")
    for one in questions:
        answer = await agent.answer(one)
        if part(answer, "result").get("outcome") != {"outcome": "cancelled"}:
            raise Broken(f"answered {answer.get('error') or answer.get('result')}")


async def _goes_on(turn: Turn) -> None:
    try:
        await turn.update(said("the last of it"))
        alive = await turn.alive()
    except Gone:
        alive = False
    if not alive:
        raise Broken("after session/cancel it answered nothing more")


async def _later(turn: Turn, asked: Json) -> None:
    await _all_cancelled(turn.agent, [await turn.agent.begin("session/request_permission", asked)])


# ── what takes as long as the client's own limits ────────────────────────────────────────────────────────────────────


async def _never(agent: Agent, request: Json) -> None:
    """No answer."""


@scene(
    Row("INIT-006", "advisory", "An agent that never answers initialize is given up"),
    script=_answering("initialize", _never),
    needs="silence",
)
async def silent(run: Run) -> None:
    async def given_up() -> None:
        await run.agent()
        if await run.ended(run.kit.silence) is None:
            raise Broken(f"it still waited after {run.kit.silence:g} s")

    await run.settling("INIT-006", given_up)


@scene(
    Row("CANCEL-003", "advisory", "An agent that ignores session/cancel is given up"),
    needs="silence",
)
async def deaf(run: Run) -> None:
    async def given_up() -> None:
        turn = await run.prompted()
        run.interrupt()
        await run.changes.until(lambda: turn.agent.cancelled or turn.agent.lost, run.kit.limit)
        if not turn.agent.cancelled:
            raise NotSeen("SIGINT did not make it cancel")
        if await run.ended(run.kit.silence) is None:
            raise Broken(f"it still waited {run.kit.silence:g} s after session/cancel")

    await run.settling("CANCEL-003", given_up)
