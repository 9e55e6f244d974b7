"""What a run of either kit found: a row a requirement, the table for people, the JSON for programs, the verdict."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["mandatory", "conditional", "advisory", "info"]
Outcome = Literal["met", "broken", "not offered", "not seen"]

FORMAT = 1  # of the JSON; a reader of 1 can read whatever adds keys only
OUTCOMES: tuple[Outcome, ...] = ("met", "broken", "not offered", "not seen")
COUNTS: frozenset[Level] = frozenset(("mandatory", "conditional"))
WHY_LONGEST = 400

# The verdicts, which are exit codes as well. 1 is wrong usage, or a program that could not be started.
ALL_MET = 0
BROKEN = 2
NOT_ALL_SEEN = 3
VERDICTS = {ALL_MET: "met", BROKEN: "broken", NOT_ALL_SEEN: "not all seen"}


@dataclass(frozen=True)
class Finding:
    """One requirement, tried on one program.

    `met` and `broken` were observed. `not offered`: the program does not claim it, and need not. `not seen`: the
    program never came to where it would show. `why` is one line for the program's author: what was sent, what came.
    """

    id: str
    level: Level
    title: str
    outcome: Outcome
    why: str = ""
    seconds: float = 0.0


def one_line(text: str, longest: int = WHY_LONGEST) -> str:
    """`text` as one line for any terminal: what does not print is escaped, the middle of what is long left out."""
    half = (longest - 3) // 2
    if cut := len(text) > 4 * longest:
        text = text[:longest] + text[-longest:]
    line = "".join(it if it.isprintable() else it.encode("unicode_escape").decode() for it in text.strip())
    return line if len(line) <= longest and not cut else f"{line[:half]} … {line[-half:]}"


def table(findings: Sequence[Finding]) -> str:
    """The findings for people, a line each, and the summary as the last line. Ends with a newline."""
    wide = max((len(it.id) for it in findings), default=0)
    rows = [f"{it.id:<{wide}}  {it.level:<11}  {it.outcome:<11}  {_told(it)}".rstrip() for it in findings]
    return "\n".join([*rows, summary(findings), ""])


def summary(findings: Sequence[Finding]) -> str:
    """One line: how many of each outcome, what is broken by level, and the verdict."""
    numbers = Counter(it.outcome for it in findings)
    broken = Counter(it.level for it in findings if it.outcome == "broken")
    levels = ", ".join(f"{number} {level}" for level, number in broken.items())
    counted = ", ".join(
        f"{numbers[it]} {it}" + (f" ({levels})" if it == "broken" and levels else "")
        for it in OUTCOMES
        if numbers[it] or it in ("met", "broken")
    )
    return f"{counted}: {VERDICTS[verdict(findings)]}"


def as_json(subject: str, findings: Iterable[Finding]) -> dict[str, Any]:
    """The findings for programs, to be encoded.

    `{"format": 1, "subject", "verdict": "met" | "broken" | "not all seen", "counts": {outcome: number}, "findings":
    [{"id", "level", "title", "outcome", "why", "seconds"}]}`, the findings in the order in which they were tried.
    """
    rows = list(findings)
    numbers = Counter(it.outcome for it in rows)
    return {
        "format": FORMAT,
        "subject": subject,
        "verdict": VERDICTS[verdict(rows)],
        "counts": {it: numbers[it] for it in OUTCOMES},
        "findings": [
            {
                "id": it.id,
                "level": it.level,
                "title": it.title,
                "outcome": it.outcome,
                "why": one_line(it.why),
                "seconds": round(it.seconds, 3),
            }
            for it in rows
        ],
    }


def verdict(findings: Iterable[Finding]) -> int:
    """`BROKEN` where something mandatory or conditional is; `NOT_ALL_SEEN` where a mandatory row was not; else 0.

    What is advisory or for information never counts.
    """
    rows = list(findings)
    if any(it.outcome == "broken" and it.level in COUNTS for it in rows):
        return BROKEN
    return NOT_ALL_SEEN if any(it.outcome == "not seen" and it.level == "mandatory" for it in rows) else ALL_MET


def _told(finding: Finding) -> str:
    return f"{finding.title}: {one_line(finding.why)}" if finding.why else finding.title
