"""Rules, grants and the record of decisions: what a policy allows, what it never does, and what is not asked twice."""

import json
import stat
from pathlib import Path
from typing import Any

import anyio
import pytest

from acp_wire import build
from acp_wire.schema.permission import PermissionOption
from acp_wire.schema.tool_calls import ToolCallUpdate
from connector import audit
from connector.commands import kind_of
from connector.grants import Grant, Texts
from connector.permissions import Act, Answer, Policy, act_of, allow_once, ask, decide, deny_all
from connector.rules import Rule, by_rules, in_order, no_opinion
from connector.secrets import Secrets

OPTIONS = [
    PermissionOption.model_validate(build.permission_option(kind, kind, kind))
    for kind in ("allow_always", "allow_once", "reject_once")
]
GIT = ["git", "--no-pager", "-c", "core.fsmonitor=", "-c", "core.hooksPath=/dev/null", "-c", "protocol.allow=never"]


def act(kind: str = "edit", *, protected: bool = False, **raw: Any) -> Act:
    told = {"toolCallId": "t", "kind": kind, "rawInput": raw}
    return act_of("s", OPTIONS, ToolCallUpdate.model_validate(told), root="/ws", protected=lambda path: protected)


def run(*argv: str, **more: Any) -> Act:
    return act("execute", argv=list(argv), **more)


async def answer(policy: Policy, wanted: Act) -> str | None:
    return (await decide(wanted, policy)).option_id


# ── rules ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_first_rule_that_fits_decides() -> None:
    policy = by_rules(
        [
            Rule(Answer.REFUSE, paths=("/ws/secret/**",)),
            Rule(Answer.ALLOW, kinds=("edit",), paths=("/ws/src/*.py", "/ws/secret/**")),
            Rule(Answer.ALLOW, argv=("make", "test")),
            Rule(Answer.ALLOW, kinds=("read", "search")),
        ]
    )
    allowed = [act(path="/ws/src/a.py"), run("make", "test"), act("read", path="/etc/hosts"), act("search")]
    refused = [
        act(path="/ws/secret/a"),
        act(path="/ws/src/deeper/a.py"),
        act(paths=["/ws/src/a.py", "/ws/README"]),
        act(path="/ws/src/../x.py"),
        act("execute", path="/ws/src/a.py"),
        run("make", "test", "deploy"),
        run("make"),
        run("sh", "-c", "make test"),
        run("make", "test", cwd="/ws/other"),
        act("execute", command="make test"),
    ]
    assert [await answer(policy, one) for one in allowed] == ["allow_once"] * len(allowed)
    assert [await answer(policy, one) for one in refused] == ["reject_once"] * len(refused)


async def test_policies_are_asked_in_order_and_nobodys_opinion_is_a_no() -> None:
    reads = by_rules([Rule(Answer.ALLOW, kinds=("read",))], no_opinion)
    tests = by_rules([Rule(Answer.ALLOW, argv=("pytest",))], no_opinion)
    policy = in_order(reads, tests)
    assert await answer(policy, act("read", path="/x")) == "allow_once"
    assert await answer(policy, run("pytest")) == "allow_once"
    assert await answer(policy, run("rm")) == "reject_once"
    assert await answer(in_order(policy, allow_once), run("rm")) == "allow_once"


async def test_what_is_protected_takes_a_person() -> None:
    async def person(wanted: Act) -> str | None:
        return "allow_once"

    always = Rule(Answer.ALLOW)
    held = act(path="/ws/.git/config", protected=True)
    for policy in (allow_once, by_rules([always], allow_once), in_order(by_rules([always], no_opinion), allow_once)):
        assert await answer(policy, held) == "reject_once"
    decision = await decide(held, by_rules([always], ask(person)))
    assert (decision.allowed, decision.by) == (True, "person")


async def test_no_answer_in_time_is_a_no_and_so_is_nonsense() -> None:
    async def asleep(wanted: Act) -> str | None:
        await anyio.sleep_forever()
        return "allow_once"

    async def invents(wanted: Act) -> str | None:
        return "allow_everything"

    with anyio.fail_after(20):
        decision = await decide(act(), ask(asleep, seconds=0.05))
    assert (decision.option_id, decision.allowed) == ("reject_once", False)
    decision = await decide(act(), ask(invents))
    assert (decision.option_id, decision.allowed) == (None, False)


async def test_always_is_what_a_person_picks_and_no_policy_gives() -> None:
    async def person(wanted: Act) -> str | None:
        return "allow_always"

    assert await answer(ask(person), run("make")) == "allow_always"
    for policy in (allow_once, by_rules([Rule(Answer.ALLOW)]), deny_all):
        assert await answer(policy, run("make")) != "allow_always"


# ── what a command amounts to ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "argv",
    [
        ["rg", "--no-config", "--line-number", "--max-count=9", "--glob=*.py", "-i", "-e", "--pre=sh", "--", "./src"],
        ["grep", "-rnIHs", "--exclude-dir=.git", "-E", "-e", "x", "--", "."],
        ["find", ".", "-name", ".git", "-prune", "-o", "-type", "f", "-print0"],
        [*GIT, "ls-files", "-t", "-c", "-o", "--exclude-standard", "-z", "--", "."],
        [*GIT, "grep", "-n", "-I", "--untracked", "-P", "-e", "x", "--", "./src"],
        [*GIT, "-c", "diff.external=", "diff", "--no-ext-diff", "--no-textconv", "--end-of-options", "HEAD~1", "--"],
    ],
)
def test_commands_that_only_read_inside_are_known(argv: list[str]) -> None:
    assert kind_of(argv, "/ws", lambda path: path.startswith("/ws"))[0] == "read"
    assert kind_of(argv, "/ws", lambda path: False)[0] == "execute"


@pytest.mark.parametrize(
    "argv",
    [
        ["rg", "--no-config", "--pre=sh", "-e", "x", "--", "."],
        ["rg", "--no-config", "--pre", "sh", "-e", "x", "--", "."],
        ["rg", "-e", "x", "--", "."],
        ["rg", "--no-config", "-e", "x", "--", "../other"],
        ["rg", "--no-config", "-e", "x", "--", "./a/../../b"],
        ["rg", "--no-config", "-e", "x", "--", "/etc"],
        ["rg", "--no-config", "x"],
        ["grep", "-f", "/etc/passwd", "--", "."],
        ["grep", "-r", "x", "."],
        ["find", ".", "-exec", "sh", ";"],
        ["find", ".", "-delete"],
        ["find", ".", "-name", "x", "-fprint", "y"],
        ["find", "-type", "f"],
        ["find", "/", "-type", "f"],
        ["git", "ls-files", "--", "."],
        ["git", "-c", "core.fsmonitor=sh", *GIT[1:], "ls-files", "--", "."],
        [*GIT, "-c", "alias.ls-files=!sh", "ls-files", "--", "."],
        [*GIT, "-C", "/", "ls-files", "--", "."],
        [*GIT, "grep", "-O", "-e", "x", "--", "."],
        [*GIT, "grep", "--open-files-in-pager=sh", "-e", "x", "--", "."],
        [*GIT, "diff", "--no-ext-diff", "--no-textconv", "--", "."],
        [*GIT, "-c", "diff.external=", "diff", "--", "."],
        [*GIT, "-c", "diff.external=", "diff", "--no-ext-diff", "--no-textconv", "--output=x", "--", "."],
        [*GIT, "checkout", "--", "."],
        ["/tmp/rg", "--no-config", "-e", "x", "--", "."],
        ["./find", ".", "-type", "f"],
        ["sh", "-c", "find . -type f"],
        ["rm", "-rf", "--", "x"],
        ["mv", "--", "a", "b"],
        [],
    ],
)
def test_whatever_could_do_more_is_a_command(argv: list[str]) -> None:
    assert kind_of(argv, "/ws", lambda path: True) == ("execute", ())


def test_the_commands_of_a_patch_are_changes_of_their_paths() -> None:
    told = [["rm", "--", "/ws/a"], ["mv", "-n", "--", "a", "./b"], ["mkdir", "-p", "--", "/ws/d/e"]]
    assert [kind_of(argv, "/ws", lambda path: True) for argv in told] == [
        ("delete", ("/ws/a",)),
        ("move", ("/ws/a", "/ws/b")),
        ("edit", ("/ws/d/e",)),
    ]


# ── grants ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def edit(path: str, old: str | None, new: str) -> Act:
    told = {"toolCallId": "t", "kind": "edit", "content": [build.diff(path, old, new)]}
    return act_of("s", OPTIONS, ToolCallUpdate.model_validate(told), root="/ws")


def test_a_granted_change_covers_the_write_that_was_shown_and_no_other() -> None:
    wanted = act(path="/ws/a")
    whole = Grant(edit("/ws/a", "one\ntwo\n", "one\n2\n"), by_person=False)
    passage = Grant(edit("/ws/a", "two", "2"), by_person=False)
    for grant in (whole, passage):
        assert grant.covers(wanted, Texts("one\ntwo\n", "one\n2\n"))
        assert grant.covers(wanted, Texts("one\r\ntwo\r\n", "one\r\n2\r\n"))
        assert not grant.covers(wanted, Texts("one\ntwo\n", "one\n2\nand more\n"))
        assert not grant.covers(act(path="/ws/b"), Texts("one\ntwo\n", "one\n2\n"))
    assert Grant(act(path="/ws/a"), by_person=True).covers(wanted, Texts("x", "y"))
    assert Grant(whole.act, by_person=True, reviewed=True).covers(wanted, Texts("one\ntwo\n", "one\n"))
    assert not Grant(run("vi", "/ws/a"), by_person=True).covers(wanted, Texts("x", "y"))


def test_a_granted_command_covers_its_own_words_however_they_are_started() -> None:
    script = Grant(act("execute", command="npm test | cat"), by_person=True)
    words = Grant(run("npm", "test"), by_person=True)
    assert words.covers(run("npm", "test"))
    assert script.covers(run("sh", "-c", "npm test | cat"))
    assert Grant(act("execute", command="npm test"), by_person=True).covers(run("npm", "test"))
    for other in (run("npm"), run("npm", "test", "x"), run("npm", "test", cwd="/"), run("sh", "-c", "npm test; rm x")):
        assert not words.covers(other)
        assert not script.covers(other)


async def test_a_command_is_a_command_whatever_kind_it_claims_to_be() -> None:
    edits = by_rules([Rule(Answer.ALLOW, kinds=("edit", "search", "think"))])
    for kind in ("edit", "search", "think"):
        lie = act(kind, command="rm -rf /", path="/ws/a")
        assert lie.kind == "execute"
        assert await answer(edits, lie) == "reject_once"
    assert await answer(edits, act("edit", path="/ws/a")) == "allow_once"
    assert not Grant(act("edit", path="/ws/a"), by_person=True).covers(run("rm"))


def test_only_a_person_grants_what_is_protected() -> None:
    held = act(path="/ws/.env", protected=True)
    assert not Grant(act(path="/ws/.env"), by_person=False).covers(held, Texts("", "x"))
    assert Grant(act(path="/ws/.env"), by_person=True).covers(held, Texts("", "x"))


def test_a_directory_is_made_for_a_granted_file_and_nothing_above_it_is_moved() -> None:
    grant = Grant(act(path="/ws/new/deep/a.py"), by_person=True)
    assert grant.covers(act(path="/ws/new/deep"))
    assert not grant.covers(act("move", paths=["/ws/new", "/ws/old"]))
    assert not grant.covers(act("delete", path="/ws/new"))


# ── the record ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_each_decision_leaves_a_line_without_secrets(tmp_path: Path) -> None:
    write = audit.to_file(str(tmp_path / "audit.jsonl"))
    wanted = run("curl", "-H", "Authorization: Bearer abcdefghijkl", "sk-abcdefghijkl", "hunter2hunter2")
    secrets = Secrets({"MY_TOKEN": "hunter2hunter2", "LANG": "C.UTF-8-long"})
    for policy in (deny_all, allow_once):
        write(audit.record(wanted, await decide(wanted, policy), secrets))
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [(line["allowed"], line["by"], line["option"]) for line in lines] == [
        (False, "policy", "reject_once"),
        (True, "policy", "allow_once"),
    ]
    assert lines[0]["argv"] == ["curl", "-H", "Authorization: [redacted]", "[redacted]", "[redacted]"]
    assert (lines[0]["session"], lines[0]["kind"], lines[0]["cwd"]) == ("s", "execute", "/ws")
    assert stat.S_IMODE((tmp_path / "audit.jsonl").stat().st_mode) == 0o600
