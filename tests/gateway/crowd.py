"""A crowd at all doors of a gateway at once, from one seed; and what each of them was told, held against the feeds."""

import contextlib
import itertools
import os
import random
import signal
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx2

from ars_gateway.config import Config
from ars_gateway.sessions.feed import Feed
from tests.gateway.client import Client, Json, Refusal
from tests.gateway.host import Running
from tests.gateway.http.asking import asking
from tests.gateway.http.events import Event, event_of, message
from tests.gateway.talking import mock
from tests.gateway.test_ars import ars

# A run of each of these asks, commands, calls for the client's hands, or says much.
MAIN = """\
=== turn repeat
think: hm
say: a b c
ask edit "Really?"
wait 0.03
run ["sh", "-c", "echo one; echo two"]
say: d $result
"""
HANDS = """\
=== turn repeat
think: Where?
call read_file {"path": "a.txt"}
--- step
say: It has $result
wait 0.02
call run_command {"command": ["true"]}
--- step
say: done
"""
MUCH = "=== turn repeat\nflood 400\nwait 0.05\nsay: end\n"
PAGE = ["ars", "tool-events", "elicitation"]
# Entries that those who watch a session over HTTP are not told, or not any more.
UNTOLD = {"begun", "injected", "call"}
SESSIONS = ("one", "two", "agent:hands:three", "agent:much:four")


def agents(directory: Path) -> dict[str, Any]:
    """The settings of a gateway with the agents that the crowd talks to."""
    programs = {}
    for name, made, script in (("main", mock, MAIN), ("much", mock, MUCH), ("hands", ars, HANDS)):
        place = directory / name
        place.mkdir(exist_ok=True)
        more = ("ars", "--store", str(place / "kept")) if made is mock else ()
        programs[name] = made(place, script, *more)
    env = {"ARS_CLIENT_SECONDS": "0.3"}
    others = {name: {"command": command, "env": env} for name, command in programs.items() if name != "main"}
    config = {"agents": others, "approvals": {"seconds": 1.0}}
    return {"agent": programs["main"], "config": Config.model_validate(config)}


@dataclass
class Crowd:
    """What happens, and what was seen of it. `wrong` has to stay empty."""

    running: Running
    chance: random.Random
    wrong: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    feeds: dict[str, Feed] = field(default_factory=dict)
    # Of each run, by session and message: the whole text and the last event that a follower has come to.
    replies: dict[tuple[str, str], list[tuple[str, Event]]] = field(default_factory=lambda: defaultdict(list))
    # Of each entry of a feed, what followers of the whole session were told of it.
    entries: dict[str, list[Event]] = field(default_factory=lambda: defaultdict(list))
    messages: int = 0
    others_are_done: anyio.Event = field(default_factory=anyio.Event)
    # What pages have asked: by connection and request.
    asked: dict[tuple[str, str], tuple[str, Json]] = field(default_factory=dict)

    def keep_feeds(self) -> None:
        """Holds on to every feed that there is, so that it can be read in the end."""
        talks = self.running.gateway.talks
        for room in talks.rooms.all():
            if (feed := talks.feeds.known(room.session_id)) is not None:
                self.feeds[feed.id] = feed

    def fresh(self) -> str:
        """A message's id that nobody had."""
        self.messages += 1
        return f"m{self.messages}"

    def session(self) -> str:
        return self.chance.choice(SESSIONS)

    async def run(self, steps: int = 2) -> None:
        """All of it, to the end of the last run."""
        changed, talks = self.running.gateway.talks.rooms.changed, self.running.gateway.talks

        def noted() -> None:
            changed()
            self.keep_feeds()

        talks.rooms.changed = noted
        async with anyio.create_task_group() as others:
            others.start_soon(self.decider)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.slow)
                async with anyio.create_task_group() as quick:
                    for _ in range(2):
                        quick.start_soon(self.page, steps)
                        quick.start_soon(self.twins, steps)
                        quick.start_soon(self.watcher, 2 * steps)
                        quick.start_soon(self.completer, steps)
                self.others_are_done.set()
            for run in list(talks.runs.live.values()):
                await run.over.wait()
            others.cancel_scope.cancel()

    def faults(self) -> list[str]:
        """What does not fit together."""
        texts: dict[str, str] = defaultdict(str)
        for feed in self.feeds.values():
            runs: dict[str, Counter[str]] = defaultdict(Counter)
            for entry in feed.since(feed.first - 1) or ():
                runs[entry.run][entry.kind] += 1
                texts[entry.run] += entry.data if entry.kind == "text" else ""
            runs.pop("", None)
            for run, count in runs.items():
                pairs = [("prompt", "end"), ("question", "answered"), ("form", "filled"), ("call", "called")]
                if feed.first == 1 and (count["end"] != 1 or any(count[one] != count[other] for one, other in pairs)):
                    self.wrong.append(f"run {run}: {count}")
        for (session, id), told in self.replies.items():
            wanted = [text for run, text in texts.items() if run.endswith(f":{_name(session)}#{id}")]
            if len({(text, it.name, str(it.data)) for text, it in told}) != 1 or wanted != [told[0][0]]:
                self.wrong.append(f"{session} {id}: {told}, but {wanted}")
        self.wrong += [f"entry {id}: {told}" for id, told in self.entries.items() if len({it.text for it in told}) != 1]
        return self.wrong

    # ── pages ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def page(self, steps: int) -> None:
        """A page that breaks off and comes back, and does what pages do."""
        places: dict[str, Json] = {}
        for _ in range(steps):
            caps = PAGE if self.chance.random() < 0.7 else [cap for cap in PAGE if cap != "elicitation"]
            async with self.running.client(caps=caps) as one:
                await self._act(one, places)
                if self.chance.random() < 0.3:
                    one.socket.transport.abort()
            self._hold_against_feeds(one, places)

    async def _act(self, one: Client, places: dict[str, Json]) -> None:
        for session in SESSIONS:
            after = {"after": places[session]} if session in places and self.chance.random() < 0.7 else {}
            await self._ask(one, "_ars.chat.open", {"sessionKey": session, **after})
        for _ in range(self.chance.randrange(1, 8)):
            method = self.chance.choices([*DEEDS], [*DEEDS.values()])[0]
            if method == "kill":
                self._kill()
            else:
                await self._ask(one, method, self._params(method))

    async def _ask(self, one: Client, method: str, params: Json) -> None:
        try:
            request = await one.begin(method, params)
            self.asked[one.conn_id, request] = method, params
            await one.answer(request, within=60)
        except Refusal as why:
            self.refused.add(f"{why.code}: {why.message}"[:80])

    def _params(self, method: str) -> Json:
        key = self.session()
        named: dict[str, Json] = {
            "chat.send": {"sessionKey": key, "message": "go", "idempotencyKey": self.fresh()},
            "chat.abort": {"sessionKey": key},
            "chat.inject": {"sessionKey": key, "message": "a note"},
            "chat.history": {"sessionKey": key},
            "_ars.chat.open": {"sessionKey": key},
            "_ars.chat.close": {"sessionKey": key},
            "_ars.chat.older": {"sessionKey": key, "before": "t1:1"},
            "_ars.chat.steer": {"sessionKey": key, "message": "also", "idempotencyKey": self.fresh()},
            "_ars.session.options": {"sessionKey": key},
            "_ars.state": {},
            "agent.wait": {"runId": f"m{self.messages}", "timeoutMs": 20},
            "sessions.patch": {"key": key, "label": f"label {self.chance.randrange(3)}"},
            "sessions.compact": {"key": key, "maxLines": 1},
            "sessions.list": {"includeLastMessage": True},
        }
        return named.get(method, {"key": key})

    def _hold_against_feeds(self, one: Client, places: dict[str, Json]) -> None:
        """What a page was told is what the feeds have: from where it opened on, each entry once, in order."""
        known: dict[str, tuple[str, int] | None] = {}
        for frame in one.frames:
            if frame["type"] == "res":
                self._answered(one, frame, known, places)
            elif frame["event"] == "_ars.feed":
                self._told(frame["payload"], known, places)

    def _answered(self, one: Client, frame: Json, known: dict[str, Any], places: dict[str, Json]) -> None:
        payload = frame.get("payload") or {}
        method, params = self.asked.get((one.conn_id, frame["id"]), ("", {}))
        if method == "_ars.chat.open" and frame["ok"]:
            known[payload["key"]] = (payload["feed"], payload["last"])
            if payload["feed"]:
                places[_named(payload["key"])] = {"feed": payload["feed"], "n": payload["last"]}
        elif method == "_ars.chat.close" and frame["ok"]:
            known[_key(params["sessionKey"])] = None

    def _told(self, payload: Json, known: dict[str, Any], places: dict[str, Json]) -> None:
        place = known.get(payload["key"])
        feed = self.feeds.get(payload["feed"])
        if "over" in payload:
            known[payload["key"]] = None
            places.pop(_named(payload["key"]), None)
            if payload["over"] == "lost":
                self.wrong.append(f"lost: {payload}")
            return
        if place is None or feed is None:  # its answer is still to come, or it is gone already
            return
        if place[0] not in (None, payload["feed"]):
            self.wrong.append(f"another feed than was opened: {place} {payload}")
            return
        number = place[1]
        for entry in payload["entries"]:
            held = feed.since(number, entry["n"] - number)
            assert held is not None
            if not _same(held, entry):
                self.wrong.append(f"page: after {number}: {entry} but {held}")
            number = entry["n"]
        known[payload["key"]] = (payload["feed"], number)
        places[_named(payload["key"])] = {"feed": payload["feed"], "n": number}

    # ── HTTP ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def twins(self, steps: int) -> None:
        """The same message from two clients at once, each of which breaks off at times and goes on."""
        for _ in range(steps):
            session = self.session()
            tools: Json = {"tools": ["read_file"]} if session == SESSIONS[2] else {}
            body = message(session, self.fresh(), **tools)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.reply, body)
                tasks.start_soon(self.reply, body)

    async def reply(self, body: Json) -> None:
        """One message, followed to its end."""
        text, last, breaks = "", "", 6
        async with asking(self.running, timeout=60) as client:
            while True:
                breaks -= 1
                headers = {"last-event-id": last} if last else {}
                async with client.stream("POST", "/agent/message/stream", json=body, headers=headers) as answer:
                    if answer.status_code != 200:
                        await answer.aread()
                        self.refused.add(f"message {answer.status_code} {answer.text[:60]}")
                        return
                    patience = self.chance.randrange(1, 40) if breaks > 0 else 1_000_000
                    async for it in self._until_broken(answer, patience):
                        last = it.id
                        text = "" if it.name == "reset" else text + it.data.get("token", "")
                        if it.name == "tool_call":
                            await self._carry_out(client, it)
                        if it.name in ("complete", "error"):
                            self._replied(body, text, it)
                            return

    def _replied(self, body: Json, text: str, last: Event) -> None:
        self.replies[body["session_id"], body["message"]["message_id"]].append((text, last))

    async def _until_broken(self, answer: httpx2.Response, patience: int) -> AsyncIterator[Event]:
        rest, seen = "", 0
        async for piece in answer.aiter_text():
            *blocks, rest = (rest + piece).split("\n\n")
            for block in blocks:
                if (found := event_of(block)) is not None:
                    yield found
                    seen += 1
                    if seen >= patience and self.chance.random() < 0.5:
                        return
        if rest:
            self.wrong.append(f"an answer ends in the middle: {rest!r}")

    async def _carry_out(self, client: httpx2.AsyncClient, call: Event) -> None:
        said = {"session_id": call.data["session_id"], "call_id": call.data["call_id"], "result": {"content": "text"}}
        for _ in range(self.chance.randrange(3)):
            answer = await client.post("/agent/tool_result", json=said)
            if answer.status_code not in (200, 404):
                self.wrong.append(f"tool_result: {answer.text}")

    async def watcher(self, steps: int) -> None:
        """Follows a session, breaks off and goes on."""
        session, last = self.session(), ""
        async with asking(self.running, timeout=60) as client:
            for _ in range(steps):
                session = session if last else self.session()
                headers = {"last-event-id": last} if last else {}
                with anyio.move_on_after(self.chance.random() / 2):
                    async with client.stream(
                        "GET", "/agent/stream", params={"session_id": session}, headers=headers
                    ) as answer:
                        if answer.status_code == 200:
                            async for it in self._until_broken(answer, self.chance.randrange(1, 200)):
                                self._seen(it, last)
                                last = it.id
                        else:
                            await answer.aread()
                await anyio.lowlevel.checkpoint()

    def _seen(self, it: Event, last: str) -> None:
        """What a watcher is told is the next entry of the feed, but for those that are not told."""
        name, _, number = it.id.partition("-")
        self.keep_feeds()
        if (feed := self.feeds.get(name)) is None:  # made for this watcher, and gone before anything was in it
            return
        before, _, after = last.partition("-")
        if before == name and it.name != "reset":
            passed = [entry.kind for entry in (feed.since(int(after)) or ()) if entry.n < int(number)]
            if int(number) <= int(after) or not {*passed} <= UNTOLD:
                self.wrong.append(f"watch: {it} behind {last}, passing over {passed}")
        if it.name not in ("reset", "gone"):
            self.entries[it.id].append(it)

    async def completer(self, steps: int) -> None:
        """An OpenAI client, with a session of its own for each request or one that lasts."""
        for _ in range(steps):
            body: Json = {"model": self.chance.choice(["main", "much"]), "stream": self.chance.random() < 0.8}
            body["messages"] = [{"role": "user", "content": "go"}]
            if self.chance.random() < 0.5:
                body["user"] = "u"
            async with (
                asking(self.running, timeout=60) as client,
                client.stream("POST", "/v1/chat/completions", json=body) as answer,
            ):
                left = self.chance.randrange(30) if self.chance.random() < 0.5 else -1
                async for line in answer.aiter_lines():
                    left -= bool(line)
                    if left == 0:
                        break

    async def slow(self) -> None:
        """Says something, and reads nothing of the answer before all others are done."""
        body = message(SESSIONS[3], self.fresh())
        async with (
            asking(self.running, timeout=60) as client,
            client.stream("POST", "/agent/message/stream", json=body) as answer,
        ):
            await self.others_are_done.wait()
            found = [it async for it in self._until_broken(answer, 1_000_000)]
        self._replied(body, "".join(it.data.get("token", "") for it in found), found[-1])

    # ── who decides, and who breaks things ──────────────────────────────────────────────────────────────────────────

    async def decider(self) -> None:
        """Answers every question twice at once, by two doors, not always alike."""
        async with self.running.client("operator.approvals", "operator.read") as one, asking(self.running) as client:
            for number in itertools.count(1):
                asked = (await one.event("exec.approval.requested", number, within=600))["payload"]
                if self.chance.random() < 0.03:
                    continue
                async with anyio.create_task_group() as tasks:
                    decide = self.chance.choice
                    answers = ["allow-once", "deny"]
                    tasks.start_soon(
                        self._ask, one, "exec.approval.resolve", {"id": asked["id"], "decision": decide(answers)}
                    )
                    body = {"session_id": asked["request"]["sessionKey"], "approval_id": asked["id"]}
                    tasks.start_soon(self._approve, client, body | {"decision": decide(answers)})

    async def _approve(self, client: httpx2.AsyncClient, body: Json) -> None:
        answer = await client.post("/agent/approval", json=body)
        if answer.status_code not in (200, 404, 409):
            self.wrong.append(f"approval: {answer.text}")

    def _kill(self) -> None:
        """Ends an agent in the middle of what it does."""
        told = [it["pid"] for it in self.running.gateway.talks.agents.states().values() if it.get("pid")]
        if told:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.chance.choice(told), signal.SIGKILL)


DEEDS = {
    "chat.send": 8,
    "chat.abort": 1,
    "chat.inject": 1,
    "chat.history": 1,
    "_ars.chat.open": 2,
    "_ars.chat.close": 1,
    "_ars.chat.older": 1,
    "_ars.chat.steer": 2,
    "_ars.session.options": 1,
    "_ars.state": 1,
    "agent.wait": 1,
    "sessions.patch": 1,
    "sessions.list": 1,
    "sessions.compact": 1,
    "sessions.reset": 1,
    "sessions.delete": 1,
    "kill": 1,
}


def _key(session: str) -> str:
    return session if session.startswith("agent:") else f"agent:main:{session}"


def _name(session: str) -> str:
    return session.rpartition(":")[2]


def _named(key: str) -> str:
    return next(it for it in SESSIONS if key.endswith(_name(it)))


def _same(held: list[Any], entry: Json) -> bool:
    """Whether an entry that was told is those of the feed, joined."""
    last = held[-1] if held else None
    if last is None or (last.n, last.run, last.kind) != (entry["n"], entry["run"], entry["kind"]):
        return False
    if any((it.run, it.kind) != (last.run, last.kind) for it in held):
        return False
    if last.kind in ("text", "thought"):
        return bool(entry["data"] == "".join(it.data for it in held))
    if last.kind == "terminal":
        return bool(entry["data"]["data"] == "".join(it.data["data"] for it in held))
    return len(held) == 1
