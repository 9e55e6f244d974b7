"""Questions of permission in the page: what is asked stands there whole, and only a person who means it allows it."""

from pathlib import Path

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.e2e.browser.cards import OBEYS, answers, call, enter, faint, permission, say, tell
from tests.e2e.browser.chromium import Page
from tests.e2e.browser.conftest import Browsers, Gateways

pytestmark = pytest.mark.e2e

TOUCHES = """
=== turn
call run_command {"argv": ["touch", "it's here"]}
--- step if "exit code 0"
say: It is there.
--- step unless "exit code 0"
say: It is not there.
"""
COMMAND = {"kind": "execute", "title": "make it", "rawInput": {"argv": ["make", "-C", "a b", "x;y"], "cwd": "/srv"}}
PICKED = [{"outcome": {"outcome": "selected", "optionId": "once"}}]
REFUSED = [{"outcome": {"outcome": "selected", "optionId": "no"}}]
HOSTILE = "rm -rf ~ \u202eelif.txt\x1b[2K\x07<img src=x onerror=alert(1)>"


@pytest.mark.parametrize(("decision", "said"), [("allow-once", "It is there."), ("deny", "It is not there.")])
def test_a_command_runs_if_it_is_allowed_and_only_then(
    gateways: Gateways, page: Page, decision: str, said: str
) -> None:
    gateway = gateways(TOUCHES)
    enter(page, gateway)
    say(page, "Make it")
    page.shows("touch 'it'\"'\"'s here'", ".permission .command")
    page.shows(str(gateway.workspace), ".permission")
    page.shot("asked")
    assert not (gateway.workspace / "it's here").exists()
    page.click(f"button[data-decision={decision}]")
    page.shows(said)
    assert (gateway.workspace / "it's here").exists() == (decision == "allow-once")
    page.shows("You allowed this once" if decision == "allow-once" else "You denied this", ".outcome")
    page.shows("done" if decision == "allow-once" else "denied", ".tool-status")


def test_every_answer_that_the_agent_offers_can_be_given_and_no_other(gateways: Gateways, page: Page) -> None:
    enter(page, gateways("", "--agent", OBEYS))
    always = [("once", "allow_once"), ("for-good", "allow_always"), ("no", "reject_once")]
    tell(page, call(), permission(COMMAND, *always))
    page.click("button[data-decision=allow-always]", "For-good")
    assert answers(page) == [{"outcome": {"outcome": "selected", "optionId": "for-good"}}]
    tell(page, call("c2"), permission(COMMAND | {"toolCallId": "c2"}))
    page.one("button[data-decision=allow-once]")
    assert not page.all("button[data-decision=allow-always]")
    page.click("button[data-decision=deny]")
    several = [("here", "allow_always"), ("all", "allow_always"), ("once", "allow_once"), ("never", "reject_always")]
    tell(page, call("c3"), permission(COMMAND | {"toolCallId": "c3"}, *several))
    page.one(".ask:not(.answered) button", "Never")
    said = page.js("return [...document.querySelectorAll('.ask:not(.answered) button')].map((it) => it.innerText)")
    assert [it.split() for it in said] == [["Never", "1"], ["Here", "2"], ["All", "3"], ["Once", "y"]]
    page.shot("several")
    page.click("button[data-kind=allow_always]", "All")
    page.one(".outcome", "You chose: All")
    assert answers(page) == [{"outcome": {"outcome": "selected", "optionId": "all"}}]


def test_what_is_typed_elsewhere_answers_nothing(gateways: Gateways, page: Page) -> None:
    enter(page, gateways("", "--agent", OBEYS))
    tell(page, call(), permission(COMMAND))
    page.one("button[data-decision=allow-once]")
    assert page.driver.switch_to.active_element.get_attribute("id") == "composer"
    page.type("#composer", "yes, y")
    page.js("document.querySelector('.scroll').focus()")
    page.press("g", "q")
    page.until(lambda: page.js("return document.activeElement.closest('.permission') !== null"))
    page.press(Keys.ENTER, Keys.SPACE)
    assert page.all(".permission .command")
    page.until(page.one("button[data-decision=allow-once]").is_enabled)
    page.press("n")
    assert answers(page) == REFUSED
    assert page.one("#composer").get_attribute("value") == "yes, y"


def test_keys_in_the_card_answer_it(gateways: Gateways, page: Page) -> None:
    enter(page, gateways("", "--agent", OBEYS))
    tell(page, call(), permission(COMMAND))
    page.until(page.one("button[data-decision=allow-once]").is_enabled)
    page.js("document.querySelector('.permission h3').focus()")
    page.press("A")  # is not offered, and means nothing else here
    page.press("y")
    assert answers(page) == PICKED


def test_who_was_quicker_is_said_to_the_others_and_after_a_restart(gateways: Gateways, browsers: Browsers) -> None:
    gateway = gateways("", "--agent", OBEYS)
    one, other = browsers(), browsers()
    for page in (one, other):
        page.means("WebSocket connection|ERR_CONNECTION")
    enter(one, gateway)
    enter(other, gateway)
    tell(one, call(), permission(COMMAND))
    one.one(".permission .command")
    other.click("button[data-decision=deny]")
    one.shows("Denied by ", ".outcome")
    assert not one.all("button[data-decision]")
    answers(one)
    gateway.stop()
    gateway.start()
    one.reload()
    one.shows("Denied by ", ".tool .permission.answered .outcome")
    assert len(one.all(".permission")) == 1


def test_a_question_that_nobody_answers_ends_and_says_so(gateways: Gateways, page: Page, tmp_path: Path) -> None:
    state = tmp_path / "home" / "state"
    state.mkdir(parents=True, mode=0o700)
    (state / "config.json").write_text('{"approvals": {"seconds": 2}}')
    (state / "config.json").chmod(0o600)
    enter(page, gateways("", "--agent", OBEYS))
    tell(page, call(), permission(COMMAND))
    page.one(".permission .time-left.hurry", "s left")
    page.shows("Nobody answered in time", ".outcome")
    assert answers(page) == REFUSED


def test_a_question_that_is_withdrawn_with_its_turn_says_so(gateways: Gateways, page: Page) -> None:
    enter(page, gateways("", "--agent", OBEYS))
    tell(page, call(), permission(COMMAND), ["cancelled"])
    page.one(".permission .command")
    page.click(".send-button.stop")
    page.shows("Withdrawn", ".outcome")
    assert not page.all("button[data-decision]")


def test_what_is_hidden_in_a_question_is_written_out(gateways: Gateways, page: Page) -> None:
    enter(page, gateways("", "--agent", OBEYS))
    diff = {"type": "diff", "path": f"/srv/new\n{HOSTILE}", "oldText": "a\n", "newText": f"b {HOSTILE}\n"}
    hostile = {"kind": "edit", "title": HOSTILE, "content": [diff], "locations": [{"path": f"/srv/{HOSTILE}"}]}
    tell(page, call(title=HOSTILE), permission(hostile))
    page.one(".permission .diff")
    for css in (".tool-title", ".permission .command, .permission .ask-said", ".diff-head .path", ".diff .add"):
        assert r"\u202eelif.txt\u001b[2K\u0007<img src=x onerror=alert(1)>" in page.text(css), css
    assert page.js("return document.querySelectorAll('.conversation img').length") == 0
    page.shot("hostile")


def test_a_protected_file_is_marked(gateways: Gateways, page: Page) -> None:
    gateway = gateways("", "--agent", OBEYS)
    enter(page, gateway)
    hook = str(gateway.workspace / ".git/hooks/pre-commit")
    diff = {"type": "diff", "path": hook, "oldText": None, "newText": "#!/bin/sh\n"}
    tell(page, call(), permission({"kind": "edit", "title": "Hook", "content": [diff], "locations": [{"path": hook}]}))
    page.shows("protected", ".permission .badge")
    page.shows("steers git", ".permission")
    page.shot("protected")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_question_can_be_read(gateways: Gateways, page: Page, scheme: str) -> None:
    page.scheme(scheme)
    page.phone()
    enter(page, gateways("", "--agent", OBEYS))
    always = [("once", "allow_once"), ("for-good", "allow_always"), ("no", "reject_once")]
    tell(page, call(), permission(COMMAND, *always))
    page.until(page.one("button[data-decision=allow-once]").is_enabled)
    assert not faint(page, ".tool"), faint(page, ".tool")
    assert page.js("return document.documentElement.scrollWidth") <= 390
    page.shot(scheme)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_answer_below_the_mouse_can_be_read(gateways: Gateways, page: Page, scheme: str) -> None:
    page.scheme(scheme)
    enter(page, gateways("", "--agent", OBEYS))
    tell(page, call(), permission(COMMAND, ("once", "allow_once"), ("no", "reject_once")))
    button = page.one("button[data-decision=allow-once]")
    page.until(button.is_enabled)
    ActionChains(page.driver).move_to_element(button).perform()
    assert page.js("return arguments[0].matches(':hover')", button)
    assert not faint(page, ".ask-buttons"), faint(page, ".ask-buttons")
