"""What `ars crew` prints: a conversation of several for people, or each event as a line of JSON."""

import json
import sys
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ars_cli import settings
from ars_cli.plain import clean, visible
from ars_cli.screen import Screen
from ars_cli.transcript import Transcript

if TYPE_CHECKING:
    from connector.crew import Spent, Talk

# Rounds in which one role speaks at a time, so that what it says can be shown as it comes.
ONE_AT_A_TIME = ("sequential", "pipeline")
STARTED_AGAIN = (("ready", "starting"), ("busy", "starting"), ("ready", "backoff"), ("busy", "backoff"))
FAILED = {"refusal": "refused", "slow": "was too slow", "cancelled": "was cancelled", "budget": "was stopped"}


class People:
    """For people: who speaks, and what. `agents` are the roles' agents, by role."""

    def __init__(self, cwd: str, agents: Mapping[str, str]) -> None:
        look = settings.look(sys.stdout)
        self._screen = Screen(colour=look.colour, live=look.live, width=look.width)
        self._cwd = cwd
        self._agents = agents
        self._streams = False
        self._transcripts: dict[str, Transcript] = {}
        self._waiting: dict[str, list[Any]] = defaultdict(list)
        self._working: list[str] = []

    def entry(self, number: int, entry: dict[str, Any]) -> None:
        """One of the crew's log."""
        match entry["type"]:
            case "round":
                self._streams = entry["kind"] in ONE_AT_A_TIME
            case "asked":
                self._begins(entry["role"])
            case "replied" | "failed":
                self._ends(entry)

    def update(self, role: str, update: Any) -> None:
        """One of a role's agent."""
        if self._streams:
            self._transcripts[role].update(update)
        else:
            self._waiting[role].append(update)

    def decision(self, role: str, record: dict[str, Any]) -> None:
        """Says what was refused."""
        if not record["allowed"]:
            what = f"{record['kind']} {' '.join(record['argv'] or record['paths']) or record['title']}"
            self._note(role, f"refused: {what} ({record['reason']})")

    def event(self, name: str, fields: dict[str, Any]) -> None:
        """What becomes of the agents: only what somebody who waits for a role would want to know."""
        if name == "session.recreated":
            self._note(fields["agent"], "its agent had lost the conversation, and is told what was said")
        elif name == "agent.state" and (fields["was"], fields["state"]) in STARTED_AGAIN:
            self._note(fields["agent"], f"its agent is started again: {fields['why']}")

    def _note(self, role: str, text: str) -> None:
        if self._streams and role in self._transcripts:
            self._transcripts[role].end_block()
        self._screen.line(f"! {visible(role)}: {visible(text)}", "warning")
        self._status()

    def ended(self, talk: "Talk", spent: "Spent") -> None:
        """How the round ended, and what the conversation has used."""
        self._working.clear()
        self._screen.gap()
        if talk.why != "done":
            self._screen.line(f"─ {clean(talk.told)}", "warning")
        used = [_counted(spent.replies, "reply", "replies"), f"{spent.seconds:.0f} s"]
        if spent.tokens:
            used.append(_counted(spent.tokens, "token", "tokens"))
        used += [f"{amount:.4f} {visible(currency)}" for currency, amount in spent.cost.items()]
        self._screen.line(f"─ {', '.join(used)}", "dim")

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _begins(self, role: str) -> None:
        self._working.append(role)
        self._transcripts[role] = Transcript(self._screen, self._cwd)
        if self._streams:
            self._heading(role)
        self._status()

    def _ends(self, entry: dict[str, Any]) -> None:
        role = entry["role"]
        if role in self._working:
            self._working.remove(role)
        transcript = self._transcripts.pop(role, None) or Transcript(self._screen, self._cwd)
        if not self._streams or "ask" not in entry:
            self._heading(role)
        for update in self._waiting.pop(role, ()):
            transcript.update(update)
        transcript.end_block()
        if entry["type"] == "failed":
            reason, _, more = clean(entry["error"]).partition("\n")
            how = FAILED.get(entry["kind"], "failed")
            self._screen.line(f"✗ {visible(role)} {how}: {reason}", "bad")
            for line in more.splitlines():
                self._screen.line(f"  {line}", "dim")
        elif entry["stopReason"] != "end_turn":
            self._screen.line(f"─ ended early: {visible(entry['stopReason'])}", "warning")
        elif not entry["text"].strip():
            self._screen.line("─ said nothing", "dim")
        self._status()

    def _heading(self, role: str) -> None:
        self._screen.gap()
        self._screen.line(f"── {visible(role)} · {visible(self._agents.get(role, '?'))} ──", "title")

    def _status(self) -> None:
        if self._working:
            names = ", ".join(map(visible, self._working))
            self._screen.status(f"… {names} {'is' if len(self._working) == 1 else 'are'} working; Ctrl-C cancels")


class Events:
    """For programs: a line of JSON each, with `event` first."""

    def __init__(self) -> None:
        self._over = False

    def entry(self, number: int, entry: dict[str, Any]) -> None:
        """One of the crew's log, as `connector.crew.conversation` says, with its number."""
        self._print(entry["type"], n=number, **{name: value for name, value in entry.items() if name != "type"})

    def update(self, role: str, update: Any) -> None:
        """An update as it came."""
        self._print("update", role=role, update=update.model_dump(by_alias=True, exclude_none=True))

    def decision(self, role: str, record: dict[str, Any]) -> None:
        """A record as the audit of `ars run` has it."""
        self._print("decision", role=role, **record)

    def event(self, name: str, fields: dict[str, Any]) -> None:
        """What becomes of the agents until the round is over: `agent.state` and `session.recreated`."""
        if name in ("agent.state", "session.recreated") and not self._over:
            self._print(name, **fields)

    def ended(self, talk: "Talk", spent: "Spent") -> None:
        """The end of the round."""
        self._over = True
        used = {"replies": spent.replies, "seconds": spent.seconds, "tokens": spent.tokens, "cost": dict(spent.cost)}
        failed = [reply.role for reply in talk.replies if reply.failed]
        self._print("end", why=talk.why, told=talk.told, failed=failed, spent=used)

    def _print(self, event: str, **fields: Any) -> None:
        print(json.dumps({"event": event, **fields}), flush=True)


def _counted(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
