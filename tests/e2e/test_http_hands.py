"""An HTTP client as the hands of a whole turn: the exchanges of the specification's section 6, with a real gateway and
our own agent behind it. It reads, reviews, asks and writes in a project that the gateway never sees."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.gateway.host import Program, program
from tests.gateway.http.asking import BEARER
from tests.gateway.http.events import Event, message, text_of, told
from tests.gateway.test_ars import ars

pytestmark = pytest.mark.e2e

Json = dict[str, Any]

BEFORE = "def login(user):\n    return check(user)\n\n\ndef logout(user):\n    return forget(user)\n"
AFTER = "def login(user: str) -> bool:\n    return check(user)\n\n\ndef logout(user):\n    return forget(user)\n"
SCRIPT = """\
=== turn
say: I read it.
call read_file {"path": "auth.py"}
--- step
call apply_patch_review
  patch:
    --- a/auth.py
    +++ b/auth.py
    @@ -1,2 +1,2 @@
    -def login(user):
    +def login(user: str) -> bool:
         return check(user)
    @@ -5,2 +5,2 @@
    -def logout(user):
    +def logout(user: str) -> None:
         return forget(user)
--- step
call apply_patch
  patch: $result
--- step
call prompt_user {"question": "Show the difference?", "choices": ["yes", "no"]}
--- step if "yes"
call git_diff {}
--- step
say: Now it is so: $result
"""
TOOLS = ["read_file", "apply_patch_review", "apply_patch", "prompt_user", "git.diff"]


class Editor:
    """The client's side: a project with git, and a person who takes the first hunk and says yes."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.did: list[tuple[str, Json]] = []
        project.mkdir()
        (project / "auth.py").write_text(BEFORE)
        for command in (
            ["init", "-q"],
            ["add", "."],
            ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a"],
        ):
            self.git(*command)

    def git(self, *arguments: str, given: str = "") -> str:
        done = subprocess.run(["git", *arguments], cwd=self.project, input=given, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def do(self, tool: str, arguments: Json) -> Json:
        """Carries out a call: its result."""
        self.did.append((tool, arguments))
        doing: dict[str, Callable[..., str]] = {
            "read_file": lambda path: (self.project / path).read_text(),
            "apply_patch_review": self.reviewed,
            "apply_patch": lambda patch: self.git("apply", "-", given=patch) or "applied",
            "prompt_user": lambda question, choices: choices[0],
            "git.diff": lambda: self.git("diff"),
        }
        return {"content": doing[tool](**arguments)}

    def reviewed(self, patch: str) -> str:
        """The patch without its second hunk."""
        lines = patch.splitlines(keepends=True)
        hunks = [at for at, line in enumerate(lines) if line.startswith("@@")]
        assert len(hunks) == 2
        return "".join(lines[: hunks[1]])


async def as_hands(client: httpx2.AsyncClient, editor: Editor, method: str, path: str, **more: Any) -> list[Event]:
    """Follows a message to its end and does what is asked for on the way."""
    seen = []
    async with told(client, method, path, **more) as found:
        async for it in found:
            seen.append(it)
            if it.name == "tool_call":
                assert list(it.data) == ["type", "session_id", "call_id", "tool", "arguments"]
                result = editor.do(it.data["tool"], it.data["arguments"])
                body = {"session_id": it.data["session_id"], "call_id": it.data["call_id"], "result": result}
                answer = await client.post("/agent/tool_result", json=body)
                assert (answer.status_code, answer.json()) == (200, {"status": "received"})
            elif it.name in ("complete", "error"):
                break
    return seen


def clients(one: Program) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=f"http://127.0.0.1:{one.port}", headers=BEARER, timeout=15, trust_env=False)


async def test_an_http_client_is_the_hands_of_a_whole_turn(tmp_path: Path):
    editor = Editor(tmp_path / "project")
    async with program(tmp_path / "state", "--agent", ars(tmp_path, SCRIPT)) as one, clients(one) as client:
        body = message("sess_1", "msg_123", "Refactor auth module", tools=TOOLS)
        seen = await as_hands(client, editor, "POST", "/agent/message/stream", json=body)
    assert [name for name, _ in editor.did] == TOOLS
    assert (editor.project / "auth.py").read_text() == AFTER
    assert seen[-1].name == "complete"
    text = text_of(seen)
    assert text.startswith("I read it.\n\nNow it is so: ")
    assert "+def login(user: str) -> bool:" in text
    assert "logout(user: str)" not in text
    assert not [it for it in seen if it.name == "approval"]
    assert not [*(tmp_path / "state" / "workspace").iterdir()]


async def test_the_same_turn_by_a_message_that_is_accepted_and_followed(tmp_path: Path):
    editor = Editor(tmp_path / "project")
    async with program(tmp_path / "state", "--agent", ars(tmp_path, SCRIPT)) as one, clients(one) as client:
        accepted = await client.post("/agent/message", json=message("sess_1", "msg_123", "Refactor", tools=TOOLS))
        assert accepted.json() == {"status": "accepted"}
        seen = await as_hands(client, editor, "GET", "/agent/stream?session_id=sess_1")
    assert (editor.project / "auth.py").read_text() == AFTER
    assert seen[-1].name == "complete"
    assert [name for name, _ in editor.did] == TOOLS


async def test_hands_that_leave_in_the_middle_come_back_and_go_on(tmp_path: Path):
    editor = Editor(tmp_path / "project")
    async with program(tmp_path / "state", "--agent", ars(tmp_path, SCRIPT)) as one, clients(one) as client:
        body = message("sess_1", "msg_123", "Refactor auth module", tools=TOOLS)
        seen: list[Event] = []
        # Each time it leaves with a call that it has seen and not answered.
        for _ in TOOLS:
            headers = {"last-event-id": seen[-1].id} if seen else {}
            async with told(client, "POST", "/agent/message/stream", json=body, headers=headers) as found:
                async for it in found:
                    seen.append(it)
                    if it.name == "tool_call":
                        break
            result = editor.do(seen[-1].data["tool"], seen[-1].data["arguments"])
            said = {"session_id": "sess_1", "call_id": seen[-1].data["call_id"], "result": result}
            assert (await client.post("/agent/tool_result", json=said)).status_code == 200
        headers = {"last-event-id": seen[-1].id}
        seen += await as_hands(client, editor, "POST", "/agent/message/stream", json=body, headers=headers)
        whole = await as_hands(client, editor, "POST", "/agent/message/stream", json=body)
    # Whoever reads it all again is not asked again for what was done.
    assert [name for name, _ in editor.did] == TOOLS
    assert (editor.project / "auth.py").read_text() == AFTER
    assert [it for it in seen if it.name != "tool_call"] == whole
