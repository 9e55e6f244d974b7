"""Every requirement and every rule has a test that names it, and no test names what is none."""

from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from tests.e2e.conformance.requirements import REQUIREMENTS, RULES

HERE = Path(__file__).parent


def named() -> Iterator[str]:
    """What the tests of this directory say that they show."""
    for path in sorted(HERE.glob("test_*.py")):
        module = import_module(f"tests.e2e.conformance.{path.stem}")
        for name, function in vars(module).items():
            if name.startswith("test_"):
                marks = getattr(function, "pytestmark", [])
                yield from (mark.args[0] for mark in marks if mark.name == "requirement")


def test_every_requirement_and_every_rule_has_its_test():
    assert sorted({*REQUIREMENTS, *RULES} - set(named())) == []


def test_no_test_names_what_is_no_requirement():
    assert sorted(set(named()) - {*REQUIREMENTS, *RULES}) == []


def test_nothing_was_left_out_of_the_list():
    levels = Counter(level for level, _ in REQUIREMENTS.values())
    assert levels == {"M": 21, "C": 19, "A": 12, "I": 4}
    numbers = [name.removeprefix("rule ") for name in RULES]
    assert numbers == [*map(str, range(1, 17)), "16b", *map(str, range(17, 38))]
