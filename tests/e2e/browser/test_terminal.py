"""Terminals in the page: live while their command runs, long ones by their end, and what they show is only text."""

import pytest

from tests.e2e.browser.cards import LONGEST, enter, faint, say
from tests.e2e.browser.chromium import Page
from tests.e2e.browser.conftest import Gateways

pytestmark = pytest.mark.e2e

# Says something, waits until a file is there, says more, and fails.
PROGRESS = (
    r"printf '\033[1;32mone\033[0m\n10%%\r20%%'; until [ -e go ]; do sleep 0.02; done; printf '\r100%%\ntwo\n'; exit 3"
)
RUNS = """
=== turn
call run_command
  command: %s
--- step
say: Over.
=== turn
call run_command
  command: seq 1 1000
--- step
say: Counted.
"""
HOSTILE = "\\033]0;owned\\007\\033]52;c;ZWNobw==\\007\\033[2J<img src=x onerror=alert(1)>\\342\\200\\256txt"
# How much there is below what can be seen of the second terminal.
BELOW = """
const it = document.querySelectorAll('.terminal-text')[1];
return it.scrollHeight - it.scrollTop - it.clientHeight;
"""


def test_a_terminal_is_live_and_ends_with_how_its_command_ended(gateways: Gateways, page: Page) -> None:
    gateway = gateways(RUNS % PROGRESS)
    enter(page, gateway)
    say(page, "Go")
    page.click("button[data-decision=allow-once]")
    page.shows("one\n20%", ".terminal-text")
    page.shows("running", ".tool-status")
    assert page.text(".terminal-text .ansi-fg-2") == "one"
    page.shot("live")
    page.shows("running 2 s", ".tool-status")
    page.reload()
    page.shows("one\n20%", ".terminal-text")
    # How long it ran before, the page was not there to see: it tells no time of it, which would be too short.
    drawn = page.js("return performance.now()")
    page.until(lambda: page.js("return performance.now() > arguments[0] + 2600", drawn))
    assert page.text(".tool-status") == "running"
    (gateway.workspace / "go").touch()
    page.shows("one\n100%\ntwo", ".terminal-text")
    page.shows("exit 3", ".tool-facts")
    page.shows("failed", ".tool-status")
    page.shows("Over.")
    page.reload()
    page.shows("one\n100%\ntwo", ".terminal-text")


def test_long_output_is_shown_by_its_end_and_whole_when_asked_for(gateways: Gateways, page: Page) -> None:
    gateway = gateways(RUNS % "echo one")
    enter(page, gateway)
    say(page, "Go")
    page.click("button[data-decision=allow-once]")
    page.shows("Over.")
    say(page, "Count")
    page.click("button[data-decision=allow-once]")
    page.shows("Counted.")
    lines = (
        "return [...document.querySelectorAll('.turn:last-child .terminal-line')].map((it) => it.textContent.trim())"
    )
    assert page.js(lines) == [str(n) for n in range(801, 1001)]
    page.until(lambda: page.js(BELOW) < 2)
    page.click(".terminal .show-more", "Show all 1000 lines")
    assert page.js(lines) == [str(n) for n in range(1, 1001)]


def test_a_flood_does_not_freeze_the_page(gateways: Gateways, page: Page) -> None:
    gateway = gateways(RUNS % "seq 1 300000")
    enter(page, gateway)
    page.js(LONGEST)
    say(page, "Go")
    page.click("button[data-decision=allow-once]")
    page.shows("Over.", within=30)
    page.shows("300000", ".terminal-text")
    assert page.js("return document.querySelectorAll('.terminal-line').length") <= 200
    assert page.js("return window.longest") < 1000


def test_what_a_command_writes_does_nothing_to_the_page(gateways: Gateways, page: Page) -> None:
    gateway = gateways(RUNS % f"printf '{HOSTILE}'")
    enter(page, gateway)
    say(page, "Go")
    page.click("button[data-decision=allow-once]")
    page.shows(r"<img src=x onerror=alert(1)>\u202etxt", ".terminal-text")
    assert "owned" not in page.text(".terminal-text")
    assert page.js("return document.querySelectorAll('.conversation img').length") == 0
    assert "owned" not in page.driver.title


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_terminals_sixteen_colours_can_be_read(gateways: Gateways, page: Page, scheme: str) -> None:
    colours = "".join(rf"\033[{n}mfg{n}\033[0m " for n in (*range(30, 38), *range(90, 98)))
    colours += "".join(rf"\033[{n}m bg{n} \033[0m " for n in (*range(40, 48), *range(100, 108))) + r"\033[2mdim\033[0m"
    page.scheme(scheme)
    enter(page, gateways(RUNS % f"printf '{colours}'"))
    say(page, "Go")
    page.click("button[data-decision=allow-once]")
    page.shows("dim", ".terminal-text")
    page.shows("Over.")
    assert not faint(page, ".tool"), faint(page, ".tool")
    page.shot(scheme)
