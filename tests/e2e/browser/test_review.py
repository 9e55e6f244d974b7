"""A patch is reviewed in the page, hunk by hunk, before the real agent: what is accepted, and only that, is on disk."""

from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from fixtures.model_server import SCRIPTS
from tests.e2e.browser.cards import OBEYS, answers, enter, faint, form, go, say, tell
from tests.e2e.browser.chromium import Page
from tests.e2e.browser.conftest import Browsers, Gateways
from tests.e2e.conftest import BROKEN, FAREWELL, FIXED, TEST, git

pytestmark = pytest.mark.e2e

JOB = (SCRIPTS / "main_job.script").read_text()
WANTED = FAREWELL.replace("Goodbye, {name}", "Goodbye, {name}!").replace("(times - 1)", "times")
TITLES = ["1: a.py, line 1 (+1 -1)", "2: a.py, line 9 (+1 -0)", "3: Create b.py"]
MESSAGE = f"""Which of these changes do you want?

{TITLES[0]}
@@ -1,2 +1,2 @@
 one
-two
+2

{TITLES[1]}
@@ -9 +9,2 @@
 nine
+ten

{TITLES[2]}
@@ -0,0 +1 @@
+<img src=x onerror=alert(1)>\u202e
"""
HUNKS = {"hunks": {"type": "array", "items": {"anyOf": [{"const": t[0], "title": t} for t in TITLES]}}}
REVIEW = form(HUNKS, message=MESSAGE)

# Which hunk has the focus, and all of its head can be seen; -1 where none.
IN_SIGHT = """
const hunk = document.activeElement.closest('.hunk');
const [head, scroll] = [hunk?.querySelector('.hunk-head'), document.querySelector('.scroll').getBoundingClientRect()];
const at = head?.getBoundingClientRect();
const seen = at && at.top >= scroll.top && at.bottom <= scroll.bottom - 40;
return seen ? [...document.querySelectorAll('.hunk')].indexOf(hunk) : -1;
"""


def project(workspace: Path) -> None:
    """A git repository with one commit, one of whose tests fails."""
    for name, text in (("greet.py", BROKEN), ("farewell.py", FAREWELL), ("test_greet.py", TEST)):
        (workspace / name).write_text(text)
    git(workspace, "init", "--quiet", "--initial-branch=main")
    git(workspace, "add", ".")
    git(workspace, "-c", "user.name=A", "-c", "user.email=a@b.c", "commit", "--quiet", "--message=First")


def decided(page: Page) -> list[str]:
    """What is decided of each hunk."""
    return [it.get_attribute("data-decided") or "" for it in page.all(".hunk")]


def test_what_was_accepted_by_keys_is_on_disk_and_nothing_else(gateways: Gateways, page: Page) -> None:
    gateway = gateways(JOB)
    project(gateway.workspace)
    enter(page, gateway)
    say(page, "Mend the greeting")
    page.one(".hunk")
    assert page.driver.switch_to.active_element.get_attribute("id") == "composer"
    go(page)
    page.press("y", "y", "n", "y")
    page.shows("3 accepted · 1 rejected", ".review-tally")
    assert decided(page) == ["accepted", "accepted", "rejected", "accepted"]
    page.shot("decided")
    assert (gateway.workspace / "greet.py").read_text() == BROKEN
    page.until(page.one(".review-bar .primary").is_enabled)
    page.press(Keys.CONTROL, Keys.ENTER, Keys.NULL)
    page.shows("You accepted 3 of 4", ".review")
    page.click("button[data-decision=allow-once]", within=20)  # the tests are run
    page.shows("It greets and parts as it should", within=20)
    assert (gateway.workspace / "greet.py").read_text() == FIXED
    assert (gateway.workspace / "farewell.py").read_text() == WANTED
    page.shot("done")
    page.reload()
    page.shows("It greets and parts as it should", within=20)
    assert not page.all(".review-bar")


def test_on_a_phone_hunks_are_decided_by_their_buttons(gateways: Gateways, page: Page) -> None:
    gateway = gateways(JOB)
    project(gateway.workspace)
    page.phone()
    enter(page, gateway)
    say(page, "Mend the greeting")
    go(page)
    page.click(".hunk .accept")
    page.click(".review-bar button", "Reject the rest")
    page.shows("1 accepted · 3 rejected", ".review-tally")
    page.shot("phone")
    assert page.js("return document.documentElement.scrollWidth") <= 390
    page.click(".review-bar button", "Apply 1 of 4")
    page.click("button[data-decision=allow-once]", within=20)
    page.until(lambda: (gateway.workspace / "greet.py").read_text() == FIXED)
    assert (gateway.workspace / "farewell.py").read_text() == FAREWELL


def test_nothing_accepted_declines(gateways: Gateways, page: Page) -> None:
    enter(page, gateways("", "--agent", OBEYS))
    tell(page, REVIEW)
    go(page)
    page.click(".review-bar button", "Reject all")
    page.click(".review-bar button", "Reject the patch")
    assert answers(page) == [{"action": "decline"}]
    page.shows("You rejected the patch", ".review")


def test_moving_undoing_and_deciding_on_files(gateways: Gateways, page: Page) -> None:
    enter(page, gateways("", "--agent", OBEYS))
    tell(page, REVIEW)
    go(page)
    page.press("j", Keys.ARROW_DOWN, "k", "n")
    assert decided(page) == ["open", "rejected", "open"]
    page.press("y", "y")  # the one after it, then the first
    assert decided(page) == ["accepted", "rejected", "accepted"]
    page.click(".review-file-head button", "Reject file")
    assert decided(page) == ["rejected", "rejected", "accepted"]
    page.js("document.querySelectorAll('.hunk')[2].focus()")
    page.press("u", "k", "y")
    assert decided(page) == ["rejected", "accepted", "open"]
    page.shows("1 to decide", ".review-tally")
    page.click(".review-bar button", "Apply 1 of 3")
    assert answers(page) == [{"action": "accept", "content": {"hunks": ["2"]}}]


def test_a_review_that_was_answered_elsewhere_says_by_whom(gateways: Gateways, browsers: Browsers) -> None:
    gateway = gateways("", "--agent", OBEYS)
    one, other = browsers(), browsers()
    enter(one, gateway)
    enter(other, gateway)
    tell(one, REVIEW)
    go(one)
    one.click(".hunk .accept")
    go(other)
    other.click(".review-bar button", "Reject all")
    other.click(".review-bar button", "Reject the patch")
    one.shows("Rejected by ", ".review .outcome")
    other.shows("You rejected the patch", ".review .outcome")
    assert not one.all(".review-bar")
    assert not one.all(".hunk .accept")


def test_a_review_outlives_a_reload(gateways: Gateways, page: Page) -> None:
    enter(page, gateways("", "--agent", OBEYS))
    tell(page, REVIEW)
    page.one(".hunk")
    page.reload()
    go(page)
    page.click(".review-bar button", "Accept all")
    page.click(".review-bar button", "Apply 3 of 3")
    assert answers(page) == [{"action": "accept", "content": {"hunks": ["1", "2", "3"]}}]


def test_a_long_review_is_gone_to_at_its_first_hunk_and_through_by_keys(gateways: Gateways, page: Page) -> None:
    titles = [f"{n}: a.py, line {n * 10} (+1 -1)" for n in range(1, 41)]
    hunks = [f"{it}\n@@ -{n}0 +{n}0 @@\n-old {n}\n+new {n}\n" for n, it in enumerate(titles, 1)]
    chosen = {"type": "array", "items": {"anyOf": [{"const": str(n), "title": it} for n, it in enumerate(titles, 1)]}}
    enter(page, gateways("", "--agent", OBEYS))
    tell(page, form({"hunks": chosen}, message="Which?\n\n" + "\n".join(hunks)))
    page.one(".hunk")
    page.js("document.querySelector('.scroll').focus()")
    page.press("g", "q")
    page.until(lambda: page.js(IN_SIGHT) == 0)
    page.press(*"nnnnnnnnnn")
    page.until(lambda: page.js(IN_SIGHT) == 10)
    page.press("A")
    page.shows("30 accepted · 10 rejected", ".review-tally")
    page.until(page.one(".review-bar .primary").is_enabled)
    page.press(Keys.CONTROL, Keys.ENTER, Keys.NULL)
    assert answers(page) == [{"action": "accept", "content": {"hunks": [str(n) for n in range(11, 41)]}}]
    assert page.js("return document.activeElement.closest('.review') !== null")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_review_can_be_read_and_what_is_in_it_is_only_text(gateways: Gateways, page: Page, scheme: str) -> None:
    page.scheme(scheme)
    enter(page, gateways("", "--agent", OBEYS))
    tell(page, REVIEW)
    page.shows(r"<img src=x onerror=alert(1)>\u202e", ".review")
    assert page.js("return document.querySelectorAll('.review img').length") == 0
    go(page)
    page.click(".hunk .accept")
    page.click(".review-bar button", "Reject the rest")
    assert not faint(page, ".review"), faint(page, ".review")
    page.shot(scheme)
