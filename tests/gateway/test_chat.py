"""chat.*: a person's words on their way to an agent, and everything that clients see of it."""

import shlex
import sys
from pathlib import Path

from tests.gateway.client import Client, Json
from tests.gateway.conftest import Start


def mock(directory: Path, script: str, like: str = "ars") -> str:
    """The command of a mock agent that plays `script`."""
    file = directory / "agent.script"
    file.write_text(script)
    return shlex.join([sys.executable, "-m", "connector.testing", "--like", like, "--script", str(file)])


async def last(client: Client, run: str, state: str = "final", within: float = 10) -> Json:
    """The payload of the chat event that ends a run like that."""

    def found() -> list[Json]:
        told = (event["payload"] for event in client.named("chat"))
        return [it for it in told if it["runId"] == run and it["state"] == state]

    return (await client.until(found, within))[-1]


async def test_a_prompt_is_run_told_and_remembered(start: Start, tmp_path: Path):
    agent = mock(tmp_path, "=== turn repeat\nsay: Hello there, you\n")
    async with start(agent=agent) as gateway, gateway.client() as one:
        sent = {"sessionKey": "main", "message": "hi", "idempotencyKey": "k1"}
        assert await one.request("chat.send", sent) == {"runId": "k1", "status": "started"}
        final = await last(one, "k1")
        assert final["message"]["content"] == [{"type": "text", "text": "Hello there, you"}]
        streams = [it["payload"]["stream"] for it in one.named("agent")]
        assert streams == ["lifecycle", "assistant", "assistant", "assistant", "lifecycle"]
        history = await one.request("chat.history", {"sessionKey": "main"})
        assert [it["content"][0]["text"] for it in history["messages"]] == ["hi", "Hello there, you"]
