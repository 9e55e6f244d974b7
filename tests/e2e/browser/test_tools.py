"""Tool calls in the page: cards that change in place, diffs of any size, what is done and what has failed."""

import pytest

from tests.e2e.browser.cards import LONGEST, OBEYS, answers, call, changed, enter, tell
from tests.e2e.browser.chromium import Page
from tests.e2e.browser.conftest import Gateways

pytestmark = pytest.mark.e2e

# Puts a card into the conversation: through a prompt it would be too large.
SHOWN = """
const [diff] = arguments;
return import(new URL('/cards.js', location.href)).then(({ renderEntry }) => {
  const call = { toolCallId: 'x', title: 'Huge', kind: 'edit', status: 'failed', content: [diff], locations: [] };
  const item = { id: 'x', rev: 0, type: 'tool', asks: [], over: true, hand: null, call };
  const ctx = { terminal: () => null, markdown: () => document.createElement('p'), mayDecide: true };
  document.querySelector('.thread').append(renderEntry(item, ctx));
});
"""


def fold(page: Page, title: str) -> None:
    """Opens or closes a card."""
    page.click(".tool-details > summary", title)


def test_a_card_changes_in_place(gateways: Gateways, page: Page) -> None:
    enter(page, gateways("", "--agent", OBEYS))
    text = [{"type": "content", "content": {"type": "text", "text": "**Fine** <b>so</b> far"}}]
    steps = [
        call(title="Look", kind="read", locations=[{"path": "/srv/a.py", "line": 7}]),
        changed(status="in_progress"),
        changed(status="completed", title="Looked \u202e", content=text, rawInput={"path": "a.py"}, rawOutput={"n": 1}),
        call("c2", title="Fetch", kind="fetch"),
        changed("c2", status="failed", content=text),
        call("c3", title="Never done", kind="delete"),
    ]
    tell(page, *steps)
    answers(page)
    assert [it.text for it in page.all(".tool-title")] == [r"Looked \u202e", "Fetch", "Never done"]
    assert [it.text for it in page.all(".tool-status")] == ["done", "failed", "stopped"]
    assert page.all(".tool-details[open]") == page.all("[data-status=failed] .tool-details")
    fold(page, "Looked")
    page.shows("/srv/a.py:7", ".places")
    page.click(".raw summary", "Result")
    page.shows('"n": 1', ".raw[open]")
    assert page.js("return document.querySelectorAll('.tool-body b').length") == 0
    page.shot("cards")


def test_a_diff_shows_signs_numbers_and_what_is_folded(gateways: Gateways, page: Page) -> None:
    enter(page, gateways("", "--agent", OBEYS))
    old = "".join(f"line {n}\n" for n in range(1, 61))
    new = old.replace("line 30\n", "line thirty\n").replace("line 50\n", "")
    diff = {"type": "diff", "path": "/srv/a.py", "oldText": old, "newText": new}
    tell(page, call(kind="edit"), changed(status="completed", content=[diff]))
    page.shows("+1 \u22122", ".tool-facts")
    gone = "return [...document.querySelectorAll('.diff .del')].map((it) => it.textContent)"
    assert page.js(gone) == ["removed \u2212line 30", "removed \u2212line 50"]
    assert page.text(".diff .add mark") == "thirty"
    numbers = "return [...document.querySelectorAll('.diff .add td')].slice(0, 2).map((it) => it.dataset.n)"
    assert page.js(numbers) == ["", "30"]
    page.click(".fold-button", "26 unchanged lines")
    assert page.all(".diff .same")[0].text == "line 1"
    page.shot("diff")


def test_a_huge_diff_does_not_freeze_the_page(gateways: Gateways, page: Page) -> None:
    enter(page, gateways())
    page.js(LONGEST)
    lines = 40_000
    page.js(SHOWN, {"type": "diff", "path": "/srv/huge", "oldText": "a\n" * lines, "newText": "b\n" * lines})
    page.one(".diff .show-more")
    assert page.js("return document.querySelectorAll('.diff tr').length") < 400
    assert page.js("return window.longest") < 1000
