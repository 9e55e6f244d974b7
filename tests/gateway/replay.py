"""Plays a recorded conversation's client against a gateway, and tells every difference in what that answers.

The client's frames are sent in their order, each when all that had been answered before it has been answered here too.
A difference is a line: `res <method> <path> <what>` or `event <name> <path> <what>`, where `#` stands for an element of
a list. What no two gateways share (times, numbers of events, ids) is held to be of one kind, and an id to be the same
one wherever the recorded one was the same.
"""

import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

from tests.gateway.client import Client, Device
from tests.gateway.host import Running
from tests.gateway.wire import recorded

Json = dict[str, Any]
WITHIN = 20.0
ENDS = ("final", "aborted", "error")
# Of the moment: told when there is none at all, and when the last one is of another shape. Who is here is told in time
# of its own, or not at all where a conversation is short.
AMBIENT, UNTIMED = ("tick", "health"), ("presence",)
_NUMBERS = re.compile(r"(At|AtMs|Ms|^ts|^timestamp|^age|^seq|^presence|^health|^updatedAt)$")
_OPAQUE = re.compile(r"[0-9a-f]{8}|inject-[0-9a-f-]+|[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{32,}|[\w-]{43}|[\w-]{86}|/.*")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


class Replay:
    """One conversation. `differences` grows while it goes on."""

    def __init__(self, case: str, running: Running, awaits: frozenset[str] = frozenset()) -> None:
        self.lines = recorded(case)
        self.differences: list[str] = []
        self._running = running
        self._untimed = {"health", *UNTIMED} - awaits
        self._clients: dict[str, Client] = {}
        self._devices: dict[str, Device] = {}
        self._same: dict[str, str] = {}  # a recorded id, and ours
        self._methods: dict[tuple[str, Any], list[str]] = {}
        self._compared: set[int] = set()

    async def run(self) -> list[str]:
        """Plays all of it; the differences, each once."""
        async with AsyncExitStack() as stack:
            for at, line in enumerate(self.lines):
                conn = line["conn"]
                if line["dir"] == "open":
                    self._clients[conn] = await stack.enter_async_context(self._running.socket())
                elif line["dir"] == "c2s":
                    await self._catch_up(at)
                    await self._send(conn, line)
                elif line["dir"] == "close" and line["by"] == "client":
                    await self._catch_up(at)
                    await self._clients[conn].socket.close()
                elif line["dir"] == "close" and not self._closed_by_client(conn):
                    await self._catch_up(at)
                    code, reason = await self._clients[conn].ended(WITHIN)
                    self._tell(
                        "close", "", {"code": line["code"], "reason": line["reason"]}, {"code": code, "reason": reason}
                    )
            await self._catch_up(len(self.lines))
        for conn in self._clients:
            self._compare_events(conn)
        return list(dict.fromkeys(self.differences))

    # ── the client's side ───────────────────────────────────────────────────────────────────────────────────────────

    async def _send(self, conn: str, line: Json) -> None:
        client = self._clients[conn]
        if "raw" in line:
            await client.send(line["raw"])
            return
        frame = line["frame"]
        method = frame.get("method") or "invalid"
        self._methods.setdefault((conn, frame.get("id", "invalid")), []).append(method)
        if frame.get("method") == "connect":
            await client.challenge()
            frame = self._signed(client, frame)
        await client.send(self._ours(frame))

    def _signed(self, client: Client, frame: Json) -> Json:
        """A connect with the proof of a device of ours: one for each that was recorded."""
        params = frame["params"]
        if (claimed := params.get("device")) is None:
            return frame
        device = self._devices.setdefault(claimed["id"], Device())
        self._same |= {claimed["id"]: device.id, claimed["publicKey"]: device.public_key}
        plain = self._ours({name: value for name, value in params.items() if name != "device"})
        signed = plain
        if "device_bad_signature" in self._case_of(frame):
            signed = {**plain, "auth": {"token": "another-token"}}
        return {**frame, "params": {**plain, "device": device.proof(signed, client.nonce)}}

    def _case_of(self, frame: Json) -> str:
        refused = (line for line in self.lines if "frame" in line and line["frame"].get("id") == frame["id"])
        errors = (line["frame"].get("error") or {} for line in refused)
        return "device_bad_signature" if any(it.get("message") == "device signature invalid" for it in errors) else ""

    def _ours(self, value: Any) -> Any:
        """What was recorded, with ids of ours in the place of recorded ones."""
        if isinstance(value, dict):
            return {name: self._ours(one) for name, one in value.items()}
        if isinstance(value, list):
            return [self._ours(one) for one in value]
        return self._same.get(value, value) if isinstance(value, str) else value

    def _closed_by_client(self, conn: str) -> bool:
        return any(it["conn"] == conn and it["dir"] == "close" and it["by"] == "client" for it in self.lines)

    # ── waiting for what had come by then ───────────────────────────────────────────────────────────────────────────

    async def _catch_up(self, at: int) -> None:
        """Returns when each connection has got what it had got before line `at`, and compares the answers."""
        for conn, client in self._clients.items():
            for index, theirs in self._answers(conn, at):
                number = sum(1 for i, it in self._answers(conn, at) if i < index and it["id"] == theirs["id"])
                if index in self._compared:
                    continue
                self._compared.add(index)
                ours = await client.until(lambda: _nth(client, theirs["id"], number), WITHIN)  # noqa: B023
                methods = self._methods.get((conn, theirs["id"]), ["invalid"])
                method = methods[min(number, len(methods) - 1)]
                self._tell(f"res {method}", "", _without(theirs), _without(ours))
            if client.closed.is_set():
                continue
            for condition in self._events_before(conn, at):
                await client.until(lambda: condition(client), WITHIN)  # noqa: B023

    def _answers(self, conn: str, at: int) -> list[tuple[int, Json]]:
        return [(i, frame) for i, frame in self._frames(conn, at) if frame["type"] == "res"]

    def _frames(self, conn: str, at: int | None = None) -> list[tuple[int, Json]]:
        lines = enumerate(self.lines[:at])
        return [(i, it["frame"]) for i, it in lines if it["conn"] == conn and it["dir"] == "s2c" and "frame" in it]

    def _events_before(self, conn: str, at: int) -> Iterator[Any]:
        """Conditions: as many ticks and other events as there were, runs that have ended, texts that have grown."""
        counts: dict[str, int] = {}
        for _, frame in self._frames(conn, at):
            if frame["type"] != "event" or frame["event"] in self._untimed:
                continue
            name, payload = frame["event"], frame["payload"]
            if name == "chat" and payload["state"] in ENDS:
                run = payload["runId"]
                if not run.startswith("inject-"):
                    yield lambda client, run=run: _ended(client, run)
            elif name == "agent" and payload["stream"] == "assistant":
                text, run = payload["data"]["text"], payload["runId"]
                yield lambda client, run=run, text=text: _ended(client, run) or _has_said(client, run, text)
            elif name not in ("chat", "agent"):
                counts[name] = 1 if name == "health" else counts.get(name, 0) + 1
        for name, count in counts.items():
            yield lambda client, name=name, count=count: len(client.named(name)) >= count

    # ── comparing ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _tell(self, what: str, path: str, theirs: Any, ours: Any) -> None:
        self.differences += (f"{what} {line}" for line in self._differ(theirs, ours, path))

    def _differ(self, theirs: Any, ours: Any, path: str) -> Iterator[str]:
        if isinstance(theirs, dict) and isinstance(ours, dict):
            for name in theirs.keys() | ours.keys():
                here = f"{path}/{name}"
                if name not in ours or name not in theirs:
                    yield f"{here} {'missing' if name not in ours else 'extra'}"
                else:
                    yield from self._differ(theirs[name], ours[name], here)
        elif isinstance(theirs, list) and isinstance(ours, list):
            yield from self._differ_lists(theirs, ours, path)
        elif _kind(theirs) != _kind(ours):
            yield f"{path} type {_kind(theirs)} {_kind(ours)}"
        elif isinstance(theirs, str):
            if not self._alike(theirs, ours):
                yield f"{path} value"
        elif theirs != ours and not (isinstance(theirs, int | float) and _NUMBERS.search(path.rpartition("/")[2])):
            yield f"{path} value"

    def _differ_lists(self, theirs: list[Any], ours: list[Any], path: str) -> Iterator[str]:
        if "/features/" in path:
            for word, names in (("missing", set(theirs) - set(ours)), ("extra", set(ours) - set(theirs))):
                yield from (f"{path} {word} {name}" for name in sorted(names))
            return
        if len(theirs) != len(ours):
            yield f"{path} count"
        for one, other in zip(theirs, ours, strict=False):
            yield from self._differ(one, other, f"{path}/#")

    def _alike(self, theirs: str, ours: str) -> bool:
        """Equal; or ids that stand for each other here as before, or from now on."""
        if theirs in self._same:
            return self._same[theirs] == ours
        if _DAY.fullmatch(theirs):
            return bool(_DAY.fullmatch(ours))
        if theirs != ours and _OPAQUE.fullmatch(theirs) and _OPAQUE.fullmatch(ours):
            self._same[theirs] = ours
            return True
        return theirs == ours

    def _compare_events(self, conn: str) -> None:
        theirs = [frame for _, frame in self._frames(conn) if frame["type"] == "event"]
        ours = self._clients[conn].events
        for name in sorted({it["event"] for it in theirs + ours} - {*UNTIMED}):
            one, other = ([it for it in side if it["event"] == name] for side in (theirs, ours))
            if name in AMBIENT:
                one, other = one[-1:] if other else one, other[-1:] if one else []
            if name in ("agent", "chat"):
                self._compare_runs(name, one, other)
            elif bool(one) != bool(other):
                self.differences.append(f"event {name} {'missing' if one else 'extra'}")
            else:
                self._tell(f"event {name}", "", [_without(it) for it in one], [_without(it) for it in other])
        for run in {it["payload"]["runId"] for it in theirs if it["event"] in ("agent", "chat")}:
            self._compare_order(conn, run)

    def _compare_runs(self, name: str, theirs: list[Json], ours: list[Json]) -> None:
        """The events of each run: the same kinds in the same order; of one kind in a row the last."""
        made = [
            [it["payload"]["runId"] for it in side if it["payload"]["runId"].startswith("inject-")]
            for side in (theirs, ours)
        ]
        self._same |= dict(zip(*made, strict=False))
        runs = {self._same.get(it["payload"]["runId"], it["payload"]["runId"]): it["payload"]["runId"] for it in theirs}
        for run in {it["payload"]["runId"] for it in ours} - runs.keys():
            self.differences.append(f"event {name} of a run extra {run}")
        for run, recorded_run in runs.items():
            one = _last_of_each([it for it in theirs if it["payload"]["runId"] == recorded_run])
            other = _last_of_each([it for it in ours if it["payload"]["runId"] == run])
            if [kind for kind, _ in one] != [kind for kind, _ in other]:
                words = " ".join(kind for kind, _ in one), " ".join(kind for kind, _ in other)
                self.differences.append(f"event {name} order {words[0]} | {words[1]}")
            else:
                for (kind, frame), (_, our_frame) in zip(one, other, strict=True):
                    self._tell(f"event {name}.{kind}", "", _without(frame), _without(our_frame))
            known = [text for it in theirs if (text := _text(it, recorded_run))]
            for it in ours:
                if (text := _text(it, run)) and text not in known and not text.startswith(known[-1]):
                    self.differences.append(f"event {name} text {text!r}")

    def _compare_order(self, conn: str, run: str) -> None:
        """Of each request about a run: its answers among the run's beginning and end."""
        theirs = [frame for _, frame in self._frames(conn)]
        for request in {it["id"] for it in theirs if it["type"] == "res" and run in _about(it)}:
            one = list(_milestones(theirs, request, run))
            other = list(_milestones(self._clients[conn].frames, request, self._same.get(run, run)))
            if one != other:
                self.differences.append(
                    f"order of {self._methods[conn, request][0]}: {' '.join(one)} | {' '.join(other)}"
                )


def _without(frame: Json) -> Json:
    """A frame without what numbers it."""
    return {name: value for name, value in frame.items() if name not in ("seq", "id", "type", "event")}


def _nth(client: Client, request: Any, number: int) -> Json | None:
    found = [it for it in client.frames if it["type"] == "res" and it["id"] == request]
    return found[number] if len(found) > number else None


def _of(client: Client, name: str, run: str) -> Iterator[Json]:
    return (it["payload"] for it in client.named(name) if it["payload"]["runId"] == run)


def _ended(client: Client, run: str) -> bool:
    return any(it["state"] in ENDS for it in _of(client, "chat", run))


def _has_said(client: Client, run: str, text: str) -> bool:
    return any(it["data"].get("text", "").startswith(text) for it in _of(client, "agent", run))


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return {str: "string", dict: "object", list: "array", type(None): "null"}[type(value)]


def _last_of_each(events: list[Json]) -> list[tuple[str, Json]]:
    found: list[tuple[str, Json]] = []
    for event in events:
        payload = event["payload"]
        kind = (
            payload.get("state")
            or f"{payload['stream']}{'.' + str(payload['data']['phase']) if 'phase' in payload['data'] else ''}"
        )
        if found and found[-1][0] == kind:
            found.pop()
        found.append((kind, event))
    return found


def _text(event: Json, run: str) -> str:
    """What an agent event says of a run's message so far."""
    payload = event["payload"]
    return str(payload["data"].get("text", "")) if payload["runId"] == run and "data" in payload else ""


def _about(answer: Json) -> list[str]:
    payload = answer.get("payload")
    return [payload.get("runId", ""), *payload.get("runIds", [])] if isinstance(payload, dict) else []


def _milestones(frames: list[Json], request: str, run: str) -> Iterator[str]:
    for frame in frames:
        if frame["type"] == "res" and frame["id"] == request:
            yield "answer"
        elif frame["type"] == "event" and frame["event"] in ("agent", "chat") and frame["payload"]["runId"] == run:
            payload = frame["payload"]
            if payload.get("state") in ENDS:
                yield str(payload["state"])
            elif payload.get("stream") == "lifecycle":
                yield str(payload["data"]["phase"])
