"""The schema in the fixtures is the structure of the one that the official npm package carries."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.schema import DEFS, SCHEMA

pytestmark = pytest.mark.e2e

PACKAGE = Path(__file__).with_name("node") / "node_modules/@agentclientprotocol/sdk"
VERSION = "2.4.0"
# For people, and for whoever prints it for them.
TEXTS = {"title": str, "description": str, "x-docs-ignore": bool}


def structure(schema: Any) -> Any:
    """A schema without the texts that it carries for people; a property may be called like one."""
    if isinstance(schema, list):
        return [structure(it) for it in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {name: it for name, it in schema.items() if not isinstance(it, TEXTS.get(name, ()))}
    return {name: structure(it) for name, it in kept.items()}


def differing(theirs: dict[str, Any], ours: dict[str, Any]) -> list[str]:
    """The names under which the two hold different structures."""
    return sorted(
        name for name in theirs.keys() | ours.keys() if structure(theirs.get(name)) != structure(ours.get(name))
    )


def test_the_copy_has_the_structure_of_the_package():
    path = PACKAGE / "schema/v1/schema.json"
    if not path.exists():
        pytest.skip("*** THE TYPESCRIPT SDK IS NOT HERE: THE SCHEMA IS NOT COMPARED (`make node` fetches it) ***")
    assert json.loads((PACKAGE / "package.json").read_text())["version"] == VERSION
    theirs = json.loads(path.read_text())
    assert differing(theirs["$defs"], DEFS) == []
    assert structure(theirs["anyOf"]) == structure(SCHEMA["anyOf"])


def test_a_difference_is_seen():
    changed = {**DEFS, "SessionId": {"type": "integer"}, "Of another version": {}}
    changed["TextContent"] = {**DEFS["TextContent"], "title": "A text", "description": "for people"}
    del changed["StopReason"]
    assert differing(DEFS, changed) == ["Of another version", "SessionId", "StopReason"]
