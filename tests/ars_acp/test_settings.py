"""Settings: where they come from, which wins, and what a wrong one says."""

import json
import os
import stat
import sys
from pathlib import Path

import pytest

from ars_acp import settings
from ars_acp.errors import SettingsError
from ars_acp.login import write_login
from ars_acp.settings import load


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


WRONG = {
    "ARS_MODE": "yolo",
    "ARS_STEPS_PER_TURN": "0",
    "ARS_PERMISSION_SECONDS": "soon",
    "ARS_LOG_LEVEL": "loud",
    "OPENAI_BASE_URL": "ftp://models.example/v1",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_setting_is_named_in_one_line_without_its_value(name: str) -> None:
    with pytest.raises(SettingsError) as error:
        load({}, {name: WRONG[name]})
    text = str(error.value)
    assert name.removeprefix("ARS_").removeprefix("OPENAI_").lower() in text
    assert WRONG[name] not in text
    assert "\n" not in text


def test_the_key_shows_in_no_representation() -> None:
    chosen = load({}, {"OPENAI_API_KEY": "sk-very-secret-value"})
    assert "very-secret" not in repr(chosen) + str(chosen.model_dump())


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
