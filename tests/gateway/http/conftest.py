"""A gateway whose agent serves editors elsewhere, for every test that asks for one."""

import pytest

from tests.gateway.http.editors import SERVED


@pytest.fixture
def served(start):
    """`served(limits=…)`: its settings besides."""
    return lambda **more: start(**(SERVED | more))
