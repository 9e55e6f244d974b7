"""What a person can say to the agent itself: `/name`, perhaps with text behind it, as the whole of a prompt.

A command is logged as one and no model reads it, nor what it answers. A prompt that begins with a slash and names none
is a prompt like any other.
"""

import contextlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anyio import get_cancelled_exc_class

from acp_wire import build
from acp_wire.errors import RpcError

if TYPE_CHECKING:
    from ars_acp.session import Entry
    from ars_acp.turn import Turn

_COMMAND = re.compile(r"\s*/([a-z]+)(?:\s+(.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Command:
    """A row of `COMMANDS`. `run` takes the text behind the name and returns what the person reads, as Markdown."""

    name: str
    description: str
    run: "Callable[[Turn, str], Awaitable[str]]"
    hint: str | None = None
    needs: frozenset[str] = frozenset()  # of Hands.can
    plans: bool = False  # with text behind it, it is a turn of the model that plans and changes nothing


def available(can: frozenset[str]) -> dict[str, Any]:
    """The update that lists what a client with these abilities can use."""
    listed = [command for command in COMMANDS if command.needs <= can]
    return build.available_commands_update(
        [build.available_command(command.name, command.description, hint=command.hint) for command in listed]
    )


async def run_prompt(turn: "Turn", said: "Entry") -> str:
    """Carries out a prompt, be it a command or a turn of the model; as `run_turn`."""
    from ars_acp.turn import run_turn

    command, text = _command(said)
    if command is None:
        return await run_turn(turn, said)
    if command.plans and text:
        turn.planning = True
        return await run_turn(turn, said)
    return await _run(turn, said, command, text)


def _command(said: "Entry") -> tuple[Command | None, str]:
    match = _COMMAND.fullmatch(said["text"]) if said["content"][0]["type"] == "text" else None
    if match is None:
        return None, ""
    found = next((command for command in COMMANDS if command.name == match[1]), None)
    return found, (match[2] or "").strip()


async def _run(turn: "Turn", said: "Entry", command: Command, text: str) -> str:
    from ars_acp.turn import close

    session = turn.session
    session.record({**said, "type": "command"})
    stop, why = "error", "an error ended the command"
    try:
        answer = await _answer(turn, command, text)
        turn.streamer.update(build.agent_message_chunk(answer, session.next_id("msg")))
        stop = "end_turn"
    except get_cancelled_exc_class():
        stop, why = "cancelled", "the person cancelled it"
        raise
    finally:
        close(turn, why)
        session.record({"type": "turn", "stop": stop})
    turn.log.info("command.run", session=session.id, command=command.name)
    return stop


async def _answer(turn: "Turn", command: Command, text: str) -> str:
    from ars_acp.hands import HandsError
    from ars_acp.models.model import ModelError

    if not command.needs <= turn.hands.can:
        return f"`/{command.name}` needs an editor that reads and writes files for its agent."
    try:
        return await command.run(turn, text)
    except (HandsError, ModelError, RpcError) as exc:
        return exc.message


async def _help(turn: "Turn", text: str) -> str:
    rows = [command for command in COMMANDS if command.needs <= turn.hands.can]
    return "\n".join(
        f"- `/{command.name}{f' [{command.hint}]' if command.hint else ''}`: {command.description}" for command in rows
    )


async def _model(turn: "Turn", text: str) -> str:
    if text:
        await _choose(turn, "model", text)
        return f"The model is `{text}` now."
    name = turn.model.name or await turn.model.resolve_name()
    others = [f"`{other}`" for other in turn.config.models.names(name) if other != name]
    return f"The model is `{name}`" + (f"; there are also {', '.join(others)}." if others else ".")


async def _mode(turn: "Turn", text: str) -> str:
    from ars_acp.permissions import MODES

    session = turn.session
    if not text:
        others = ", ".join(f"`{mode}`" for mode in MODES if mode != session.mode)
        return f"The mode is `{session.mode}`; there are also {others}."
    if text not in MODES:
        return f"There is no such mode; choose one of {', '.join(f'`{mode}`' for mode in MODES)}."
    await _choose(turn, "mode", text)
    return f"The mode is `{text}` now."


async def _choose(turn: "Turn", option_id: str, value: str) -> None:
    for update in await turn.config.choose(option_id, value, f"/{option_id}"):
        turn.streamer.update(update)


async def _plan(turn: "Turn", text: str) -> str:
    from ars_acp.export import plan_text
    from ars_acp.rewind import standing

    plan = None
    for _, entry in standing(turn.session.log.read()):
        if entry["type"] == "update" and entry["update"]["sessionUpdate"] == "plan":
            plan = entry["update"]
    if plan is None or not plan["entries"]:
        return "There is no plan yet. `/plan` with a task behind it makes one."
    return plan_text(plan["entries"])


async def _compact(turn: "Turn", text: str) -> str:
    from ars_acp.compaction import compact

    await turn.model.warm()
    refused = await compact(turn, text or None, in_turn=False)
    if refused is None:
        return "The conversation was summed up; the model goes on from the summary."
    return f"Nothing was changed: {refused}"


async def _usage(turn: "Turn", text: str) -> str:
    requests = read = written = 0
    costs: dict[str, float] = {}
    for _, entry in turn.session.log.read():
        if entry["type"] not in ("reply", "compaction"):
            continue
        requests += 1
        usage = entry.get("usage") or {}
        read += usage.get("input", 0)
        written += usage.get("output", 0)
        cost = usage.get("cost")
        if cost:
            costs[cost["currency"]] = costs.get(cost["currency"], 0.0) + cost["amount"]
    told = f"Replies: {requests}. Tokens read: {read:,}, written: {written:,}."
    return told + "".join(f" Cost: {amount:.4f} {currency}." for currency, amount in costs.items())


async def _export(turn: "Turn", text: str) -> str:
    from ars_acp.export import markdown
    from ars_acp.transfer import lines

    session = turn.session
    path = session.roots.resolve(text or f"session-{session.id.removeprefix('sess_')[:8]}.md")
    entries = list(session.log.read())[:-1]  # without this command
    if path.endswith(".jsonl"):
        return await _write(turn, path, b"".join(lines(session.id, entries)).decode())
    return await _write(turn, path, markdown(session.id, session.facts.title, entries))


async def _memory(turn: "Turn", text: str) -> str:
    from ars_acp.hands import NotFound
    from ars_acp.prompt import INSTRUCTIONS_FILE

    path = turn.session.roots.resolve(INSTRUCTIONS_FILE)
    kept = ""
    with contextlib.suppress(NotFound):
        kept = await turn.hands.read(path)
    if not text:
        return (
            kept if kept.strip() else f"There is no {INSTRUCTIONS_FILE} yet. `/memory` with text behind it begins one."
        )
    newline = "\r\n" if "\r\n" in kept else "\n"
    begun = kept if not kept or kept.endswith("\n") else kept + newline
    turn.session.instructions = None  # the next turn reads it again
    return await _write(turn, path, f"{begun}- {' '.join(text.split())}{newline}")


async def _undo(turn: "Turn", text: str) -> str:
    from ars_acp.rewind import NothingToRewind, last_turns
    from ars_acp.undo import told, undo

    if text and not (text.isascii() and text.isdigit() and int(text[:9]) > 0):
        return "`/undo` takes a number of turns, or nothing: then it is the last one."
    turns = int(text[:9]) if text else 1
    command = max(number for number, entry in turn.session.log.read() if entry["type"] == "command")
    try:
        return told(await undo(turn, lambda entries: last_turns(entries, turns), command))
    except NothingToRewind as exc:
        return str(exc)


async def _write(turn: "Turn", path: str, text: str) -> str:
    """Writes a file as the tool does: shown, permitted by the mode or the person, and told."""
    from ars_acp.calls import run_for_person
    from ars_acp.tools.write_file import TOOL as WRITE_FILE

    result = await run_for_person(turn, WRITE_FILE, {"path": path, "content": text})
    if result.code == "REFUSED":
        return "Nothing was written: it was not allowed."
    return result.text


COMMANDS = (
    Command("help", "Lists what you can say to the agent itself.", _help),
    Command("model", "Shows the model, or chooses another.", _model, hint="model"),
    Command("mode", "Shows the mode, which says what you are asked about, or chooses another.", _mode, hint="mode"),
    Command("plan", "Shows the plan; with a task, plans it and changes nothing.", _plan, hint="task", plans=True),
    Command("compact", "Puts a summary in the place of the conversation.", _compact, hint="what to keep"),
    Command("undo", "Takes back the last turn and its changes of files.", _undo, hint="how many turns"),
    Command("usage", "Tells how many tokens this session has taken.", _usage),
    Command(
        "export",
        "Writes this session into a file: Markdown, or JSON lines for `ars sessions import`.",
        _export,
        hint="path",
        needs=frozenset({"read", "write"}),
    ),
    Command(
        "memory",
        "Shows the project's AGENTS.md; with text, adds a line to it.",
        _memory,
        hint="what to remember",
        needs=frozenset({"read", "write"}),
    ),
)
