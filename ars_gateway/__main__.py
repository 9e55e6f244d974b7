"""`ars-gateway`: listens until it is told to end. Exit codes: 0 ended, 1 wrong usage or settings, 2 failed."""

import argparse
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NoReturn

from ars_gateway.errors import StartError
from ars_gateway.settings import PORT, Settings, alone, load, secret_values
from event_log import LogError, StoreInvalid

if TYPE_CHECKING:
    import anyio

DONE, USAGE, FAILED = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; its exit code."""
    given = vars(_parser().parse_args(argv))
    try:
        settings = load(given, os.environ)
    except StartError as error:
        return _said(error, USAGE)
    try:
        import anyio

        with alone(settings.state_dir):
            anyio.run(_serve, settings, given)
    except Exception as error:
        return _failed(error)
    return DONE


async def _serve(settings: Settings, given: dict[str, Any]) -> None:
    """Serves until a signal comes, and anew with other settings where a client has asked for a restart."""
    import anyio

    from ars_gateway.gateway import Gateway
    from ars_gateway.journal import Journal
    from ars_gateway.log import Libraries, Redactor, open_log
    from ars_gateway.server import serving

    redact = Redactor()
    for secret in (settings.secret, settings.device_secret().decode(), *secret_values(os.environ)):
        redact.add(secret)
    log = open_log(settings.log_level, settings.log_file, redact, Journal(settings.journal_path))
    logging.basicConfig(handlers=[Libraries(log, time.monotonic)])
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        while True:
            for agent in settings.config.agents.values():
                for value in agent.env.values():
                    redact.add(value)
            gateway = Gateway(settings, log)
            async with serving(gateway) as addresses, anyio.create_task_group() as waiting:
                said = [*addresses.urls, *([f"unix:{addresses.socket_path}"] if addresses.socket_path else [])]
                where = f"the {settings.auth_mode} is in {settings.secret_from}"
                print(f"ars-gateway listens on {' and '.join(said)}; {where}", flush=True)
                waiting.start_soon(_until, signals, waiting.cancel_scope)
                await gateway.restarting.wait()
                waiting.cancel_scope.cancel()
            if not gateway.restarting.is_set():
                return
            log.info("gateway.restarting")
            settings = load(given | {"port": addresses.port, "rotate_token": False}, os.environ)


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
        prog="ars-gateway", description="The Gateway: ACP agents behind the Gateway WebSocket protocol v3."
    )
    add = parser.add_argument
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
    add("--agent", metavar="AGENT", help="the main agent: a vendor's name or a command line (default: ars)")
    add("--workspace", metavar="DIR", help="where agents work (default: in the state directory)")
    add("--store", metavar="URL", help="where transcripts are kept (default: files in the state directory)")
    add("--log-level", choices=("debug", "info", "warning", "error"))
    add("--log-file", metavar="PATH", help="instead of stderr")
    return parser


if __name__ == "__main__":
    sys.exit(main())
