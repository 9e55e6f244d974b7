"""A start that cannot be: one line that says why, and the exit code for it."""

import os
import socket
from pathlib import Path

import anyio
import pytest

from ars_gateway.__main__ import main
from ars_gateway.address import command
from ars_gateway.errors import StartError
from ars_gateway.settings import alone, load
from tests.gateway.host import GATEWAY, TOKEN, environment, program


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "state"
    path.mkdir(mode=0o700)
    return path


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (["--agent", "an 'unclosed"], 1, "an agent's command cannot be read: No closing quotation"),
        (["--agent", "no-such-agent"], 1, "no program no-such-agent here: name another --agent"),
        (["--log-file", "/nonexistent/x"], 1, "/nonexistent/x cannot be written (No such file or directory)"),
        (["--allow-host", "a/b"], 1, "a/b is no host: name[:port] (--allow-host)"),
        (["--allow-origin", "http://[::1"], 1, "http://[::1 is no origin: http(s)://name[:port] (--allow-origin)"),
        (["--port", "http"], 1, "http is no port: a number up to 65535, or 0 for a free one"),
        (["--state-dir", __file__], 1, f"{__file__} cannot be made or read (File exists): name another --state-dir"),
        (["--store", "nonsense:x"], 1, "a store is named by a URL that starts with"),
        (["--host", "nowhere.invalid", "--allow-remote"], 2, "cannot listen on nowhere.invalid:0: "),
        (["--socket", "/nonexistent/x"], 2, "cannot listen on /nonexistent/x: No such file or directory"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(
    state: Path, given: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["--state-dir", str(state), "--port", "0", *given]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"ars-gateway: {said}")


def test_a_log_level_that_is_none_is_said(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("ARS_GATEWAY_LOG_LEVEL", "loud")
    assert main(["--state-dir", str(state)]) == 1
    assert capsys.readouterr().err == "ars-gateway: loud is no log level: debug, info, warning, error (--log-level)\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"limits": {"tickSecond": 9}}', "limits.tickSecond is unknown: tickSeconds may be meant"),
        ('{"approvals": {"seconds": "9"}}', "approvals.seconds must be a number from 1 to 3600, is text"),
        ('{"agents": {"main": {"env": {"A": 1}}}}', "agents.main.env.A must be text, is a whole number"),
        ('{"a\\n": 1, "b": 1, "limits": {"c": 1, "d": 1}}', "limits.c is unknown: there are"),
        ("[]", "it must be an object with agents, workspace, gateway, approvals and limits, is a list"),
    ],
)
def test_a_configuration_that_is_none_is_said_by_its_keys(
    state: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]
):
    (state / "config.json").write_text(text)
    (state / "config.json").chmod(0o600)
    assert main(["--state-dir", str(state)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"ars-gateway: {state}/config.json: {said}")
    assert line.endswith("; and 1 more") == ("; a is unknown: " in line)


def test_a_configuration_that_is_no_file_is_said(state: Path, capsys: pytest.CaptureFixture[str]):
    (state / "config.json").mkdir()
    assert main(["--state-dir", str(state)]) == 1
    assert capsys.readouterr().err == f"ars-gateway: {state}/config.json is no plain file\n"


def test_a_port_that_is_taken_is_named(state: Path, capsys: pytest.CaptureFixture[str]):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["--state-dir", str(state), "--port", str(port)]) == 2
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use: name another --port" in capsys.readouterr().err


def test_an_index_that_is_none_is_named(state: Path, capsys: pytest.CaptureFixture[str]):
    (state / "index.sqlite").write_text("this is no index of ours, and no other database")
    assert main(["--state-dir", str(state), "--port", "0"]) == 2
    assert capsys.readouterr().err == f"ars-gateway: {state}/index.sqlite cannot be used: file is not a database\n"


def test_a_directory_may_be_named_from_where_one_is(state: Path):
    settings = load({"state_dir": os.path.relpath(state)}, {})
    assert settings.state_dir == state
    assert settings.store == f"jsonl:{state / 'transcripts'}"


async def test_two_gateways_do_not_share_a_directory(state: Path):
    async with program(state) as first:
        command = [GATEWAY, "--port", "0", "--no-socket", "--state-dir", str(state)]
        with anyio.fail_after(20):
            second = await anyio.run_process(command, env=environment(), check=False)
        assert second.returncode == 1
        assert second.stderr.decode().startswith(f"ars-gateway: a gateway is already at work in {state}")
        async with first.client() as client:
            assert await client.request("system-presence")
    with alone(state), pytest.raises(StartError), alone(state):
        pass


@pytest.mark.parametrize("more", [[], ["--no-socket"]])
async def test_the_command_that_is_told_prints_another_address(state: Path, more: list[str]):
    async with program(state, *more) as one:
        told = one.said.partition("within a minute; `")[2].partition("` prints another")[0]
        with anyio.fail_after(20):
            done = await anyio.run_process(["sh", "-c", told], env=environment(ARS_GATEWAY_TOKEN=TOKEN), stderr=None)
        assert done.stdout.decode().startswith(f"http://127.0.0.1:{one.port}/#token=")


def test_a_program_that_is_on_the_path_is_told_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (here := tmp_path / "ars-gateway").touch(0o755)
    assert command(str(here), {}, 1) == f"{here} address"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert command(str(here), {"state_dir": "a b"}, 1) == "ars-gateway address '--state-dir=a b'"
