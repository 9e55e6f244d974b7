"""What a client does in a turn with updates, with what it does not know, and with questions of permission."""

from typing import Any

from acp_check.client_agent import code_of, part, refused, said
from acp_check.client_run import Turn
from acp_check.client_table import Broken, Json, NotOffered, NotSeen, in_turn

METHOD_NOT_FOUND = -32601
PLAIN = {"type": "text", "text": "of the scripted agent"}
KINDS: list[Json] = [
    {"sessionUpdate": "user_message_chunk", "content": PLAIN},
    {"sessionUpdate": "agent_thought_chunk", "content": PLAIN, "messageId": "m1"},
    {"sessionUpdate": "agent_message_chunk", "content": {"type": "image", "data": "aGk=", "mimeType": "image/png"}},
    {"sessionUpdate": "agent_message_chunk", "content": {"type": "audio", "data": "aGk=", "mimeType": "audio/wav"}},
    {
        "sessionUpdate": "agent_message_chunk",
        "content": {"type": "resource_link", "uri": "file:///tmp/a", "name": "a", "size": 1 << 40},
    },
    {
        "sessionUpdate": "agent_message_chunk",
        "content": {"type": "resource", "resource": {"uri": "file:///tmp/a", "text": "a"}},
    },
    {
        "sessionUpdate": "tool_call",
        "toolCallId": "all",
        "title": "Everything",
        "kind": "edit",
        "status": "in_progress",
        "rawInput": [1, None, "x"],
        "locations": [{"path": "/tmp/a", "line": 1}],
        "content": [
            {"type": "content", "content": PLAIN},
            {"type": "diff", "path": "/tmp/a", "oldText": None, "newText": "a\n"},
        ],
    },
    {"sessionUpdate": "tool_call_update", "toolCallId": "all", "status": "failed", "rawOutput": {"x": 1}},
    {
        "sessionUpdate": "plan",
        "entries": [{"content": "look", "priority": "high", "status": "in_progress"}],
    },
    {"sessionUpdate": "plan", "entries": []},
    {
        "sessionUpdate": "available_commands_update",
        "availableCommands": [{"name": "web", "description": "Looks", "input": {"hint": "for what"}}],
    },
    {"sessionUpdate": "session_info_update", "title": "A title", "updatedAt": "2026-01-01T00:00:00Z"},
    {"sessionUpdate": "session_info_update", "title": None},
    {"sessionUpdate": "usage_update", "used": 10, "size": 200_000, "cost": {"amount": 0.25, "currency": "USD"}},
]


def option(option_id: str, kind: str) -> Json:
    """An option of a permission request."""
    return {"optionId": option_id, "name": option_id.capitalize(), "kind": kind}


def question(options: list[Json], title: str = "Touch a file") -> Json:
    """The params of a permission request, less the session."""
    return {
        "toolCall": {"toolCallId": "asked", "title": title, "kind": "edit", "status": "pending"},
        "options": options,
    }


# ── updates ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@in_turn("UPDATE-002", "mandatory", "An update of a kind that it does not know is dropped, and the session goes on")
async def _(turn: Turn) -> None:
    await turn.update({"sessionUpdate": "of_another_version", "content": PLAIN, "x": 1})


@in_turn("UPDATE-003", "mandatory", "A tool_call_update that comes before its tool_call is taken")
async def _(turn: Turn) -> None:
    progress = {"sessionUpdate": "tool_call_update", "toolCallId": "early", "title": "Read", "status": "in_progress"}
    await turn.update(progress, {"sessionUpdate": "tool_call", "toolCallId": "early", "title": "Read a file"})


@in_turn("UPDATE-004", "mandatory", "Updates of every kind of v1 are taken")
async def _(turn: Turn) -> None:
    for update in KINDS:
        await turn.update(update)
        if not await turn.alive():
            raise Broken(f"it was gone after {update}")


@in_turn("UPDATE-005", "mandatory", "Keys that it does not know, and _meta, are ignored")
async def _(turn: Turn) -> None:
    meta = {"_meta": {"example.com/x": [1]}, "ownKey": 1}
    params = {"sessionId": turn.session, "update": {**said("."), **meta}, **meta}
    await turn.agent.send({"method": "session/update", "params": params})


@in_turn("UPDATE-006", "advisory", "A malformed optional member becomes its default, and costs nothing else")
async def _(turn: Turn) -> None:
    call = {"sessionUpdate": "tool_call", "toolCallId": "odd", "title": "Odd", "kind": 5, "status": "cancelled"}
    await turn.update({**call, "locations": [7, {"path": "/tmp/a"}]})


@in_turn("UPDATE-007", "advisory", "An update that is malformed altogether is dropped alone")
async def _(turn: Turn) -> None:
    await turn.update({"sessionUpdate": "agent_message_chunk", "content": 5}, {"sessionUpdate": "plan"}, {})


@in_turn("UPDATE-008", "advisory", "Half of a surrogate pair in a text is no end of anything")
async def _(turn: Turn) -> None:
    await turn.update(said("\ud800"))


@in_turn("SESSION-004", "mandatory", "An update of a session that it does not know is no error")
async def _(turn: Turn) -> None:
    await turn.agent.update("nobody's session", said("astray"))


# ── what it does not know ────────────────────────────────────────────────────────────────────────────────────────────


async def _not_found(turn: Turn, method: str) -> None:
    answer = await turn.ask(method)
    if code_of(answer) != METHOD_NOT_FOUND:
        raise Broken(f"{method} was answered {_told(answer)}")


@in_turn("EXT-001", "mandatory", "A request of somebody's own (`_x`) is answered -32601")
async def _(turn: Turn) -> None:
    await _not_found(turn, "_acp_check.example/unknown")


@in_turn("EXT-002", "mandatory", "A request that v1 does not have is answered -32601")
async def _(turn: Turn) -> None:
    await _not_found(turn, "fs/delete_everything")
    await _not_found(turn, "session/new")


@in_turn("EXT-003", "mandatory", "A notification that it does not know is ignored, and never answered")
async def _(turn: Turn) -> None:
    await turn.agent.send({"method": "_acp_check.example/news", "params": {"x": 1}}, {"method": "session/of_2030"})
    await turn.agent.send({"method": "$/cancel_request", "params": {"requestId": "nobody's"}})


@in_turn("EXT-004", "mandatory", "A request whose params are malformed is answered with an error")
async def _(turn: Turn) -> None:
    malformed: list[Any] = [{}, {"sessionId": turn.session, "options": "x"}, [], None]
    for params in malformed:
        answer = await turn.agent.ask("session/request_permission", params)
        if not refused(answer):
            raise Broken(f"params {params} were answered {_told(answer)}")


@in_turn("EXT-005", "advisory", "Malformed params are -32602")
async def _(turn: Turn) -> None:
    answer = await turn.agent.ask("session/request_permission", {"sessionId": turn.session})
    if not refused(answer, (-32602,)):
        raise Broken(f"answered {_told(answer)}")


async def _same_ids(turn: Turn, ids: list[Any]) -> None:
    for one in ids:
        try:
            await turn.agent.ask("_acp_check/ping", {}, id=one)
        except Broken:
            raise Broken(f"no answer with the id {one!r} in {turn.agent.limit:g} s") from None


@in_turn("WIRE-005", "mandatory", "Ids come back as they were, numbers and strings, its own open ones too")
async def _(turn: Turn) -> None:
    await _same_ids(turn, [0, -1, 2**31, "", "a", "1", "Привет 🙂", turn.request["id"]])


@in_turn("WIRE-006", "advisory", "The ids null and 2⁵³ + 1 come back as they were")
async def _(turn: Turn) -> None:
    for rounded in (2**53, 2**53 + 2):
        turn.agent.judge.forgotten(rounded)  # this row says it, no other has to
    await _same_ids(turn, [None, 2**53 + 1])


# ── permission ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _told(answer: Json) -> str:
    return str({key: value for key, value in answer.items() if key in ("result", "error")})


async def chosen(turn: Turn, options: list[Json]) -> str | None:
    """The option that it takes, None for `cancelled`; `Broken` for anything else, `NotSeen` while nobody answers."""
    agent = turn.agent
    request = await agent.begin("session/request_permission", {"sessionId": turn.session, **question(options)})
    try:
        answer = await agent.answer(request)
    except Broken as why:
        agent.judge.forgotten(request)
        await agent.send({"method": "$/cancel_request", "params": {"requestId": request}})
        raise NotSeen(f"{why}: perhaps a person is asked") from None
    outcome = part(answer, "result").get("outcome")
    if not isinstance(outcome, dict):
        raise Broken(f"answered {_told(answer)}")
    if outcome.get("outcome") == "cancelled":
        return None
    picked = outcome.get("optionId")
    if outcome.get("outcome") != "selected" or picked not in [it["optionId"] for it in options]:
        raise Broken(f"answered {outcome}, where {[it['optionId'] for it in options]} were offered")
    return str(picked)


@in_turn("PERM-001", "mandatory", "A permission request is answered with an option that was offered, or cancelled")
async def _(turn: Turn) -> None:
    await chosen(turn, [option("no/ü 🙂", "reject_once"), option("yes, once", "allow_once")])
    await chosen(turn, [option("no", "reject_once")])


@in_turn("PERM-002", "mandatory", "What may be allowed for once is not allowed for always, unless a person says so")
async def _(turn: Turn) -> None:
    for others in ((), ("reject_once",), ("reject_once", "reject_always")):
        for kinds in (("allow_always", "allow_once", *others), (*others, "allow_once", "allow_always")):
            await _not_always(turn, kinds)


@in_turn("PERM-007", "advisory", "What can only be allowed for always is not allowed, unless a person says so")
async def _(turn: Turn) -> None:
    await _not_always(turn, ("allow_always", "reject_once"))
    await _not_always(turn, ("allow_always",))


async def _not_always(turn: Turn, kinds: tuple[str, ...]) -> None:
    if (picked := await chosen(turn, [option(kind, kind) for kind in kinds])) == "allow_always":
        raise Broken(f"of {', '.join(kinds)} it took {picked}, and nobody was asked")


@in_turn("PERM-003", "mandatory", "Where no options are offered the answer is cancelled, or an error")
async def _(turn: Turn) -> None:
    answer = await turn.ask("session/request_permission", **question([]))
    if not refused(answer) and part(answer, "result").get("outcome") != {"outcome": "cancelled"}:
        raise Broken(f"answered {_told(answer)}")


@in_turn("PERM-004", "advisory", "Options whose ids do not tell them apart are answered with cancelled, or an error")
async def _(turn: Turn) -> None:
    options = [option("same", "allow_always"), option("same", "reject_once")]
    answer = await turn.ask("session/request_permission", **question(options))
    if not refused(answer) and part(part(answer, "result"), "outcome").get("outcome") != "cancelled":
        raise Broken(f"answered {_told(answer)}")


# ── what it advertises ───────────────────────────────────────────────────────────────────────────────────────────────


async def _honest(turn: Turn, capability: str, method: str, **params: Any) -> None:
    """What is not advertised is answered -32601; what is, is not."""
    offered = turn.agent.client_offers(capability)
    answer = await turn.ask(method, **params)
    if offered == (code_of(answer) == METHOD_NOT_FOUND):
        raise Broken(f"{capability} is {'' if offered else 'not '}advertised, and {method} answered {_told(answer)}")


@in_turn("CAPS-001", "mandatory", "fs/read_text_file is served where it is advertised, and -32601 where it is not")
async def _(turn: Turn) -> None:
    await _honest(turn, "fs.readTextFile", "fs/read_text_file", path=f"{turn.run.project}/missing.txt")


@in_turn("CAPS-002", "mandatory", "fs/write_text_file is served where it is advertised, and -32601 where it is not")
async def _(turn: Turn) -> None:
    path = f"{turn.run.project}/written-first.txt"
    await _honest(turn, "fs.writeTextFile", "fs/write_text_file", path=path, content="x")


@in_turn("CAPS-003", "mandatory", "Terminals are served where they are advertised, and -32601 where they are not")
async def _(turn: Turn) -> None:
    for method in ("output", "wait_for_exit", "kill", "release"):
        await _honest(turn, "terminal", f"terminal/{method}", terminalId="nobody's")
    await _honest(turn, "terminal", "terminal/create", command="true")


FORM: Json = {"mode": "form", "requestedSchema": {"type": "object", "properties": {}}}
ADDRESS: Json = {"mode": "url", "elicitationId": "e0", "url": "https://example.com/"}


async def _not_advertised(turn: Turn) -> list[tuple[str, Json]]:
    """What is answered in the modes of elicitation/create that it does not advertise."""
    asked = [it for it in (FORM, ADDRESS) if not turn.agent.client_offers(f"elicitation.{it['mode']}")]
    if not asked:
        raise NotOffered("it advertises all modes")
    return [(it["mode"], await turn.ask("elicitation/create", message="?", **it)) for it in asked]


@in_turn("CAPS-004", "mandatory", "A form or an address that it does not advertise is accepted by nobody")
async def _(turn: Turn) -> None:
    for mode, answer in await _not_advertised(turn):
        if not refused(answer) and part(answer, "result").get("action") not in ("decline", "cancel"):
            raise Broken(f"the mode {mode} is not advertised, and was answered {_told(answer)}")


@in_turn("CAPS-005", "advisory", "A form or an address that it does not advertise is -32602, or -32601")
async def _(turn: Turn) -> None:
    for mode, answer in await _not_advertised(turn):
        if not refused(answer, (METHOD_NOT_FOUND, -32602)):
            raise Broken(f"the mode {mode} is not advertised, and was answered {_told(answer)}")
