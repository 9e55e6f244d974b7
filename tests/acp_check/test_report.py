"""What a run found, as people and as programs get it."""

import pytest

from acp_check.report import ALL_MET, BROKEN, NOT_ALL_SEEN, Finding, Level, Outcome, as_json, one_line, table, verdict

FOUND = [
    Finding("A-001", "mandatory", "it answers", "met", seconds=0.12345),
    Finding("B-1", "advisory", "it says who it is", "broken", "no agentInfo"),
    Finding("C-001", "conditional", "it loads", "not offered"),
]


@pytest.mark.parametrize(
    ("level", "outcome", "expected"),
    [
        ("mandatory", "broken", BROKEN),
        ("conditional", "broken", BROKEN),
        ("advisory", "broken", ALL_MET),
        ("info", "broken", ALL_MET),
        ("mandatory", "not seen", NOT_ALL_SEEN),
        ("conditional", "not seen", ALL_MET),
        ("mandatory", "not offered", ALL_MET),
    ],
)
def test_the_verdict_counts_what_is_mandatory_and_what_is_claimed(level: Level, outcome: Outcome, expected: int):
    assert verdict([*FOUND, Finding("X", level, "", outcome)]) == expected


def test_what_is_broken_outweighs_what_was_not_seen():
    seen = [Finding("X", "mandatory", "", outcome) for outcome in ("not seen", "broken")]
    assert verdict(seen) == BROKEN


def test_the_table_has_a_line_for_each_and_a_summary():
    assert table(FOUND).splitlines() == [
        "A-001  mandatory    met          it answers",
        "B-1    advisory     broken       it says who it is: no agentInfo",
        "C-001  conditional  not offered  it loads",
        "1 met, 1 broken (1 advisory), 1 not offered: met",
    ]


def test_the_json_has_the_shape_that_is_promised():
    told = as_json("agent --acp", FOUND)
    assert told.keys() == {"format", "subject", "verdict", "counts", "findings"}
    assert (told["format"], told["subject"], told["verdict"]) == (1, "agent --acp", "met")
    assert told["counts"] == {"met": 1, "broken": 1, "not offered": 1, "not seen": 0}
    assert told["findings"][0] == {
        "id": "A-001",
        "level": "mandatory",
        "title": "it answers",
        "outcome": "met",
        "why": "",
        "seconds": 0.123,
    }


def test_what_a_program_said_is_one_line_that_no_terminal_obeys():
    assert one_line("a\n\x1b[2Jb\u202e ") == "a\\n\\x1b[2Jb\\u202e"
    long = one_line("x" * 1000 + "end")
    assert len(long) <= 400
    assert long.startswith("xxx")
    assert long.endswith("end")
