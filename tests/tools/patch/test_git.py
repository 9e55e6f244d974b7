"""Our patches and git's: each takes the other's."""

import os
import subprocess
from pathlib import Path
from random import Random

import pytest

from ars_acp.tools.patch.apply import apply
from ars_acp.tools.patch.model import FilePatch
from ars_acp.tools.patch.parse import parse
from ars_acp.tools.patch.render import render


def git(root: Path, *argv: str) -> str:
    raw = subprocess.run(["git", *argv], cwd=root, check=True, capture_output=True).stdout
    return raw.decode()


def text(random: Random, lines: int, end: str) -> str:
    body = [
        random.choice(["", "a", "  b", "\tc", "d e", "-- f", "++ g", str(random.randrange(9))]) for _ in range(lines)
    ]
    return end.join(body) + random.choice([end, end, ""])


def edited(random: Random, old: str, end: str) -> str:
    lines = old.split(end)
    for _ in range(random.randint(1, 5)):
        at = random.randrange(len(lines) + 1)
        lines[at : at + random.randrange(4)] = text(random, random.randrange(4), end).split(end)
    return end.join(lines)


@pytest.mark.parametrize("seed", range(400 if os.environ.get("FAULTS") == "full" else 20))
def test_git_s_diff_applies_here_and_any_of_its_hunks_rendered_apply_to_git(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    end = random.choice(["\n", "\n", "\r\n"])
    git(tmp_path, "init", "-q")
    git(tmp_path, "config", "core.autocrlf", "false")
    names = ["a.txt", "with blank.txt", "é.txt", "gone.txt"]
    old = {name: text(random, random.randrange(1, 60), end) for name in names}
    for name, content in old.items():
        (tmp_path / name).write_bytes(content.encode())
    git(tmp_path, "add", "-A")
    new = {name: edited(random, content, end) for name, content in old.items() if name != "gone.txt"}
    new["came.txt"] = text(random, 5, end)
    (tmp_path / "gone.txt").unlink()
    for name, content in new.items():
        (tmp_path / name).write_bytes(content.encode())
    git(tmp_path, "add", "--intent-to-add", "came.txt")

    files = parse(git(tmp_path, "diff", f"-U{random.randrange(1, 4)}", "--no-renames"))
    applied = [apply(file, old.get(file.path), file.path) for file in files]
    assert {it.change.path: it.change.new_text for it in applied} == {
        name: new.get(name) for name in sorted({*old, *new}) if old.get(name) != new.get(name)
    }

    git(tmp_path, "reset", "-q")
    git(tmp_path, "clean", "-qfd")
    for name, content in old.items():
        (tmp_path / name).write_bytes(content.encode())
    expected = dict(old)
    parts = []
    for change, hunks in ((it.change, it.hunks) for it in applied if it.change.path in new and it.change.old_text):
        if some := tuple(hunk for hunk in hunks if random.random() < 0.7):
            parts.append(apply(FilePatch("update", change.path, some), change.old_text, change.path))
            expected[change.path] = parts[-1].change.new_text or ""
    (tmp_path / ".git" / "patch").write_bytes(render(parts, lambda path: path).encode())
    if parts:
        git(tmp_path, "apply", ".git/patch")
    assert {name: (tmp_path / name).read_bytes().decode() for name in old} == expected
