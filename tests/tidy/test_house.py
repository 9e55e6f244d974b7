"""The rules, held against this repository."""

import tomllib
from collections.abc import Callable, Iterator

import pytest

from tests.tidy import effects, imports, shape
from tests.tidy.tree import ROOT, Tree

RULES: list[Callable[[Tree], Iterator[str]]] = [
    imports.import_direction,
    imports.gateway_rooms,
    imports.import_homes,
    imports.import_cycles,
    effects.nothing_prints,
    effects.stdio_has_one_home,
    effects.environment_has_one_reader,
    effects.agent_has_no_hands,
    effects.everything_is_caught_at_boundaries_only,
    effects.tasks_have_a_group,
    effects.limits_are_monotonic,
    shape.files_are_short,
    shape.functions_are_short,
    shape.comments_are_few,
    shape.modules_say_what_they_are_for,
    shape.tests_do_not_sleep,
    shape.doubles_are_not_patches,
    shape.no_file_names_a_registry_or_this_machine,
]


@pytest.fixture(scope="module")
def house() -> Tree:
    return Tree()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_rule_is_kept(rule: Callable[[Tree], Iterator[str]], house: Tree):
    complaints = list(rule(house))
    assert not complaints, "\n".join([rule.__doc__ or "", *complaints])


def test_the_linter_lifts_its_rule_for_the_boundaries_and_nothing_else():
    lifted = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]["per-file-ignores"]
    assert {path for path, rules in lifted.items() if "BLE001" in rules} == set(effects.BOUNDARIES)


def test_the_coverage_gate_and_the_type_checker_see_every_package(house: Tree):
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    packages = {source.package for source in house.product}
    assert packages <= set(tools["coverage"]["run"]["source_pkgs"])
    assert packages <= set(tools["mypy"]["files"])
    assert packages <= set(tools["uv"]["build-backend"]["module-name"])
