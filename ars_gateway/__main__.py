"""`ars-gateway`: listens until it is told to end. Exit codes: 0 ended, 1 wrong usage or settings, 2 failed."""

import argparse
import gc
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NoReturn

from ars_gateway.access.auth import OWNER
from ars_gateway.access.connect_tokens import PAGE_CLIENT, page_address
from ars_gateway.access.scopes import OPERATOR_SCOPES
from ars_gateway.address import command, fresh
from ars_gateway.descriptors import raise_limit
from ars_gateway.errors import StartError
from ars_gateway.sessions.keys import MAIN
from ars_gateway.settings import PORT, PREFIX, Settings, alone, load, secret_values, store_passwords
from event_log import LogError, StoreInvalid

if TYPE_CHECKING:
    import anyio

    from ars_gateway.gateway import Gateway

DONE, USAGE, FAILED = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; its exit code."""
    given = vars(_parser().parse_args(argv))
    try:
        if given["command"] == "address":
            print(fresh(load(given | {"rotate_token": False}, os.environ)))
            return DONE
        environ = dict(os.environ)
        settings = load(given, environ)
    except StartError as error:
        return _said(error, USAGE)
    # Agents inherit our environment: what lets in here is none of theirs.
    for name in environ:
        if name.startswith(PREFIX):
            del os.environ[name]
    raise_limit()
    try:
        import anyio

        with alone(settings.state_dir):
            anyio.run(_serve, settings, given, environ)
    except Exception as error:
        return _failed(error)
    return DONE


async def _serve(settings: Settings, given: dict[str, Any], environ: dict[str, str]) -> None:
    """Serves until a signal comes, and anew with other settings where a client has asked for a restart."""
    import anyio

    from ars_gateway.gateway import Gateway
    from ars_gateway.observation.journal import Journal
    from ars_gateway.observation.log import Libraries, Redactor, open_log
    from ars_gateway.server import serving

    redact = Redactor()
    own = (settings.secret, settings.device_secret().decode(), settings.internal_secret().decode())
    for secret in (*own, *secret_values(environ), *store_passwords(settings.store)):
        redact.add(secret)
    try:
        log = open_log(settings.log_level, settings.log_file, redact, Journal(settings.journal_path))
    except OSError as why:
        raise StartError(f"{why.filename} cannot be written ({why.strerror}): the log goes there") from None
    logging.basicConfig(handlers=[Libraries(log, time.monotonic)])
    again = False
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        while True:
            for agent in settings.config.agents.values():
                for value in agent.env.values():
                    redact.add(value)
            gateway = Gateway(settings, log)
            if not again:  # later an agent that is gone ends no gateway
                _agent_is_here(gateway)
            again = True
            async with serving(gateway) as addresses, anyio.create_task_group() as waiting:
                said = [*addresses.urls, *([f"unix:{addresses.socket_path}"] if addresses.socket_path else [])]
                where = f"the {settings.auth_mode} is in {settings.secret_from}"
                listens = f"ars-gateway listens on {' and '.join(said)}; {where}"
                another = command(sys.argv[0], given, addresses.port)
                print(f"{listens}\n{_page(gateway, another)}", flush=True)
                # What is loaded by now stays: no later collection walks through it, for which every client would wait.
                gc.unfreeze()  # but what a gateway before this one was made of goes
                gc.collect()
                gc.freeze()
                waiting.start_soon(_until, signals, waiting.cancel_scope)
                await gateway.restarting.wait()
                waiting.cancel_scope.cancel()
            if not gateway.restarting.is_set():
                return
            log.info("gateway.restarting")
            settings = load(given | {"port": addresses.port, "rotate_token": False}, environ)


def _agent_is_here(gateway: "Gateway") -> None:
    """Raises `StartError` where the main agent's program is none."""
    vendor = gateway.talks.kinds[MAIN].vendor
    if shutil.which(vendor.argv[0]) is None:
        install = f"install it ({vendor.install}), or " if vendor.install else ""
        raise StartError(f"no program {vendor.argv[0]} here: {install}name another --agent; `ars agents` lists them")


def _page(gateway: "Gateway", another: str) -> str:
    token = gateway.connect_tokens.make(OWNER, OPERATOR_SCOPES, PAGE_CLIENT)
    return f"the page: {page_address(gateway.urls, token)} (once, within a minute; `{another}` prints another)"


async def _until(signals: AsyncIterable[int], ends: "anyio.CancelScope") -> None:
    async for _ in signals:
        ends.cancel()
        return


def _failed(error: Exception) -> int:
    """Says in one line what has ended the gateway; its exit code."""
    while isinstance(error, ExceptionGroup):  # a group tells nothing itself
        error = error.exceptions[0]
    if isinstance(error, StartError | StoreInvalid):
        return _said(error, USAGE)
    named = isinstance(error, OSError | LogError)
    return _said(error if named else f"{type(error).__name__}: {error}", FAILED)


def _said(error: object, code: int) -> int:
    print(f"ars-gateway: {error}", file=sys.stderr)
    return code


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="ars-gateway",
        description="Puts ACP agents behind one address: a web page, WebSocket (Gateway protocol v3), HTTP, and the"
        " remote transport of ACP. It prints where it listens, and an address of the page to open.",
        epilog="What takes a value can be given as ARS_GATEWAY_<NAME> in the environment too; ARS_GATEWAY_TOKEN,"
        " ARS_GATEWAY_PASSWORD and ARS_GATEWAY_INTERNAL_SECRET there only. Exit codes: 0 told to end, 1 what was asked"
        " for cannot be, 2 the machine refuses.",
    )
    add = parser.add_argument
    add("command", nargs="?", choices=("address",), help="print a fresh address of the page of the gateway at work")
    add("--version", action="version", version=f"%(prog)s {version('ars-acp')}")
    add("--host", action="append", help="where to listen (default: 127.0.0.1 and ::1); may be repeated")
    add("--port", help=f"default {PORT}; 0: a free one")
    add("--allow-remote", action="store_true", help="allow a --host that other machines reach, without encryption")
    add("--allow-host", action="append", metavar="NAME[:PORT]", help="a further Host header that is ours")
    add("--allow-origin", action="append", metavar="ORIGIN", help="a further page that may connect: https://name:port")
    add("--socket", metavar="PATH", help="the Unix socket (default: in the state directory)")
    add("--no-socket", action="store_true", help="no Unix socket")
    add("--state-dir", metavar="DIR", help="where everything is kept (0700)")
    add("--auth", choices=("token", "password"), help="how clients sign in (default: token)")
    add("--rotate-token", action="store_true", help="make a new token file; ARS_GATEWAY_TOKEN goes before the file")
    add(
        "--agent",
        metavar="AGENT",
        help="the main agent: a name that `ars agents` lists, or a command line (default: ars)",
    )
    add("--workspace", metavar="DIR", help="where agents work (default: in the state directory)")
    add(
        "--store",
        metavar="URL",
        help="where transcripts are kept: memory:, jsonl:/directory, redis://host,"
        " postgresql://host/database (default: files in the state directory); one with a password belongs into"
        " ARS_GATEWAY_STORE",
    )
    add("--log-level", choices=("debug", "info", "warning", "error"))
    add("--log-file", metavar="PATH", help="the log goes here instead of stderr")
    return parser


if __name__ == "__main__":
    sys.exit(main())
