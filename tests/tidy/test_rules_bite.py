"""Each rule, seen to complain about what it is for, and to let pass what is near it."""

from pathlib import Path

import pytest

from tests.tidy import effects, imports, shape
from tests.tidy.tree import Source, Tree

BOUNDARIES = effects.everything_is_caught_at_boundaries_only
NAMES = shape.no_file_names_a_registry_or_this_machine
DOC = '"""What it is for."""\n'


def complaints(rule, root: Path, files: dict[str, str]) -> list[str]:
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return list(rule(Tree(root)))


def function(lines: int) -> str:
    return "def f():\n" + '    """One\n    two."""\n' + "    x = 1\n" * (lines - 1)


BROKEN = [
    (imports.import_direction, {"acp_wire/a.py": "import event_log"}),
    (imports.import_direction, {"ars_acp/a.py": "from connector.session import Session"}),
    (imports.import_direction, {"ars_acp/a.py": "def f():\n    import connector.session"}),
    (
        imports.import_direction,
        {"connector/a.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import ars_acp"},
    ),
    (imports.import_direction, {"connector/a.py": "import importlib\nx = importlib.import_module('ars_acp.agent')"}),
    (imports.import_direction, {"connector/a.py": "try:\n    import ars_cli\nexcept ImportError:\n    pass"}),
    (imports.import_direction, {"event_log/a.py": "from tests import support"}),
    (imports.gateway_rooms, {"ars_gateway/sessions/a.py": "from ars_gateway.talks.runs import Run"}),
    (imports.gateway_rooms, {"ars_gateway/talks/a.py": "def f():\n    from ars_gateway import http"}),
    (imports.gateway_rooms, {"ars_gateway/methods/a.py": "if TYPE_CHECKING:\n    import ars_gateway.http.app"}),
    (imports.gateway_rooms, {"ars_gateway/cellar/a.py": "import ars_gateway.errors"}),
    (
        imports.import_homes,
        {"ars_acp/models/a.py": "import openai", "ars_acp/models/b.py": "from openai import Stream"},
    ),
    (imports.import_homes, {"ars_acp/agent.py": "def f():\n    from openai import AsyncOpenAI"}),
    (imports.import_homes, {"connector/a.py": "import starlette.routing"}),
    (imports.import_cycles, {"acp_wire/a.py": "import acp_wire.b", "acp_wire/b.py": "from acp_wire import a"}),
    (imports.import_cycles, {"acp_wire/a.py": "from . import b", "acp_wire/b.py": "from .a import x"}),
    (effects.nothing_prints, {"event_log/a.py": "def f():\n    print(1)"}),
    (effects.stdio_has_one_home, {"event_log/a.py": "import sys\nsys.stdout.write('')"}),
    (effects.stdio_has_one_home, {"acp_wire/a.py": "from sys import stdin"}),
    (effects.stdio_has_one_home, {"ars_acp/a.py": "import os\nos.write(1, b'')"}),
    (effects.stdio_has_one_home, {"ars_acp/a.py": "import os\nos.dup2(5, 1)"}),
    (effects.environment_has_one_reader, {"ars_acp/a.py": "import os\nx = os.environ['A']"}),
    (effects.environment_has_one_reader, {"connector/a.py": "from os import getenv"}),
    (effects.agent_has_no_hands, {"ars_acp/tools/a.py": "import subprocess"}),
    (effects.agent_has_no_hands, {"ars_acp/tools/a.py": "from pathlib import Path"}),
    (effects.agent_has_no_hands, {"ars_acp/tools/a.py": "x = open('f')"}),
    (effects.agent_has_no_hands, {"ars_acp/tools/a.py": "import os\nx = os.path.exists('f')"}),
    (effects.agent_has_no_hands, {"ars_acp/tools/a.py": "from os import scandir"}),
    (effects.agent_has_no_hands, {"ars_acp/tools/a.py": "import os\nos.execvp('a', [])"}),
    (effects.agent_has_no_hands, {"ars_acp/tools/a.py": "import anyio\nx = anyio.run_process(['a'])"}),
    (BOUNDARIES, {"ars_acp/a.py": "try:\n    f()\nexcept Exception:\n    pass"}),
    (BOUNDARIES, {"ars_acp/a.py": "try:\n    f()\nexcept:\n    pass"}),
    (BOUNDARIES, {"ars_acp/a.py": "try:\n    f()\nexcept (OSError, BaseException):\n    f()"}),
    (BOUNDARIES, {"ars_acp/a.py": "with suppress(Exception):\n    f()"}),
    (BOUNDARIES, {"ars_acp/__main__.py": "try:\n    f()\nexcept Exception:\n    f()\n" * 2}),
    (effects.tasks_have_a_group, {"connector/a.py": "import asyncio\nasyncio.create_task(f())"}),
    (effects.tasks_have_a_group, {"connector/a.py": "import time\ntime.sleep(1)"}),
    (effects.limits_are_monotonic, {"connector/a.py": "import time\nbegan = time.time()"}),
    (effects.limits_are_monotonic, {"connector/a.py": "from time import time\nbegan = time()"}),
    (effects.limits_are_monotonic, {"connector/a.py": "from datetime import datetime\nbegan = datetime.now()"}),
    (shape.files_are_short, {"bench/a.py": "x = 1\n" * 401}),
    (shape.functions_are_short, {"tests/a.py": function(61)}),
    (shape.comments_are_few, {"ars_acp/a.py": "# why\n" * 16 + "x = 1\n" * 100}),
    (shape.modules_say_what_they_are_for, {"ars_acp/a.py": "x = 1"}),
    (shape.tests_do_not_sleep, {"tests/a.py": "async def test_a():\n    await anyio.sleep(0.1)"}),
    (shape.doubles_are_not_patches, {"tests/a.py": "def test_a(monkeypatch):\n    monkeypatch.setattr(a, 'b', c)"}),
    (NAMES, {"uv.lock": f"https://files.{shape.REGISTRIES[1]}/x"}),
    (NAMES, {"tests/e2e/node/package-lock.json": '{"resolved": "x"}'}),
]

KEPT = [
    (
        imports.import_direction,
        {"ars_acp/a.py": "import acp_wire.methods, event_log, openai", "ars_cli/a.py": "import ars_acp, connector"},
    ),
    (imports.import_direction, {"tests/a.py": "import ars_acp, connector"}),
    (
        imports.gateway_rooms,
        {
            "ars_gateway/http/a.py": "from ars_gateway import errors, gateway\nfrom ars_gateway.talks.runs import Run",
            "ars_gateway/server.py": "import ars_gateway.http.app",
            "ars_cli/sub/a.py": "import ars_gateway.http.app",
        },
    ),
    (imports.import_homes, {"ars_acp/models/a.py": "import openai", "tests/a.py": "import openai"}),
    (imports.import_cycles, {"acp_wire/a.py": "import acp_wire.b", "acp_wire/b.py": "def f():\n    import acp_wire.a"}),
    (effects.nothing_prints, {"ars_cli/a.py": "print(1)", "ars_acp/__main__.py": "print(1)", "bench/a.py": "print(1)"}),
    (
        effects.stdio_has_one_home,
        {"acp_wire/streams.py": "import sys\nx = sys.stdout", "ars_acp/a.py": "import os\nos.write(2, b'')"},
    ),
    (effects.environment_has_one_reader, {"ars_acp/settings.py": "import os\nx = os.environ"}),
    (
        effects.agent_has_no_hands,
        {"ars_acp/a.py": "import os.path\nfrom pathlib import PurePosixPath\nx = os.path.normpath('a')"},
    ),
    (effects.agent_has_no_hands, {"ars_acp/a.py": "log = store.open('s')", "connector/a.py": "import subprocess"}),
    (BOUNDARIES, {"ars_acp/a.py": "try:\n    f()\nexcept BaseException:\n    g()\n    raise"}),
    (BOUNDARIES, {"ars_acp/__main__.py": "try:\n    f()\nexcept Exception:\n    g()"}),
    (shape.files_are_short, {"ars_acp/a.py": DOC + "# why\n\n" * 50 + "x = 1\n" * 400}),
    (shape.functions_are_short, {"ars_acp/a.py": function(60)}),
    (
        shape.comments_are_few,
        {"ars_acp/a.py": "# why\n" * 15 + "x = 1  # beside\n" * 100, "ars_acp/b.py": "# why\n" * 4},
    ),
    (
        shape.modules_say_what_they_are_for,
        {"ars_acp/a.py": DOC + "x = 1", "ars_acp/__init__.py": "", "tests/a.py": "x = 1"},
    ),
    (shape.tests_do_not_sleep, {"tests/a.py": "await anyio.sleep(0)\nawait anyio.sleep_forever()"}),
    (shape.doubles_are_not_patches, {"tests/a.py": "def test_a(): ...\n" * 20 + "monkeypatch.setattr(a, 'b', c)"}),
    (NAMES, {"README.md": "https://agentclientprotocol.com", "a.bin": "\0" + shape.REGISTRIES[0]}),
]


@pytest.mark.parametrize(("rule", "files"), BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_a_broken_rule_is_one_complaint_with_its_place(rule, files, tmp_path):
    found = complaints(rule, tmp_path, files)
    assert len(found) == 1, found
    assert any(path in found[0] for path in files) or "modules import" in found[0] or "lines that patch" in found[0]


@pytest.mark.parametrize(("rule", "files"), KEPT, ids=lambda value: getattr(value, "__name__", ""))
def test_what_is_allowed_is_no_complaint(rule, files, tmp_path):
    assert complaints(rule, tmp_path, files) == []


def test_the_checkout_itself_is_named_nowhere(tmp_path):
    assert complaints(NAMES, tmp_path, {"a.md": f"see {tmp_path}/notes"})


def test_the_example_projects_are_not_held_to_the_rules(tmp_path):
    assert complaints(shape.files_are_short, tmp_path, {"ars_cli/demo/shop/a.py": "x = 1\n" * 500}) == []


def test_lines_of_code_are_those_that_hold_code():
    text = f'{DOC}\n# why\nx = """a\nb"""\n\n\ndef f():  # beside\n    """Does."""\n    return (\n        1\n    )\n'
    assert Source("a.py", text).code_lines == 6
    assert Source("a.py", text).comment_lines == 1
