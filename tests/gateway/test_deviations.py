"""The table of deviations can be read, and names each once."""

import tomllib
from importlib.resources import files


def test_each_deviation_has_a_name_and_a_reason():
    rows = tomllib.loads(files("ars_gateway.protocol").joinpath("deviations.toml").read_text("utf-8"))["deviation"]
    assert len({row["id"] for row in rows}) == len(rows) > 20
    assert all(row.keys() - {"passes"} == {"id", "what", "why"} and row["what"].endswith(".") for row in rows)
