"""The page's pure modules, tested where they run: by node's own test runner, `*.test.mjs` beside this file."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SECONDS = 120


@pytest.mark.parametrize("module", sorted(path.name for path in HERE.glob("*.test.mjs")))
def test_module_of_the_page_passes_its_tests(module: str):
    node = shutil.which("node")
    if node is None:
        assert not os.environ.get("CI"), "node is needed to test the page's modules"
        pytest.skip("no node here: the page's modules are not tested")
    done = subprocess.run([node, "--test", HERE / module], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
