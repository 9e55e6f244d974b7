"""The model server as a process of its own, as the benchmark and the end-to-end tests use it."""

import json
import signal
import sys

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from ars_acp.models.config import ModelConfig
from ars_acp.models.openai import OpenAIModel
from fixtures.model_modes import tokens
from tests.models.support import KEY, reply_of


@pytest.mark.e2e
async def test_the_server_runs_by_itself_tells_what_it_was_asked_and_ends_when_told(tmp_path):
    script = tmp_path / "a.script"
    script.write_text("=== turn repeat\nsay: You said $prompt.\n")
    with anyio.fail_after(10):
        command = [sys.executable, "-m", "fixtures.model_server", "--script", str(script)]
        async with await anyio.open_process(command) as process:
            assert process.stdout is not None
            told = json.loads(await BufferedByteReceiveStream(process.stdout).receive_until(b"\n", 1000))
            for name, text in (("mode:ok100", tokens(100)), ("any", "You said hello.")):
                model = OpenAIModel(ModelConfig(told["base_url"], KEY, name))
                assert (await reply_of(model)).text == text
                await model.aclose()
            asked = await _get(told["port"], "/requests")
            assert [request["body"]["model"] for request in asked] == ["mode:ok100", "any"]
            assert all(request["at"] <= request["first_byte_at"] <= request["ended_at"] for request in asked)
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0


async def _get(port: int, path: str) -> list[dict[str, object]]:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        reader = BufferedByteReceiveStream(stream)
        head = await reader.receive_until(b"\r\n\r\n", 10_000)
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length"))
        return json.loads(await reader.receive_exactly(length))
