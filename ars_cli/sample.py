"""The demonstration's project: a small one with failing tests, copied to where it may be changed."""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).with_name("demo") / "tally"
PROMPT = "The tests fail. Find out why, fix it and show me the changes before you make them."
IDENTITY = ("-c", "user.name=ars demo", "-c", "user.email=demo@example.invalid")


class DemoError(Exception):
    """The project cannot be set up; the message says what is missing."""


@contextlib.contextmanager
def throw_away_project() -> Iterator[str]:
    """The path of a fresh copy, a git repository with one commit, which is gone afterwards. Raises `DemoError`."""
    with tempfile.TemporaryDirectory(prefix="ars-demo-", ignore_cleanup_errors=True) as directory:
        # Real, so that the paths that the agent sees are those that its commands print.
        path = Path(directory).resolve() / PROJECT.name
        shutil.copytree(PROJECT, path, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        for args in (("init", "-q", "-b", "main"), ("add", "-A"), (*IDENTITY, "commit", "-q", "-m", "tally as it is")):
            _git(path, *args)
        yield str(path)


def _git(path: Path, *args: str) -> None:
    # No signing, no hooks, no templates: the person's git configuration is not the demonstration's business.
    quiet = ("-c", "commit.gpgsign=false", "-c", "core.hooksPath=/dev/null", "-c", "init.templateDir=")
    try:
        subprocess.run(["git", *quiet, *args], cwd=path, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise DemoError("the demonstration needs git, and there is none on the PATH") from None
    except subprocess.CalledProcessError as why:
        raise DemoError(f"git {args[0]} failed: {why.stderr.strip()}") from None
