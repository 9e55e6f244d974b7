"""One contract for every vendor row: the mock agent in that vendor's shape, and the real program where it is there.

Several turns with a memory, text to the last character, a tool call granted and one refused, a cancel, a clean stop.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from acp_wire.errors import METHOD_NOT_FOUND
from connector import Act, Answer, Client, Session, SignInNeeded, launch
from connector.testing import mock_agent
from connector.vendors import VENDORS, Vendor
from fixtures.model_server import model_server
from tests.connector.programs import MEASURED, PROGRAMS, Numbered, heard_by, missing

PROMPTS = (
    "[turn 1] Remember the word heron.",
    "[turn 2] Write the file that you may write.",
    "[turn 3] Write the file that you may not.",
    "[turn 4] Take your time.",
    "[turn 5] Are you there?",
)
Json = dict[str, Any]
TEXT = 'Grüße,  "quoted"  \\ and\ttabs, 漢字 and 🌍!\n\n' + " ".join(f"word{number}" for number in range(60)) + "  ."


@dataclass
class Subject:
    """A vendor's agent at hand. `heard()` are the prompts in each request that its model was sent so far."""

    vendor: Vendor
    heard: Callable[[], list[list[str]]]
    home: Path
    acts: list[Act] = field(default_factory=list)
    events: list[tuple[str, Json]] = field(default_factory=list)

    async def decide(self, act: Act) -> Answer:
        """Grants what turn 2 wants, refuses what turn 3 wants."""
        self.acts.append(act)
        return Answer.ALLOW if len(self.acts) == 1 else Answer.REFUSE

    def notice(self, name: str, fields: Json) -> None:
        """What the connection tells of itself."""
        self.events.append((name, fields))

    def methods(self, *names: str) -> set[str]:
        """The methods in the events of these names."""
        return {fields["method"] for name, fields in self.events if name in names}


async def check(subject: Subject, project: Path) -> None:
    """The contract, in one process and one session: a real agent takes seconds to start."""
    client = Client(policy=subject.decide)
    async with launch(subject.vendor, client, cwd=str(project), on_event=subject.notice) as connector:
        session = await connector.new_session(str(project))
        await streams_to_the_last_character(session)
        await asks_and_does_what_is_granted(session, subject, project / "granted.txt")
        await asks_and_does_not_what_is_refused(session, subject, project / "refused.txt")
        await ends_a_cancelled_turn(session)
        await goes_on_and_remembers(session, subject)
        assert left_over(subject.home) or not sys.platform.startswith("linux")
        closing = time.monotonic()
    assert time.monotonic() - closing <= 10
    assert not left_over(subject.home)
    does_what_its_row_says_and_nothing_else(subject)


async def streams_to_the_last_character(session: Session) -> None:
    turn = session.start(PROMPTS[0])
    pieces = [update.content.text async for update in turn if update.session_update == "agent_message_chunk"]
    assert "".join(pieces) == turn.text == TEXT
    assert len(pieces) > 10
    assert turn.stop_reason == "end_turn"


async def asks_and_does_what_is_granted(session: Session, subject: Subject, file: Path) -> None:
    turn = await session.prompt(PROMPTS[1])
    assert file.read_text() == "done\n"
    assert [(option.option_id, option.kind) for option in subject.acts[0].options] == list(
        subject.vendor.quirks.options
    )
    assert subject.acts[0].kind in ("edit", "execute")
    assert [call.status for call in turn.tool_calls.values()] == ["completed"]
    assert (turn.text, turn.stop_reason) == ("I write.Written.", "end_turn")


async def asks_and_does_not_what_is_refused(session: Session, subject: Subject, file: Path) -> None:
    turn = await session.prompt(PROMPTS[2])
    assert len(subject.acts) == 2
    assert not file.exists()
    assert "completed" not in [call.status for call in turn.tool_calls.values()]
    refusal = subject.vendor.quirks.refusal
    assert (turn.text, turn.stop_reason) == (("I was not let.", "end_turn") if refusal is None else ("", refusal))


async def ends_a_cancelled_turn(session: Session) -> None:
    turn = session.start(PROMPTS[3])
    async for update in turn:
        if update.session_update == "agent_message_chunk":
            session.cancel()
    assert turn.stop_reason == "cancelled"
    assert "I end." not in turn.text


async def goes_on_and_remembers(session: Session, subject: Subject) -> None:
    turn = await session.prompt(PROMPTS[4])
    assert (turn.text, turn.stop_reason) == ("Here I am.", "end_turn")
    heard = subject.heard()
    for number in range(1, 5):
        assert list(PROMPTS[:number]) in heard
    kept = PROMPTS[:3] if subject.vendor.quirks.forgets else PROMPTS[:4]
    assert [*kept, PROMPTS[4]] in heard


def does_what_its_row_says_and_nothing_else(subject: Subject) -> None:
    quirks = subject.vendor.quirks
    refused = {fields["method"] for _, fields in subject.events if fields.get("code") == METHOD_NOT_FOUND}
    assert refused == set(quirks.requests)
    assert subject.methods("notification.unknown") <= set(quirks.notifications)  # some come when they come
    assert subject.methods("request.served") - refused <= {"session/request_permission", *quirks.calls}
    assert not subject.methods("notification.malformed", "handler.failed")


def left_over(home: Path) -> list[str]:
    """The processes that were started with that HOME and still run; only Linux can tell."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc") if sys.platform.startswith("linux") else []):
        try:
            if f"HOME={home}\0".encode() in Path("/proc", pid, "environ").read_bytes():
                found.append(Path("/proc", pid, "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue  # it is gone, or another user's
    return found


def script_for(project: Path, writing: Callable[[str], str]) -> str:
    """What the model says, whose tool that writes is called so."""
    said = TEXT.replace("\n", "\n  ")
    return (
        f'=== turn if "[turn 1]"\nsay:\n  {said}\n'
        f'=== turn if "[turn 2]"\nsay: I write.\n{writing(str(project / "granted.txt"))}\n--- step\nsay: Written.\n'
        f'=== turn if "[turn 3]"\n{writing(str(project / "refused.txt"))}\n--- step\nsay: I was not let.\n'
        '=== turn if "[turn 4]"\nsay: I begin.\nwait 60\nsay: I end.\n'
        '=== turn if "[turn 5]"\nsay: Here I am.\n'
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    made = tmp_path / "project"
    made.mkdir()
    return made


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    made.mkdir()
    return made


@pytest.mark.parametrize("name", VENDORS)
async def test_the_mock_in_its_shape_keeps_the_contract(name: str, project: Path, home: Path) -> None:
    script, heard = home / "script", home / "heard"
    script.write_text(script_for(project, lambda path: f"write {path}: done").replace("--- step", "---"))
    vendor = replace(mock_agent(name, script, ["--heard", str(heard)]), env={**MEASURED, "HOME": str(home)})
    with anyio.fail_after(30):
        await check(Subject(vendor, lambda: list(map(json.loads, heard.read_text().splitlines())), home), project)


@pytest.mark.e2e
@pytest.mark.parametrize("name", VENDORS)
async def test_the_real_program_keeps_the_contract(name: str, project: Path, home: Path) -> None:
    program = PROGRAMS[name]
    if why := missing(program):
        pytest.skip(why)
    async with model_server(Numbered.parse(script_for(project, program.writing))) as server:
        vendor = program.vendor(server.port, home)
        with anyio.fail_after(120):
            await check(Subject(vendor, lambda: heard_by(server), home), project)


SIGNED_IN_FIRST = [name for name, row in VENDORS.items() if row.sign_in.shows != "never"]


@pytest.mark.parametrize("name", SIGNED_IN_FIRST)
async def test_the_mock_shows_a_missing_login_as_its_vendor_does(name: str, project: Path, home: Path) -> None:
    vendor = mock_agent(name, options=["--signed-out"])
    vendor = replace(vendor, env={**MEASURED, "HOME": str(home)}, credentials=())
    await shows_a_missing_login(vendor, project, home)


@pytest.mark.e2e
@pytest.mark.parametrize("name", SIGNED_IN_FIRST)
async def test_the_real_program_shows_a_missing_login_where_its_row_says(name: str, project: Path, home: Path) -> None:
    program = PROGRAMS[name]
    if why := missing(program):
        pytest.skip(why)
    await shows_a_missing_login(program.vendor(None, home), project, home)


async def shows_a_missing_login(vendor: Vendor, project: Path, home: Path) -> None:
    with anyio.fail_after(120), pytest.raises(SignInNeeded) as refused:
        async with launch(vendor, Client(), cwd=str(project)) as connector:
            await (await connector.new_session(str(project))).prompt("hello")
    assert refused.value.method == vendor.sign_in.shows
    assert vendor.sign_in.run in str(refused.value)
    assert not left_over(home)
