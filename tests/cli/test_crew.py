"""`ars crew`: a task for several agents, as people and as programs read it; what is kept; how it ends."""

import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.terminal import ROOT, argv, environment, terminal

pytestmark = pytest.mark.e2e
STEPS = {
    "Architect": "think: Hm.\nsay: One table.\nread notes.txt\nusage 1200 0.0123\n",
    "Critic": "wait 0.2\nsay: And the old rows?\n",
}


def crew_file(cwd: Path, steps: dict[str, str] = STEPS, top: str = "", **more: str) -> str:
    """A crew on mock agents that do so in each of their turns; `more` is what else a role's table says, by role."""
    text = [top]
    for (role, does), like in zip(steps.items(), ("qwen", "gemini", "opencode"), strict=False):
        script = cwd / f"{role}.script"
        script.write_text(does if does.startswith("===") else f"=== turn repeat\n{does}")
        options = ["--like", like, "--script", str(script), "--store", str(cwd / f"{role}.store")]
        command = shlex.join([sys.executable, "-m", "connector.testing", *options])
        text.append(f"[[role]]\nname = {role!r}\nagent = {json.dumps(command)}\n{more.get(role, '')}\n")
    (cwd / "notes.txt").write_text("notes")
    path = cwd / "crew.toml"
    path.write_text("\n".join(text))
    return str(path)


def ars(cwd: Path, *args: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    told = environment(cwd, PYTHONPATH=str(ROOT), **env)
    command = argv("crew", *args, "--cwd", str(cwd), "--pass-env", "PYTHONPATH")
    return subprocess.run(command, input=stdin, capture_output=True, text=True, env=told, timeout=60, check=False)


def events(ran: subprocess.CompletedProcess[str]) -> list[Any]:
    return [json.loads(line) for line in ran.stdout.splitlines()]


def test_each_role_speaks_under_its_name_and_the_end_says_what_it_took(tmp_path: Path) -> None:
    ran = ars(tmp_path, crew_file(tmp_path), "Well?")
    assert (ran.returncode, ran.stderr) == (0, "")
    paragraphs = [part.strip() for part in ran.stdout.split("\n\n")]
    assert [part for part in paragraphs if part][1:-1] == [
        "Hm.",
        "One table.",
        "✓ read     Read notes.txt",
        paragraphs[-3],
        "And the old rows?",
    ]
    assert paragraphs[0].startswith("── Architect · ")
    assert paragraphs[-3].startswith("── Critic · ")
    assert paragraphs[-1].startswith("─ 2 replies, ")
    assert paragraphs[-1].endswith(" s, 1,200 tokens, 0.0123 USD")


def test_in_a_parallel_round_each_reply_stands_whole(tmp_path: Path) -> None:
    steps = {"Ann": "say: A1\nwait 0.3\nsay: -A2\n", "Bob": "wait 0.1\nsay: B1\nwait 0.5\nsay: -B2\n"}
    ran = ars(tmp_path, crew_file(tmp_path, steps), "-", "--round", "parallel", stdin="Well?")
    assert sorted(line for line in ran.stdout.splitlines() if line and not line.startswith("─")) == ["A1-A2", "B1-B2"]


def test_with_json_each_event_is_a_line(tmp_path: Path) -> None:
    told = events(ars(tmp_path, "--json", crew_file(tmp_path), "Well?"))
    kinds = [event["event"] for event in told if event["event"] != "update" and "agent." not in event["event"]]
    assert ("agent.state", "busy") in [(event["event"], event.get("state")) for event in told]
    assert kinds == ["opened", "round", "said", "asked", "replied", "asked", "replied", "over", "end"]
    assert next(event["role"] for event in told if event["event"] == "update") == "Architect"
    assert [event["text"] for event in told if event["event"] == "replied"] == ["One table.", "And the old rows?"]
    assert {key: told[-1][key] for key in ("why", "failed")} == {"why": "done", "failed": []}
    assert told[-1]["spent"]["cost"] == {"USD": 0.0123}


def test_a_debate_ends_when_all_say_the_word_of_the_file(tmp_path: Path) -> None:
    top = 'round = "debate"\nrounds = 3\nagreed = "agreed"\n'
    steps = {
        "Ann": "=== turn\nsay: No.\n=== turn repeat\nsay: Fine. AGREED.\n",
        "Bob": "=== turn repeat\nsay: Mine: agreed\n",
    }
    told = events(ars(tmp_path, "--json", crew_file(tmp_path, steps, top), "Well?"))
    assert sorted(event["text"] for event in told if event["event"] == "replied") == [
        "Fine. AGREED.",
        "Mine: agreed",
        "Mine: agreed",
        "No.",
    ]


def test_a_conversation_with_a_name_goes_on_with_agents_that_remember(tmp_path: Path) -> None:
    steps = {"Ann": "say: $told\n", "Bob": "say: Hm.\n"}
    file = crew_file(tmp_path, steps)
    assert ars(tmp_path, file, "One?", "--name", "a").returncode == 0
    told = events(ars(tmp_path, file, "Two?", "--name", "a", "--to", "Ann", "--json"))
    assert [event["text"] for event in told if event["event"] == "replied"] == [
        "User: One? | Assistant (Bob): Hm.\n\nUser: Two?"
    ]
    assert (tmp_path / ".local" / "state" / "ars-acp" / "crews").is_dir()
    nothing = ars(tmp_path, file, "--name", "a")
    assert (nothing.returncode, nothing.stderr) == (1, "ars: there is no task, and no round to go on with\n")


async def test_a_round_in_which_the_program_was_killed_goes_on_without_a_task(tmp_path: Path) -> None:
    steps = {"Ann": "say: A.\n", "Bob": "say: B1\nwait 30\n"}
    args = ("crew", crew_file(tmp_path, steps, Bob="prompt = 'Be Bob.'"), "--name", "a", "--cwd", str(tmp_path))
    env = environment(tmp_path, PYTHONPATH=str(ROOT))
    async with terminal(*args[:2], "Well?", *args[2:], "--pass-env", "PYTHONPATH", env=env) as person:
        await person.sees("── Bob")
        await person.sees("B1")
        person.process.kill()
        person.process.wait()
    (tmp_path / "Bob.script").write_text("=== turn repeat\nsay: B.\n")
    told = events(ars(tmp_path, *args[1:-2], "--json"))
    assert [(event["role"], event["kind"], event["text"]) for event in told if event["event"] == "failed"] == [
        ("Bob", "interrupted", "B1")
    ]
    assert [event["event"] for event in told[-2:]] == ["over", "end"]
    assert [event for event in told if event["event"] == "asked"] == []


@pytest.mark.parametrize(
    ("steps", "more", "code", "told"),
    [
        ({"Ann": "exit 3\n"}, "", 2, "! Ann: its agent is started again: it ended (exit status 3)"),
        ({"Ann": "say: A\nexit 3\n"}, "", 2, "✗ Ann failed: the turn was interrupted"),
        ({"Ann": "stop refusal\n"}, "", 3, "✗ Ann refused: it refused, and will not remember what it was told"),
        ({"Ann": "wait 30\n"}, "seconds = 0.3", 3, "✗ Ann was too slow: it took longer than 0.3 s"),
        ({"Ann": "say: A.\n"}, "[budget]\nreplies = 1", 3, "─ the budget of 1 replies is used up"),
        ({"Ann": "write a.txt: x\n"}, "", 0, "! Ann: refused: edit "),
        ({"Ann": "write a.txt: x\nsay: Done.\n"}, "allow = 'once'", 0, "Done."),
    ],
    ids=["dead", "interrupted", "refusal", "slow", "budget", "not allowed", "allowed"],
)
def test_what_goes_wrong_is_told_where_it_happens_the_others_go_on_and_the_exit_code_tells(
    tmp_path: Path, steps: dict[str, str], more: str, code: int, told: str
) -> None:
    ran = ars(tmp_path, crew_file(tmp_path, {**steps, "Bob": "say: B.\n"}, Ann=more), "Well?")
    assert told in ran.stdout
    assert "Traceback" not in ran.stderr
    assert ran.returncode == code, ran.stdout + ran.stderr
    assert ("B." in ran.stdout) is ("budget" not in more)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ([], "name a file that describes a crew"),
        (["none.toml", "x"], "none.toml: No such file"),
        (["FILE"], "there is no task"),
        (["FILE", " "], "there is no task"),
        (["FILE", "x", "--round", "talk"], "--round is one of sequential"),
        (["FILE", "x", "--to", "Zed"], "there is no role Zed; there are Ann"),
        (["FILE", "x", "--store", "nowhere"], "a store is named by a URL"),
    ],
)
def test_wrong_usage_is_one_line(tmp_path: Path, args: list[str], told: str) -> None:
    file = crew_file(tmp_path, {"Ann": "say: A.\n"})
    ran = ars(tmp_path, *[file if arg == "FILE" else arg for arg in args])
    assert (ran.returncode, ran.stdout) == (1, "")
    assert told in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_the_example_works_as_it_stands_on_our_own_agent(tmp_path: Path) -> None:
    script = tmp_path / "model.script"
    script.write_text('=== turn if "You are the critic"\nsay: It will break.\n=== turn repeat\nsay: A design.\n')
    printed = ars(tmp_path, "--example")
    (tmp_path / "crew.toml").write_text(printed.stdout)
    told = events(ars(tmp_path, "--json", str(tmp_path / "crew.toml"), "Well?", ARS_SCRIPT=str(script)))
    replied = [(event["role"], event["text"]) for event in told if event["event"] == "replied"]
    assert replied == [("Architect", "A design."), ("Critic", "It will break.")]


async def test_at_a_terminal_one_sees_who_is_at_work_and_ctrl_c_cancels(tmp_path: Path) -> None:
    file = crew_file(tmp_path, {"Ann": "say: One moment.\nwait 30\n", "Bob": "say: B.\n"})
    args = ("crew", file, "Well?", "--cwd", str(tmp_path), "--pass-env", "PYTHONPATH")
    async with terminal(*args, env=environment(tmp_path, PYTHONPATH=str(ROOT))) as person:
        await person.sees("── Ann")
        await person.sees("One moment.")
        person.process.send_signal(signal.SIGINT)
        await person.sees("✗ Ann was cancelled: it was cancelled")
        await person.sees("─ it was cancelled")
        assert await person.ends() == 130
    assert "Ann is working; Ctrl-C cancels" in person.raw
    assert "── Bob" not in person.text
