"""The ledger: one run for one key, settled once, and the same answer for whoever comes later."""

from pathlib import Path

import pytest

from ars_gateway.index import open_index
from ars_gateway.sessions.ledger import Entry, Ledger, OtherBody, body_of


def entry(id: str = "r1", principal: str = "owner", body: bytes = b"b") -> Entry:
    return Entry(principal, id, "chat.send", body, "agent:main:main", "s1")


def test_a_key_is_entered_once_and_found_again_after_a_restart(tmp_path: Path):
    ledger = Ledger(open_index(tmp_path / "index", []))
    first = entry()
    assert ledger.enter(first) is None
    assert ledger.enter(entry()).accepted == first.accepted  # type: ignore[union-attr]
    first.state, first.outcome = "ok", {"text": "done"}
    assert ledger.settle(first)
    again = Ledger(open_index(tmp_path / "index", [])).enter(entry())
    assert again is not None
    assert (again.state, again.outcome["text"]) == ("ok", "done")


def test_the_same_key_for_another_body_is_refused():
    ledger = Ledger(open_index(None, []))
    ledger.enter(entry())
    with pytest.raises(OtherBody):
        ledger.enter(entry(body=b"other"))


def test_another_principals_key_is_another_run():
    ledger = Ledger(open_index(None, []))
    assert ledger.enter(entry()) is None
    assert ledger.enter(entry(principal="guest", body=b"other")) is None
    assert ledger.find("guest", "r1").body == b"other"  # type: ignore[union-attr]
    assert ledger.find("nobody", "r1") is None


def test_a_run_is_settled_once():
    ledger = Ledger(open_index(None, []))
    ledger.enter(entry())
    first, second = entry(), entry()
    first.state, second.state = "ok", "error"
    assert [ledger.settle(first), ledger.settle(second)] == [True, False]
    assert ledger.find("owner", "r1").state == "ok"  # type: ignore[union-attr]


def test_runs_without_an_end_are_found_at_the_start(tmp_path: Path):
    ledger = Ledger(open_index(tmp_path / "index", []))
    for id in ("a", "b"):
        ledger.enter(entry(id))
    settled = entry("a")
    settled.state = "ok"
    ledger.settle(settled)
    assert [it.id for it in Ledger(open_index(tmp_path / "index", [])).left_open()] == ["b"]


def test_what_makes_two_requests_one_is_everything_but_the_key():
    one = body_of("chat.send", {"message": "hi", "sessionKey": "main", "idempotencyKey": "1"})
    assert body_of("chat.send", {"sessionKey": "main", "idempotencyKey": "2", "message": "hi"}) == one
    assert body_of("agent", {"message": "hi", "sessionKey": "main", "idempotencyKey": "1"}) != one
    assert body_of("chat.send", {"message": "ho", "sessionKey": "main", "idempotencyKey": "1"}) != one
