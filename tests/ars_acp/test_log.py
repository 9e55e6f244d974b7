"""The log: JSON lines, secrets out, and never in the agent's way."""

import contextlib
import json
import os
import threading
import time
from pathlib import Path

import pytest

from ars_acp.log import HELD_EVENTS, KEPT_BYTES, Log, Sink, open_log
from ars_acp.redact import Redactor, redact


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_is_told_before_structlog_is_loaded_is_told_then_in_order_and_with_its_own_time(tmp_path: Path) -> None:
    log = open_log("info", str(tmp_path / "log"))
    log.info("a.first", n=1)
    assert lines(tmp_path / "log") == []
    log.load()
    log.warning("a.second")
    first, second = lines(tmp_path / "log")
    assert (first["event"], first["n"], first["level"]) == ("a.first", 1, "info")
    assert (second["event"], second["level"]) == ("a.second", "warning")
    assert str(first["timestamp"]) < str(second["timestamp"])


def test_no_more_than_a_start_tells_is_held(tmp_path: Path) -> None:
    log = open_log("info", str(tmp_path / "log"))
    for number in range(HELD_EVENTS + 1):
        log.info("message.refused", n=number)
    assert [line["n"] for line in lines(tmp_path / "log")] == list(range(HELD_EVENTS + 1))


def test_closing_tells_what_was_held(tmp_path: Path) -> None:
    log = open_log("info", str(tmp_path / "log"))
    log.error("agent.failed")
    log.close()
    assert [line["event"] for line in lines(tmp_path / "log")] == ["agent.failed"]


def test_levels_below_the_chosen_one_are_left_out(tmp_path: Path) -> None:
    log = open_log("warning", str(tmp_path / "log"))
    log.debug("x")
    log.info("x")
    log.warning("kept")
    log.close()
    assert [line["event"] for line in lines(tmp_path / "log")] == ["kept"]


def test_an_exception_is_logged_whole(tmp_path: Path) -> None:
    log = open_log("info", str(tmp_path / "log"))
    log.error("handler.failed", exc_info=ValueError("what happened"))
    log.close()
    assert "ValueError: what happened" in str(lines(tmp_path / "log")[0]["exception"])


def test_the_log_file_is_the_users_alone(tmp_path: Path) -> None:
    open_log("info", str(tmp_path / "log")).close()
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_secrets_are_taken_out_at_the_sink(tmp_path: Path) -> None:
    redact.add('the"secret"value')
    log = open_log("debug", str(tmp_path / "log"))
    log.debug("x", body='key the"secret"value, Authorization: Bearer abcdefghijkl, authorization: Basic dXNlcjpwYXNz')
    log.debug("x", body="https://user:pass@host/ sk-12345678abc")
    log.close()
    text = (tmp_path / "log").read_text()
    for secret in ("secret", "abcdefghijkl", "dXNl", "user:pass", "sk-1234"):
        assert secret not in text
    assert "https://[redacted]@host/" in text


def test_values_too_short_to_be_secrets_are_left_alone() -> None:
    redactor = Redactor()
    redactor.add("short")
    redactor.add(None)
    assert redactor("a short word") == "a short word"


@pytest.fixture
def full_pipe() -> tuple[int, int]:
    """A pipe that nobody reads, full to the last byte."""
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write_fd, b"x" * 65536)
    os.set_blocking(write_fd, True)
    return read_fd, write_fd


def test_a_reader_that_does_not_read_blocks_nobody_and_costs_the_oldest_lines(full_pipe: tuple[int, int]) -> None:
    sink = Sink(full_pipe[1])
    line = "y" * 9999
    for number in range(KEPT_BYTES // 5000):
        sink.msg(f"{number:09}{line}")
    assert 0 < sink.dropped < KEPT_BYTES // 5000


def test_a_line_that_is_half_written_is_never_given_up_and_what_was_is_told(full_pipe: tuple[int, int]) -> None:
    read_fd, write_fd = full_pipe
    os.set_blocking(read_fd, False)
    _read_all(read_fd, at_most=8192)
    sink = Sink(write_fd)
    sink.msg(json.dumps({"long": "z" * 20_000}))
    for number in range(200):
        sink.msg(json.dumps({"n": number, "filler": "y" * 9999}))
    text = b""
    while data := _read_all(read_fd):
        text += data
        sink.flush()
    first, told, *rest = [json.loads(line) for line in text.lstrip(b"x").splitlines()]
    assert first == {"long": "z" * 20_000}
    assert (told["event"], told["lines"]) == ("log.dropped", 200 - len(rest))
    assert [line["n"] for line in rest] == list(range(200 - len(rest), 200))


def test_closing_waits_a_moment_for_a_reader_and_no_longer_however_it_reads(full_pipe: tuple[int, int]) -> None:
    read_fd, write_fd = full_pipe
    sink = Sink(write_fd)
    for _ in range(KEPT_BYTES // 10_000):
        sink.msg("y" * 9999)
    reading = threading.Event()

    def read_slowly() -> None:
        while os.read(read_fd, 4096) and not reading.wait(0.01):
            pass

    reader = threading.Thread(target=read_slowly)
    reader.start()
    began = time.monotonic()
    Log("info", sink).close()
    took = time.monotonic() - began
    reading.set()
    reader.join()
    assert took < 1.5  # read to its end it takes 2.5 s


def test_what_waited_is_written_in_order_once_there_is_room(full_pipe: tuple[int, int]) -> None:
    read_fd, write_fd = full_pipe
    sink = Sink(write_fd)
    sink.msg("first " + "z" * 10_000)
    sink.msg("second")
    os.set_blocking(read_fd, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.read(read_fd, 65536)
    sink.flush()
    text = os.read(read_fd, 65536).decode().lstrip("x")
    assert text == "first " + "z" * 10_000 + "\nsecond\n"


def _read_all(fd: int, at_most: int = 1 << 30) -> bytes:
    got = b""
    with contextlib.suppress(BlockingIOError):
        while len(got) < at_most and (data := os.read(fd, min(65536, at_most))):
            got += data
    return got


def test_a_reader_that_is_gone_is_no_error() -> None:
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    sink = Sink(write_fd)
    log = Log("info", sink)
    log.info("to.nobody")
    log.close()
