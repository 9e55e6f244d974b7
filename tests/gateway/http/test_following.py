"""A feed as one client follows it: how much at once, from where, and to which end. Without a socket."""

from typing import Any

from ars_gateway.http.agent_events import Lines, Names
from ars_gateway.http.following import MOST_CHARACTERS, MOST_ENTRIES, Following, View, reply
from ars_gateway.sessions.feed import Feed
from ars_gateway.sessions.ledger import Entry

NAMES = Names("s", "m")
END: dict[str, Any] = {"state": "ok", "started": 1}


def over(text: str) -> Entry:
    return Entry("owner", "r", "m", b"", "k", "s", state="ok", started=1, outcome={"text": text})


def follow(feed: Feed, last: str = "", text: str = "") -> Following:
    view = View(feed, Lines(), lambda call: False, frozenset({"question"}))
    return reply(view, None, over(text), NAMES, last)


def begun() -> Feed:
    feed = Feed(lambda: None)
    feed.add("r", "prompt", {"text": "hi"})
    return feed


def test_what_is_written_at_once_is_bounded_and_goes_on_where_it_was():
    feed = begun()
    for _ in range(10):
        feed.add("r", "text", "x" * 20_000)
    feed.add("r", "end", END)
    source, found = follow(feed), []
    while (told := source.ready()) is not None:
        found.append(told)
    assert len(found) > 1
    assert max(map(len, found)) < MOST_CHARACTERS + 21_000
    assert b"".join(found).count(b"x") == 200_000
    assert source.ready() is None


def test_what_is_not_for_a_client_is_passed_over_a_bounded_number_at_once():
    feed = begun()
    for kind in ("text", "question", "call"):
        for _ in range(MOST_ENTRIES):
            feed.add("r" if kind != "text" else "another", kind, {"call_id": "c"} if kind == "call" else "hidden")
    feed.add("r", "end", END)
    source, looks = follow(feed), 0
    while (told := source.ready()) == b"":
        looks += 1
    assert looks == 3
    assert told is not None
    assert b'"is_final": true' in told
    assert b"hidden" not in told


def test_a_text_that_the_feed_has_forgotten_comes_from_the_ledger_piece_by_piece():
    text = "".join(chr(97 + n % 26) for n in range(3 * MOST_CHARACTERS))
    source, found = follow(Feed(lambda: None), text=text), []
    while (told := source.ready()) is not None:
        found.append(told)
    assert len(found) == 4
    assert max(map(len, found)) < MOST_CHARACTERS + 200
    assert b"reset" not in b"".join(found)


def test_who_has_another_text_forgets_it_and_gets_all():
    feed = Feed(lambda: None)
    source = follow(feed, last="0123456789ab-7-5-00000000", text="hello there")
    told = b"".join(iter(source.ready, None)).decode().splitlines()
    assert ['"reset"' in told[0], '"hello there"' in told[1], '"is_final": true' in told[2]] == [True] * 3
