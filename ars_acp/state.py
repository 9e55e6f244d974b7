"""A session's state in the fields of its specification, folded from its log."""

from collections.abc import Iterable
from typing import Any

from ars_acp.rewind import rewinds, stands
from ars_acp.session import Facts, History

Json = dict[str, Any]


def state(session_id: str, entries: Iterable[tuple[int, Json]]) -> Json:
    """The state as of the last entry, also in the middle of a turn.

    `history` is what the model has been told, oldest first; `pending_tool_call` the first call without a result, and
    `last_user_message` what the person said last to the model. `llm_state` says where the model stands: which one
    answered last, what was chosen, whether a turn runs, how much was shown of a reply without an end, the tokens of the
    last reply with its question, and the cost of all. Times in `metadata` are milliseconds of Unix time.
    """
    history, facts = History(), Facts()
    said: str | None = None
    model: str | None = None
    first: Json = {}
    at = last = 0
    every = list(entries)
    taken_back = rewinds(every)
    for number, entry in every:
        first, last = first or entry, number
        at = entry.get("at", at)
        if not stands(number, taken_back):
            facts.apply_taken_back(entry)
            continue
        history.apply(entry)
        facts.apply(entry)
        if entry["type"] in ("prompt", "steer"):
            said = entry["text"]
        elif entry["type"] == "reply":
            model = entry.get("model", model)
    return {
        "session_id": session_id,
        "history": history.messages,
        "pending_tool_call": _pending(history),
        "last_user_message": said,
        "llm_state": {
            "model": model,
            "config": facts.config,
            "in_turn": facts.in_turn,
            "partial_chars": history.partial_chars(),
            "used_tokens": facts.used,
            "cost": None if facts.cost is None else {"amount": facts.cost[0], "currency": facts.cost[1]},
        },
        "metadata": {
            "title": facts.title,
            "cwd": facts.cwd,
            "directories": list(facts.directories),
            "created_at": first.get("at"),
            "updated_at": at or None,
            "prompts": facts.prompts,
            "entries": last,
            "version": first.get("version"),
        },
    }


def _pending(history: History) -> Json | None:
    waiting = history.unanswered()
    asked = (call for message in reversed(history.messages) for call in message.get("tool_calls", ()))
    found = next((call for call in asked if waiting and call["id"] == waiting[0]), None)
    return found and {"id": found["id"], **found["function"]}
