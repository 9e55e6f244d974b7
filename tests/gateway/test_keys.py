"""Session keys: one spelling for each session, and nothing that is no key."""

import pytest

from ars_gateway.sessions import keys


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("main", "agent:main:main"),
        ("", "agent:main:main"),
        (" Main ", "agent:main:main"),
        ("x", "agent:main:x"),
        ("acp:0A-b", "agent:main:acp:0a-b"),
        ("agent:main:x", "agent:main:x"),
        ("Agent:Qwen:Main", "agent:qwen:main"),
        ("global", "global"),
        ("UNKNOWN", "unknown"),
    ],
)
def test_a_key_has_one_spelling(sent: str, kept: str):
    assert keys.canonical(sent) == kept


def test_a_key_without_an_agent_belongs_to_the_one_that_is_named():
    assert keys.canonical("x", "qwen") == "agent:qwen:x"
    assert keys.agent_of("agent:qwen:x") == "qwen"
    assert keys.agent_of("global") == "main"


@pytest.mark.parametrize("sent", ["agent:", "agent:main", "agent::x", "agent:../x:y", "a\nb", "a\0", "k" * 513])
def test_what_is_no_key_is_refused(sent: str):
    with pytest.raises(keys.KeyInvalid):
        keys.canonical(sent)


def test_kinds_are_told_by_the_key():
    told = [keys.kind_of(key) for key in ("agent:main:x", "agent:main:discord:group:1", "global", "unknown")]
    assert told == ["direct", "group", "global", "unknown"]
