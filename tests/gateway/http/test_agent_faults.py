"""What a client of the agent doors is spared: connections that break off, gateways that end, a slow neighbour."""

import json
import os
import random
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.abc
import httpx2
import pytest

from ars_gateway.limits import Limits
from tests.gateway.conftest import Start
from tests.gateway.host import Program, program
from tests.gateway.http.asking import BEARER, asking
from tests.gateway.http.events import Event, all_told, event_of, message, text_of, told
from tests.gateway.talking import mock
from tests.gateway.test_ars import ars
from tests.support.waiting import until

FULL = os.environ.get("FAULTS") == "full"
BREAKS = 100 if FULL else 12
WORDS = " ".join(f"word{number}é" for number in range(400))
LONG = f"=== turn repeat\npace 0.001\nsay: {WORDS}\ncall list_files\n--- step\nsay: {WORDS}\n"
ENDLESS = f"=== turn repeat\nsay: Begun. {WORDS}\ncall list_files\n--- step\nsay: And\nwait 60\n"


def client_of(one: Program) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=f"http://127.0.0.1:{one.port}", headers=BEARER, timeout=15, trust_env=False)


class Torn:
    """A client that reads bytes and keeps what is whole of them, wherever its connection breaks off."""

    def __init__(self, client: httpx2.AsyncClient, body: dict[str, object]) -> None:
        self.client, self.body = client, body
        self.seen: list[Event] = []
        self.breaks = 0

    @property
    def over(self) -> bool:
        return bool(self.seen) and self.seen[-1].name in ("complete", "error")

    async def follow(self, most: int) -> None:
        """Reads up to so many bytes, or to the end."""
        headers = {"last-event-id": self.seen[-1].id} if self.seen else {}
        rest, taken = b"", 0
        async with self.client.stream("POST", "/agent/message/stream", json=self.body, headers=headers) as answer:
            assert answer.status_code == 200
            async for piece in answer.aiter_raw():
                piece = piece[: most - taken]
                taken += len(piece)
                *blocks, rest = (rest + piece).split(b"\n\n")
                self.seen += [it for block in blocks if (it := event_of(block.decode())) is not None]
                if taken >= most:
                    self.breaks += 1
                    return


async def test_connections_that_break_off_anywhere_lose_nothing_and_tell_nothing_twice(start: Start, tmp_path: Path):
    chance = random.Random(7)
    async with start(agent=ars(tmp_path, LONG)) as gateway, asking(gateway, timeout=20) as client:
        breaks, number = 0, 0
        while breaks < BREAKS:
            number += 1
            torn = Torn(client, message("s", f"m{number}"))
            with anyio.fail_after(60):
                while not torn.over:
                    await torn.follow(chance.randrange(1, 60_000))
            whole = await all_told(client, message("s", f"m{number}"))
            assert torn.seen == whole
            assert text_of(torn.seen) == f"{WORDS}\n\n{WORDS}"
            breaks += torn.breaks


async def test_a_message_whose_run_has_ended_is_told_by_a_later_gateway(tmp_path: Path):
    agent = ars(tmp_path, LONG)
    async with program(tmp_path / "state", "--agent", agent) as one, client_of(one) as client:
        before = await all_told(client, message("s", "m1"))
    async with program(tmp_path / "state", "--agent", agent) as one, client_of(one) as client:
        whole = await all_told(client, message("s", "m1"))
        assert text_of(whole) == text_of(before)
        assert [it.name for it in whole if it.name != "token"] == ["complete"]
        assert whole[-1].data == before[-1].data
        # Who has a part of it gets the rest, and nothing is void.
        tokens = [it for it in before if it.name == "token"]
        had = tokens[: len(tokens) * 2 // 3]
        rest = await all_told(client, message("s", "m1"), had[-1].id)
        assert "reset" not in [it.name for it in rest]
        assert text_of([*had, *rest]) == text_of(before)
        assert [it.name for it in await all_told(client, message("s", "m1"), before[-1].id)] == ["complete"]
        answer = await client.post("/agent/message", json=message("s", "m1", "another"))
        assert answer.status_code == 409


@pytest.mark.parametrize("killed", [False, True], ids=["ended", "killed"])
async def test_a_run_that_a_gateway_leaves_behind_is_told_by_the_next_as_far_as_it_came(tmp_path: Path, killed: bool):
    agent = ars(tmp_path, ENDLESS)
    seen: list[Event] = []
    async with (
        program(tmp_path / "state", "--agent", agent) as one,
        client_of(one) as client,
        told(client, "POST", "/agent/message/stream", json=message("s", "m1")) as found,
    ):
        while not text_of(seen).endswith("And"):
            seen.append(await anext(found))
        if killed:
            one.process.kill()
            with pytest.raises(httpx2.RemoteProtocolError):
                await anext(found)
        else:
            one.process.terminate()
            seen += [it async for it in found]
            assert seen[-1].data["error"]["code"] == "LLM_STREAM_INTERRUPTED"
            seen.pop()
        await one.process.wait()
    async with program(tmp_path / "state", "--agent", agent) as one, client_of(one) as client:
        rest = await all_told(client, message("s", "m1"), seen[-1].id)
        assert [it.name for it in rest] == ["error"]
        assert (rest[0].data["error"]["code"], rest[0].data["error"]["retryable"]) == ("LLM_STREAM_INTERRUPTED", True)
        whole = await all_told(client, message("s", "m1"))
        assert text_of(whole) == text_of(seen) == f"Begun. {WORDS}\n\nAnd"


async def test_a_run_that_had_not_begun_has_said_nothing_of_what_the_one_before_it_said(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, "=== turn repeat\nsay: one\n")) as gateway, asking(gateway) as client:
        await all_told(client, message("s", "m1"))
        talks = gateway.gateway.talks
        room, entry = talks.rooms.find("owner", "agent:main:s"), talks.ledger.find("owner", "agent:main:s#m1")
        assert room is not None
        assert entry is not None
        assert await talks.transcripts.partial(entry, room) == "one"
        assert await talks.transcripts.partial(replace(entry, accepted=(entry.ended or 0) + 1), room) == ""


async def test_whoever_watched_a_session_before_is_told_that_it_is_another_feed(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, "=== turn repeat\nsay: one\n")) as gateway, asking(gateway) as client:
        whole = await all_told(client, message("s", "m1"))
        headers = {"last-event-id": f"0123456789ab-{whole[-1].id.split('-')[1]}"}
        async with told(client, "GET", "/agent/stream?session_id=s", headers=headers) as found:
            names = [(await anext(found)).name for _ in range(4)]
        assert names == ["reset", "user_message", "token", "complete"]


async def test_whoever_watches_a_session_is_told_that_the_gateway_ends(tmp_path: Path):
    agent = ars(tmp_path, ENDLESS)
    async with program(tmp_path / "state", "--agent", agent) as one, client_of(one) as client:
        await client.post("/agent/message", json=message("s", "m1"))
        async with told(client, "GET", "/agent/stream?session_id=s") as found:
            assert (await anext(found)).name == "user_message"
            one.process.terminate()
            rest = [it async for it in found]
            assert [it.name for it in rest if it.name not in ("token", "update", "tool")] == ["error", "gone"]


async def _read_up(stream: anyio.abc.ByteStream) -> None:
    while True:
        await stream.receive()


async def test_a_client_that_reads_nothing_is_dropped_and_the_run_goes_on(start: Start, tmp_path: Path):
    # More than the sockets' buffers take.
    words = " ".join(["x" * 256 * 1024] * 32)
    agent = mock(tmp_path, f"=== turn\nsay: {words} done\n")
    async with start(agent=agent, limits=Limits(stalled_seconds=1)) as gateway, asking(gateway, timeout=30) as client:
        port = gateway.addresses.port
        with anyio.fail_after(40):
            async with await anyio.connect_tcp("127.0.0.1", port) as stuck:
                body = json.dumps(message("s", "m1")).encode()
                head = (
                    f"POST /agent/message/stream HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-length: {len(body)}\r\n"
                )
                head += f"authorization: {BEARER['authorization']}\r\ncontent-type: application/json\r\n\r\n"
                await stuck.send(head.encode() + body)
                await until(lambda: gateway.gateway.talks.rooms.find("owner", "agent:main:s") is not None)
                whole = await all_told(client, message("s", "m1"))
                assert text_of(whole).endswith("done")
                await until(lambda: bool(gateway.log.named("gateway.slow_reader")))
                (line,) = gateway.log.named("gateway.slow_reader")
                # What was told to it is bounded, whatever there was to tell.
                assert 0 < line["waiting"] < 1024 * 1024
                with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                    await _read_up(stuck)
