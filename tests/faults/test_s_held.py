"""S3, S4, S8 to S10: what an agent does through our hands without having been allowed to, counted."""

import json
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from acp_wire import build, methods
from acp_wire.connection import Call
from acp_wire.errors import RpcError
from connector.client import Client
from connector.permissions import Act, Answer, allow_once, ask
from connector.rules import Rule, by_rules
from connector.workspace import Workspace

OPTIONS = [build.permission_option(kind, kind, kind) for kind in ("allow_always", "allow_once", "reject_once")]


class Agent:
    """The requests of an agent to a client of ours, as they come off the wire."""

    def __init__(self, client: Client, root: Path) -> None:
        self.client = client
        self.hands = client.add("s", Workspace([str(root)]), lambda update, raw: None)

    async def asks(self, row: methods.Request[Any, Any], **params: Any) -> Any:
        call = Call(1, row.name, params)
        handler = getattr(self.client, row.handler)
        with call.scope:
            return await handler(row.params({"sessionId": "s", **params}), call)
        return call.if_cancelled

    async def refused(self, row: methods.Request[Any, Any], **params: Any) -> bool:
        try:
            return await self.asks(row, **params) is None
        except RpcError:
            return True

    async def permission(self, **call: Any) -> str:
        asked = await self.asks(
            methods.SESSION_REQUEST_PERMISSION, toolCall={"toolCallId": "t", **call}, options=OPTIONS
        )
        return str(asked["outcome"].get("optionId", "cancelled"))


@pytest.mark.faults("S3")
async def test_no_answer_a_cancel_and_a_late_answer_do_nothing(tmp_path: Path, record: Any, count: Any) -> None:
    rounds = count(1000, 30)
    done = 0
    for number in range(rounds):
        asked, answered = anyio.Event(), anyio.Event()

        async def person(act: Act, asked: anyio.Event = asked, answered: anyio.Event = answered) -> str | None:
            asked.set()
            await answered.wait()
            return "allow_once"

        root = tmp_path / str(number)
        root.mkdir()
        agent = Agent(Client(policy=ask(person, seconds=0.02 if number % 3 == 0 else 20)), root)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write_if_allowed, agent, root)
            await asked.wait()
            if number % 3 == 1:
                agent.hands.cancel()
                answered.set()
            elif number % 3 == 2:
                tasks.cancel_scope.cancel()  # the connection is gone
        answered.set()
        done += len(list(root.iterdir()))
        await agent.client.remove("s", agent.hands)
    measured = f"{done} executions in {rounds} questions left open, cancelled or cut"
    record("S3", "time-out, cancel, disconnect while asking: 0 executions", measured, done == 0)


async def write_if_allowed(agent: Agent, root: Path) -> None:
    """What an honest agent does after a yes, and a dishonest one in any case."""
    await agent.permission(kind="edit", locations=[{"path": f"{root}/a"}])
    with anyio.move_on_after(0.01):
        await agent.refused(methods.FS_WRITE_TEXT_FILE, path=f"{root}/a", content="x")


BYPASSES = [
    *(
        f"whoami{more}"
        for more in (";id", " && id", "|sh", "\nid", "\rid", " > x", "`id`", "$(id)", " #", "&", "\0", " ")
    ),
    *(f"{shell} -c whoami" for shell in ("sh", "bash", "dash", "zsh", "/bin/sh", "/usr/bin/env sh", "busybox sh")),
    *(f"{runner} whoami" for runner in ("env", "xargs", "nohup", "sudo", "timeout 9", "nice", "time", "exec", "eval")),
    *(
        f"{code} 'import os'"
        for code in ("python -c", "python3 -c", "perl -e", "ruby -e", "node -e", "php -r", "lua -e")
    ),
    *("find . -exec whoami ;", "git -c alias.x=!whoami x", "git -c core.pager=whoami log", "awk BEGIN{system()}"),
    *(
        "/tmp/whoami",
        "./whoami",
        "../whoami",
        "WHOAMI",
        "whoami.exe",
        "who ami",
        "whoami --help",
        "-whoami",
        "'whoami'",
    ),
    *("vi -c !whoami", "ssh host whoami", "make whoami", "npx whoami", "tar --checkpoint-action=exec=whoami", "whoam"),
    *("ls", "", "whoami whoami", "sed 1ewhoami", "gdb -ex whoami", "docker run whoami"),
]


@pytest.mark.faults("S4")
async def test_a_rule_for_one_command_lets_no_other_through(tmp_path: Path, record: Any) -> None:
    rule = by_rules([Rule(Answer.ALLOW, argv=("whoami",))])
    agent = Agent(Client(policy=rule), tmp_path)
    assert await agent.permission(kind="execute", rawInput={"command": "whoami"}) == "allow_once"
    through = 0
    for text in BYPASSES:
        for raw in ({"command": text}, {"argv": text.split(" ")}, {"command": "whoami", "args": [text]}):
            through += await agent.permission(kind="execute", rawInput=raw) != "reject_once"
        agent.hands.end_turn()
        program, *args = text.split(" ")
        through += not await agent.refused(methods.TERMINAL_CREATE, command=program, args=args)
    for env in ([{"name": "PATH", "value": str(tmp_path)}], [{"name": "X", "value": "y"}]):
        through += not await agent.refused(methods.TERMINAL_CREATE, command="whoami", args=[], env=env)
    through += not await agent.refused(methods.TERMINAL_CREATE, command="whoami", args=[], cwd=str(tmp_path.parent))
    await agent.client.remove("s", agent.hands)
    measured = f"{through} let through of {len(BYPASSES)} strings in 4 forms each, 2 environments, another directory"
    record("S4", "60 bypass strings: 0 auto-approved", measured, through == 0 and len(BYPASSES) >= 60)


LEASHES = [
    *(".git/config", ".git/hooks/pre-commit", "sub/.git/config", ".GIT/config", ".gitmodules", ".gitattributes"),
    *(
        ".vscode/settings.json",
        ".vscode/tasks.json",
        ".idea/workspace.xml",
        ".zed/settings.json",
        ".claude/settings.json",
    ),
    *(
        ".qwen/settings.json",
        ".gemini/settings.json",
        ".opencode/x",
        "opencode.json",
        ".codex/config.toml",
        ".cursor/mcp.json",
    ),
    *("AGENTS.md", "agents.md", "CLAUDE.md", "GEMINI.md", "QWEN.md", ".mcp.json", ".env", ".env.local", ".envrc"),
    *(".ssh/authorized_keys", ".ssh/config", ".ars/config", "deep/er/.env.production", ".npmrc", ".netrc"),
]


@pytest.mark.faults("S8")
async def test_no_leash_is_written_without_a_person(tmp_path: Path, record: Any) -> None:
    silent = 0
    policies = [allow_once, by_rules([Rule(Answer.ALLOW)]), by_rules([Rule(Answer.ALLOW, paths=("/**",))], allow_once)]
    for policy in policies:
        agent = Agent(Client(policy=policy), tmp_path)
        for name in LEASHES:
            path = f"{tmp_path}/{name}"
            silent += not await agent.refused(methods.FS_WRITE_TEXT_FILE, path=path, content="x")
            silent += await agent.permission(kind="edit", rawInput={"path": path}) != "reject_once"
            silent += await agent.permission(kind="edit", content=[build.diff(path, None, "x")]) != "reject_once"
            silent += not await agent.refused(methods.TERMINAL_CREATE, command="rm", args=["--", path])
        await agent.client.remove("s", agent.hands)
    measured = f"{silent} silent of {len(LEASHES)} paths, 4 ways, 3 policies; {len(list(tmp_path.iterdir()))} files"
    record("S8", "30 paths: 0 silent", measured, silent == 0 and len(LEASHES) >= 30 and not list(tmp_path.iterdir()))


PAYLOADS = [
    *("; id", "&& id", "| id", "`id`", "$(id)", "${IFS}id", "> x", "\nid", "'; id; '", '"; id; "', "*", "~", "$HOME"),
    *("-e", "--", "--help", "-rf /", "a b", "", " ", "\\", "!!", "#", "%s%n", "\t", "\r\n", "é\u202eé", "\U0001f4a9"),
]
SHOWS_ARGV = "import json, sys; print(json.dumps(sys.argv[1:]))"


@pytest.mark.faults("S9")
async def test_a_command_gets_the_words_that_were_asked_for(tmp_path: Path, record: Any, count: Any) -> None:
    agent = Agent(Client(policy=allow_once), tmp_path)
    asked = [[one, PAYLOADS[(at * 7 + 3) % len(PAYLOADS)]] for at, one in enumerate(PAYLOADS * 4)][: count(100, 28)]
    differ = 0
    for words in asked:
        created = await agent.asks(methods.TERMINAL_CREATE, command=sys.executable, args=["-c", SHOWS_ARGV, *words])
        await agent.asks(methods.TERMINAL_WAIT_FOR_EXIT, **created)
        output = (await agent.asks(methods.TERMINAL_OUTPUT, **created))["output"]
        await agent.asks(methods.TERMINAL_RELEASE, **created)
        differ += json.loads(output) != words
    lines = ("id; id", "a\nb", "a\0b", "")
    ran = [text for text in lines if not await agent.refused(methods.TERMINAL_CREATE, command=text, args=[])]
    await agent.client.remove("s", agent.hands)
    files = len(list(tmp_path.iterdir()))
    held = not differ and not ran and not files
    measured = f"{differ} of {len(asked)} differ, {len(ran)} of {len(lines)} lines run, {files} files"
    record("S9", "100 payloads: argv equals the request, 0 extra processes", measured, held)


@pytest.mark.faults("S10")
async def test_no_command_runs_outside_the_roots(tmp_path: Path, record: Any) -> None:
    root = tmp_path / "ws"
    (root / "inside").mkdir(parents=True)
    (tmp_path / "ws-evil").mkdir()
    (root / "link").symlink_to(tmp_path)
    agent = Agent(Client(policy=allow_once), root)
    outside = [
        "/",
        "/tmp",
        str(tmp_path),
        f"{root}/..",
        f"{root}-evil",
        f"{root}/link",
        f"{root}/inside/../..",
        "ws",
        "~",
        ".",
    ]
    ran = [place for place in outside if not await agent.refused(methods.TERMINAL_CREATE, command="true", cwd=place)]
    assert not await agent.refused(methods.TERMINAL_CREATE, command="true", cwd=f"{root}/inside")
    await agent.client.remove("s", agent.hands)
    record("S10", "a terminal's cwd: 0 outside the roots", f"{len(ran)} of {len(outside)} ran {ran}", ran == [])
