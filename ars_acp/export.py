"""A session as Markdown, for people to read."""

from collections.abc import Iterable, Sequence
from typing import Any

from ars_acp.replay import replay

Json = dict[str, Any]
BOXES = {"completed": "x", "in_progress": "-"}
SPEAKERS = {"user_message_chunk": "You", "agent_message_chunk": "ARS"}


def markdown(session_id: str, title: str | None, entries: Iterable[tuple[int, Json]]) -> str:
    """What was said, planned and done, in order. Reasoning, and what tools have returned, is left out."""
    parts = [f"# {title or f'Session {session_id}'}"]
    speaker = ""
    for params in replay(session_id, entries):
        update = params["update"]
        kind = update["sessionUpdate"]
        said = _said(update)
        if said is None:
            continue
        now = SPEAKERS.get(kind, "ARS")
        if now != speaker:
            parts.append(f"## {now}")
            speaker = now
        parts.append(said)
    return "\n\n".join(parts) + "\n"


def plan_text(entries: Sequence[Json]) -> str:
    """A plan as a list of tasks."""
    return "\n".join(f"- [{BOXES.get(entry['status'], ' ')}] {entry['content']}" for entry in entries)


def _said(update: Json) -> str | None:
    match update["sessionUpdate"]:
        case "user_message_chunk" | "agent_message_chunk":
            return _block(update["content"])
        case "tool_call":
            return f"> `{update.get('name') or update.get('kind', 'tool')}` {update['title']}: {update.get('status')}"
        case "plan":
            return plan_text(update["entries"]) or None
    return None


def _block(block: Json) -> str | None:
    match block["type"]:
        case "text":
            return str(block["text"]).strip() or None
        case "resource_link":
            return f"[{block.get('title') or block['name']}]({block['uri']})"
        case "resource":
            return f"[{block['resource']['uri']}]"
        case kind:
            return f"[{kind}]"
