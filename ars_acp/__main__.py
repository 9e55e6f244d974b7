"""`ars-acp`: argv → Settings → a stream → serve(Agent).

Exit codes: 0 the client closed the connection · 1 wrong usage or settings · 2 our own failure · 3 the client went away
in the middle of a turn (GATEWAY_UNREACHABLE) · 130 interrupted.
"""

import contextlib
import gc
import os
import sys
import warnings
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from ars_acp.errors import GATEWAY_UNREACHABLE, SettingsError

if TYPE_CHECKING:
    import argparse

    from ars_acp.log import Log
    from ars_acp.settings import Settings
    from event_log.stores import Store

DONE, USAGE, FAILED, STOPPED_EARLY, INTERRUPTED = 0, 1, 2, 3, 130
# A turn that is cancelled at the end has this long to close; then the process goes all the same.
CLOSING_SECONDS = 1.5
EXPLANATION = """\
ars-acp is the agent's end of the Agent Client Protocol: it speaks JSON-RPC with an editor on stdin and stdout, and
there is nothing to type here. To talk to it in this terminal run `ars chat`; to use it in an editor name `ars-acp` as
its agent command. `ars-acp --help` lists the settings, `ars-acp login` keeps an API key.
"""


def main(argv: list[str] | None = None) -> int:
    """Runs the program and returns its exit code; as the agent it ends the process itself, without delay."""
    # No foreign code in this process. PYDANTIC_DISABLE_PLUGINS would load what looks for it all the same.
    sys.modules["pydantic.plugin._loader"] = module = ModuleType("_loader")
    module.get_plugins = tuple  # type: ignore[attr-defined]
    _hold_standard_descriptors()
    gc.disable()  # what is imported stays; collecting in between costs a tenth of the start
    arguments = sys.argv[1:] if argv is None else argv
    try:
        chosen = vars(_parser().parse_args(arguments)) if arguments else {}
        return _login() if chosen.pop("action", None) == "login" else _serve(chosen)
    except SettingsError as exc:
        _say(f"ars-acp: {exc}")
        return USAGE
    except KeyboardInterrupt:  # at the start, or again while the first one is being obeyed
        os._exit(INTERRUPTED)


def _hold_standard_descriptors() -> None:
    """What was started with stdin, stdout or stderr closed would give its number to the first file that it opens."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)


def _say(line: str) -> None:
    # Not by `print`: where there is no stderr it takes stdout, which is the wire.
    with contextlib.suppress(OSError):
        os.write(2, f"{line}\n".encode(errors="backslashreplace"))


def _login() -> int:
    from ars_acp.login import login

    written = login()
    if written is None:
        _say("\nnothing was written")
        return INTERRUPTED
    print(f"written to {written}")
    return DONE


def _serve(chosen: dict[str, Any]) -> int:
    if os.isatty(0):
        print(EXPLANATION, end="")
        return DONE
    warnings.simplefilter("ignore")  # an environment may have made errors of them, for other programs
    import anyio

    from ars_acp.log import open_log
    from ars_acp.models.choose import make_model
    from ars_acp.settings import load, open_sessions, unknown_names

    settings = load(chosen)
    try:
        log = open_log(settings.log_level, settings.log_file)
    except OSError as exc:
        raise SettingsError(f"setting log_file: {exc.strerror}") from None
    for name in unknown_names():
        log.warning("settings.unknown", name=name)
    if settings.script or settings.ca_file or settings.quirks:
        make_model(settings)  # what names a file or a row may name one that is not there
    if settings.models_file:
        from ars_acp.catalog import Catalog

        Catalog(settings.models_file)  # a wrong one is told of now
    store = open_sessions(settings, lambda line: log.warning("store.told", line=line))
    try:
        code = anyio.run(_run, settings, store, partial(load, chosen), log)
    except Exception as exc:  # the boundary: whole to the log, one line to whoever reads stderr
        log.error("agent.failed", exc_info=exc)
        _say(f"ars-acp: failed: {type(exc).__name__}; the log has the details")
        code = FAILED
    log.close()
    # Taking apart what is loaded would cost a third of a second that nobody needs.
    os._exit(code)


async def _run(settings: "Settings", store: "Store", reload: "Callable[[], Settings]", log: "Log") -> int:
    import anyio

    from acp_wire.connection import AGENT_SIDE, Connection
    from acp_wire.streams import stdio
    from ars_acp.agent import Agent
    from ars_acp.models.choose import make_model

    code = DONE
    async with stdio() as stream, anyio.create_task_group() as background:
        agent = Agent(
            settings,
            store,
            log,
            make_model=make_model,
            reload=reload,
            later=background.start_soon,
            closing=partial(_end_in_any_case, log),
        )
        connection = Connection(stream, agent, AGENT_SIDE, limit=settings.max_line, on_event=partial(_log_event, log))
        agent.connection = connection
        background.start_soon(store.run)
        with anyio.CancelScope() as serving:
            _when_signalled(serving.cancel)
            await connection.serve()
        if serving.cancel_called:
            code = INTERRUPTED
        elif agent.was_busy:
            log.error(
                "gateway.unreachable", code=GATEWAY_UNREACHABLE, reason="the client closed in the middle of a turn"
            )
            code = STOPPED_EARLY
        background.cancel_scope.cancel()
    await store.close()
    return code


def _end_in_any_case(log: "Log") -> None:
    """The client is gone: whatever still runs a moment later is not worth waiting for."""
    import asyncio

    def end() -> None:
        log.error("agent.closing_took_too_long", seconds=CLOSING_SECONDS)
        log.close()
        os._exit(STOPPED_EARLY)

    asyncio.get_running_loop().call_later(CLOSING_SECONDS, end)


def _when_signalled(stop: Callable[[], None]) -> None:
    """SIGTERM and SIGINT call `stop` in the event loop, the first of them; what comes after changes nothing."""
    import asyncio
    import signal

    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)

    def first(*_: object) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        loop.call_soon_threadsafe(stop)

    # Not by the loop's own means, whose close brings Python's handlers back while we are still ending.
    for number in numbers:
        signal.signal(number, first)


def _log_event(log: "Log", name: str, fields: dict[str, Any]) -> None:
    error = fields.pop("error", None)
    if error is not None:
        log.error(name, exc_info=error, **fields)
    elif name.startswith("request."):
        log.info(name, **fields)
    else:
        log.warning(name, **fields)


def _parser() -> "argparse.ArgumentParser":
    import argparse

    from ars_acp import __version__

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise SettingsError(f"{message} (see `ars-acp --help`)")

    parser = Parser(
        prog="ars-acp",
        description="The ARS coding agent: speaks ACP (JSON-RPC 2.0) on stdin and stdout.",
        epilog="Every setting can be given as ARS_<NAME> in the environment too; OPENAI_API_KEY, OPENAI_BASE_URL and "
        "OPENAI_MODEL name the model's endpoint. Exit codes: 0 done, 1 wrong usage or settings, 2 failure, 3 the "
        "client went away in the middle of a turn, 130 interrupted.",
    )
    parser.add_argument(
        "action", nargs="?", choices=["acp", "login"], help="acp: serve (the default); login: keep a key"
    )
    parser.add_argument("--version", action="version", version=f"ars-acp {__version__}")
    parser.add_argument("--script", metavar="FILE", help="play a scripted model instead of calling one")
    parser.add_argument("--mode", choices=["ask", "accept-edits", "read-only", "full"], help="what needs permission")
    parser.add_argument(
        "--store",
        metavar="URL",
        help="where sessions are kept: memory:, jsonl:/directory, redis://host, postgresql://host/database; one with a"
        " password belongs into ARS_STORE, as others can read command lines",
    )
    parser.add_argument("--log-file", metavar="FILE", help="the log goes here instead of stderr")
    parser.add_argument("--log-level", choices=["debug", "info", "warning", "error"])
    return parser


if __name__ == "__main__":
    sys.exit(main())
