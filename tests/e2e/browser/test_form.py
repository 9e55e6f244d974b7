"""Forms in the page: each kind of field, what is wrong with an answer, and what the agent gets."""

from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from tests.e2e.browser.cards import OBEYS, answers, enter, faint, form, go, say, tell
from tests.e2e.browser.chromium import Page
from tests.e2e.browser.conftest import Gateways

pytestmark = pytest.mark.e2e

ASKS = """
=== turn
call prompt_user
  question: How shall it be made?
  fields: [{"name": "name", "title": "Name"}, {"name": "many", "type": "integer"}, {"name": "sure", "type": "boolean"}]
--- step if "many: 3"
say: Made: $result
"""
KINDS = [{"const": "big", "title": "A big one"}, {"const": "small", "title": "A small one", "description": "Quick"}]
FIELDS = {
    "line": {"type": "string", "title": "Line", "maxLength": 20},
    "text": {"type": "string", "title": "Text", "description": "Several lines."},
    "kind": {"type": "string", "title": "Kind", "oneOf": KINDS},
    "letter": {"type": "string", "title": "Letter", "enum": [*"abcdefghij"]},
    "some": {"type": "array", "title": "Some", "items": {"anyOf": KINDS}, "minItems": 1},
    "sure": {"type": "boolean", "title": "Sure?"},
    "whole": {"type": "integer", "title": "Whole", "minimum": 1, "maximum": 9},
    "part": {"type": "number", "title": "Part"},
    "mail": {"type": "string", "title": "Mail", "format": "email"},
    "page": {"type": "string", "title": "Page", "format": "uri"},
    "day": {"type": "string", "title": "Day", "format": "date"},
    "given": {"type": "string", "title": "Given", "default": "as it was", "maxLength": 40},
    "left": {"type": "string", "title": "Left out"},
}
ALL = [name for name in FIELDS if name != "left"]


def put(page: Page, label: str, *keys: str) -> None:
    """Types into the input under this label."""
    page.one(f"#{page.one('.field label', label).get_attribute('for')}").send_keys(*keys)


def test_every_kind_of_field_is_filled_and_comes_back_as_what_it_is(gateways: Gateways, page: Page) -> None:
    enter(page, gateways("", "--agent", OBEYS))
    tell(page, form(FIELDS, *ALL))
    go(page)
    put(page, "Line", "one")
    put(page, "Text", "one", Keys.ENTER, "two")
    page.click(".choice", "A small one")
    Select(page.one(".field select")).select_by_value("h")
    page.click(".choices:has([type=checkbox]) .choice", "A big one")
    page.click(".choice", "Yes")
    put(page, "Whole", "7")
    put(page, "Part", "1,5")
    put(page, "Mail", "ann@example.org")
    put(page, "Page", "https://example.org/x")
    page.js("const day = document.querySelector('[type=date]'); day.value = '2024-02-29'")
    page.shot("filled")
    page.click(".ask-buttons button", "Send answer")
    content = {"line": "one", "text": "one\ntwo", "kind": "small", "letter": "h", "some": ["big"], "sure": True}
    content |= {"whole": 7, "part": 1.5, "mail": "ann@example.org", "page": "https://example.org/x"}
    content |= {"day": "2024-02-29", "given": "as it was"}
    assert answers(page) == [{"action": "accept", "content": content}]
    page.shows("You answered", ".outcome")


def test_what_is_wrong_is_said_where_it_is_and_nothing_is_sent(gateways: Gateways, page: Page) -> None:
    enter(page, gateways("", "--agent", OBEYS))
    tell(page, form({name: FIELDS[name] for name in ("line", "whole", "some", "mail")}, "line", "whole", "some"))
    go(page)
    put(page, "Whole", "12")
    put(page, "Mail", "nobody")
    page.click(".ask-buttons button", "Send answer")
    page.shows("4 answers need another look", ".ask-note")
    wrong = [
        "An answer is needed.",
        "At most 9.",
        "Choose at least one.",
        "An e-mail address, such as ann@example.org.",
    ]
    assert [it.text for it in page.all(".field-error")] == wrong
    focused = page.driver.switch_to.active_element
    assert focused.get_attribute("aria-invalid") == "true"
    assert focused.get_attribute("maxlength") is None
    page.shot("wrong")
    put(page, "Line", "x" * 21)
    put(page, "Whole", Keys.BACKSPACE)
    put(page, "Mail", "@b")
    page.click(".choice", "A big one")
    page.press(Keys.CONTROL, Keys.ENTER, Keys.NULL)
    page.shows("One answer needs another look", ".ask-note")
    put(page, "Line", Keys.BACKSPACE, Keys.ENTER)
    content = {"line": "x" * 20, "whole": 1, "some": ["big"], "mail": "nobody@b"}
    assert answers(page) == [{"action": "accept", "content": content}]


def test_a_form_can_be_declined(gateways: Gateways, page: Page) -> None:
    enter(page, gateways("", "--agent", OBEYS))
    tell(page, form({"sure": FIELDS["sure"]}, "sure"))
    go(page)
    page.click(".ask-buttons button", "Decline")
    assert answers(page) == [{"action": "decline"}]
    page.shows("You declined", ".outcome")


def test_a_field_that_nobody_knows_can_only_be_left_out(gateways: Gateways, page: Page) -> None:
    enter(page, gateways("", "--agent", OBEYS))
    tell(page, form({"colour": {"type": "colour"}, "line": FIELDS["line"]}, "line"))
    page.shows("This page cannot ask for that", ".form")
    page.until(page.one(".ask-buttons .primary").is_enabled)
    put(page, "Line", "x", Keys.ENTER)
    assert answers(page) == [{"action": "accept", "content": {"line": "x"}}]


def visit(url: str) -> list[Any]:
    """The step that asks for an address to be opened."""
    link = {"sessionId": "$session", "mode": "url", "elicitationId": "e", "url": url, "message": "[Here](//a.b)"}
    return ["ask", "elicitation/create", link]


def test_an_address_stands_in_plain_sight_and_is_opened_by_a_click_only(gateways: Gateways, page: Page) -> None:
    page.means("favicon")  # which a browser asks for beside what is no page
    gateway = gateways("", "--agent", OBEYS)
    enter(page, gateway)
    right = f"{gateway.url}/healthz?a"
    tell(page, visit("javascript:1"), visit("https://bank.example@evil.example/login"), visit(right))
    page.one(".visit-host", "evil.example")
    page.shows("https://bank.example@evil.example/login", ".visit-address")
    page.one(".visit .ask-warning", "this leads to evil.example")
    assert not page.all(".visit a")
    assert not faint(page, ".visit"), faint(page, ".visit")
    page.shot("address")
    page.click(".visit button", "Decline")
    page.one(".visit-address", right)
    chat = page.driver.current_window_handle
    assert page.driver.window_handles == [chat]
    page.click(".visit button", "Open in a new tab")
    [opened] = page.until(lambda: set(page.driver.window_handles) - {chat})
    page.driver.switch_to.window(opened)
    page.until(lambda: page.driver.current_url == right)
    assert page.js("return window.opener") is None
    page.driver.close()
    page.driver.switch_to.window(chat)
    page.one(".outcome", "You opened it")
    assert answers(page) == [{"action": "decline"}, {"action": "decline"}, {"action": "accept"}]


def test_the_agents_own_question_is_answered(gateways: Gateways, page: Page) -> None:
    enter(page, gateways(ASKS))
    say(page, "Make one")
    page.shows("How shall it be made?", ".form")
    go(page)
    put(page, "Name", "Bob")
    put(page, "many", "3")
    page.click(".choice", "No")
    page.shot("asked")
    page.click(".ask-buttons button", "Send answer")
    page.shows("Made:")
    page.shows("sure: False")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_form_can_be_read_on_a_phone(gateways: Gateways, page: Page, scheme: str) -> None:
    page.scheme(scheme)
    page.phone()
    enter(page, gateways("", "--agent", OBEYS))
    hostile = {"title": "A \u202e<b>title</b>", "type": "string", "description": "\x1b[31m" + "long " * 60}
    tell(page, form(FIELDS | {"odd": hostile}, *ALL))
    go(page)
    page.click(".ask-buttons button", "Send answer")
    page.shows("need another look", ".ask-note")
    assert not faint(page, ".form"), faint(page, ".form")
    assert page.js("return document.documentElement.scrollWidth") <= 390
    page.shows(r"A \u202e<b>title</b>", ".form")
    page.shot(scheme)
