"""A gateway, and any number of browsers, for tests of the page. ARS_SCREENSHOTS names where pictures are kept."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.browser.chromium import Page, browser
from tests.e2e.browser.gateway import Gateway, at_work

ECHO = "=== turn repeat\nthink: Nothing to think about.\nsay: You said: $prompt\nusage 10 5\n"
Browsers = Callable[[], Page]
Gateways = Callable[..., Gateway]


@pytest.fixture
def gateways(tmp_path: Path) -> Iterator[Gateways]:
    """`gateways(script, *arguments)`: the program, before an agent whose model plays that."""
    with ExitStack() as open_ones:
        yield lambda script=ECHO, *arguments: open_ones.enter_context(at_work(tmp_path / "home", script, *arguments))


@pytest.fixture
def browsers(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Browsers]:
    """`browsers()`: one more browser, each of another person. At the end none may have complained of anything."""
    shots = Path(os.environ.get("ARS_SCREENSHOTS") or tmp_path / "shots")
    pages: list[Page] = []
    with ExitStack() as open_ones:

        def another() -> Page:
            page = open_ones.enter_context(browser(shots, f"{request.node.name}-{len(pages) + 1}"))
            pages.append(page)
            return page

        yield another
        complaints = [problem for page in pages for problem in page.problems()]
    assert not complaints, "\n".join(complaints)


@pytest.fixture
def page(browsers: Browsers) -> Page:
    """A person's browser."""
    return browsers()
