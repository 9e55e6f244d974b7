"""`ars-acp` with its sessions on a server: that is there, that is not, that other hosts use too."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from tests.support.process import Failed, agent, script
from tests.support.servers import made, ordinary, space

pytestmark = pytest.mark.e2e

PASSWORD = "pa%2Fss-that-nobody-may-see"
TALK = "=== turn repeat\nsay: Hello there"


@pytest.fixture(params=["redis", "postgresql"])
async def url(request) -> AsyncIterator[str]:
    async with space(ordinary(request.param)) as url:
        yield url


async def test_a_session_is_begun_here_and_gone_on_with_on_another_host(url: str, tmp_path: Path):
    here, there = tmp_path / "here", tmp_path / "there"
    for host in (here, there):
        host.mkdir()
    async with agent(here, *script(here, TALK), env={"ARS_STORE": url}) as client:
        session_id = await client.new_session()
        shown = (await client.prompt(session_id)).text
        [file] = here.rglob(f"{session_id}.jsonl")
        await brought(url, session_id, file)
    async with agent(there, *script(there, TALK), env={"ARS_STORE": url}) as client:
        listed = await client.request("session/list", {})
        assert [session["sessionId"] for session in listed["sessions"]] == [session_id]
        await client.request("session/load", {"sessionId": session_id, "cwd": "/project", "mcpServers": []})
        replayed = [it["update"] for it in client.updates]
        assert shown == "".join(
            it["content"]["text"] for it in replayed if it["sessionUpdate"] == "agent_message_chunk"
        )
        assert (await client.prompt(session_id)).stop == "end_turn"


async def brought(url: str, session_id: str, file: Path) -> None:
    """Returns when the server has what is in the file."""
    server = made(url)
    with anyio.fail_after(20):
        while not (lease := await server.lease(session_id)) or lease.last < file.read_bytes().count(b"\n"):
            pass
    await server.aclose()


@pytest.mark.parametrize("scheme", ["redis", "postgresql"])
async def test_without_its_server_a_session_goes_on_and_nobody_sees_the_password(scheme: str, tmp_path: Path):
    store = f"{scheme}://someone:{PASSWORD}@127.0.0.1:1/base"
    async with agent(tmp_path, *script(tmp_path, TALK), env={"ARS_STORE": store}) as client:
        session_id = await client.new_session()
        assert (await client.prompt(session_id)).stop == "end_turn"
        with pytest.raises(Failed, match=f"{scheme}://127.0.0.1:1/base cannot be reached now") as failure:
            await client.request("session/load", {"sessionId": "another", "cwd": "/project", "mcpServers": []})
        assert failure.value.data["code"] == "STORE_UNREACHABLE"
        assert failure.value.data["retryable"] is True
        seen = [Path(f"/proc/{client.pid}/cmdline").read_bytes()]
        await client.finish()
        assert client.logged("store.told")
    seen += [*client.received, *(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())]
    assert any(b"Hello" in text for text in seen)
    assert not [text for text in seen if b"nobody-may-see" in text]
