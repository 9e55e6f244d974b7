"""`ars sessions`: stored sessions listed, shown, taken out as a file, brought in and removed, while agents use them."""

import argparse
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ars_cli.exits import DONE, FAILED, USAGE
from ars_cli.plain import clean, visible

if TYPE_CHECKING:
    from ars_acp.listing import Listed
    from event_log.log import Log
    from event_log.stores import Store

# What is to be done; returns what is to be printed.
Act = Callable[["Store", argparse.Namespace], Awaitable[bytes]]
SHOWN = 50
AT_ONCE = 1000  # entries of an import in one write
SERVER_SECONDS = 30.0  # how long an import waits for a server to have it


def add_parser(commands: Any, *, epilog: str) -> None:
    """Adds `sessions` and what it can do to the commands of `ars`; the options' `run` carries it out."""
    about = "Stored sessions, of the store that ars-acp uses. All but `import` and `delete` work on open ones too."
    form = argparse.RawDescriptionHelpFormatter
    parser = commands.add_parser(
        "sessions", help="stored sessions", description=about, epilog=epilog, formatter_class=form
    )
    acts = parser.add_subparsers(title="what to do", required=True, metavar="ACT")

    def act(name: str, does: Act, told: str) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = acts.add_parser(name, help=told, description=f"{told[0].upper()}{told[1:]}.")
        added.add_argument("--store", metavar="URL", help="where sessions are kept (default: where ars-acp keeps them)")
        added.set_defaults(run=run, act=does)
        return added

    listed = act("list", _list, "list sessions, the newest first")
    listed.add_argument("--cwd", metavar="DIR", help="only those of this directory")
    listed.add_argument("--limit", metavar="N", type=int, default=SHOWN, help=f"at most (default: {SHOWN}; 0: all)")
    listed.add_argument("--json", action="store_true", help="a JSON object a line")
    shown = act("show", _show, "show what a session's log says of it")
    shown.add_argument("id")
    shown.add_argument("--json", action="store_true", help="the whole state, with the model's messages, as JSON")
    exported = act("export", _export, "write a session as one file")
    exported.add_argument("id")
    form_of = exported.add_mutually_exclusive_group()
    form_of.add_argument("--markdown", action="store_true", help="for people (the default, but for a FILE.jsonl)")
    form_of.add_argument("--jsonl", action="store_true", help="for `ars sessions import`: all there is")
    exported.add_argument("-o", "--output", metavar="FILE", help="(default: stdout)")
    imported = act("import", _import, "store a session that was exported with --jsonl, and print its id")
    imported.add_argument("file", help="- reads stdin")
    act("delete", _delete, "remove sessions with all that is kept of them").add_argument("ids", nargs="+", metavar="id")


def run(options: argparse.Namespace) -> int:
    """Does it, and returns the exit code."""
    import anyio

    from ars_acp.errors import SettingsError
    from ars_acp.settings import load, open_sessions

    try:
        store = open_sessions(load({"store": options.store}), _note)
    except SettingsError as why:
        return _failed(why, USAGE)
    said = anyio.run(_run, store, options)
    if isinstance(said, int):
        return said
    if getattr(options, "output", None) is None:
        sys.stdout.buffer.write(clean(said.decode()).encode() if sys.stdout.isatty() else said)
        sys.stdout.flush()
        return DONE
    try:
        # As private as the session is, where there is no such file yet.
        with open(os.open(options.output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(said)
    except OSError as why:
        return _failed(f"{options.output}: {why.strerror}", USAGE)
    return DONE


async def _run(store: "Store", options: argparse.Namespace) -> bytes | int:
    """What is to be printed, or the exit code of what failed."""
    import anyio

    async with anyio.create_task_group() as beside:
        beside.start_soon(store.run)
        said = await _act(store, options)
        await store.close()
        beside.cancel_scope.cancel()
    return said


async def _act(store: "Store", options: argparse.Namespace) -> bytes | int:
    from ars_acp.transfer import Refused
    from event_log.errors import LogError, LogNameInvalid, LogNotFound

    try:
        said: bytes = await options.act(store, options)
    except (LogNotFound, LogNameInvalid):
        return _failed("no such session is stored; `ars sessions list` shows which there are", USAGE)
    except Refused as why:
        refused = f"{options.file} cannot be imported" if "file" in options else f"{options.id} cannot be read"
        return _failed(f"{refused}: {why}", FAILED)
    except LogError as why:
        return _failed(why, FAILED)
    except OSError as why:  # of the file that was named
        return _failed(f"{why.filename}: {why.strerror}", USAGE)
    return said


async def _list(store: "Store", options: argparse.Namespace) -> bytes:
    from ars_acp.listing import Listing

    cwd = os.path.abspath(options.cwd) if options.cwd else None
    found, more = await Listing(store).page(options.limit or None, cwd=cwd)
    if more:
        _note(f"these are the newest {options.limit}; `--limit 0` lists all")
    return "".join(map(_as_json if options.json else _as_line, found)).encode()


def _as_json(listed: "Listed") -> str:
    at, session_id = listed.place
    row = {"session_id": session_id, "title": listed.title, "cwd": listed.cwd, "directories": listed.directories}
    return json.dumps({**row, "updated_at": at // 1_000_000}) + "\n"


def _as_line(listed: "Listed") -> str:
    at, session_id = listed.place
    return f"{_time(at // 1_000_000)}  {session_id}  {visible(listed.cwd)}  {visible(listed.title or '(no title)')}\n"


async def _show(store: "Store", options: argparse.Namespace) -> bytes:
    from ars_acp.transfer import checked

    shown = checked(options.id, await _entries(store, options.id))
    if options.json:
        return json.dumps(shown, indent=2).encode() + b"\n"
    return "".join(f"{name:<12} {visible(value)}\n" for name, value in _facts(shown)).encode()


def _facts(shown: dict[str, Any]) -> Iterator[tuple[str, str]]:
    about, model, call = shown["metadata"], shown["llm_state"], shown["pending_tool_call"]
    yield "title", about["title"] or "(none yet)"
    yield "id", shown["session_id"]
    yield from (("directory", directory) for directory in (about["cwd"], *about["directories"]))
    yield from ((when, _time(about[f"{when}_at"])) for when in ("created", "updated") if about[f"{when}_at"])
    yield "log", f"{about['entries']:,} entries, {about['prompts']:,} prompts"
    yield from ((option, str(value)) for option, value in model["config"].items())
    if model["model"]:
        yield "answered by", model["model"]
    if model["used_tokens"] is not None:
        yield "context", f"{model['used_tokens']:,} tokens"
    if model["cost"] is not None:
        yield "cost", f"{model['cost']['amount']:.4f} {model['cost']['currency']}"
    if model["in_turn"]:
        yield "turn", f"not ended; {model['partial_chars']:,} characters of a reply without an end"
    if call is not None:
        yield "waits for", f"{call['name']} {call['arguments']}"
    if shown["last_user_message"] is not None:
        yield "said last", shown["last_user_message"][:500]


async def _export(store: "Store", options: argparse.Namespace) -> bytes:
    from ars_acp.export import markdown
    from ars_acp.transfer import checked, lines

    entries = await _entries(store, options.id)
    title = checked(options.id, entries)["metadata"]["title"]
    numbered = enumerate(entries, 1)
    if options.jsonl or (not options.markdown and (options.output or "").endswith(".jsonl")):
        return b"".join(lines(options.id, numbered))
    return markdown(options.id, title, numbered).encode(errors="replace")


async def _import(store: "Store", options: argparse.Namespace) -> bytes:
    from ars_acp.session import new_session_id
    from ars_acp.transfer import read
    from event_log.errors import LogError

    brought = read(sys.stdin.buffer.read() if options.file == "-" else Path(options.file).read_bytes())
    session_id = brought.id
    if await _is_taken(store, session_id):
        session_id = new_session_id()
        _note(f"there already is a session {brought.id}, so this one has a new id")
    log = await store.create(session_id)
    try:
        for at in range(0, len(brought.entries), AT_ONCE):
            log.append(brought.entries[at : at + AT_ONCE])
    except LogError:
        await store.delete(session_id)  # half a session is none
        raise
    await _brought_home(store, log)
    if (mode := brought.state["llm_state"]["config"].get("mode", "ask")) != "ask":
        _note(f"its mode is `{mode}`: choose another before you prompt it, if you do not trust where it comes from")
    return f"{session_id}\n".encode()


async def _is_taken(store: "Store", session_id: str) -> bool:
    from event_log.errors import LogDamaged, LogNotFound

    try:
        await store.open(session_id)
    except LogNotFound:
        return False
    except LogDamaged:
        pass
    return True


async def _brought_home(store: "Store", log: "Log") -> None:
    """Waits for a server to have all of a log; a local store has it already."""
    import anyio

    with anyio.move_on_after(SERVER_SECONDS):
        while store.confirmed(log.name) < log.last:  # noqa: ASYNC110
            await anyio.sleep(0.02)
        return
    _note("the server does not have all of it yet; the next ars-acp or `ars sessions` of this machine goes on")


async def _delete(store: "Store", options: argparse.Namespace) -> bytes:
    from ars_acp.listing import Listing

    for session_id in options.ids:
        await store.delete(session_id)
        await Listing(store).forget(session_id)
    return b""


async def _entries(store: "Store", session_id: str) -> list[dict[str, Any]]:
    return [entry for _, entry in (await store.open(session_id)).read()]


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M")


def _note(text: str) -> None:
    print(f"ars: {clean(text)}", file=sys.stderr)


def _failed(why: object, code: int) -> int:
    _note(str(why))
    return code
