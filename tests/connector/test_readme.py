"""The README's example of the connector is run as it stands, but for the agent and the directory."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_example_runs(tmp_path: Path) -> None:
    section = (ROOT / "README.md").read_text().partition("## The connector as a library")[2]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found is not None
    agent = f"{sys.executable} {ROOT / 'fixtures' / 'agents' / 'echo.py'}"
    program = found[1].replace('"opencode"', repr(agent)).replace('"/path/to/project"', repr(str(tmp_path)))
    assert program != found[1]
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    asked = "What is this project?"
    told = f"Answer briefly.{asked} "
    assert ran.stdout.splitlines()[0] == told
    assert ran.stdout.splitlines()[-2] == f"{asked} → {told} end_turn"
    assert len(list(filter(None, found[1].splitlines()))) <= 12
