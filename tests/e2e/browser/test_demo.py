"""What a newcomer sees behind `make run-gateway` without a model: a session that begins with "demo" is a whole turn."""

import pytest

from fixtures.model_server import SCRIPTS
from tests.e2e.browser.cards import enter, say
from tests.e2e.browser.chromium import Page
from tests.e2e.browser.conftest import Gateways

pytestmark = pytest.mark.e2e


def allow(page: Page, what: str) -> None:
    """Allows what is asked, once it is this."""
    page.one(".permission:has(button)", what)
    page.click("button[data-decision=allow-once]")


def test_the_demonstration_is_a_whole_turn_in_an_empty_workspace(gateways: Gateways, page: Page) -> None:
    gateway = gateways((SCRIPTS / "gateway.script").read_text())
    enter(page, gateway)
    say(page, "demo")
    allow(page, "demo/greet.py")
    allow(page, "demo/test_greet.py")
    allow(page, "python3 -m unittest")
    page.one(".hunk")
    page.shot("review")
    page.click("button", "Accept all")
    page.click("button.primary", "Apply 2 of 2")
    allow(page, "python3 -m unittest")
    page.shows("That was a whole turn")
    page.shot("question")
    page.click("label", "I look around")
    page.click(".ask .primary")
    page.shows("Open this page in a second window")
    page.shot("end")
    greet = (gateway.workspace / "demo" / "greet.py").read_text()
    assert "{name}" in greet
    assert "- 1" not in greet
