"""E4, E5, E8: files that a machine left half written, disks that are full, and what other versions have written."""

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from acp_wire import methods
from acp_wire.errors import RpcError
from event_log import Log, LogDamaged, LogNewer, LogNotHeld, LogStorageFailed
from event_log.stores.jsonl import JsonlStore
from tests.support.in_memory import house

ENTRIES = [{"type": "text", "text": f"pièce {number} ✓", "by": {"deep": [number]}} for number in range(200)]


async def laid_out(directory: Path, entries: list[dict[str, Any]], name: str = "s-1") -> Path:
    """A closed log of these entries; returns its file."""
    store = JsonlStore(str(directory))
    (await store.create(name)).append(entries)
    await store.close()
    return directory / f"{name}.jsonl"


async def taken(store: JsonlStore, name: str = "s-1") -> Log:
    log = await store.open(name)
    await store.claim(log)
    return log


def endings(whole: bytes, start: int) -> Iterator[bytes]:
    """What a machine that stopped may have made of a file whose last records begin at `start`."""
    for cut in range(start, len(whole) + 1):
        for tail in (b"", b"\0", b"\0" * 700, b"\0" * 700 + b"\n"):
            yield whole[:cut] + tail
        if whole[:cut].endswith(b"\n"):
            for tail in (b"\n", b"\n\n", b"  ", b" \t\r\n", b"\xe2\x9c", b"\xe2\x9c\n", b'{"n":', b"\n\0\0\n  \n"):
                yield whole[:cut] + tail


@pytest.mark.faults("E4")
async def test_every_end_that_a_stopped_machine_leaves_loads_and_goes_on(
    tmp_path: Path, record: Any, count: Any
) -> None:
    file = await laid_out(tmp_path, ENTRIES)
    whole = file.read_bytes()
    store, corrupt = JsonlStore(str(tmp_path)), tmp_path / "s-1.corrupt"
    every = list(endings(whole, whole.index(b'{"n":198,')))
    step = count(1, 3)
    failed = lost = unkept = 0
    for content in every[::step]:
        file.write_bytes(content)
        corrupt.unlink(missing_ok=True)
        same = next((at for at, (a, b) in enumerate(zip(content, whole, strict=False)) if a != b), len(content))
        kept = content[: min(same, len(whole))].count(b"\n")
        try:
            log = await taken(store)
            lost += [entry for _, entry in log.read()] != ENTRIES[:kept]
            log.append([{"after": 1}])
            log.close()
            log = await store.open("s-1")
            failed += [entry for _, entry in log.read()] != [*ENTRIES[:kept], {"after": 1}]
            log.close()
        except LogDamaged:
            failed += 1
        cut_away = content[len(b"".join(whole.splitlines(keepends=True)[:kept])) :]
        unkept += cut_away != (corrupt.read_bytes()[:-1] if corrupt.exists() else b"")
    await store.close()
    measured = f"{len(every[::step])} ends: {failed} do not load or go on, {lost} lost a record, {unkept} kept no tail"
    held = not (failed or lost or unkept)
    record("E4", "every torn end loads, 0 whole records lost, what is cut is kept", measured, held)


@pytest.mark.faults("E4")
async def test_damage_in_the_middle_is_told_with_its_place_and_the_file_is_left_alone(
    tmp_path: Path, record: Any, count: Any
) -> None:
    file = await laid_out(tmp_path, ENTRIES)
    lines = file.read_bytes().splitlines(keepends=True)
    wrong, cases = 0, 0
    for number in range(1, len(lines), count(1, 10)):
        before, line, after = b"".join(lines[: number - 1]), lines[number - 1], b"".join(lines[number:])
        for damaged in (b"", b"\0" * len(line), b"\0" * (len(line) - 1) + b"\n", line[:-9] + b"\n", b"\n", line * 2):
            file.write_bytes(before + damaged + after)
            cases += 1
            wrong += not await is_left_alone(file, number)
    record("E4", "interior damage is told, never written to", f"{wrong} of {cases} damages missed", not wrong)


async def is_left_alone(file: Path, number: int) -> bool:
    """Whether a log is refused for writing, and read up to the damage in or after this entry."""
    store, before = JsonlStore(str(file.parent)), file.read_bytes()
    log = await store.open("s-1")
    read: list[dict[str, Any]] = []
    told = []
    for ask in (lambda: store.claim(log), lambda: whole(log, read)):
        try:
            await ask()
        except LogDamaged as damage:
            told.append(number <= damage.number <= number + 1 and "s-1" in str(damage))
    try:
        log.append([{"never": 1}])
    except LogNotHeld:
        told.append(True)
    await store.close()
    return told == [True] * 3 and read[: number - 1] == ENTRIES[: number - 1] and file.read_bytes() == before


async def whole(log: Log, into: list[dict[str, Any]]) -> None:
    for _, entry in log.read():
        into.append(entry)


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.faults("E5")
async def test_a_disk_that_is_full_at_any_byte_takes_nothing_half_and_the_log_goes_on(
    tmp_path: Path, record: Any, count: Any
) -> None:
    file = await laid_out(tmp_path, ENTRIES[:5])
    group = ENTRIES[5:9]
    store = JsonlStore(str(tmp_path))
    log = await taken(store)
    before, cases, wrong = file.read_bytes(), 0, 0
    for free in range(0, 1000, count(1, 5)):
        with files_no_longer_than(len(before) + free):
            try:
                log.append(group)
                break  # there was room enough
            except LogStorageFailed:
                cases += 1
        wrong += file.read_bytes() != before or log.append(ENTRIES[5:6]) != 6
        os.truncate(file, len(before))
        log.close()
        log = await taken(store)
    await store.close()
    record("E5", "a full disk: typed error, nothing half written", f"{wrong} of {cases} left something", not wrong)


FILL = """
import asyncio, json, os, sys
from contextlib import suppress
from event_log import *
from event_log.stores.jsonl import JsonlStore

async def main(place):
    ballast = os.path.join(place, "ballast")
    open(ballast, "wb").write(b"x" * 20000)
    store = JsonlStore(place + "/logs")
    log, other = await store.create("s-1"), await store.create("s-2")
    other.close()
    told = errno = 0
    try:
        while True:
            told = log.append([{"text": "x" * 1000}] * 3) + 2
    except LogStorageFailed as full:
        errno = full.errno
    with suppress(OSError):
        open(ballast, "ab", buffering=0).write(b"x" * 200000)
    refused = 0
    other = await store.open("s-2")
    for ask in (store.create("s-3"), store.claim(other)):
        try:
            await ask
        except LogStorageFailed:
            refused += 1
    left = sorted(os.listdir(store.directory))
    lines = open(store.directory + "/s-1.jsonl", "rb").read().splitlines(keepends=True)
    os.unlink(ballast)
    await store.claim(other)
    other.append([{"i": 1}])
    goes_on = log.append([{"i": 1}]) == told + 1
    whole = [json.loads(line)["n"] for line in lines] == [*range(1, told + 1)] and lines[-1].endswith(b"\\n")
    print(json.dumps({"errno": errno, "refused": refused, "left": left, "goes_on": goes_on, "whole": whole}))

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.faults("E5")
@pytest.mark.skipif(not shutil.which("unshare"), reason="no unshare(1): a small disk cannot be made here")
def test_a_small_disk_that_fills_up_is_told_of_and_used_again_when_there_is_room(tmp_path: Path, record: Any) -> None:
    mount = f'mount -t tmpfs -o size=128k none {tmp_path} && exec "$0" -c "$1" {tmp_path}'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, sys.executable, FILL]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"a small disk cannot be made here: {done.stderr.strip()}")
    found = json.loads(done.stdout)
    held = found == {
        "errno": 28,
        "refused": 2,
        "left": [".lock", "s-1.jsonl", "s-1.owner", "s-2.jsonl"],
        "goes_on": True,
        "whole": True,
    }
    record("E5", "ENOSPC: typed error, whole lines, goes on when there is room", done.stdout.strip(), held)


OPENING = {"type": "session", "version": 1, "cwd": "/project", "directories": [], "mode": "ask"}
PROMPT = {"type": "prompt", "content": [{"type": "text", "text": "go"}], "text": "go"}
SAID: list[dict[str, Any]] = [{"type": "text", "text": "done"}, {"type": "reply", "finish": "stop", "calls": []}]
WHOLE = [OPENING, PROMPT, *SAID, {"type": "turn", "stop": "end_turn"}]
READABLE = {
    "before entries had a time, a title or a usage": WHOLE,
    "with fields that we do not know": [{**entry, "later": {"n": [1]}} for entry in WHOLE],
    "with entries of a kind that we do not know": [OPENING, {"type": "later", "of": 1}, *WHOLE[1:], {"type": "later"}],
}


@pytest.mark.faults("E8")
@pytest.mark.parametrize("name", READABLE)
async def test_a_session_of_another_version_that_can_be_read_goes_on(tmp_path: Path, record: Any, name: str) -> None:
    file = await laid_out(tmp_path, READABLE[name], "sess_1")
    before = file.read_bytes()
    async with house("=== turn repeat\nsay: and on\n", store=JsonlStore(str(tmp_path))) as it:
        listed = await it.wire.request(methods.SESSION_LIST, {})
        await it.wire.request(methods.SESSION_LOAD, {"sessionId": "sess_1", "cwd": "/project", "mcpServers": []})
        shown = it.said()
        stop = await it.prompt(session="sess_1")
    held = "sess_1" in [session.session_id for session in listed.sessions] and shown == "done" and stop == "end_turn"
    kept = file.read_bytes().startswith(before)
    record("E8", f"a session {name} is loaded and goes on", f"{held}, its entries kept: {kept}", held and kept)


@pytest.mark.faults("E8")
async def test_a_file_of_a_newer_format_is_read_and_never_written(tmp_path: Path, record: Any) -> None:
    file = await laid_out(tmp_path, WHOLE, "sess_1")
    newer = b'{"n":0,"format":2,"sums":"xxh3"}\n' + file.read_bytes()
    file.write_bytes(newer)
    store = JsonlStore(str(tmp_path))
    log = await store.open("sess_1")
    read = [entry for _, entry in log.read()] == WHOLE
    with pytest.raises(LogNewer, match="format 2, of a newer version"):
        await store.claim(log)
    async with house("=== turn\nsay: no\n", store=JsonlStore(str(tmp_path))) as it:
        with pytest.raises(RpcError, match="newer version") as error:
            await it.wire.request(methods.SESSION_LOAD, {"sessionId": "sess_1", "cwd": "/project", "mcpServers": []})
    same = file.read_bytes() == newer
    record("E8", "a newer file is refused, read only", f"read: {read}, {error.value.message}", read and same)


@pytest.mark.faults("E8")
async def test_a_session_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path, record: Any) -> None:
    file = await laid_out(tmp_path, [{**OPENING, "version": 2}, *WHOLE[1:]], "sess_1")
    before = file.read_bytes()
    async with house("=== turn\nsay: no\n", store=JsonlStore(str(tmp_path))) as it:
        with pytest.raises(RpcError, match="newer version") as error:
            await it.wire.request(methods.SESSION_LOAD, {"sessionId": "sess_1", "cwd": "/project", "mcpServers": []})
    record("E8", "a newer session is refused", error.value.message, file.read_bytes() == before)


@pytest.mark.parametrize("strange", [{"type": "prompt"}, {"kind": "text"}, {"type": "session"}, {"type": "reply"}])
async def test_a_session_with_an_entry_that_is_none_of_ours_is_refused_with_its_number(
    tmp_path: Path, strange: dict[str, Any]
) -> None:
    file = await laid_out(tmp_path, [*WHOLE, strange], "sess_1")
    before = file.read_bytes()
    asked = {"sessionId": "sess_1", "cwd": "/project", "mcpServers": []}
    async with house("=== turn\nsay: no\n", store=JsonlStore(str(tmp_path)), unstable="fork") as it:
        for method in (methods.SESSION_LOAD, methods.SESSION_FORK):
            with pytest.raises(RpcError, match=f"entry {len(WHOLE) + 1} is not as this version"):
                await it.wire.request(method, asked)
        left = await it.store.names()
    assert sorted(left) == sorted(["sess_1", it.session]), "a fork that failed leaves nothing"
    assert file.read_bytes() == before
