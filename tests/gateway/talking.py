"""Agents for the gateway to talk to, clients of another principal, and waiting for what a run comes to."""

import shlex
import sys
from pathlib import Path

from ars_gateway.access.auth import Credential, Credentials, digest
from tests.gateway.client import Client, Json
from tests.gateway.conftest import TOKEN, Running

GUEST = "guest-token-4567890"


def mock(directory: Path, script: str, like: str = "ars", *options: str) -> str:
    """The command of a mock agent that plays `script`. What it was told is in `heard`, a line for each prompt."""
    file = directory / "agent.script"
    file.write_text(script)
    told = ["--like", like, "--script", str(file), "--heard", str(directory / "heard"), *options]
    return shlex.join([sys.executable, "-m", "connector.testing", *told])


def heard(directory: Path) -> list[str]:
    """What the mock agent's model was told, prompt by prompt."""
    file = directory / "heard"
    return file.read_text().splitlines() if file.exists() else []


def admit_guest(running: Running) -> None:
    """Lets in a second principal, by the token `GUEST`."""
    held = (Credential("owner", digest(TOKEN)), Credential("guest", digest(GUEST)))
    running.gateway.credentials = Credentials("token", held)


def said(client: Client, run: str, state: str) -> list[Json]:
    """The payloads of the chat events of a run with that state."""
    told = (event["payload"] for event in client.named("chat"))
    return [it for it in told if it["runId"] == run and it["state"] == state]


async def last(client: Client, run: str, state: str = "final", within: float = 20) -> Json:
    """The payload of the chat event with which a run ends like that."""
    found: list[Json] = await client.until(lambda: said(client, run, state), within)
    return found[-1]


async def send(client: Client, run: str, text: str = "hi", key: str = "main", **more: object) -> Json:
    """chat.send, and its answer."""
    params = {"sessionKey": key, "message": text, "idempotencyKey": run, **more}
    answer: Json = await client.request("chat.send", params)
    return answer


def text_of(payload: Json) -> str:
    """The text of a chat event."""
    text: str = payload["message"]["content"][0]["text"]
    return text
