"""Who may import whom."""

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

from tests.tidy.tree import PACKAGES, Tree

LEAVES = {"acp_wire", "event_log"}
MAY_IMPORT = {
    "acp_wire": set(),
    "event_log": set(),
    "ars_acp": LEAVES,
    "connector": LEAVES,
    "acp_check": LEAVES | {"connector"},
    "ars_gateway": LEAVES | {"connector"},
    "ars_cli": {*PACKAGES},
}

# Libraries that have one home, as they are slow to import or a matter of one place.
HOMES = {
    "openai": "ars_acp/models/",
    "starlette": "ars_gateway/http/",
    "uvicorn": "ars_gateway/server.py",
    "prometheus_client": "ars_gateway/http/metrics.py",
    "websockets": "ars_gateway/sockets/ws.py",
    "cryptography": "ars_gateway/access/identity.py",
    "jsonrpcserver": "acp_wire/",
    "jsonschema": "acp_check/v1.py",
    "structlog": ("ars_acp/log.py", "ars_gateway/observation/log.py"),
    "redis": "event_log/stores/redis.py",
    "asyncpg": "event_log/stores/postgres.py",
    "mcp": "ars_acp/mcp_client.py",
    "mcp_types": "ars_acp/mcp_client.py",
}
ONE_FILE = {"openai"}

# The gateway's rooms: each may import those that stand before it.
GATEWAY = "ars_gateway"
ROOMS = ("access", "protocol", "sessions", "observation", "talks", "sockets", "remote", "methods", "http")


def import_direction(tree: Tree) -> Iterator[str]:
    """Packages import each other as ARCHITECTURE.md draws it, late and for typing too."""
    for source in tree.product:
        allowed = MAY_IMPORT[source.package] | {source.package}
        for found in source.imports:
            if found.top in {*PACKAGES, "tests", "bench", "fixtures"} - allowed:
                yield f"{source.path}:{found.line}: {source.package} may not import {found.top}"


def gateway_rooms(tree: Tree) -> Iterator[str]:
    """The gateway's rooms import each other in one direction only, late and for typing too."""
    for source in tree.product:
        package, *inside, _ = source.path.split("/")
        if package != GATEWAY or not inside:
            continue
        room = inside[0]
        if room not in ROOMS:
            yield f"{source.path}:1: {room} is no room of {GATEWAY}: say in tests/tidy/imports.py what it may import"
            continue
        for found in source.imports:
            top, _, name = found.name.partition(".")
            target = name.partition(".")[0]
            if top == GATEWAY and target in ROOMS[ROOMS.index(room) + 1 :]:
                yield f"{source.path}:{found.line}: {room} may not import {target}"


def import_homes(tree: Tree) -> Iterator[str]:
    """A library that has a home is imported there only."""
    users: dict[str, set[str]] = {}
    for source in tree.product:
        for found in source.imports:
            if found.when != "typing" and found.top in HOMES:
                users.setdefault(found.top, set()).add(source.path)
                if not source.path.startswith(HOMES[found.top]):
                    yield f"{source.path}:{found.line}: {found.top} is imported in {HOMES[found.top]} only"
    for library in ONE_FILE:
        if len(users.get(library, ())) > 1:
            yield f"{library} is imported by more than one file: {', '.join(sorted(users[library]))}"


def import_cycles(tree: Tree) -> Iterator[str]:
    """No module needs, to be imported, one that needs it."""
    modules = {source.module for source in tree.product}
    needs: dict[str, set[str]] = {}
    for source in tree.product:
        needs[source.module] = {
            target
            for found in source.imports
            if found.when == "start"
            for target in [found.name if found.name in modules else found.name.rpartition(".")[0]]
            if target in modules and target != source.module
        }
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        yield "modules import each other: " + " -> ".join(reversed(error.args[1]))
