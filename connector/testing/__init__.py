"""A mock agent, for tests and demonstrations: it plays a script, remembers what it was told, fails when it is told to.

`python -m connector.testing --like qwen --script FILE` is an agent like any other; `mock_agent("qwen", FILE)` is the
row that `launch` takes. What `--like` names is the vendor whose ways it has (`connector.vendors`); how scripts are
written stands in `connector/testing/script.py`.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from connector.vendors import VENDORS, Vendor


def mock_agent(like: str = "ars", script: str | Path | None = None, options: Sequence[str] = ()) -> Vendor:
    """The row of a vendor with the mock agent for its command; `options` are its command line's."""
    argv = [sys.executable, "-m", "connector.testing", "--like", like, *options]
    if script is not None:
        argv += ["--script", str(script)]
    return replace(VENDORS[like], argv=tuple(argv), switch=(), asking=())
