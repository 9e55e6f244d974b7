"""run_command: what is run is what was asked for and shown, in the client's terminal, for a bounded time."""

import shlex
import sys

import pytest

from ars_acp.tools.roots import PathOutsideRoots
from ars_acp.tools.tool import InvalidArguments, ToolLimits
from tests.tools.conftest import Bench

ECHO = "import sys; print(sys.argv[1:])"


async def test_exit_code_and_output_are_told(bench: Bench) -> None:
    result = await bench.call("run_command", argv=["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert not result.ok
    assert result.text.startswith("exit code 3\n")
    assert "out\nerr\n" in result.text
    assert result.raw == {"exitCode": 3, "signal": None, "timedOut": False, "truncated": False}


async def test_success_is_ok_and_signal_is_named(bench: Bench) -> None:
    assert (await bench.call("run_command", argv=["true"])).ok
    assert (await bench.call("run_command", command="kill -9 $$")).text.startswith("ended by signal SIGKILL")


async def test_terminal_is_shown_while_it_runs(bench: Bench) -> None:
    result = await bench.call("run_command", argv=["echo", "x"])
    assert bench.shown == [{"content": [{"type": "terminal", "terminalId": "terminal-1"}]}]
    assert result.content == bench.shown[0]["content"]


async def test_script_is_run_by_a_shell_and_shown_in_full(bench: Bench) -> None:
    script = "for it in 1 2; do\n\techo $it\ndone | wc -l  # " + "long " * 100
    act = await bench.plan("run_command", command=script)
    assert script in act.title
    assert script in act.content[0]["content"]["text"]
    assert (act.kind, act.effects) == ("execute", "execute")
    assert "2" in (await act.do()).text
    assert bench.hands.made("run") == [["sh", "-c", script]]


async def test_string_in_argv_and_list_in_command_are_taken_as_meant(bench: Bench) -> None:
    await bench.call("run_command", argv="echo $((1+1)) | cat")
    await bench.call("run_command", command=["echo", "$x"])
    assert bench.hands.made("run") == [["sh", "-c", "echo $((1+1)) | cat"], ["echo", "$x"]]


async def test_time_limit_gives_the_model_a_tool_timeout(bench: Bench) -> None:
    result = await bench.call("run_command", command="echo begun; exec sleep 60", timeout_seconds=1.5)
    assert (result.ok, result.code) == (False, "TOOL_TIMEOUT")
    assert "begun" in result.text


async def test_time_limit_has_an_upper_bound(bench: Bench) -> None:
    bench.limits = ToolLimits(max_command_seconds=0.2)
    assert (await bench.call("run_command", argv=["sleep", "60"], timeout_seconds=3600)).code == "TOOL_TIMEOUT"


async def test_long_output_keeps_its_beginning_and_more_of_its_end(bench: Bench) -> None:
    bench.limits = ToolLimits(output_bytes=400)
    text = (await bench.call("run_command", command="seq 1 1000")).text
    assert "\n1\n2\n" in text
    assert "\n999\n1000\n" in text
    assert "bytes left out here" in text
    assert len(text) < 700


async def test_output_that_the_terminal_lost_is_told(bench: Bench) -> None:
    bench.limits = ToolLimits(terminal_bytes=100)
    assert "the beginning of its output is lost" in (await bench.call("run_command", command="seq 1 1000")).text


async def test_colours_do_not_reach_the_model(bench: Bench) -> None:
    result = await bench.call("run_command", argv=["printf", r"\033[31mred\033[0m \033]0;title\007.\r\n"])
    assert "red .\n" in result.text


async def test_directory_is_inside_the_roots(bench: Bench) -> None:
    (bench.root / "sub").mkdir()
    assert f"{bench.root}/sub\n" in (await bench.call("run_command", argv=["pwd"], cwd="sub")).text
    for cwd in ("/", "..", "~", "sub/../..", str(bench.root) + "-evil"):
        with pytest.raises(PathOutsideRoots):
            await bench.plan("run_command", argv=["pwd"], cwd=cwd)


@pytest.mark.parametrize(
    "hidden", ["\0", "\x1b[8m", "\r", "\b", "\x7f", "\x9b", "\u202e", "\u2066", "\u2028", "\ud800"]
)
@pytest.mark.parametrize("where", ["argv", "command"])
async def test_what_a_person_would_not_see_is_refused(bench: Bench, hidden: str, where: str) -> None:
    arguments = {"argv": ["echo", f"a{hidden}b"]} if where == "argv" else {"command": f"echo a{hidden}b"}
    with pytest.raises(InvalidArguments):
        await bench.plan("run_command", **arguments)
    assert bench.hands.calls == []


@pytest.mark.parametrize(
    "arguments", [{}, {"argv": []}, {"command": ""}, {"argv": ["a"], "command": "b"}, {"argv": [" "]}]
)
async def test_neither_or_both_are_invalid(bench: Bench, arguments: dict[str, object]) -> None:
    with pytest.raises(InvalidArguments):
        await bench.plan("run_command", **arguments)


PIECES = ["; touch {}", "| touch {}", "&& touch {}", "$(touch {})", "`touch {}`", "\ntouch {}\n", "' ; touch {} #",
          '" ; touch {} #', "> {}", "<(touch {})", "-exec touch {}", "%0atouch {}", "${{IFS}}touch {}",
          "--x=$(touch {})", "& touch {} &", "|| touch {}", "{{touch,{}}}", "!touch {}", "\\$(touch {})",
          "${{x:-$(touch {})}}"]  # fmt: skip


@pytest.mark.parametrize("number", range(100))
async def test_injection_payload_is_an_argument_and_nothing_else(bench: Bench, number: int) -> None:
    canary = bench.root / "canary"
    prefix = ["", "x ", "a=1 ", "'", '"'][number // len(PIECES)]
    payload = prefix + PIECES[number % len(PIECES)].format(canary)
    act = await bench.plan("run_command", argv=[sys.executable, "-c", ECHO, payload])
    assert act.title == shlex.join([sys.executable, "-c", ECHO, payload])
    result = await act.do()
    assert repr([payload]) in result.text
    assert bench.hands.made("run") == [[sys.executable, "-c", ECHO, payload]]
    assert not canary.exists()
