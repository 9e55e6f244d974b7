"""What the tests of the suite share: short scripts, ways to begin, a look at what the schema does not know."""

import json
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from acp_check import v1
from tests.support.hands import EVERYTHING, Hands
from tests.support.process import Client, agent, script
from tests.support.schema import METHODS

Json = dict[str, Any]
TEXT = [{"type": "text", "text": "go"}]
HELLO = "=== turn repeat\nsay: Hello there.\n"
LONG = '=== turn if "long"\nsay: I begin.\nwait 60\nsay: I end.\n=== turn repeat\nsay: Next.\n'
WRITE = '=== turn repeat\ncall write_file {"path": "a.txt", "content": "x"}\n--- step\nsay: Done.\n'
RUN = '=== turn repeat\ncall run_command {"argv": ["make"]}\n--- step\nsay: Done.\n'
STOP_REASONS = {"end_turn", "max_tokens", "max_turn_requests", "refusal", "cancelled"}
PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602
AUTH_REQUIRED, NOT_FOUND, REQUEST_CANCELLED = -32000, -32002, -32800


def playing(directory: Path, text: str = HELLO, *arguments: str, **more: Any) -> AbstractAsyncContextManager[Client]:
    """The executable, whose model plays a script."""
    return agent(directory, *script(directory, text), *arguments, **more)


def without(*names: str) -> Hands:
    """The hands of a client that offers everything but these."""
    offered = {name: value for name, value in EVERYTHING.items() if name not in names}
    fs = {name: name not in names for name in ("readTextFile", "writeTextFile")}
    return Hands({**offered, "fs": fs})


async def code(client: Client, method: str, params: Any, *, wrong: bool = False) -> int | None:
    """The code of the error that a request is answered with; None for a result."""
    answer = await client.answer(client.begin(method, params, wrong=wrong))
    found: int | None = answer.get("error", {}).get("code")
    return found


def shown(client: Client, kind: str) -> list[Json]:
    """All updates of one kind so far."""
    return [it["update"] for it in client.updates if it["update"]["sessionUpdate"] == kind]


def messages(client: Client) -> list[Json]:
    """What the agent has written, parsed."""
    return [json.loads(line) for line in client.received]


def unknown_keys(method: str, role: str, value: Any) -> set[str]:
    """The paths of the keys that the schema does not have for `method`'s `role`, params or result."""
    return set() if method.startswith("_") else v1.unknown_keys(METHODS[method][role], value)
