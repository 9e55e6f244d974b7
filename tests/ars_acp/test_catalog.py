"""What is known of models, and how a person's file extends it."""

from pathlib import Path

import pytest

from ars_acp.catalog import OURS, UNKNOWN_WINDOW, Catalog
from ars_acp.errors import SettingsError
from ars_acp.settings import load


@pytest.mark.parametrize(
    ("name", "window", "images", "price"),
    [
        ("gpt-4.1", 1_047_576, True, (2.0, 0.5, 8.0)),
        ("openai/GPT-4.1-mini-2025-04-14", 1_047_576, True, (0.4, 0.1, 1.6)),
        ("gpt-5", 400_000, True, (1.25, 0.125, 10.0)),
        ("gpt-5-codex", 400_000, True, None),
        ("gpt-5.4", 400_000, True, None),
        ("o3", 200_000, True, (2.0, 0.5, 8.0)),
        ("o3-pro", 200_000, True, None),
        ("anthropic/claude-sonnet-4.5", 200_000, True, (3.0, 0.3, 15.0)),
        ("claude-3-5-haiku-20241022", 200_000, True, (0.8, 0.08, 4.0)),
        ("claude-opus-4-20250514", 200_000, True, (15.0, 1.5, 75.0)),
        ("claude-opus-4-9", 200_000, True, None),
        ("meta-llama/Llama-3.1-8B-Instruct", 131_072, False, None),
        ("qwen3-coder:30b", 262_144, False, None),
        ("deepseek-chat", 128_000, False, None),
        ("gemini-2.5-pro", 1_048_576, True, None),
    ],
)
def test_known_models(name: str, window: int, images: bool, price: tuple[float, ...] | None) -> None:
    known = Catalog().find(name)
    assert known is not None
    assert (known.window, known.images) == (window, images)
    assert (known.price and (known.price.input, known.price.cached, known.price.output)) == price


def test_each_row_is_the_first_for_some_name_and_its_prices_are_in_order() -> None:
    rows = Catalog()._tables[0]
    assert len(rows) > 30
    for row in rows:
        if row.price is not None:
            assert row.price.cached is not None
            assert row.price.cached < row.price.input < row.price.output


def test_of_an_unknown_model_what_is_safe_is_assumed() -> None:
    catalog = Catalog()
    assert catalog.find("nobody-knows") is None
    assumed = catalog.of("nobody-knows")
    assert (assumed.window, assumed.images, assumed.audio, assumed.price) == (UNKNOWN_WINDOW, False, False, None)


def test_the_persons_rows_go_first_field_by_field(tmp_path: Path) -> None:
    file = tmp_path / "models.toml"
    file.write_text(
        "[[model]]\npattern = '^gpt-4\\.1$'\nwindow = 50_000\n"
        "[[model]]\npattern = 'mine'\nimages = true\nprice = { input = 1, output = 2, currency = 'EUR' }\n"
    )
    catalog = Catalog(str(file))
    known, mine = catalog.of("gpt-4.1"), catalog.of("mine:7b")
    assert (known.window, known.images, known.max_output) == (50_000, True, 32_768)
    assert mine.price is not None
    assert (mine.window, mine.images, mine.price.currency, mine.price.cached) == (UNKNOWN_WINDOW, True, "EUR", None)
    assert catalog.of("gpt-4.1-mini").window == 1_047_576


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[model]\n", "not a file of models"),
        ("[[model]]\npattern = 'x'\nwindwo = 1\n", "model 1 windwo"),
        ("[[model]]\npattern = 'x'\n[[model]]\npattern = '('\n", "model 2 pattern: it is not a regular expression"),
        ("[[model]]\nwindow = 1\n", "model 1: a pattern is missing"),
        ("[[model]]\npattern = 'x'\nprice = { input = 1 }\n", "model 1 price output"),
        ("[[models]]\npattern = 'x'\n", "models: "),
    ],
)
def test_a_wrong_file_is_told_in_one_line(text: str, complaint: str, tmp_path: Path) -> None:
    file = tmp_path / "models.toml"
    file.write_text(text)
    with pytest.raises(SettingsError) as error:
        Catalog(str(file))
    told = str(error.value)
    assert str(file) in told
    assert complaint in told
    assert "\n" not in told


def test_a_file_that_is_not_there_is_told() -> None:
    with pytest.raises(SettingsError, match="models_file"):
        Catalog("/nowhere/models.toml")


def test_the_file_beside_the_login_is_found_and_another_can_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert load({}, {}).models_file is None
    file = tmp_path / "ars-acp" / "models.toml"
    file.parent.mkdir()
    file.write_text("")
    assert load({}, {}).models_file == str(file)
    assert load({}, {"ARS_MODELS_FILE": str(OURS)}).models_file == str(OURS)
