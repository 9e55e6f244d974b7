"""The table of known agents, and what is made of a name or a command line."""

import pytest

from connector.environment import inherited
from connector.limits import DEFAULTS
from connector.vendors import VENDORS, command_of


@pytest.mark.parametrize("name", VENDORS)
def test_every_row_can_be_started_says_how_to_sign_in_and_asks_before_it_acts(name: str) -> None:
    vendor = command_of(name)
    command = vendor.command()

    assert vendor.name == command.name == name
    assert not vendor.switch or vendor.switch[0] in command.argv
    assert vendor.sign_in.run
    assert vendor.install
    assert set(vendor.credentials) <= set(command.passed_on)
    assert {variable for names in vendor.sign_in.methods.values() for variable in names} <= set(vendor.credentials)
    kinds = [kind for _, kind in vendor.quirks.options]
    assert kinds.count("allow_once") == kinds.count("reject_once") == 1


@pytest.mark.parametrize(
    ("said", "argv"),
    [
        ("qwen", ["qwen", "--acp", "--approval-mode", "default"]),
        ("qwen --experimental-acp", ["qwen", "--experimental-acp", "--approval-mode", "default"]),
        ("/opt/my\\ bin/qwen -m x", ["/opt/my bin/qwen", "-m", "x", "--acp", "--approval-mode", "default"]),
        ("qwen --approval-mode=yolo", ["qwen", "--approval-mode=yolo", "--acp"]),
        ("opencode --print-logs", ["opencode", "--print-logs", "acp"]),
        (["opencode", "acp", "--cwd", "/x"], ["opencode", "acp", "--cwd", "/x"]),
        ("claude", ["claude-agent-acp"]),
        ("my-agent --fast", ["my-agent", "--fast"]),
    ],
)
def test_what_switches_acp_on_is_added_when_it_is_missing(said: str | list[str], argv: list[str]) -> None:
    assert command_of(said).command().argv == argv


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("npx -y @google/gemini-cli@0.61.0", "gemini"),
        ("npx @qwen-code/qwen-code", "qwen"),
        ("node /x/node_modules/@agentclientprotocol/codex-acp/dist/index.js", "codex"),
        ("node /x/node_modules/@agentclientprotocol/codex-acp-more/index.js", "node"),
        ("npx @google/gemini-cli-clone", "npx"),
    ],
)
def test_a_package_runner_or_node_starts_the_same_vendor(said: str, name: str) -> None:
    assert command_of(said).name == name


def test_an_unknown_command_gets_nothing_but_its_surroundings() -> None:
    vendor = command_of("/opt/agents/other acp")

    assert (vendor.name, vendor.title, vendor.limits) == ("other", "/opt/agents/other", DEFAULTS)
    assert not any("KEY" in name or "TOKEN" in name for name in vendor.command().passed_on)
    assert "HTTPS_PROXY" in vendor.command().passed_on


def test_a_vendor_gets_the_variables_that_its_row_names_and_no_others() -> None:
    ours = {"PATH": "/bin", "OPENAI_API_KEY": "k", "ARS_MODE": "ask", "ANTHROPIC_API_KEY": "a", "ARSON": "1"}
    assert inherited(command_of("ars").command().passed_on, source=ours) == {
        "PATH": "/bin",
        "OPENAI_API_KEY": "k",
        "ARS_MODE": "ask",
    }


@pytest.mark.parametrize("said", ["", "  ", [], [""]])
def test_no_command_is_told(said: str | list[str]) -> None:
    with pytest.raises(ValueError, match="an agent is one of ars, opencode, qwen"):
        command_of(said)
