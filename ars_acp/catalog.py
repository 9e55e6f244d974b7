"""What is known of models: context windows, prices, abilities. Data: `models.toml`, and the user's file before it.

Loaded late: nothing needs it before the first session was answered.
"""

import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ars_acp.errors import SettingsError

OURS = Path(__file__).with_name("models.toml")
UNKNOWN_WINDOW = 128_000


class Price(BaseModel):
    """What a million tokens cost; `cached` is for input that was cached, None where it costs the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached: float | None = Field(default=None, ge=0)
    currency: str = Field(default="USD", min_length=1)


class Known(BaseModel):
    """What is known of a model; the defaults are what is safe to assume of one of which nothing is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pattern: str = ""
    window: int = Field(default=UNKNOWN_WINDOW, ge=1)
    max_output: int | None = Field(default=None, ge=1)
    images: bool = False
    audio: bool = False
    thought_levels: tuple[str, ...] = ()
    price: Price | None = None

    @field_validator("pattern")
    @classmethod
    def _is_a_pattern(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as exc:
            raise ValueError(f"it is not a regular expression: {exc}") from None
        return value


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    model: list[Known] = Field(default_factory=list)


class Catalog:
    """The rows of our file, and before them those of the user's. Raises `SettingsError` for a file that is wrong."""

    def __init__(self, users: str | None = None) -> None:
        self._tables = [_rows(OURS)] if users is None else [_rows(Path(users)), _rows(OURS)]
        self._found: dict[str, Known | None] = {}

    def find(self, name: str) -> Known | None:
        """What is known of the model of that name: of each file the first row that fits. None if there is none."""
        if name not in self._found:
            self._found[name] = self._search(name)
        return self._found[name]

    def of(self, name: str) -> Known:
        """As `find`, with what is safe to assume where nothing is known."""
        return self.find(name) or Known()

    def _search(self, name: str) -> Known | None:
        fitting = [_first(rows, name) for rows in self._tables]
        said: dict[str, Any] = {}
        for row in fitting:
            if row is not None:
                said = {key: getattr(row, key) for key in row.model_fields_set} | said
        return Known.model_construct(**said) if said else None


def _first(rows: list[Known], name: str) -> Known | None:
    return next((row for row in rows if re.search(row.pattern, name, re.IGNORECASE)), None)


def _rows(path: Path) -> list[Known]:
    try:
        rows = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).model
    except OSError as exc:
        raise SettingsError(f"setting models_file: {path}: {exc.strerror}") from None
    except ValidationError as exc:
        fault = exc.errors(include_input=False, include_url=False)[0]
        raise SettingsError(f"{path}: {_place(fault['loc'])}: {fault['msg'].removeprefix('Value error, ')}") from None
    except ValueError as exc:  # no TOML, no UTF-8
        raise SettingsError(f"{path} is not a file of models: {exc}") from None
    for number, row in enumerate(rows, 1):
        if not row.pattern:
            raise SettingsError(f"{path}: model {number}: a pattern is missing; it says which models the row is for")
    return rows


def _place(loc: tuple[int | str, ...]) -> str:
    """Rows are counted from 1, as a person does."""
    return " ".join(str(step + 1) if isinstance(step, int) else step for step in loc)
