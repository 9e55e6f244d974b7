"""Settings: where they come from, which wins, and what a wrong one says."""

import json
import os
import stat
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from ars_acp import settings
from ars_acp.errors import SettingsError
from ars_acp.login import write_login
from ars_acp.settings import Secret, Settings, load


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


def test_the_command_line_wins_over_ars_variables_those_over_openai_ones_those_over_the_login_file() -> None:
    write_login({"model": "from-login", "base_url": "http://login/v1"})
    environment = {"OPENAI_MODEL": "from-openai", "ARS_MODEL": "from-ars"}

    assert load({}, {}).model == "from-login"
    assert load({}, {"OPENAI_MODEL": "from-openai"}).model == "from-openai"
    assert load({}, environment).model == "from-ars"
    assert load({"model": "from-argv"}, environment).model == "from-argv"
    assert load({}, environment).base_url == "http://login/v1"


def test_variables_that_look_like_settings_and_are_none_are_told() -> None:
    assert settings.unknown_names({"ARS_MOD": "full", "ARS_MODE": "full", "PATH": "/"}) == ["ARS_MOD"]


def test_an_empty_variable_and_an_option_that_was_not_given_set_nothing() -> None:
    assert load({"mode": None}, {"ARS_MODE": ""}).mode == "ask"


def test_every_field_can_be_set_as_a_variable() -> None:
    chosen = load({}, {"ARS_STEPS_PER_TURN": "7", "ARS_PERMISSION_SECONDS": "0.5", "ARS_LOG_LEVEL": "debug"})
    assert (chosen.steps_per_turn, chosen.permission_seconds, chosen.log_level) == (7, 0.5, "debug")
    for name, default in vars(Settings()).items():
        if default is not None and name != "unstable":
            assert getattr(load({}, {f"ARS_{name.upper()}": str(default)}), name) == default


@pytest.mark.parametrize(("said", "meant"), [("1", True), ("true", True), ("Yes", True), ("0", False), ("off", False)])
def test_what_is_on_or_off_is_said_as_people_say_it(said: str, meant: bool) -> None:
    assert load({}, {"ARS_MCP_STDIO": said}).mcp_stdio is meant


def test_names_with_commas_between_them_are_a_set() -> None:
    assert load({}, {"ARS_UNSTABLE": "fork, turn_usage,"}).unstable == {"fork", "turn_usage"}


WRONG = [
    ("ARS_MODE", "yolo", "it should be one of ask, accept-edits, read-only, full"),
    ("ARS_LOG_LEVEL", "loud", "it should be one of debug, info, warning, error"),
    ("ARS_UNSTABLE", "fork,spoon", "it should be some of fork, turn_usage, with commas between them"),
    ("ARS_MCP_STDIO", "maybe", "it should be 1 or 0"),
    ("ARS_STEPS_PER_TURN", "-7", "it should be a whole number, 1 or more"),
    ("ARS_ATTEMPTS", "2.5", "it should be a whole number, 1 or more"),
    ("ARS_MAX_LINE", "99", "it should be a whole number, 1024 or more"),
    ("ARS_TEMPERATURE", "-2", "it should be a number, 0 or more"),
    ("ARS_TEMPERATURE", "nan", "it should be a number, 0 or more"),
    ("ARS_PERMISSION_SECONDS", "soon", "it should be a number of seconds, more than 0"),
    ("ARS_IDLE_SECONDS", "-0.0", "it should be a number of seconds, more than 0"),
    (
        "OPENAI_BASE_URL",
        "ftp://models.example/v1",
        "it should be an address like https://host/path or http://host:port/path",
    ),
    ("OPENAI_API_KEY", "sk-über", "it holds characters that no HTTP header may carry"),
]


@pytest.mark.parametrize(("name", "value", "told"), WRONG, ids=lambda it: it[:24])
def test_a_wrong_setting_is_named_in_one_line_without_its_value(name: str, value: str, told: str) -> None:
    with pytest.raises(SettingsError) as error:
        load({}, {name: value})
    field = name.removeprefix("ARS_").removeprefix("OPENAI_").lower()
    assert str(error.value) == f"setting {field}: {told}"
    assert value not in told


def test_the_key_shows_in_no_representation() -> None:
    chosen = load({}, {"OPENAI_API_KEY": "sk-very-secret-value"})
    assert chosen.api_key == Secret("sk-very-secret-value")
    assert "very-secret" not in f"{chosen} {chosen!r} {chosen.api_key} {vars(chosen)}"


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        load({}, {}).mode = "full"  # type: ignore[misc]


def test_an_empty_answer_at_the_login_is_none() -> None:
    settings.login_file().parent.mkdir(parents=True)
    settings.login_file().write_text(json.dumps({"api_key": "", "model": "m"}))
    assert load({}, {}) == Settings(model="m")


@pytest.mark.parametrize("content", ["{", "[]", "\xff"])
def test_a_login_file_that_cannot_be_read_says_what_to_do(content: str) -> None:
    write_login({})
    settings.login_file().write_text(content, encoding="latin-1")
    with pytest.raises(SettingsError, match="ars-acp login"):
        load({}, {})


def test_login_writes_a_file_that_only_the_user_can_read_even_over_one_that_others_could(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        path = write_login({"api_key": "sk-first"})
        path.chmod(0o644)
        write_login({"api_key": "sk-second"})
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert json.loads(path.read_text()) == {"api_key": "sk-second"}
    assert [entry.name for entry in path.parent.iterdir()] == ["login.json"]


def test_login_that_cannot_write_says_where(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("a file in the way")
    with pytest.raises(SettingsError, match=r"login\.json"):
        write_login({})


def test_sessions_are_kept_in_the_users_state_directory_unless_a_store_is_set(tmp_path: Path) -> None:
    assert load({}, {}).store_url() == f"jsonl:{tmp_path / 'state' / 'ars-acp' / 'sessions'}"
    assert load({}, {"ARS_STORE": "memory:"}).store_url() == "memory:"


def test_a_store_that_does_not_exist_is_a_wrong_setting() -> None:
    with pytest.raises(SettingsError, match="store"):
        settings.open_sessions(load({"store": "paper:/shelf"}, {}))


def test_a_user_without_a_home_directory_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "pwd", None)  # as for a container's user that no file knows
    with pytest.raises(SettingsError, match="set HOME"):
        load({}, {})


def test_a_home_that_is_no_directory_holds_no_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", os.devnull)
    assert load({"model": "m"}, {}).model == "m"
