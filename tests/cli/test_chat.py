"""`ars chat` at a terminal and in a pipe, with a scripted model and with agents that misbehave."""

import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.terminal import ROOT, argv, ars, environment, terminal

pytestmark = pytest.mark.e2e
AGENTS = ROOT / "fixtures" / "agents"
ECHO = shlex.join([sys.executable, "-S", str(AGENTS / "echo.py")])
SCRIPT = """
=== turn repeat
say: You said $prompt
call prompt_user
  question: How shall it be?
  fields: [COLOUR, {"name": "many", "type": "integer"}, {"name": "sure", "type": "boolean"}]
--- step
say: $result
wait 0.01
--- step
say: over
""".replace("COLOUR", '{"name": "colour", "title": "Colour", "choices": ["red", "blue"]}')


def scripted(tmp_path: Path, script: str = SCRIPT) -> dict[str, str]:
    (tmp_path / "model.script").write_text(script)
    (tmp_path / "project").mkdir(exist_ok=True)
    return environment(tmp_path, ARS_SCRIPT=str(tmp_path / "model.script"), ARS_STORE="memory:")


async def test_a_conversation_at_a_terminal_goes_on_until_the_person_ends_it(tmp_path: Path) -> None:
    async with terminal("chat", "--agent", ECHO, "--cwd", str(tmp_path), env=environment(tmp_path)) as person:
        for prompt, answer in (("one", "one"), ("two é", "one | two é"), ("/help", "Ctrl-D or /quit ends")):
            await person.sees("› ")
            person.press(f"{prompt}\n")
            await person.sees(answer)
        await person.sees("› ")
        person.press("\n")
        await person.sees("› ")
        person.press("/quit\n")
        assert await person.ends() == 0


async def test_the_first_prompt_may_stand_on_the_command_line_and_ctrl_d_ends(tmp_path: Path) -> None:
    async with terminal("chat", "--agent", ECHO, "hello", env=environment(tmp_path), cwd=tmp_path) as person:
        await person.sees("› hello")
        await person.sees("─ done")
        await person.sees("› ")
        person.press("\x04")
        assert await person.ends() == 0


async def test_a_form_is_asked_field_by_field_and_nothing_typed_before_counts(tmp_path: Path) -> None:
    async with terminal("chat", "--cwd", str(tmp_path / "project"), env=scripted(tmp_path)) as person:
        await person.sees("› ")
        person.press("hello\n")
        await person.sees("How shall it be?")
        await person.sees("2. blue\n› ")
        person.press("3\n")
        await person.sees("a number from 1 to 2\n› ")
        person.press("2\n")
        await person.sees("many (a whole number)\n› ")
        person.press("7\n")
        await person.sees("sure [y/n]\n› ")
        person.press("y\n")
        await person.sees("colour: blue\nmany: 7\nsure: True")
        await person.sees("─ done")
        await person.sees("› ")
        person.press("again\n")
        await person.sees("2. blue\n› ")
        person.press("\x04")
        await person.sees("closed the question without an answer")
        assert "› again\n\n\n" not in person.text
        await person.sees("─ done")
        person.press("\x03")
        await person.sees("Ctrl-C again or Ctrl-D quits")
        person.press("\x03")
        assert await person.ends() == 130


async def test_an_address_is_shown_whole_and_opened_by_the_person_or_not_at_all(tmp_path: Path) -> None:
    def ask(url: str) -> str:
        told = {"sessionId": "$session", "mode": "url", "message": "Sign in", "elicitationId": "e", "url": url}
        return json.dumps([["ask", "elicitation/create", told]]) + "\n"

    asks = shlex.join([sys.executable, "-S", str(AGENTS / "asks.py")])
    async with terminal(
        "chat", "--agent", asks, "--cwd", str(tmp_path), env=environment(tmp_path), width=400
    ) as person:
        await person.sees("› ")
        person.press(ask("https://example.org/login?code=a\u202eb"))
        await person.sees("  https://example.org/login?code=a\\u{202e}b\n  on example.org\n")
        await person.sees("Open it in your browser?")
        person.press("y")
        await person.sees('[{"action": "accept"}]')
        await person.sees("› ")
        person.press(ask("https://example.org@evil.example/"))
        await person.sees("declined: that is no address of the web")
        await person.sees('[{"action": "decline"}]')
        await person.sees("› ")
        person.press("\x04")
        assert await person.ends() == 0


def test_the_agent_is_a_vendor_when_its_name_comes_first(tmp_path: Path) -> None:
    (tmp_path / "gemini").write_text(f"#!/bin/sh\nexec {ECHO}\n")
    (tmp_path / "gemini").chmod(0o755)
    env = environment(tmp_path)
    env["PATH"] = f"{tmp_path}:/usr/bin:/bin"
    ran = subprocess.run(
        argv("chat", "gemini", "hello"), capture_output=True, text=True, env=env, timeout=60, check=False, cwd=ROOT
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "hello" in ran.stdout.rpartition("› ")[2]


async def test_ctrl_c_cancels_the_turn_and_the_conversation_goes_on(tmp_path: Path) -> None:
    script = "=== turn\nsay: begun\nwait 60\n=== turn\nsay: still here\n"
    async with terminal("chat", "--cwd", str(tmp_path / "project"), env=scripted(tmp_path, script)) as person:
        await person.sees("› ")
        person.press("go\n")
        await person.sees("begun")
        person.press("\x03")
        await person.sees("cancelling")
        await person.sees("─ cancelled")
        await person.sees("› ")
        person.press("go on\n")
        await person.sees("still here")
        await person.sees("› ")
        person.press("\x04")
        assert await person.ends() == 0


async def test_a_model_that_fails_does_not_end_the_conversation(tmp_path: Path) -> None:
    script = '=== turn\nfail LLM_ERROR "no such model"\n=== turn\nsay: better\n'
    async with terminal("chat", "--cwd", str(tmp_path / "project"), env=scripted(tmp_path, script)) as person:
        await person.sees("› ")
        person.press("one\n")
        await person.sees("no such model")
        await person.sees("› ")
        person.press("two\n")
        await person.sees("better")
        await person.sees("› ")
        person.press("\x04")
        assert await person.ends() == 0


async def test_sigterm_ends_it_and_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    async with terminal("chat", "--agent", ECHO, env=environment(tmp_path), cwd=tmp_path) as person:
        await person.sees("› ")
        person.process.send_signal(signal.SIGTERM)
        assert await person.ends() == 4


def test_in_a_pipe_the_prompt_comes_from_stdin_and_the_transcript_goes_to_stdout(tmp_path: Path) -> None:
    for args in ((), ("-",)):
        ran = ars(tmp_path, "chat", "--agent", ECHO, "--cwd", str(tmp_path), *args, stdin="from a pipe\n")
        assert (ran.returncode, ran.stderr) == (0, "")
        assert "from a pipe" in ran.stdout.rpartition("› ")[2]


@pytest.mark.parametrize("command", ["chat --agent", "run"])
def test_what_is_late_is_shown_behind_what_came_before_it(tmp_path: Path, command: str) -> None:
    able = shlex.join([sys.executable, "-S", str(AGENTS / "able.py"), "{}"])
    ran = ars(tmp_path, *command.split(), able, "both", "--cwd", str(tmp_path))
    assert "early late" in ran.stdout


@pytest.mark.parametrize(
    ("script", "code", "told"),
    [
        ("=== turn\nsay: x\nfinish length\n", 3, "the model's reply reached its limit"),
        ("=== turn\nsay: x\nfinish refusal\n", 3, "the model refused"),
        ('=== turn\nfail LLM_ERROR "no such model"\n', 2, "no such model"),
        ("=== turn\nsay: fine\n", 0, "fine"),
    ],
)
def test_the_exit_code_tells_how_the_turn_ended(tmp_path: Path, script: str, code: int, told: str) -> None:
    ran = ars(tmp_path, "chat", "--cwd", str(tmp_path), "go", **scripted(tmp_path, script))

    assert ran.returncode == code
    assert told in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (["chat", "--agent", "/no/such/agent", "x"], 1, "cannot start `/no/such/agent`: No such file or directory"),
        (["chat", "--agent", "", "x"], 1, "the agent's command is empty"),
        (["chat", "--agent", "'", "x"], 1, "No closing quotation"),
        (["chat", "--agent", "false", "x"], 2, "the agent ended (exit status 1) during initialize"),
        (["chat", "--cwd", "/no/such/dir", "x"], 1, "no such directory: /no/such/dir"),
        (["chat", "--demo", "--cwd", "/tmp"], 1, "--demo brings its own directory"),
        (["chat", "--permissions", "all"], 1, "invalid choice"),
        (["chat", "gemnii", "x"], 1, "'gemnii' is no agent"),
        (["frobnicate"], 1, "invalid choice"),
        ([], 1, "required"),
        (["chat", "x"], 1, "OPENAI_API_KEY"),
    ],
)
def test_what_is_wrong_is_told_in_few_lines_with_its_code(
    tmp_path: Path, args: list[str], code: int, told: str
) -> None:
    ran = ars(tmp_path, *args)

    assert ran.returncode == code
    assert told in ran.stderr
    assert ran.stderr.startswith("ars: ")
    assert "Traceback" not in ran.stderr
    assert ran.stderr.count("\n") <= 3


def test_the_help_documents_every_exit_code_and_the_version_is_told(tmp_path: Path) -> None:
    for args in (["--help"], ["chat", "--help"]):
        ran = ars(tmp_path, *args)
        assert ran.returncode == 0
        assert all(f"  {code:>3}  " in ran.stdout for code in (0, 1, 2, 3, 4, 130))
    assert ars(tmp_path, "--version").stdout.startswith("ars 0.")


def test_a_reader_that_goes_away_ends_it_quietly(tmp_path: Path) -> None:
    reader = subprocess.run(
        f"{shlex.join(argv('chat', '--agent', ECHO, 'hello'))} | true",
        shell=True,
        capture_output=True,
        text=True,
        env=environment(tmp_path),
        timeout=30,
        check=False,
    )
    assert reader.stderr == ""
