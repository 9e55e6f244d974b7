"""`ars-acp login`: asks for the key, writes it where only the user can read it."""

import getpass
import json
import os
import sys
from pathlib import Path

from ars_acp.errors import SettingsError
from ars_acp.settings import checked, login_file


def login() -> Path | None:
    """Asks on the terminal and returns the file written, None where the person gave up. Raises `SettingsError`."""
    if not sys.stdin.isatty():
        raise SettingsError("login asks questions; run it in a terminal, or set OPENAI_API_KEY instead")
    try:
        base_url = input("Base URL of the endpoint [https://api.openai.com/v1]: ").strip()
        api_key = getpass.getpass("API key (not shown; empty for an endpoint on this host): ").strip()
        model = input("Model [the endpoint's first]: ").strip()
    except (EOFError, KeyboardInterrupt):
        return None
    answers = {"base_url": base_url, "api_key": api_key, "model": model}
    chosen = {key: value for key, value in answers.items() if value}
    checked(chosen)
    return write_login(chosen)


def write_login(chosen: dict[str, str]) -> Path:
    """Replaces the login file whole, mode 0600 in a directory of mode 0700; returns where it is. `SettingsError`."""
    path = login_file()
    fresh = path.with_suffix(".new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w") as file:
            json.dump(chosen, file)
        fresh.replace(path)
    except OSError as exc:
        raise SettingsError(f"cannot write {path}: {exc.strerror}") from None
    return path
