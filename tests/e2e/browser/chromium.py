"""A person's browser: headless Chromium by its driver, without windows, and without a network but loopback.

`browser()` gives a `Page`. What its console says is collected: errors, what the content security policy has forbidden,
and what the page asked for and did not get; whoever opened it asks for `problems()` at the end.
"""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import pytest
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    NoSuchElementException,
    StaleElementReferenceException,
    TimeoutException,
)
from selenium.webdriver import Remote
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.remote_connection import ChromeRemoteConnection
from selenium.webdriver.common.by import By
from selenium.webdriver.common.proxy import Proxy, ProxyType
from selenium.webdriver.remote.client_config import ClientConfig
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

Json = dict[str, Any]
T = TypeVar("T")

WITHIN = 10.0
LOOKED = 0.02  # seconds between two looks at a condition
DESKTOP, PHONE = (1280, 800), (390, 844)
STARTED = re.compile(rb"started successfully on port (\d+)")
OPTIONS = (
    "--headless=new",
    # It ends with its driver: the pipe between them is closed then.
    "--remote-debugging-pipe",
    "--no-proxy-server",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-crash-reporter",
    "--disable-breakpad",
    "--disable-dev-shm-usage",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
    # A mouse, which a machine without a screen has not: it hovers (2) and is fine (4).
    "--blink-settings=primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4",
    f"--window-size={DESKTOP[0]},{DESKTOP[1]}",
)
# What spins for ever is not waited for.
STILL = """
const done = arguments[0];
const moving = document.getAnimations().filter((it) => it.effect?.getTiming().iterations !== Infinity);
Promise.race([Promise.allSettled(moving.map((it) => it.finished)), new Promise((late) => setTimeout(late, 1000))])
  .then(() => requestAnimationFrame(() => done()));
"""
# Gone from the page, or covered, in the moment between two looks.
_PASSING = (StaleElementReferenceException, NoSuchElementException, ElementClickInterceptedException)


class Page:
    """One browser and the page that it shows. Every wait is for a condition, and bounded."""

    def __init__(self, driver: Remote, shots: Path, name: str) -> None:
        self.driver = driver
        self.shots = shots
        self.name = name
        self._said: list[Json] = []
        self._meant: list[re.Pattern[str]] = []
        self.desktop()

    # ── what is there ───────────────────────────────────────────────────────────────────────────────────────────────

    def open(self, url: str) -> None:
        """Goes to an address; back when the page has loaded."""
        self.driver.get(url)

    def reload(self) -> None:
        self.driver.refresh()

    def js(self, script: str, *given: Any) -> Any:
        """What a function body returns in the page; `given` are its `arguments`."""
        return self.driver.execute_script(script, *given)

    def all(self, css: str) -> list[WebElement]:
        """The elements that can be seen, in order."""
        return [element for element in self.driver.find_elements(By.CSS_SELECTOR, css) if element.is_displayed()]

    def text(self, css: str = "body") -> str:
        """What is to be read there; empty where there is no such element."""
        found = self.driver.find_elements(By.CSS_SELECTOR, css)
        return found[0].text if found else ""

    # ── waiting ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def until(self, condition: Callable[[], T], within: float = WITHIN) -> T:
        """The condition's first true value. Where there is none in time the test fails, with a picture."""
        waiting = WebDriverWait(self.driver, within, LOOKED, _PASSING)
        try:
            return waiting.until(lambda _: condition())
        except TimeoutException:
            picture = self.shot("waited-in-vain")
            raise AssertionError(f"not within {within} s ({picture}); the page says:\n{self.text()[:2000]}") from None

    def one(self, css: str, text: str | None = None, within: float = WITHIN) -> WebElement:
        """The first element that can be seen, once it can; `text`: that has this in it."""
        found = self.until(lambda: [it for it in self.all(css) if text is None or text in it.text], within)
        return found[0]

    def shows(self, text: str, css: str = "body", within: float = WITHIN) -> None:
        """Waits until that can be read."""
        self.until(lambda: text in self.text(css), within)

    def gone(self, css: str, within: float = WITHIN) -> None:
        """Waits until no such element can be seen."""
        self.until(lambda: not self.all(css), within)

    # ── doing ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def click(self, css: str, text: str | None = None, within: float = WITHIN) -> None:
        """Clicks an element, once it is there and nothing covers it."""

        def clicked() -> bool:
            found = [it for it in self.all(css) if (text is None or text in it.text) and it.is_enabled()]
            if found:
                found[0].click()
            return bool(found)

        self.until(clicked, within)

    def type(self, css: str, *keys: str) -> None:
        """Types into an element; `selenium.webdriver.common.keys.Keys` has the keys without a letter."""
        self.one(css).send_keys(*keys)

    def press(self, *keys: str) -> None:
        """Types where the focus is."""
        self.driver.switch_to.active_element.send_keys(*keys)

    # ── how it looks ────────────────────────────────────────────────────────────────────────────────────────────────

    def desktop(self) -> None:
        self._screen(*DESKTOP, phone=False)

    def phone(self) -> None:
        self._screen(*PHONE, phone=True)

    def scheme(self, name: str) -> None:
        """`light` or `dark`, as the person's system has it."""
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def shot(self, name: str) -> Path:
        """A picture of what can be seen once nothing moves; kept where ARS_SCREENSHOTS names a directory."""
        self.driver.execute_async_script(STILL)
        self.shots.mkdir(parents=True, exist_ok=True)
        path = self.shots / f"{self.name}-{name}.png"
        self.driver.get_screenshot_as_file(str(path))
        return path

    def cdp(self, method: str, **params: Any) -> Any:
        """A command of the DevTools protocol."""
        return self.driver.execute("executeCdpCommand", {"cmd": method, "params": params})["value"]

    def _screen(self, width: int, height: int, *, phone: bool) -> None:
        scale = 2 if phone else 1
        self.cdp(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone
        )
        self.cdp("Emulation.setTouchEmulationEnabled", enabled=phone)

    # ── what it complains of ────────────────────────────────────────────────────────────────────────────────────────

    def console(self) -> list[Json]:
        """All that the console has said so far: level, source, message."""
        self._said += self.driver.execute("getLog", {"type": "browser"})["value"]
        return self._said

    def means(self, pattern: str) -> None:
        """What the console says of this kind is no problem in this test: the gateway is ended under it, say."""
        self._meant.append(re.compile(pattern))

    def problems(self) -> list[str]:
        """Errors, warnings and forbidden things that nobody meant."""
        return [
            f"{it['level']} {it['source']}: {it['message']}"
            for it in self.console()
            if it["level"] in ("SEVERE", "WARNING") or it["source"] in ("security", "violation")
            if not any(pattern.search(it["message"]) for pattern in self._meant)
        ]


def programs() -> tuple[str, str]:
    """Chromium and its driver. Skips the test where they are not there; in CI that is a failure."""
    found = shutil.which("chromium"), shutil.which("chromedriver")
    if found[0] is None or found[1] is None:
        missing = "*** NO CHROMIUM AND CHROMEDRIVER HERE (make browser): NOTHING IS TESTED OF THE WEB PAGE ***"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    return found


@contextmanager
def browser(shots: Path, name: str) -> Iterator[Page]:
    """A browser of its own, which remembers nothing of another one. It has ended afterwards, whatever happened."""
    chromium, driver = programs()
    with TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile, _driver(driver) as port:
        address = f"http://127.0.0.1:{port}"
        direct = ClientConfig(address, proxy=Proxy({"proxyType": ProxyType.DIRECT}), timeout=60)
        connection = ChromeRemoteConnection(address, client_config=direct)
        try:
            remote = Remote(connection, options=_options(chromium, profile))
            yield Page(remote, shots, name)
        finally:
            connection.close()


@contextmanager
def _driver(program: str) -> Iterator[int]:
    """The driver at work, and its port. It leads a group of processes, which Chromium's are in."""
    # Where this process is killed itself nobody else would end it.
    fated = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    with subprocess.Popen(
        [*fated, program, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, process_group=0
    ) as process:
        assert process.stdout is not None
        try:
            said = next((found for line in process.stdout if (found := STARTED.search(line))), None)
            assert said is not None, "chromedriver ended at its start"
            yield int(said[1])
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def _options(chromium: str, profile: str) -> Options:
    options = Options()
    options.binary_location = chromium
    for argument in (*OPTIONS, f"--user-data-dir={profile}", *(["--no-sandbox"] if os.geteuid() == 0 else [])):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return options
