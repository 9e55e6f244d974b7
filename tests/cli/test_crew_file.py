"""The file that describes a crew: what stands in it, and what is told of one that is wrong."""

import tomllib
from pathlib import Path

import pytest

from ars_cli.crew_file import EXAMPLE, parse, read
from ars_cli.failures import ConfigurationError
from connector.crew import Budget, Reply, Role

ROLE = '[[role]]\nname = "A"\nagent = "qwen"\n'


def test_the_example_is_a_crew_and_so_is_each_of_its_comments_taken_at_its_word() -> None:
    told = parse(tomllib.loads(EXAMPLE))
    assert [role.name for role in told.roles] == ["Architect", "Critic"]
    assert (told.round, told.budget) == ("sequential", Budget(replies=20, seconds=1800))
    everything = "\n".join(
        line.removeprefix("# ") if line.startswith("# ") and " = " in line else line for line in EXAMPLE.splitlines()
    )
    more = parse(tomllib.loads(everything))
    assert (more.agreed, more.budget.tokens, more.budget.cost) == ("AGREED", 500000, 2.5)
    assert more.roles[0].reminder == "Be brief."


def test_a_role_is_what_its_table_says() -> None:
    told = parse(tomllib.loads(f'{ROLE}prompt = """\nYou plan.\n"""\nremind_every = 2\nseconds = 1.5\nallow = "once"'))
    assert told.roles == (Role("A", "qwen", "You plan.", remind_every=2, seconds=1.5),)
    assert told.allow == {"A": "once"}


def test_a_debate_ends_by_the_word_of_the_file() -> None:
    told = parse(tomllib.loads(f'agreed = "done"\n{ROLE}'))
    assert [told.turns(name).__name__ for name in (None, "debate", "pipeline")] == ["sequential", "debate", "pipeline"]
    assert Reply("A", "I am done.").text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "at least one role"),
        ("round = ", "Invalid value"),
        ('round = "talk"\n' + ROLE, "`round` is one of sequential, parallel, pipeline, debate, not 'talk'"),
        ("rounds = 0\n" + ROLE, "`rounds` is more than nothing, not 0"),
        ("rounds = true\n" + ROLE, "the file: `rounds` is a whole number"),
        ("limit = 1\n" + ROLE, "the file has no `limit`; there are round"),
        (ROLE + "[budget]\nreplies = 1.5", "[budget]: `replies` is a whole number"),
        (ROLE + "[budget]\ncost = -1", "`cost` is more than nothing, not -1"),
        (ROLE + "allow = 'all'", "`allow` is one of nothing, reads, once, not 'all'"),
        (ROLE + "seconds = 0", "[[role]] 1: `seconds` is more than nothing, not 0"),
        (ROLE + "promt = 'x'", "[[role]] 1 has no `promt`; there are name"),
        (ROLE + ROLE, "two roles have the same name: A"),
        ("[[role]]\nname = 'A'", "[[role]] 1 has no `agent`"),
        ("role = [1]", "[[role]] 1 is a table"),
    ],
)
def test_what_is_wrong_is_told_with_its_file_and_place(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "crew.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as why:
        read(str(path))
    assert str(why.value).startswith(f"{path}: ")
    assert told in str(why.value)
    with pytest.raises(ConfigurationError, match="No such file"):
        read(str(tmp_path / "none.toml"))
