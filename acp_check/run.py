"""A whole run: every requirement of the table that is wanted, tried in order on one agent."""

import tempfile
import time
from collections.abc import Callable, Sequence

import anyio

from acp_check import chapters
from acp_check.report import Finding, Outcome
from acp_check.table import REQUIREMENTS, Broken, NotOffered, NotSeen, Requirement
from acp_check.trial import Subject, Trial, make_project

__all__ = ["chapters", "check", "chosen"]


def chosen(only: Sequence[str] = (), skip: Sequence[str] = ()) -> list[Requirement]:
    """The rows whose id begins with one of `only`, all without any, less those of `skip`. Raises ValueError."""
    for word in (*only, *skip):
        if not any(name.startswith(word) for name in REQUIREMENTS):
            raise ValueError(f"no requirement's id begins with {word!r}")
    rows = [it for it in REQUIREMENTS.values() if not only or it.id.startswith(tuple(only))]
    return [it for it in rows if not skip or not it.id.startswith(tuple(skip))]


async def check(
    subject: Subject, rows: Sequence[Requirement], on_finding: Callable[[Finding], None] = lambda found: None
) -> list[Finding]:
    """Tries the rows in order and returns what was found, in that order; nothing of the agent is left.

    `on_finding` hears of each as it is known; of those that are watched at the end. Raises OSError and ValueError where
    the agent cannot be started. Takes `subject.limits.total` seconds and the few of the row that runs then at most.
    """
    with tempfile.TemporaryDirectory(prefix="acp-check-", ignore_cleanup_errors=True) as made:
        if subject.cwd is None:
            make_project(made)
        trial = Trial(subject, subject.cwd or made)
        found: dict[str, Finding] = {}
        until = time.monotonic() + subject.limits.total
        try:
            for row in sorted(rows, key=lambda it: it.watched):
                found[row.id] = await _try(row, trial, until)
                if not row.watched:
                    on_finding(found[row.id])
        finally:
            with anyio.CancelScope(shield=True):
                await trial.drop()
        for row in rows:
            if row.watched:
                found[row.id] = _watched(found[row.id], trial)
                on_finding(found[row.id])
        return [found[row.id] for row in rows]


async def _try(row: Requirement, trial: Trial, until: float) -> Finding:
    began = time.monotonic()
    if began >= until:
        return Finding(row.id, row.level, row.title, "not seen", f"the run's {trial.limits.total:g} s were over")
    trial.next()
    # Whoever does not answer is broken at once; many slow steps are only not seen to their end.
    outcome: Outcome = "not seen"
    why = f"not done within {trial.limits.row:g} s"
    with anyio.move_on_after(min(trial.limits.row, until - began)) as bound:
        outcome, why = await _attempted(row, trial)
    if outcome == "broken" or bound.cancelled_caught:
        await trial.drop()  # who knows in what state it is
    return Finding(row.id, row.level, row.title, outcome, why, time.monotonic() - began)


async def _attempted(row: Requirement, trial: Trial) -> tuple[Outcome, str]:
    try:
        return "met", await row.attempt(trial) or ""
    except Broken as why:
        return "broken", str(why)
    except NotOffered as why:
        return "not offered", str(why)
    except NotSeen as why:
        return "not seen", str(why)
    except (LookupError, TypeError, AttributeError) as why:
        # The agent's messages are taken apart as the schema has them; what is not so ends here.
        return "broken", f"a message was not as the schema has it: {type(why).__name__}: {why}"


def _watched(found: Finding, trial: Trial) -> Finding:
    fault = trial.faults.of(found.id)
    if fault is None:
        return found
    return Finding(found.id, found.level, found.title, "broken", fault, found.seconds)
