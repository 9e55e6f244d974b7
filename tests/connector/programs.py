"""The real agents from npm and our own, each set up so that it can reach nothing but a model server on loopback."""

import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ars_acp.models.script import Action, Script
from connector.vendors import VENDORS, Vendor
from fixtures.model_apis import api_of
from fixtures.model_server import ModelServer
from tests.e2e.acpx import MODULES, find_node

# A prompt, wherever an agent puts it into what it says in the person's name.
PROMPT = re.compile(r"\[turn (\d+)\][^.?]*[.?]")
Json = dict[str, Any]


class Numbered(Script):
    """A script whose turns are found by the number in the prompt: agents say more in the person's name than she did."""

    def reply_to(self, messages: list[Json]) -> list[Action]:
        marked = [at for at, message in enumerate(messages) if prompts_in([message])]
        if not marked:
            return [Action("say", "I was asked nothing.")]
        number = int(PROMPT.findall(_text(messages[marked[-1]]["content"]))[-1])
        since = [message for message in messages[marked[-1] + 1 :] if message["role"] != "user"]
        return super().reply_to([{"role": "user", "content": f"[turn {n + 1}]"} for n in range(number)] + since)


def prompts_in(messages: list[Json]) -> list[str]:
    """What the person said in a conversation, without what the agent says in her name around it."""
    texts = [_text(message["content"]) for message in messages if message["role"] == "user"]
    return [found[0] for text in texts for found in PROMPT.finditer(text)]


def heard_by(server: ModelServer) -> list[list[str]]:
    """The prompts in each request to the model so far."""
    bodies = [(request.path, request.body) for request in server.requests if isinstance(request.body, dict)]
    apis = [(api_of(path, body), body) for path, body in bodies]
    return [prompts_in(api.messages() if api else body.get("messages", [])) for api, body in apis]


def _text(content: Any) -> str:
    parts = [{"text": content}] if isinstance(content, str) else content or []
    return "\n".join(part.get("text") or "" for part in parts)


@dataclass(frozen=True)
class Program:
    """One real agent: the file that node runs, or the binary; its endpoint by environment; its tool that writes."""

    name: str
    file: Path
    node: bool
    endpoint: Callable[[int], dict[str, str]]
    writing: Callable[[str], str]

    def vendor(self, port: int | None, home: Path) -> Vendor:
        """Its row, with the real file for a command, and nothing from the environment of whoever runs the tests.

        Without a port there is no endpoint, and no credentials.
        """
        argv = (find_node() or "node", str(self.file)) if self.node else (str(self.file),)
        row = VENDORS[self.name]
        places = {f"XDG_{name}_HOME": str(home / name.lower()) for name in ("CONFIG", "DATA", "STATE", "CACHE")}
        env = {**row.env, **QUIET, **MEASURED, **places, "HOME": str(home), "PATH": f"{home}:/usr/bin:/bin"}
        env |= self.endpoint(port) if port is not None else {}
        return replace(row, argv=argv, env=env, credentials=(), settings=())


# The coverage of a child is measured through its variables.
MEASURED = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
# Nothing here may phone home, update itself or fetch anything.
NOWHERE = "http://127.0.0.1:9"
QUIET = {
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"), NOWHERE),
    **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost"),
    "npm_config_registry": NOWHERE,
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    "GEMINI_TELEMETRY_ENABLED": "false",
    "QWEN_TELEMETRY_ENABLED": "false",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_TELEMETRY": "1",
    "NO_BROWSER": "1",
}


def _call(tool: str, path_argument: str) -> Callable[[str], str]:
    return lambda path: f"call {tool} " + json.dumps({path_argument: path, "content": "done\n"})


def _by_shell(path: str) -> str:
    escalated = {"sandbox_permissions": "require_escalated", "justification": "May I?"}
    return "call exec_command " + json.dumps({"cmd": f"echo done > {path}", **escalated})


def _opencode(port: int) -> dict[str, str]:
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "fixture",
        "options": {"baseURL": f"http://127.0.0.1:{port}/v1", "apiKey": "k"},
        "models": {"fixture": {"name": "fixture"}},
    }
    model = {"model": "fixture/fixture", "small_model": "fixture/fixture"}
    return {"OPENCODE_CONFIG_CONTENT": json.dumps({"provider": {"fixture": provider}, **model})}


def _codex(port: int) -> dict[str, str]:
    provider = {
        "name": "fixture",
        "base_url": f"http://127.0.0.1:{port}/v1",
        "wire_api": "responses",
        "env_key": "OPENAI_API_KEY",
        "requires_openai_auth": False,
        "supports_websockets": False,
    }
    # A model that it knows, or it warns in the model's name.
    config = {"model": "gpt-5.5", "model_provider": "fixture", "model_providers": {"fixture": provider}}
    quiet = {"analytics": {"enabled": False}, "check_for_update_on_startup": False}
    return {"CODEX_CONFIG": json.dumps({**config, **quiet}), "MODEL_PROVIDER": "fixture", "OPENAI_API_KEY": "k"}


def _openai(port: int) -> dict[str, str]:
    return {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1", "OPENAI_MODEL": "fixture"}


def _gemini(port: int) -> dict[str, str]:
    # A model by name, or it asks a model which model to ask.
    return {
        "GEMINI_API_KEY": "k",
        "GOOGLE_GEMINI_BASE_URL": f"http://127.0.0.1:{port}",
        "GEMINI_MODEL": "gemini-2.5-flash",
    }


def _claude(port: int) -> dict[str, str]:
    return {"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}"}


def _opencode_binary() -> Path:
    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return MODULES / f"opencode-{sys.platform}-{machine}" / "bin" / "opencode"


ADAPTERS = MODULES / "@agentclientprotocol"
PROGRAMS = {
    program.name: program
    for program in (
        Program("ars", Path(sys.executable).parent / "ars-acp", False, _openai, _call("write_file", "path")),
        Program("opencode", _opencode_binary(), False, _opencode, _call("write", "filePath")),
        Program("qwen", MODULES / "@qwen-code/qwen-code/cli-entry.js", True, _openai, _call("write_file", "file_path")),
        Program(
            "gemini", MODULES / "@google/gemini-cli/bundle/gemini.js", True, _gemini, _call("write_file", "file_path")
        ),
        Program("claude", ADAPTERS / "claude-agent-acp/dist/index.js", True, _claude, _call("Write", "file_path")),
        Program("codex", ADAPTERS / "codex-acp/dist/index.js", True, _codex, _by_shell),
    )
}


def missing(program: Program) -> str | None:
    """Why a real agent cannot be driven here; None where it can."""
    if program.node and find_node() is None:
        return f"*** NO NODE HERE: THE REAL {program.name.upper()} IS NOT TESTED ***"
    if not program.file.exists() and shutil.which("node") is None:
        return f"*** NO NODE HERE: THE REAL {program.name.upper()} IS NOT TESTED ***"
    if not program.file.exists() and not os.environ.get("CI"):
        return (
            f"*** {program.file.name} IS NOT INSTALLED (make node): THE REAL {program.name.upper()} IS NOT TESTED ***"
        )
    return None
