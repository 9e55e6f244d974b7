"""logs.tail and the journal behind it: cursors that hold over rotations and restarts, limits, no secret."""

import json
import os
import stat
from pathlib import Path

import pytest

from ars_gateway.observation.journal import Journal, tail
from ars_gateway.observation.log import Redactor, open_log
from tests.gateway.client import Refusal
from tests.gateway.conftest import TOKEN, Running
from tests.gateway.host import program
from tests.gateway.wire import check

EVERYTHING = 1_000_000


def lines(first: int, last: int) -> list[str]:
    return [f"line {number}" for number in range(first, last)]


def test_a_cursor_leads_to_what_came_after_it_over_rotations_and_restarts(tmp_path: Path):
    cursor, seen, written = None, [], 0
    for _ in range(12):
        journal = Journal(tmp_path / "log", segment_bytes=200, segments=3)
        for _ in range(7):
            journal.write(f"line {written}")
            written += 1
        journal.close()
        found = tail(tmp_path / "log", cursor, 500, EVERYTHING)
        assert not found.reset
        cursor, seen = found.cursor, seen + found.lines
    assert seen == lines(0, written)
    assert len(os.listdir(tmp_path / "log")) == 3
    assert tail(tmp_path / "log", cursor, 500, EVERYTHING).lines == []


def test_a_cursor_that_means_nothing_begins_anew(tmp_path: Path):
    journal = Journal(tmp_path, segment_bytes=100, segments=2)
    for line in lines(0, 50):
        journal.write(line)
    last = tail(tmp_path, None, 500, EVERYTHING)
    assert not last.reset
    for cursor in (0, 5, last.size + 1, 10**15):
        found = tail(tmp_path, cursor, 500, EVERYTHING)
        assert (found.reset, found.truncated, found.lines, found.cursor) == (True, True, last.lines, last.size)
    assert last.lines[-1] == "line 49"
    journal.close()


def test_of_too_much_the_newest_whole_lines_are_told(tmp_path: Path):
    journal = Journal(tmp_path)
    for line in lines(0, 100):
        journal.write(line)
    journal.close()
    found = tail(tmp_path, None, 3, EVERYTHING)
    assert (found.lines, found.truncated, found.reset) == (lines(97, 100), True, False)
    found = tail(tmp_path, None, 500, 20)
    assert (found.lines, found.truncated) == (lines(98, 100), True)
    assert tail(tmp_path, None, 500, 16).lines == lines(98, 100)
    behind = tail(tmp_path, 8, 500, 20)
    assert (behind.lines, behind.truncated, behind.reset) == (lines(98, 100), True, True)
    whole = tail(tmp_path, 0, 500, EVERYTHING)
    assert (whole.lines, whole.truncated, whole.reset) == (lines(0, 100), False, False)


def test_a_journal_without_lines_has_none(tmp_path: Path):
    assert tail(tmp_path / "none", None, 5, 5).lines == []
    assert tail(tmp_path / "none", 7, 5, 5).reset
    Journal(tmp_path / "one").close()
    assert tail(tmp_path / "one", None, 5, 5).cursor == 0


def test_a_secret_is_hidden_whole_however_it_is_spelled_in_a_line():
    redact = Redactor()
    for secret in ("a-secret", "a-secret-and-more", 'pässword "quoted"'):
        redact.add(secret)
    line = json.dumps({"one": "a-secret-and-more", "two": 'pässword "quoted"', "three": "a-secret"})
    assert set(json.loads(redact(line)).values()) == {"[redacted]"}


def test_secrets_are_not_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    redact = Redactor()
    redact.add("a-secret-value")
    journal = Journal(tmp_path / "log")
    log = open_log("info", None, redact, journal)
    log.info("one", said="it is a-secret-value, yes", path="\u2028\n")
    log.debug("two")
    (line,) = tail(tmp_path / "log", None, 5, 5000).lines
    assert line == capsys.readouterr().err.rstrip("\n")
    assert (json.loads(line)["said"], json.loads(line)["event"]) == ("it is [redacted], yes", "one")
    (segment,) = (tmp_path / "log").iterdir()
    assert stat.S_IMODE(segment.stat().st_mode) == 0o600
    journal.close()
    log.info("three")
    assert "three" in capsys.readouterr().err


async def test_parameters_are_within_limits(running: Running):
    async with running.client("operator.read") as one:
        assert (await one.request("logs.tail"))["lines"] == []
        for params in ({"limit": 0}, {"limit": 5001}, {"maxBytes": 1_000_001}, {"cursor": -1}, {"file": "/etc/passwd"}):
            with pytest.raises(Refusal, match=r"invalid logs\.tail params"):
                await one.request("logs.tail", params)


@pytest.mark.e2e
async def test_clients_read_the_programs_log(tmp_path: Path):
    async with program(tmp_path / "state") as gateway, gateway.client() as one:
        first = await one.request("logs.tail", {"limit": 5})
        check("LogsTailResult", first)
        told = [json.loads(line) for line in first["lines"]]
        assert told[-1]["event"] == "gateway.connected"
        assert (await one.request("logs.tail", {"cursor": first["cursor"]}))["lines"] == []
        tells = {"id": "test", "version": TOKEN, "platform": "linux", "mode": "test"}
        async with gateway.client(client=tells):
            after = await one.request("logs.tail", {"cursor": first["cursor"]})
        assert "[redacted]" in "".join(after["lines"])
        assert TOKEN not in "".join(after["lines"])
