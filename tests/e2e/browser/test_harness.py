"""The browser that the tests of the page use: what it shows, what it complains of, and that it ends."""

import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from tests.e2e.browser.chromium import Page, browser
from tests.e2e.browser.conftest import Browsers, Gateways
from tests.support.trees import ended, watched

pytestmark = pytest.mark.e2e

FORBIDDEN = """<!doctype html><meta charset=utf-8><meta http-equiv=Content-Security-Policy content="script-src 'self'">
<link rel=icon href=data:,><script>document.title = "ran"</script>"""
KILLED = """
import os, signal, sys
from pathlib import Path
from tests.e2e.browser.chromium import browser
with browser(Path(sys.argv[1]), "killed") as page:
    group = page.js("return 1") and os.getpid()
    children = Path(f"/proc/{group}/task/{group}/children").read_text().split()
    print(*children, flush=True)
    sys.stdin.read()
"""


def test_the_gateway_is_seen(gateways: Gateways, page: Page) -> None:
    gateway = gateways()
    page.open(f"{gateway.url}/healthz")
    page.shows('"ok":true')
    page.means("favicon")  # a browser asks for one by itself where a document names none


def test_a_gateway_comes_back_where_it_was(gateways: Gateways, page: Page) -> None:
    gateway = gateways()
    port, first = gateway.port, gateway.process.pid
    gateway.stop()
    gateway.start()
    page.open(f"{gateway.url}/healthz")
    page.shows('"ok":true')
    page.means("favicon")
    assert gateway.port == port
    assert gateway.process.pid != first


def test_what_a_page_complains_of_is_collected(tmp_path: Path) -> None:
    file = tmp_path / "forbidden.html"
    file.write_text(FORBIDDEN)
    with browser(tmp_path, "forbidden") as page:
        page.open(file.as_uri())
        assert page.driver.title != "ran"
        assert any("Content Security Policy" in problem for problem in page.problems())
        page.js("console.error('of its own'); setTimeout(() => { throw new Error('thrown') })")
        page.until(lambda: [it for it in page.problems() if "thrown" in it])
        assert any("of its own" in problem for problem in page.problems())
        page.means("Content Security Policy|of its own|thrown")
        assert page.problems() == []


def test_two_browsers_know_nothing_of_each_other(gateways: Gateways, browsers: Browsers) -> None:
    gateway = gateways()
    one, other = browsers(), browsers()
    for page in (one, other):
        page.means("favicon")
        page.open(f"{gateway.url}/healthz")
    one.js("localStorage.setItem('who', 'one')")
    assert one.js("return localStorage.getItem('who')") == "one"
    assert other.js("return localStorage.getItem('who')") is None


def test_screens_and_schemes_are_what_the_page_sees(page: Page, tmp_path: Path) -> None:
    media = "['prefers-color-scheme: dark', 'pointer: fine'].map(it => matchMedia(`(${it})`).matches)"
    asked = f"return [innerWidth, ...{media}]"
    page.open("data:text/html,<!doctype html><meta name=viewport content=width=device-width>")
    page.scheme("light")
    assert page.js(asked) == [1280, False, True]
    page.phone()
    page.scheme("dark")
    assert page.js(asked) == [390, True, False]
    picture = page.shot("phone")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_waiting_in_vain_fails_with_what_the_page_says(page: Page) -> None:
    page.open("data:text/html,<!doctype html><p>Nothing else")
    with pytest.raises(AssertionError, match="Nothing else"):
        page.one("button", within=0.1)


def test_a_browser_ends_with_the_test_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path.cwd()) as test:
        assert test.stdout is not None
        drivers = [int(pid) for pid in test.stdout.readline().split()]
        assert drivers
        members = [int(pid) for driver in drivers for pid in _group(driver)]
        assert len(members) > len(drivers)
        with watched(members) as pidfds:
            test.kill()
            anyio.run(ended, pidfds)


def _group(leader: int) -> list[int]:
    """The processes of a group."""
    found = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    return [pid for pid in found if _group_of(pid) == leader]


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None
