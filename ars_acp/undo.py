"""`/undo` and `_ars/session/rewind` take turns back: files through the client, file by file, then the conversation.

What commands have done stays, and the answer says so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from acp_wire.build_extensions import rewind_result, rewound_file
from ars_acp import calls
from ars_acp.rewind import Numbered, standing
from ars_acp.tools import find
from ars_acp.tools.put_back import PutBack

if TYPE_CHECKING:
    from ars_acp.turn import Turn

# Results of calls that were not carried out.
NOT_RUN = {"REFUSED", "SKIPPED", "INVALID_ARGUMENTS", "NOT_DONE"}


@dataclass(frozen=True)
class Undone:
    """What was taken back: from which entry on, how many turns, and what became of files and commands."""

    number: int  # of the entry that says so
    to: int
    turns: int
    files: dict[str, str]  # by path: "restored", "unchanged", or why it was left as it is
    lines: list[str]  # the same, to be read
    commands: int  # that ran
    handed: int  # calls that the client carried out itself, and that may have changed something


async def undo(turn: "Turn", chosen: Callable[[Sequence[Numbered]], list[Numbered]], before: int) -> Undone:
    """Takes back what is `chosen` of the entries that stand below the number `before`. Raises NothingToRewind."""
    session = turn.session
    entries = [it for it in standing(session.log.read()) if it[0] < before]
    gone = chosen(entries)
    changes = [change for _, entry in gone if entry["type"] == "files" for change in entry["changes"]]
    back = PutBack(changes)
    if changes:
        result = await calls.run_for_person(turn, back.tool(), {})
        if not result.ok:
            back.refuse_the_rest("it was not allowed" if result.code == "REFUSED" else result.text)
    to = gone[0][0] - 1
    number = session.rewind(to, before - 1)
    turns = sum(entry["type"] in ("prompt", "command") for _, entry in gone)
    turn.log.info("session.rewound", session=session.id, to=to, turns=turns, files=len(back.outcome))
    return Undone(number, to, turns, back.outcome, back.told(session.roots), *_done_elsewhere(gone))


def _done_elsewhere(entries: Sequence[Numbered]) -> tuple[int, int]:
    """How many calls among these may have changed something that no log can put back: commands, and the client's."""
    names: dict[str, str] = {}
    handed: set[str] = set()
    ran = by_client = 0
    for _, entry in entries:
        if entry["type"] == "reply":
            names |= {call["id"]: call["name"] for call in entry["calls"]}
        elif entry["type"] == "handed":
            handed.add(entry["call"])
        elif entry["type"] == "result" and entry["code"] not in NOT_RUN and entry["id"] in handed:
            by_client += 1
        elif entry["type"] == "result" and entry["code"] not in NOT_RUN:
            name = names.get(entry["id"], "")
            ran += name == "run_command" or (bool(name) and find(name) is None)
    return ran, by_client


def told(undone: Undone) -> str:
    """It in words, for the person, as Markdown."""
    parts = ["Took back the last turn." if undone.turns == 1 else f"Took back the last {undone.turns} turns."]
    parts += [f"- {line}" for line in undone.lines]
    if undone.commands:
        ran = "A command ran" if undone.commands == 1 else f"{undone.commands} commands ran"
        parts.append(f"\n{ran} in between; what commands do cannot be taken back.")
    if undone.handed:
        did = "one call" if undone.handed == 1 else f"{undone.handed} calls"
        parts.append(f"\nThe client carried out {did} itself in between; what it did cannot be taken back from here.")
    return "\n".join(parts)


def answer(undone: Undone) -> dict[str, Any]:
    """It as the result of `_ars/session/rewind`."""
    files = [
        rewound_file(path, outcome) if outcome in ("restored", "unchanged") else rewound_file(path, "left", outcome)
        for path, outcome in sorted(undone.files.items())
    ]
    return rewind_result(undone.to, undone.turns, files, undone.commands + undone.handed)
