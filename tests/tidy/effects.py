"""What touches the world, and where: stdout, the environment, files, processes, tasks, and the catching of everything.

A name in a table is an exception to a rule, so it says why.
"""

import ast
from collections.abc import Iterator

from tests.tidy.tree import Source, Tree, dotted

MAIN = "*/__main__.py"
WIRE = "acp_wire/streams.py"
GUARDIAN = "connector/guardian.py"  # a program of its own: its descriptor 0 is a socket

READS_THE_ENVIRONMENT = {
    MAIN,
    "ars_acp/settings.py",
    "connector/environment.py",  # what an agent inherits is made of it
    "ars_gateway/settings.py",
    "ars_cli/settings.py",
}

TALKS_TO_A_PERSON = {
    MAIN,
    "ars_acp/login.py",  # asks for the key; there is no wire then
}

OPENS_FILES_OF_ITS_OWN = {
    MAIN,
    "ars_acp/settings.py",  # where the configuration and the state are
    "ars_acp/login.py",  # the file with the key
    "ars_acp/log.py",  # --log-file
    "ars_acp/listing.py",  # the cache of what lists show, beside the logs
    "ars_acp/catalog.py",  # what is known of models: our data, and the person's file
    "ars_acp/models/script.py",  # the script that the person names
    "ars_acp/models/scripted.py",
}

# The one error boundary of each program, and how many handlers it has: ruff's BLE001 is lifted for the same files.
BOUNDARIES = {
    "acp_wire/connection.py": 4,  # a handler's fault becomes an error answer, any other a line in the log
    "ars_acp/__main__.py": 1,
    "ars_acp/mcp_client.py": 1,  # a foreign server's fault, of whatever kind, is that server's
    "ars_cli/__main__.py": 1,
    "ars_gateway/__main__.py": 1,
    "ars_gateway/gateway.py": 1,  # what one connection has started and nobody waits for
    "ars_gateway/http/app.py": 1,  # a door's fault becomes an error answer
    "ars_gateway/remote/remote.py": 1,  # the fault of one editor's connection is that connection's
    "ars_gateway/sockets/dispatch.py": 2,  # a method's fault, inline or in its task, becomes an error answer
    "ars_gateway/sockets/watching.py": 1,  # what cannot be told of a session ends that being followed, not the gateway
    "ars_gateway/talks/agents.py": 1,  # what ends an agent that should not ends that agent
    "ars_gateway/talks/runs.py": 1,  # a run's fault is that run's: no other ends with it
}

READS_THE_WALL_CLOCK = {
    "connector/record.py",  # when an entry was written
    "connector/audit.py",  # when something was decided
}

_PATHS = {"exists", "lexists", "isfile", "isdir", "islink", "getsize", "getmtime", "realpath", "samefile"}
_FILES = (
    {"open", "listdir", "scandir", "walk", "fwalk", "stat", "lstat", "access", "remove", "unlink", "rename", "replace"}
    | {"mkdir", "makedirs", "rmdir", "removedirs", "link", "symlink", "readlink", "truncate", "chmod", "chown", "chdir"}
    | {"getcwd", "mkfifo", "utime", "system", "popen", "fork", "forkpty", "posix_spawn", "posix_spawnp"}
)
_HANDS_CALLS = (
    {f"os.path.{name}" for name in _PATHS}
    | {f"os.{name}" for name in _FILES}
    | {"open", "io.open", "anyio.open_file", "anyio.open_process", "anyio.run_process", "anyio.Path"}
    | {"asyncio.create_subprocess_exec", "asyncio.create_subprocess_shell"}
)
_HANDS_IMPORTS = {"subprocess", "shutil", "tempfile", "glob", "pathlib", "pty", "multiprocessing", "mmap", "linecache"}
_LEXICAL_ONLY = {"pathlib.PurePosixPath", "pathlib.PurePath"}
_STREAMS = {"sys.stdin", "sys.stdout", "sys.__stdin__", "sys.__stdout__"}
_EVERYTHING = {"Exception", "BaseException", "builtins.Exception", "builtins.BaseException"}
_LOOSE_TASKS = {"asyncio.create_task", "asyncio.ensure_future", "loop.create_task", "asyncio.run_coroutine_threadsafe"}


def nothing_prints(tree: Tree) -> Iterator[str]:
    """Only ars_cli and the __main__ modules print."""
    for source in tree.product:
        if source.package != "ars_cli" and not source.is_one_of(TALKS_TO_A_PERSON):
            yield from _said(source, _calls(source, {"print", "input"}), "prints or asks")


def stdio_has_one_home(tree: Tree) -> Iterator[str]:
    """Below ars_cli only acp_wire/streams.py touches descriptors 0 and 1, or Python's objects over them."""
    for source in tree.product:
        if source.package == "ars_cli" or source.is_one_of([*TALKS_TO_A_PERSON, WIRE, GUARDIAN]):
            continue
        yield from _said(source, _names(source, _STREAMS), "touches stdin or stdout")
        for node in source.nodes:
            if isinstance(node, ast.Call) and dotted(node.func).startswith("os."):
                targets = node.args[:2] if dotted(node.func) == "os.dup2" else node.args[:1]
                if any(isinstance(arg, ast.Constant) and arg.value in (0, 1) for arg in targets):
                    yield f"{source.path}:{node.lineno}: touches descriptor 0 or 1"


def environment_has_one_reader(tree: Tree) -> Iterator[str]:
    """Each package reads the environment in its settings module and in __main__ only."""
    names = {"os.environ", "os.environb", "os.getenv", "os.putenv", "environ", "getenv"}
    for source in tree.product:
        if not source.is_one_of(READS_THE_ENVIRONMENT):
            yield from _said(source, _names(source, names), "reads the environment")


def agent_has_no_hands(tree: Tree) -> Iterator[str]:
    """ars_acp asks its client for files and processes; it opens none itself but the few that are its own."""
    for source in tree.product:
        if source.package != "ars_acp" or source.is_one_of(OPENS_FILES_OF_ITS_OWN):
            continue
        for found in source.imports:
            if found.top in _HANDS_IMPORTS and found.name not in _LEXICAL_ONLY:
                yield f"{source.path}:{found.line}: imports {found.top}: files and processes are the client's"
        yield from _said(source, _names(source, _HANDS_CALLS), "uses files or processes by itself")
        for node in source.nodes:
            if isinstance(node, ast.Attribute) and dotted(node).startswith(("os.exec", "os.spawn")):
                yield f"{source.path}:{node.lineno}: starts a process by itself"


def limits_are_monotonic(tree: Tree) -> Iterator[str]:
    """In the connector somebody who sets the clock changes what is told, and nothing that is done."""
    names = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.datetime.now", "datetime.today"}
    for source in tree.product:
        if source.package == "connector" and not source.is_one_of(READS_THE_WALL_CLOCK):
            yield from _said(source, _names(source, names), "reads a clock that can be set")


def everything_is_caught_at_boundaries_only(tree: Tree) -> Iterator[str]:
    """`except Exception` stands at the one error boundary of each program; a handler that raises again is not meant."""
    for source in tree.product:
        found = [node.lineno for node in source.nodes if _catches_everything(node)]
        allowed = BOUNDARIES.get(source.path, 0)
        if len(found) > allowed:
            lines = ", ".join(map(str, found))
            yield f"{source.path}:{lines}: catches everything in {len(found)} places, {allowed} allowed"


def tasks_have_a_group(tree: Tree) -> Iterator[str]:
    """No task is started outside a task group, and nothing blocks the event loop by sleeping."""
    for source in tree.product:
        yield from _said(source, _names(source, _LOOSE_TASKS), "starts a task without a task group")
        yield from _said(source, _calls(source, {"time.sleep"}), "blocks the event loop")


def _catches_everything(node: ast.AST) -> bool:
    if isinstance(node, ast.Call) and dotted(node.func).endswith("suppress"):
        return any(dotted(arg) in _EVERYTHING for arg in node.args)
    if not isinstance(node, ast.ExceptHandler):
        return False
    last = node.body[-1]
    if isinstance(last, ast.Raise) and last.exc is None:
        return False
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    return any(kind is None or dotted(kind) in _EVERYTHING for kind in kinds)


def _names(source: Source, names: set[str]) -> Iterator[tuple[int, str]]:
    """Where a dotted name stands, or is imported from its module."""
    for node in source.nodes:
        if isinstance(node, ast.Name | ast.Attribute) and dotted(node) in names:
            yield node.lineno, dotted(node)
    yield from ((found.line, found.name) for found in source.imports if found.name in names)


def _calls(source: Source, names: set[str]) -> Iterator[tuple[int, str]]:
    for node in source.nodes:
        if isinstance(node, ast.Call) and dotted(node.func) in names:
            yield node.lineno, dotted(node.func)


def _said(source: Source, found: Iterator[tuple[int, str]], what: str) -> Iterator[str]:
    yield from (f"{source.path}:{line}: {name} {what}" for line, name in found)
