"""What a client does with files, terminals and forms, where it offers them."""

import functools
import os
import secrets
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from acp_check.client_agent import code_of, part, refused
from acp_check.client_run import Turn
from acp_check.client_table import Broken, Json, NotOffered, NotSeen, in_turn

NOT_FOUND = -32002
LINES = "one\ntwo\r\nthree ü 🙂\nfour\n"
# Long enough that it cannot have ended by itself.
LONG = "600"
# How long a visitor that nobody has sent is waited for.
VISIT_SECONDS = 0.2

Play = Callable[[Turn], Awaitable[None]]


def where(capability: str) -> Callable[[Play], Play]:
    """Tries only what the client advertises."""

    def wrapped(play: Play) -> Play:
        @functools.wraps(play)
        async def tried(turn: Turn) -> None:
            if not turn.agent.client_offers(capability):
                raise NotOffered(f"{capability} is not advertised")
            await play(turn)

        return tried

    return wrapped


async def _served(turn: Turn, method: str, **params: Any) -> Json:
    """The result; `NotSeen` where a policy refuses, as far as that can be told from a fault."""
    answer = await turn.ask(method, **params)
    if code_of(answer) is not None:
        raise NotSeen(f"{method} was refused: {answer['error']}")
    return part(answer, "result")


def _at_home(turn: Turn) -> None:
    """The files that are read lie in the directory that the client was started in; its session should be there too."""
    if os.path.realpath(turn.agent.cwd) != str(turn.run.project):
        raise NotSeen(f"its session is in {turn.agent.cwd}, not where it was started")


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _read(turn: Turn, path: str, **params: Any) -> str:
    return str((await _served(turn, "fs/read_text_file", path=path, **params)).get("content"))


def _file(turn: Turn, text: str = LINES) -> str:
    _at_home(turn)
    path = turn.run.project / "lines.txt"
    path.write_bytes(text.encode())
    return str(path)


@in_turn("FS-001", "conditional", "A file is read as it is")
@where("fs.readTextFile")
async def _(turn: Turn) -> None:
    if (read := await _read(turn, _file(turn))) != LINES:
        raise Broken(f"{LINES!r} was read as {read!r}")


@in_turn("FS-002", "conditional", "line counts from 1, and limit counts lines")
@where("fs.readTextFile")
async def _(turn: Turn) -> None:
    path = _file(turn, "one\ntwo\nthree\nfour\n")
    for params, wanted in (
        ({"line": 1, "limit": 1}, "one"),
        ({"line": 2, "limit": 2}, "two\nthree"),
        ({"line": 4}, "four"),
    ):
        read = await _read(turn, path, **params)
        if read.removesuffix("\n") != wanted:
            raise Broken(f"{params} of four lines was read as {read!r}")


@in_turn("FS-003", "conditional", "A missing file is -32002")
@where("fs.readTextFile")
async def _(turn: Turn) -> None:
    _at_home(turn)
    answer = await turn.ask("fs/read_text_file", path=f"{turn.run.project}/missing.txt")
    if not refused(answer, (NOT_FOUND,)):
        raise Broken(f"answered {answer.get('error') or answer.get('result')}")


def _secret(turn: Turn) -> tuple[str, list[str]]:
    """Something outside of the session's directory, and the paths that lead there."""
    _at_home(turn)
    secret = secrets.token_hex(8)
    (turn.run.outside / "secret.txt").write_text(secret)
    link = turn.run.project / "link"
    if not link.is_symlink():
        link.symlink_to(turn.run.outside)
    outside, project = turn.run.outside, turn.run.project
    return secret, [
        f"{outside}/secret.txt",
        f"{project}/../{outside.name}/secret.txt",
        f"{link}/secret.txt",
    ]


@in_turn("FS-004", "advisory", "Nothing outside of the session's directories is read")
@where("fs.readTextFile")
async def _(turn: Turn) -> None:
    await _read(turn, _file(turn))  # so that it is the place which is refused
    secret, paths = _secret(turn)
    for path in paths:
        answer = await turn.ask("fs/read_text_file", path=path)
        if secret in str(answer.get("result")):
            raise Broken(f"it read {path.replace(str(turn.run.project.parent), '')}")


@in_turn("FS-005", "conditional", "A relative path is refused")
@where("fs.readTextFile")
async def _(turn: Turn) -> None:
    await _read(turn, _file(turn))
    for path in ("lines.txt", "./lines.txt"):
        answer = await turn.ask("fs/read_text_file", path=path)
        if not refused(answer):
            raise Broken(f"it read {path}")


@in_turn("FS-006", "conditional", "A file is written as it was sent, and made where there is none")
@where("fs.writeTextFile")
async def _(turn: Turn) -> None:
    _at_home(turn)
    path = turn.run.project / "new.txt"
    for text in (LINES, "shorter"):
        await _served(turn, "fs/write_text_file", path=str(path), content=text)
        if not path.exists() or (found := path.read_bytes().decode()) != text:
            raise Broken(f"{text!r} was written as {found!r}" if path.exists() else "nothing was written")


@in_turn("FS-007", "advisory", "Nothing outside of the session's directories is written, and no relative path")
@where("fs.writeTextFile")
async def _(turn: Turn) -> None:
    secret, paths = _secret(turn)
    await _served(turn, "fs/write_text_file", path=f"{turn.run.project}/inside.txt", content="x")
    for path in (*paths, "relative.txt"):
        await turn.ask("fs/write_text_file", path=path, content="overwritten")
        if (turn.run.outside / "secret.txt").read_text() != secret or (turn.run.project / "relative.txt").exists():
            raise Broken(f"it wrote {path.replace(str(turn.run.project.parent), '')}")


# ── terminals ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _terminal(turn: Turn, *argv: str, **params: Any) -> str:
    created = await _served(turn, "terminal/create", command=argv[0], args=list(argv[1:]), **params)
    return str(created.get("terminalId"))


async def _ran(turn: Turn, *argv: str, **params: Any) -> tuple[Json, Json]:
    """How a command ended and what terminal/output says afterwards, its terminal released."""
    terminal = await _terminal(turn, *argv, **params)
    how = await turn.got("terminal/wait_for_exit", terminalId=terminal)
    output = await turn.got("terminal/output", terminalId=terminal)
    await turn.got("terminal/release", terminalId=terminal)
    return how, output


async def _holding(turn: Turn, name: str) -> str:
    """A terminal whose command's life can be watched."""
    terminal = await _terminal(turn, sys.executable, "-m", "acp_check.agent", turn.run.socket, name)
    if not await turn.run.holds(name, turn.agent.limit):
        output = await turn.got("terminal/output", terminalId=terminal)
        raise NotSeen(f"the command did not come up: {output.get('output')!r}")
    return terminal


async def _ends(turn: Turn, name: str, terminal: str, after: str) -> None:
    """It may ask the command first, which does not listen, so the answer may take as long as that."""
    params = {"sessionId": turn.session, "terminalId": terminal}
    answer = await turn.agent.ask(after, params, limit=turn.agent.limit + turn.run.kit.grace)
    if refused(answer):
        raise Broken(f"{after} was answered {answer['error']}")
    if not await turn.run.changes.until(lambda: not turn.run.holding[name], turn.run.kit.grace):
        raise Broken(f"the command still runs {turn.run.kit.grace:g} s after {after}")


@in_turn("TERM-001", "conditional", "terminal/create answers at once, before the command has ended")
@where("terminal")
async def _(turn: Turn) -> None:
    terminal = await _terminal(turn, "sleep", LONG)
    output = await turn.got("terminal/output", terminalId=terminal)
    await turn.got("terminal/release", terminalId=terminal)
    if output.get("exitStatus"):
        raise Broken(f"`sleep {LONG}` is said to have ended: {output}")


@in_turn("TERM-002", "conditional", "What is over outputByteLimit is dropped from the beginning, at a character")
@where("terminal")
async def _(turn: Turn) -> None:
    text, limit = "äöüäöüend", 8
    _, output = await _ran(turn, "printf", text, outputByteLimit=limit)
    kept = str(output.get("output"))
    if kept != "öüend" or output.get("truncated") is not True:
        raise Broken(f"the last {limit} bytes of {text!r} came as {kept!r}, truncated {output.get('truncated')}")
    _, output = await _ran(turn, "printf", text)
    if output.get("output") != text or output.get("truncated") is not False:
        raise Broken(f"{text!r} came as {output}")


@in_turn("TERM-003", "conditional", "A command that ended has its exit code, and no signal")
@where("terminal")
async def _(turn: Turn) -> None:
    for code in (0, 7, 255):
        how, output = await _ran(turn, "sh", "-c", f"exit {code}")
        for status in (how, part(output, "exitStatus")):
            if status.get("exitCode") != code or status.get("signal") is not None:
                raise Broken(f"exit {code} came as {how}, and as {output}")


@in_turn("TERM-004", "conditional", "One that a signal ended has the signal's name, and exitCode null")
@where("terminal")
async def _(turn: Turn) -> None:
    how, output = await _ran(turn, "sh", "-c", "kill -9 $$")
    for status in (how, part(output, "exitStatus")):
        if status.get("exitCode") is not None or "KILL" not in str(status.get("signal")):
            raise Broken(f"SIGKILL came as {how}, and as {output}")


@in_turn("TERM-005", "conditional", "terminal/kill ends the command and leaves the terminal as it is")
@where("terminal")
async def _(turn: Turn) -> None:
    terminal = await _holding(turn, "killed")
    waiting = await turn.agent.begin("terminal/wait_for_exit", {"sessionId": turn.session, "terminalId": terminal})
    await _ends(turn, "killed", terminal, "terminal/kill")
    for answer in (await turn.agent.answer(waiting), await turn.ask("terminal/wait_for_exit", terminalId=terminal)):
        if refused(answer):
            raise Broken(f"terminal/wait_for_exit of a killed command was answered {answer['error']}")
    for method in ("output", "kill", "release"):
        await turn.got(f"terminal/{method}", terminalId=terminal)


@in_turn("TERM-006", "conditional", "terminal/release ends the command, and its id")
@where("terminal")
async def _(turn: Turn) -> None:
    terminal = await _holding(turn, "released")
    await _ends(turn, "released", terminal, "terminal/release")
    for method in ("output", "wait_for_exit", "kill"):
        if not refused(answer := await turn.ask(f"terminal/{method}", terminalId=terminal)):
            raise Broken(f"terminal/{method} of a released terminal was answered {answer.get('result')}")


@in_turn("TERM-007", "conditional", "Arguments, variables and the directory reach the command as they are")
@where("terminal")
async def _(turn: Turn) -> None:
    _at_home(turn)
    below = turn.run.project / "a directory"
    below.mkdir(exist_ok=True)
    words = ["a b", "$HOME", "*", "'\"", "ü"]
    _, output = await _ran(
        turn,
        *("sh", "-c", 'printf "%s|" "$@" "$KIT" "$(pwd)"', "sh", *words),
        env=[{"name": "KIT", "value": "x = 1"}],
        cwd=str(below),
    )
    wanted = "".join(f"{word}|" for word in (*words, "x = 1", below))
    if output.get("output") != wanted:
        raise Broken(f"{wanted!r} came as {output.get('output')!r}")


@in_turn("TERM-008", "conditional", "A terminal that there is not, or a command, is an error")
@where("terminal")
async def _(turn: Turn) -> None:
    for answer in (
        await turn.ask("terminal/output", terminalId="nobody's"),
        await turn.ask("terminal/create", command="/no/such/command"),
    ):
        if refused(answer):
            continue
        terminal = part(answer, "result").get("terminalId")
        if terminal is None:
            raise Broken(f"answered {answer.get('result')}")
        how = await turn.got("terminal/wait_for_exit", terminalId=terminal)
        if how.get("exitCode") == 0:
            raise Broken(f"a command that does not exist ended with {how}")


@in_turn("TERM-009", "advisory", "An unknown terminal is -32002")
@where("terminal")
async def _(turn: Turn) -> None:
    if not refused(answer := await turn.ask("terminal/output", terminalId="nobody's"), (NOT_FOUND,)):
        raise Broken(f"answered {answer.get('error') or answer.get('result')}")


# ── forms and addresses ──────────────────────────────────────────────────────────────────────────────────────────────


async def _elicited(turn: Turn, **params: Any) -> Json:
    """The answer to a form or an address; `NotSeen` while nobody answers."""
    agent = turn.agent
    request = await agent.begin("elicitation/create", {"sessionId": turn.session, "message": "Please", **params})
    try:
        answer = await agent.answer(request)
    except Broken as why:
        agent.judge.forgotten(request)
        await agent.send({"method": "$/cancel_request", "params": {"requestId": request}})
        raise NotSeen(f"{why}: perhaps a person is asked") from None
    if code_of(answer) is not None:
        raise Broken(f"answered {answer['error']}")
    result = part(answer, "result")
    if result.get("action") not in ("accept", "decline", "cancel"):
        raise Broken(f"answered {result}")
    return result


@in_turn("ELICIT-001", "conditional", "A form is accepted with what it requires, declined or cancelled")
@where("elicitation.form")
async def _(turn: Turn) -> None:
    fields = {"name": {"type": "string"}, "count": {"type": "integer"}, "sure": {"type": "boolean"}}
    schema = {"type": "object", "properties": fields, "required": ["name", "count"]}
    result = await _elicited(turn, mode="form", requestedSchema=schema)
    content = part(result, "content")
    kinds = {"name": str, "count": int, "sure": bool}
    if result["action"] == "accept":
        missing = [name for name in ("name", "count") if name not in content]
        wrong = [name for name, value in content.items() if name not in kinds or type(value) is not kinds[name]]
        if missing or wrong:
            raise Broken(f"accepted with {content}: missing {missing}, wrong {wrong}")


@in_turn("ELICIT-002", "mandatory", "An address is opened by nobody but a person")
async def _(turn: Turn) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/sign-in?x=1"
        asked: Json = {"mode": "url", "elicitationId": "e1", "url": address}
        if turn.agent.client_offers("elicitation.url"):
            await _elicited(turn, **asked)
        else:
            await turn.ask("elicitation/create", message="Please", **asked)
        with anyio.move_on_after(VISIT_SECONDS):
            await anyio.wait_readable(listener)
            raise Broken("it opened the address, and nobody was asked")


@in_turn("ELICIT-003", "mandatory", "elicitation/complete for an id that it does not know is ignored")
async def _(turn: Turn) -> None:
    await turn.agent.send({"method": "elicitation/complete", "params": {"elicitationId": "nobody's"}})
