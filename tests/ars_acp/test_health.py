"""`_ars/health`: whether the model's endpoint answers, asked of real sockets on loopback."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from acp_wire import methods
from ars_acp import auth
from ars_acp.health import Health
from ars_acp.model_choice import ModelChoice
from ars_acp.models.choose import make_model
from ars_acp.settings import checked
from tests.ars_acp.test_agent import answer_of

KEY = "sk-a-key-that-nobody-may-see"


@dataclass
class Endpoint:
    """Answers each request with `status`; with None never."""

    status: int | None
    port: int = 0
    asked: list[str] = field(default_factory=list)
    heard: anyio.Event = field(default_factory=anyio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.asked.append(head.decode())
                self.heard.set()
                if self.status is not None:
                    # A list is far longer than what comes of it: nobody is to wait for that.
                    length = 2_000_000 if self.status == 200 else len(KEY)
                    writer.write(f"HTTP/1.1 {self.status} Any\r\nContent-Length: {length}\r\n\r\n{KEY}".encode())
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def endpoint(status: int | None) -> AsyncIterator[Endpoint]:
    it = Endpoint(status)
    with anyio.fail_after(20):
        async with await asyncio.start_server(it.serve, "127.0.0.1", 0) as server:
            it.port = server.sockets[0].getsockname()[1]
            yield it


@contextlib.asynccontextmanager
async def models_at(port: int, **more: Any) -> AsyncIterator[ModelChoice]:
    settings = {"base_url": f"http://127.0.0.1:{port}/v1", "api_key": KEY, "model": "m", **more}
    models = ModelChoice(checked(settings), make_model)
    yield models
    await models.base().aclose()


async def test_an_endpoint_that_lists_its_models_is_reachable() -> None:
    async with endpoint(200) as it, models_at(it.port) as models:
        found = await Health().of(models)
        assert found.pop("ms") < 5000
        assert found == {"model": "m", "endpoint": f"http://127.0.0.1:{it.port}", "reachable": True}
        [asked] = it.asked
        assert asked.startswith("GET /v1/models ")
        assert f"Bearer {KEY}" in asked


@pytest.mark.parametrize(
    ("status", "why"),
    [(401, "refuses the key (HTTP 401)"), (403, "refuses the key (HTTP 403)"), (404, None), (405, None), (500, "500")],
)
async def test_whoever_answers_is_there_and_what_is_wrong_is_told(status: int, why: str | None) -> None:
    async with endpoint(status) as it, models_at(it.port) as models:
        found = await Health().of(models)
        assert found["reachable"]
        assert (why is None) == ("why" not in found)
        assert why is None or why in found["why"]
        assert KEY not in str(found)


async def test_an_endpoint_that_nobody_serves_is_not_reachable() -> None:
    async with endpoint(200) as it:
        port = it.port
    async with models_at(port) as models:
        found = await Health().of(models)
    assert not found["reachable"]
    assert "cannot be reached" in found["why"]


async def test_an_endpoint_that_does_not_answer_is_not_waited_for() -> None:
    async with endpoint(None) as it, models_at(it.port) as models:
        await models.base().warm()
        found = await Health(seconds=0.2).of(models)
        assert (found["reachable"], found["why"]) == (False, "no answer within 0.2 s")
        assert 200 <= found["ms"] < 5000


async def test_what_was_found_is_kept_for_a_while_and_asked_for_by_one_at_a_time() -> None:
    async with endpoint(200) as it, models_at(it.port) as models, models_at(it.port) as others:
        health = Health()
        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(health.of, models)
        assert len(it.asked) == 1
        await health.of(others)
        assert len(it.asked) == 2, "after a sign-in they are others"
        again = Health(kept=0)
        await again.of(models)
        await again.of(models)
        assert len(it.asked) == 4


async def test_the_next_one_asks_where_the_first_has_gone() -> None:
    async with endpoint(None) as it, models_at(it.port) as models:
        health = Health()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(health.of, models)
            await it.heard.wait()
            it.status = 200
            tasks.cancel_scope.cancel()
        assert (await health.of(models))["reachable"]


async def test_neither_user_nor_query_of_the_address_is_told() -> None:
    async with endpoint(200) as it:
        address = f"http://me:{KEY}@127.0.0.1:{it.port}/v1?key={KEY}"
        async with models_at(it.port, base_url=address) as models:
            found = await Health().of(models)
        assert found["endpoint"] == f"http://127.0.0.1:{it.port}"
        assert KEY not in str(found)


async def test_a_scripted_model_is_here_and_an_agent_without_one_says_how_to_get_it() -> None:
    found = await answer_of(methods.ARS_HEALTH, {}, capabilities={}, script="in memory")
    assert (found.model, found.endpoint, found.reachable, found.why) == ("scripted", None, True, None)
    found = await answer_of(methods.ARS_HEALTH, {}, capabilities={})
    assert (found.model, found.reachable, found.why) == ("", False, auth.NO_MODEL)
