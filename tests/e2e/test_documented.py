"""What docs/http.md and docs/gateway.md show is run as it stands, but for the port, before the gateway that `make
run-gateway` starts without a model; what they print is what comes. `…` stands for anything."""

import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fixtures.model_server import SCRIPTS
from tests.gateway.host import GATEWAY, environment

pytestmark = pytest.mark.e2e

DOCS = Path(__file__).parents[2] / "docs"
HTTP, WEBSOCKET = (DOCS / "http.md").read_text(), (DOCS / "gateway.md").read_text()
STATE = Path(".local/state/ars-gateway")
PORT = "18789"


def blocks(text: str, language: str) -> list[str]:
    """The examples in one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def section(heading: str) -> str:
    """What docs/http.md has below a heading, as far as the next one."""
    return HTTP.partition(f"## {heading}\n")[2].partition("\n## ")[0]


def fits(shown: str, came: str) -> bool:
    """Whether what a page shows, with its `…`, is what came."""
    pattern = ".*".join(map(re.escape, shown.strip().split("…")))
    return re.fullmatch(pattern, came.strip(), re.DOTALL) is not None


@dataclass
class Place:
    """Somebody's home, where a gateway is at work: `says` is what its start printed."""

    home: Path
    env: dict[str, str]
    says: str = ""

    @property
    def port(self) -> str:
        return re.findall(r"ws://127.0.0.1:(\d+)", self.says)[0]

    def run(self, *command: str) -> str:
        """What an example prints that somebody runs there."""
        given = [word.replace(PORT, self.port) for word in command]
        done = subprocess.run(
            given, env=self.env, cwd=self.home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """A gateway whose state is where the pages look for it, and a README.md beside whoever runs an example."""
    agent = shlex.join([str(Path(GATEWAY).with_name("ars-acp")), "--script", str(SCRIPTS / "gateway.script")])
    # Not pytest's directory, whose name is too long for the socket.
    with tempfile.TemporaryDirectory(prefix="ars-") as directory:
        home = Path(directory)
        (home / "README.md").write_text("A small project.\n")
        path = f"{Path(GATEWAY).parent}:{os.environ['PATH']}"
        one = Place(home, environment(HOME=directory, PATH=path, NO_PROXY="*"))
        command = ["ars-gateway", "--port", "0", "--agent", agent, "--log-file", str(home / "log")]
        with subprocess.Popen(command, env=one.env, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                one.says = process.stdout.readline() + process.stdout.readline()
                yield one
            finally:
                process.terminate()


@pytest.mark.parametrize("text", [HTTP, WEBSOCKET])
def test_the_start_says_what_the_pages_show(text: str, place: Place) -> None:
    lines = [line for line in text.splitlines() if line.startswith(("ars-gateway listens", "the page: "))]
    assert fits("\n".join(lines).replace(PORT, place.port), place.says), place.says


@pytest.mark.parametrize(
    ("heading", "comes"),
    [
        ("Who comes in", '{"status":"ok",'),
        ("Messages: the ARS specification", "\nA small project.\n"),
        ("OpenAI clients", "You said: Why does the test fail?"),
        ("Editors elsewhere", "You said: Why does the test fail?"),
    ],
)
def test_the_python_examples_work(heading: str, comes: str, place: Place) -> None:
    (example,) = blocks(section(heading), "python")
    assert comes in place.run(sys.executable, "-c", example)


def post(place: Place, path: str, body: str) -> Any:
    """The answer's lines of JSON, as they come."""
    token = (place.home / STATE / "gateway.token").read_text()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    headers["Accept"] = "application/x-ndjson" if path.endswith("stream") else "application/json"
    request = urllib.request.Request(f"http://127.0.0.1:{place.port}{path}", body.encode(), headers)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        yield from map(json.loads, answer)


def filled(schema: Any) -> Any:
    """An answer to a form of choices: the first one of each field."""
    return {name: first(it) for name, it in schema["properties"].items()}


def first(field: Any) -> Any:
    """The first choice of a field, in a list where several may be taken."""
    if field["type"] == "array":
        return [field["items"]["anyOf"][0]["const"]]
    return field["oneOf"][0]["const"]


def test_what_waits_for_a_person_is_told_and_answered_as_the_page_shows(place: Place) -> None:
    shown = dict(re.findall(r"^event: (approval|form)\ndata: (.*)$", HTTP, re.MULTILINE))
    answers = re.findall(r"^POST /agent/(approval|form) +(\{.*\})   → ", HTTP, re.MULTILINE)
    bodies = {kind: itertools.cycle([body for of, body in answers if of == kind]) for kind in shown}
    assert [kind for kind, _ in answers] == ["approval", "approval", "form"]
    message = {"type": "user_message", "message_id": "msg_1", "content": "demo"}
    asked = json.dumps({"session_id": "sess_4", "message": message, "forms": True})
    told = set()
    for event in post(place, "/agent/message/stream", asked):
        if (kind := event["type"]) in shown:
            assert kind in told or fits(shown[kind], json.dumps(event))
            told.add(kind)
            body = next(bodies[kind]).replace("…", event[f"{kind}_id"], 1)
            body = body.replace("{…}", json.dumps(filled(event["schema"]))) if kind == "form" else body
            assert list(post(place, f"/agent/{kind}", body)) == [{"status": "received"}]
    assert told == {"approval", "form"}
    assert event["is_final"]
    assert "{name}" in (place.home / STATE / "workspace/demo/greet.py").read_text()


@pytest.mark.skipif(shutil.which("node") is None, reason="no node")
def test_the_javascript_example_works(place: Place) -> None:
    (example,) = blocks(HTTP, "js")
    assert place.run("node", "--input-type=module", "-e", example) == "You said: Hello from JavaScript"


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
def test_the_shell_example_prints_what_the_page_shows(place: Place) -> None:
    (block,) = (it for it in blocks(HTTP, "console") if "curl" in it)
    commands = re.findall(r"^\$ ((?:.*\\\n)*.*\n)", block, re.MULTILINE)
    shown = block.partition(commands[-1])[2]
    assert shown
    came = place.run("bash", "-c", "".join(commands))
    assert fits(shown, came), came
