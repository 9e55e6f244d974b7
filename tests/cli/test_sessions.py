"""`ars sessions` beside the real agent: what it tells of sessions, and that a file takes one from here to there."""

import json
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.terminal import ars
from tests.support.hands import NEVER, Hands
from tests.support.process import Client, agent, script
from tests.support.servers import ordinary, space

pytestmark = pytest.mark.e2e

TALK = """=== turn if "look"
think: A file.
say: I look.
call read_file {"path": "a.txt"}
--- step
say: It says a.
usage 90 10
=== turn if "run"
call run_command {"argv": ["make", "all"]}
--- step
say: Done.
=== turn repeat
say: Again.
"""


class Mute(Hands):
    """An editor that takes no notice of commands."""

    def terminal_create(self, params: Any) -> Any:
        return NEVER


def sessions(home: Path, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return ars(home, "sessions", *args, stdin=stdin, XDG_STATE_HOME=f"{home}/state", TZ="UTC")


def said(home: Path, *args: str, stdin: str = "") -> str:
    """What it prints where all goes well."""
    ran = sessions(home, *args, stdin=stdin)
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


def refused(home: Path, *args: str, stdin: str = "") -> tuple[int, str]:
    """The exit code and the one line of what does not go well."""
    ran = sessions(home, *args, stdin=stdin)
    assert ran.stdout == ""
    [line] = ran.stderr.splitlines()
    assert line.startswith("ars: ")
    return ran.returncode, line


async def talked(client: Client, prompt: str = "Please look.", cwd: str = "/project") -> str:
    client.hands.files[f"{cwd}/a.txt"] = "a\n"
    session = await client.new_session(cwd)
    await client.prompt(session, prompt)
    return session


async def loaded(home: Path, session: str) -> list[Any]:
    """All that a load shows, and its answer."""
    async with agent(home, *script(home, TALK)) as client:
        request = client.begin("session/load", {"sessionId": session, "cwd": "/project", "mcpServers": []})
        answer = await client.answer(request)
        return [*client.updates[: client.answers[int, request].updates], answer["result"]]


async def stored(home: Path) -> str:
    """A session of a process that has ended."""
    async with agent(home, *script(home, TALK)) as client:
        return await talked(client)


async def test_sessions_are_listed_the_newest_first_while_an_agent_has_them_open(tmp_path: Path) -> None:
    async with agent(tmp_path, *script(tmp_path, TALK)) as client:
        old = await talked(client)
        new = await talked(client, "And now?", cwd="/other")
        first, second = said(tmp_path, "list").splitlines()
        assert first.split("  ")[1:] == [new, "/other", "And now?"]
        assert second.split("  ")[1:] == [old, "/project", "Please look."]
        assert said(tmp_path, "list", "--cwd", "/project").splitlines() == [second]
        [row] = map(json.loads, said(tmp_path, "list", "--json", "--cwd", "/other").splitlines())
        assert (row["session_id"], row["title"], row["directories"]) == (new, "And now?", [])
        ran = sessions(tmp_path, "list", "--limit", "1")
        assert ran.stdout.splitlines() == [first]
        assert "--limit 0" in ran.stderr
        assert (await client.prompt(old, "go on")).text == "Again."


async def test_where_nothing_is_stored_the_list_is_empty(tmp_path: Path) -> None:
    assert said(tmp_path, "list") == ""


async def test_a_session_is_shown_in_the_middle_of_a_turn(tmp_path: Path) -> None:
    async with agent(tmp_path, "--mode", "full", *script(tmp_path, TALK), hands=Mute()) as client:
        session = await client.new_session()
        turn = client.begin_turn(session, "run it")
        await turn.shows("tool_call")
        shown = json.loads(said(tmp_path, "show", session, "--json"))
        assert shown["session_id"] == session
        assert shown["pending_tool_call"]["name"] == "run_command"
        assert shown["last_user_message"] == "run it"
        assert shown["llm_state"]["in_turn"] is True
        lines = said(tmp_path, "show", session)
        assert "said last    run it" in lines
        assert 'waits for    run_command {"argv"' in lines
        client.cancel(session)
        await turn.end()


async def test_a_session_that_goes_from_file_to_file_is_shown_as_before(tmp_path: Path) -> None:
    session = await stored(tmp_path)
    before = await loaded(tmp_path, session)
    file = tmp_path / "session.jsonl"
    said(tmp_path, "export", session, "-o", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    said(tmp_path, "delete", session)
    assert said(tmp_path, "list") == ""
    assert said(tmp_path, "import", str(file)) == f"{session}\n"
    assert said(tmp_path, "export", session, "--jsonl") == file.read_text()
    assert await loaded(tmp_path, session) == before


async def test_an_imported_session_whose_id_is_taken_gets_a_new_one_and_both_go_on(tmp_path: Path) -> None:
    async with agent(tmp_path, *script(tmp_path, TALK)) as client:
        session = await talked(client)
        ran = sessions(tmp_path, "import", "-", stdin=said(tmp_path, "export", session, "--jsonl"))
        new = ran.stdout.strip()
        assert ran.returncode == 0
        assert new != session
        assert session in ran.stderr
        await client.request("session/load", {"sessionId": new, "cwd": "/project", "mcpServers": []})
        assert (await client.prompt(new, "go on")).text == "Again."
        assert (await client.prompt(session, "go on")).text == "Again."
    assert "2 prompts" in said(tmp_path, "show", new)


async def test_markdown_is_what_export_writes_unless_told_otherwise(tmp_path: Path) -> None:
    session = await stored(tmp_path)
    text = said(tmp_path, "export", session)
    assert text.startswith("# Please look.\n\n## You\n\nPlease look.\n\n## ARS\n\nI look.")
    said(tmp_path, "export", session, "--markdown", "-o", str(tmp_path / "s.jsonl"))
    assert (tmp_path / "s.jsonl").read_text() == text
    assert refused(tmp_path, "export", session, "-o", str(tmp_path / "no" / "s.md"))[0] == 1


async def test_a_file_that_is_not_whole_is_refused_and_nothing_of_it_is_stored(tmp_path: Path) -> None:
    session = await stored(tmp_path)
    whole = said(tmp_path, "export", session, "--jsonl")
    said(tmp_path, "delete", session)
    code, line = refused(tmp_path, "import", "-", stdin=whole[:-20])
    assert code == 2
    assert "is damaged" in line
    code, line = refused(tmp_path, "import", "-", stdin=whole.replace('"version":1', '"version":2', 1))
    assert code == 2
    assert "newer version" in line
    assert refused(tmp_path, "import", str(tmp_path / "missing.jsonl"))[0] == 1
    assert said(tmp_path, "list") == ""


async def test_what_was_allowed_in_an_imported_session_is_told(tmp_path: Path) -> None:
    entries = [
        {"n": 1, "type": "session", "version": 1, "cwd": "/project", "directories": [], "mode": "ask"},
        {"n": 2, "type": "config", "id": "mode", "value": "full"},
        {"n": 3, "type": "title", "title": "\x1b]0;gotcha\x07"},
    ]
    head = {"ars": "session", "version": 1, "id": "sess_from_elsewhere", "entries": 3}
    ran = sessions(tmp_path, "import", "-", stdin="".join(json.dumps(it) + "\n" for it in (head, *entries)))
    assert ran.stdout == "sess_from_elsewhere\n"
    assert "its mode is `full`" in ran.stderr
    for shown in (said(tmp_path, "list"), said(tmp_path, "show", "sess_from_elsewhere")):
        assert "gotcha" in shown
        assert "\x1b" not in shown


@pytest.mark.parametrize("name", ["sess_unheard_of", "../../etc/passwd", "", "sess_é", "x" * 65])
@pytest.mark.parametrize("act", ["show", "export", "delete"])
def test_a_session_that_is_not_there_is_told_of_in_one_line(tmp_path: Path, act: str, name: str) -> None:
    code, line = refused(tmp_path, act, name)
    assert code == 1
    assert "no such session" in line


async def test_a_session_that_an_agent_has_open_is_not_deleted(tmp_path: Path) -> None:
    async with agent(tmp_path, *script(tmp_path, TALK)) as client:
        session = await talked(client)
        code, line = refused(tmp_path, "delete", session)
        assert code == 2
        assert f"open in another process (pid {client.pid}" in line
        assert (await client.prompt(session, "go on")).text == "Again."


async def test_nothing_is_left_of_a_deleted_session(tmp_path: Path) -> None:
    session = await stored(tmp_path)
    said(tmp_path, "list")
    said(tmp_path, "delete", session)
    for path in (tmp_path / "state").rglob("*"):
        assert session not in path.name
        assert not path.is_file() or b"Please look" not in path.read_bytes()


async def test_a_damaged_log_is_told_of_and_the_others_are_listed(tmp_path: Path) -> None:
    session = await stored(tmp_path)
    log = tmp_path / "state" / "ars-acp" / "sessions" / f"{session}.jsonl"
    first, _, *rest = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([first, b"\0\0\0\n", *rest]))
    other = await stored(tmp_path)
    code, line = refused(tmp_path, "show", session)
    assert code == 2
    assert "damaged" in line
    assert [line.split("  ")[1] for line in said(tmp_path, "list").splitlines()] == [other]


async def test_a_log_whose_entries_this_version_does_not_know_is_told_of_in_one_line(tmp_path: Path) -> None:
    session = await stored(tmp_path)
    log = tmp_path / "state" / "ars-acp" / "sessions" / f"{session}.jsonl"
    log.write_text(log.read_text().replace('"type":"reply"', '"type":"prompt"'))
    for act in ("show", "export"):
        code, line = refused(tmp_path, act, session)
        assert code == 2
        assert f"{session} cannot be read" in line


@pytest.mark.parametrize("scheme", ["redis", "postgresql"])
async def test_an_import_to_a_server_is_done_when_other_hosts_have_it(tmp_path: Path, scheme: str) -> None:
    session = await stored(tmp_path)
    whole = said(tmp_path, "export", session, "--jsonl")
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
    async with space(ordinary(scheme)) as url:
        assert said(tmp_path / "here", "import", "-", "--store", url, stdin=whole) == f"{session}\n"
        assert said(tmp_path / "there", "export", session, "--jsonl", "--store", url) == whole
        assert said(tmp_path / "there", "list", "--store", url) == said(tmp_path / "here", "list", "--store", url)
        ran = sessions(tmp_path / "there", "import", "-", "--store", url, stdin=whole)
        assert ran.stdout.strip() != session
        said(tmp_path / "there", "delete", session, "--store", url)
        assert refused(tmp_path / "here", "show", session, "--store", url)[0] == 1


def test_a_store_that_is_none_is_wrong_usage(tmp_path: Path) -> None:
    code, line = refused(tmp_path, "list", "--store", "punched cards:")
    assert code == 1
    assert "setting store" in line
