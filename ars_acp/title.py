"""What lists call a session: the beginning of its first prompt. No model is asked for it."""

import unicodedata
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from acp_wire import build

if TYPE_CHECKING:
    from ars_acp.session import Session
    from ars_acp.streamer import Streamer

LONGEST = 60


def title_of(text: str) -> str:
    """One line of at most 60 characters, cut at a word where there is one; "" where there is nothing to show."""
    shown = "".join(" " if unicodedata.category(it).startswith(("C", "Z")) else it for it in text[: LONGEST * 20])
    line = " ".join(shown.split())
    if len(line) <= LONGEST:
        return line
    cut = line[:LONGEST]  # one character is the ellipsis's
    at = cut.rfind(" ")
    return f"{cut[:at].rstrip(' ,;:.') if at >= LONGEST // 2 else cut[: LONGEST - 1]}…"


def give_title(session: "Session", streamer: "Streamer") -> None:
    """Names a session that has no title yet, and tells the client."""
    title = title_of(session.facts.first_prompt) if session.facts.title is None else ""
    if title:
        session.record({"type": "title", "title": title})
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        streamer.update(build.session_info_update(title=title, updated_at=now))
