"""`ars-gateway address`: asks the gateway that is at work for a fresh address of its page."""

import json
import os
import shlex
import shutil
import socket
from collections.abc import Mapping
from typing import Any

from ars_gateway.errors import StartError
from ars_gateway.settings import Settings

SECONDS = 5.0
MOST = 64 * 1024


def fresh(settings: Settings) -> str:
    """The address, good for a minute and one visit. Raises `StartError` where no gateway answers as ours would."""
    where = settings.socket_path or f"{settings.hosts[0]}:{settings.port}"
    try:
        status, body = _asked(settings)
        told = json.loads(body)
        address: str = told["address"] if status == 200 else ""
    except (OSError, ValueError, LookupError, TypeError) as why:
        said = why.strerror if isinstance(why, OSError) and why.strerror else why
        raise StartError(f"no gateway answers at {where} ({said}): start one, or name its --state-dir") from None
    if status == 401:
        raise StartError(f"the gateway at {where} has another {settings.auth_mode} than {settings.secret_from}")
    if status != 200:
        raise StartError(f"the gateway at {where} refuses: {told['error']['message']}")
    return address


def command(program: str, given: Mapping[str, Any], port: int) -> str:
    """What to type for a `fresh` address of a gateway that was started as `program` with these options, and listens on
    `port`. What it has from the environment a person has there too."""
    name = os.path.basename(program)
    # A checkout's program is on nobody's path.
    words = [name if shutil.which(name) == program else program, "address"]
    if given.get("no_socket"):
        words.append("--no-socket")
        words += [f"--host={host}" for host in given.get("host") or ()]
        words += ["--allow-remote"] * bool(given.get("allow_remote"))
        words.append(f"--port={port}")
    words += [f"--{key.replace('_', '-')}={given[key]}" for key in ("state_dir", "socket", "auth") if given.get(key)]
    return shlex.join(words)


def _asked(settings: Settings) -> tuple[int, bytes]:
    """The status and the body of the answer. Raises `OSError` or `ValueError`."""
    body = b"{}"
    head = [
        "POST /auth/token HTTP/1.1",
        f"Host: {'localhost' if settings.socket_path else f'{_bracketed(settings.hosts[0])}:{settings.port}'}",
        f"Authorization: Bearer {settings.secret}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    if any(set(line) & set("\r\n\0") for line in head):
        raise ValueError(f"the {settings.auth_mode} has characters that no request can carry")
    family = socket.AF_UNIX if settings.socket_path else socket.AF_INET6 if ":" in settings.hosts[0] else socket.AF_INET
    with socket.socket(family) as sock:
        sock.settimeout(SECONDS)
        sock.connect(str(settings.socket_path) if settings.socket_path else (settings.hosts[0], settings.port))
        sock.sendall("\r\n".join([*head, "", ""]).encode() + body)
        answer = b""
        while piece := sock.recv(MOST):
            answer += piece
            if len(answer) > MOST:
                raise ValueError("an answer that is too long")
    first, _, rest = answer.partition(b"\r\n\r\n")
    return int(first.split()[1]), rest


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
