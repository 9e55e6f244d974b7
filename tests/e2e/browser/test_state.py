"""The state page: how the gateway is and what it does, with what an administrator may do about it."""

import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from tests.e2e.browser.cards import OBEYS, enter, faint, say, tell
from tests.e2e.browser.chromium import Page
from tests.e2e.browser.conftest import Browsers, Gateways

pytestmark = pytest.mark.e2e


def look(page: Page) -> None:
    """Goes to the state page."""
    page.js("location.hash = '#state'")
    page.one(".state-page .tile")


ROWS = """
const [title] = arguments;
const titled = (it) => it.querySelector('h3').textContent === title;
const panel = [...document.querySelectorAll('.state-panel')].find(titled);
return [...panel.querySelectorAll('tbody tr')].map((it) => it.innerText);
"""


def rows(page: Page, panel: str) -> list[str]:
    """The rows of a panel's table."""
    found: list[str] = page.js(ROWS, panel)
    return found


def test_agents_runs_and_connections_are_shown_and_a_run_can_be_ended(gateways: Gateways, page: Page) -> None:
    gateway = gateways("", "--agent", OBEYS)
    enter(page, gateway)
    tell(page, ["cancelled"])
    page.shows("Working")
    look(page)
    page.until(lambda: any("busy" in it for it in rows(page, "Agents")))
    assert any("this page" in it for it in rows(page, "Connections"))
    page.shot("state")
    page.click(".state-panel button", "End")
    page.shows("Nothing runs.")
    page.until(lambda: any("ready" in it for it in rows(page, "Agents")))


def test_plots_say_what_they_show(gateways: Gateways, page: Page) -> None:
    enter(page, gateways())
    say(page, "hello")
    page.shows("You said: hello")
    look(page)
    labels = "return [...document.querySelectorAll('svg.plot')].map((it) => it.getAttribute('aria-label'))"
    said = page.until(lambda: [it for it in page.js(labels) if it.startswith("Memory: now ")] and page.js(labels), 20)
    assert len(said) == 5
    assert "MB" in said[0]
    assert "NaN" not in page.js("return document.querySelector('.plots').outerHTML")


def test_the_log_is_followed_and_sifted(gateways: Gateways, page: Page) -> None:
    enter(page, gateways())
    look(page)
    page.shows("gateway.connected", ".log")
    page.type(".log-bar [type=search]", "no such words")
    page.until(lambda: not page.all(".log-line"))
    page.type(".log-bar [type=search]", Keys.CONTROL, "a", Keys.NULL, Keys.BACKSPACE)
    page.shows("gateway.connected", ".log")
    Select(page.one(".log-bar select")).select_by_value("error")
    page.until(lambda: not page.all(".log-line.info"))


def test_devices_are_listed_and_one_is_revoked(gateways: Gateways, browsers: Browsers) -> None:
    gateway = gateways()
    one, other = browsers(), browsers()
    enter(other, gateway)
    enter(one, gateway)
    look(one)
    one.until(lambda: len(one.all(".state-panel button[aria-label^=Revoke]")) == 2)
    mine = one.js("return document.querySelectorAll('.state-panel button[aria-label^=Revoke]')")
    assert len(mine) == 2
    other.means("WebSocket|closed|1008")
    # The newest stands first: that is this page's own.
    one.js("arguments[0].click()", mine[1])
    one.click(".state-panel button", "Really?")
    one.until(lambda: len(one.all(".state-panel button[aria-label^=Revoke]")) == 1)
    one.shows("revoked", ".state-page")
    other.one("input[type=password]")


def test_the_configuration_can_be_read(gateways: Gateways, page: Page) -> None:
    enter(page, gateways())
    look(page)
    page.click(".state-panel summary", "Configuration")
    page.shows("config.json", ".state-page")
    page.shows("{", ".config")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_state_page_can_be_read_on_a_phone(gateways: Gateways, page: Page, scheme: str) -> None:
    page.scheme(scheme)
    page.phone()
    enter(page, gateways())
    look(page)
    page.shows("gateway.connected", ".log")
    assert not faint(page, ".state-page"), faint(page, ".state-page")
    assert page.js("return document.documentElement.scrollWidth") <= 390
    page.shot(scheme)
