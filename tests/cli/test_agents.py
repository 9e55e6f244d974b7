"""`ars agents`: what is installed, whether one is signed in, what it can do, from really launching it."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.terminal import ROOT, argv, environment

pytestmark = pytest.mark.e2e
ABLE = ROOT / "fixtures" / "agents" / "able.py"
KEPT = {"loadSession": True, "promptCapabilities": {"image": True}, "sessionCapabilities": {"list": {}, "close": {}}}
MODES = {"currentModeId": "ask", "availableModes": [{"id": "ask", "name": "Ask"}, {"id": "plan", "name": "Plan"}]}


def installed(home: Path, **agents: dict[str, Any]) -> dict[str, str]:
    """An environment in which these programs are on the PATH, and no other agent."""
    programs = home / "programs"
    programs.mkdir()
    for name, told in agents.items():
        script = programs / name
        script.write_text(f"#!/bin/sh\nexec {shlex.join([sys.executable, '-S', str(ABLE), json.dumps(told)])}\n")
        script.chmod(0o755)
    return {**environment(home), "PATH": f"{programs}:/usr/bin:/bin"}


def ars(env: dict[str, str], *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv("agents", *args), capture_output=True, text=True, env=env, timeout=60, check=False)


def test_each_is_told_as_it_is_found(tmp_path: Path) -> None:
    signed_out = {"signedOut": "oauth", "auth": [{"id": "oauth", "name": "OAuth"}]}
    fails = {"fails": {"initialize": {"code": -32603, "message": "no such luck"}}}
    env = installed(
        tmp_path, qwen={"capabilities": KEPT, "session": {"modes": MODES}}, gemini=signed_out, opencode=fails
    )
    ran = ars(env, "--json", "qwen", "gemini", "opencode", "codex")
    assert ran.returncode == 0
    qwen, gemini, opencode, codex = json.loads(ran.stdout)
    assert (qwen["installed"], qwen["signed_in"], qwen["todo"], qwen["problem"]) == (True, True, "", "")
    assert qwen["can"] == ["image", "load", "list", "close"]
    assert qwen["modes"] == ["ask", "plan"]
    assert (gemini["signed_in"], gemini["sign_in_methods"]) == (False, ["oauth"])
    assert gemini["todo"] == "run `gemini` and sign in, or set GEMINI_API_KEY"
    assert "no such luck" in opencode["problem"]
    assert (codex["installed"], codex["todo"]) == (
        False,
        "install it: npm install --global @agentclientprotocol/codex-acp",
    )


def test_people_get_a_list_with_what_to_do(tmp_path: Path) -> None:
    ran = ars(installed(tmp_path, gemini={"signedOut": "x"}, qwen={"capabilities": KEPT}))
    words = [line.split()[:2] for line in ran.stdout.splitlines() if not line.startswith(" ")]
    assert words == [
        ["ars", words[0][1]],
        ["opencode", "not"],
        ["qwen", "ready"],
        ["gemini", "sign"],
        ["claude", "not"],
        ["codex", "not"],
    ]
    assert "run `gemini` and sign in" in ran.stdout


def test_any_command_can_be_looked_at_and_a_silent_one_ends_in_time(tmp_path: Path) -> None:
    env = environment(tmp_path)
    (able,) = json.loads(ars(env, "--json", shlex.join([sys.executable, "-S", str(ABLE)])).stdout)
    assert (able["installed"], able["signed_in"]) == (True, True)
    (cat,) = json.loads(ars(env, "--json", "--timeout", "0.5", "sleep 60").stdout)
    assert "no answer to initialize within 0.5 s" in cat["problem"]
    assert ars(env, "").returncode == 1
