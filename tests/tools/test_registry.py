"""Which tools there are, when they are offered, and what the model is told of them."""

import itertools
import json
import re
import subprocess
import sys
from typing import Any

import jsonschema
import pytest

from ars_acp.tools import TOOLS, find, offered
from ars_acp.tools.tool import InvalidArguments
from tests.support.fake_hands import ALL
from tests.tools.conftest import Bench, Git

ABILITIES = [frozenset(it) for count in range(len(ALL) + 1) for it in itertools.combinations(sorted(ALL), count)]
CALLS: dict[str, dict[str, Any]] = {
    "read_file": {"path": "README.md"},
    "list_files": {},
    "search_in_project": {"pattern": "calculator"},
    "git_diff": {},
    "write_file": {"path": "new.txt", "content": "x\n"},
    "apply_patch": {"patch": "*** Begin Patch\n*** Add File: y\n+y\n*** End Patch"},
    "apply_patch_review": {"patch": "*** Begin Patch\n*** Add File: z\n+z\n*** End Patch"},
    "run_command": {"argv": ["true"]},
    "prompt_user": {"question": "Which?", "choices": ["a"]},
    "update_plan": {"entries": []},
}


@pytest.mark.parametrize("can", ABILITIES, ids=lambda it: "+".join(sorted(it)) or "nothing")
async def test_offered_tools_ask_nothing_that_the_client_cannot(bench: Bench, git: Git, can: frozenset[str]) -> None:
    bench.hands.can = can  # it fails the test when it is asked for more
    names = [tool.model_name for tool in offered(can)]
    for name in names:
        await bench.call(name, **CALLS[name])
    expected = {"prompt_user", "update_plan"}
    expected |= {"read_file"} if "read" in can else set()
    expected |= {"write_file"} if "write" in can else set()
    expected |= {"apply_patch", "apply_patch_review"} if {"read", "write"} <= can else set()
    expected |= {"list_files", "search_in_project", "git_diff", "run_command"} if "run" in can else set()
    assert set(names) == expected


def test_names_are_mapped_both_ways() -> None:
    assert [tool.model_name for tool in offered(ALL)] == list(TOOLS)
    tool = find("git_diff")
    assert tool is not None
    assert tool is find("git.diff")
    assert tool.name == "git.diff"
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]+", name) for name in TOOLS)


@pytest.mark.parametrize("name", ["", "tool", "patch", "os", "read_file.x", "..read_file", "__init__", "Read_File"])
def test_unknown_name_is_no_tool(name: str) -> None:
    assert find(name) is None


def test_only_tools_that_change_nothing_are_read_only() -> None:
    read_only = {tool.name for tool in offered(ALL) if tool.read_only}
    assert read_only == {"read_file", "list_files", "search_in_project", "git.diff"}


def schemas(schema: Any) -> list[dict[str, Any]]:
    if isinstance(schema, list):
        return [found for it in schema for found in schemas(it)]
    return [schema, *(found for it in schema.values() for found in schemas(it))] if isinstance(schema, dict) else []


@pytest.mark.parametrize("name", TOOLS)
def test_specification_is_one_that_every_provider_takes(name: str) -> None:
    tool = find(name)
    assert tool is not None
    spec = tool.spec()
    assert spec is tool.spec()
    function = spec["function"]
    parameters = function["parameters"]
    jsonschema.Draft202012Validator.check_schema(parameters)
    jsonschema.validate(CALLS[name], parameters)
    assert set(function) == {"name", "description", "parameters"}
    assert set(parameters) == {"type", "properties", "required"}
    for it in schemas(parameters):
        if isinstance(it.get("type"), str):
            assert not {"$ref", "$defs", "anyOf", "oneOf", "allOf", "title"} & set(it)
    for field in parameters["properties"].values():
        assert field["description"]
        assert "type" in field


def test_all_tools_together_cost_less_than_6_kb() -> None:
    specs = [tool.spec() for tool in offered(ALL)]
    assert len(json.dumps(specs, separators=(",", ":"))) < 6000


def test_arguments_are_taken_leniently_and_faults_are_told_without_values() -> None:
    tool = find("read_file")
    assert tool is not None
    assert tool.check({"path": "a", "line": "3", "limit": None, "more": 1}).model_dump() == {
        "path": "a",
        "line": 3,
        "limit": None,
    }
    for raw in ({}, {"path": 1}, {"path": "a", "line": 0}, {"path": "a", "line": "secret"}, [], "x", None):
        with pytest.raises(InvalidArguments) as caught:
            tool.check(raw)
        assert caught.value.message.startswith("read_file: ")
        assert "secret" not in caught.value.message


def test_importing_the_registry_is_cheap() -> None:
    code = "import sys, ars_acp.tools; print(sorted({'pydantic', 'anyio', 'openai'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
