"""What the signals that end a program do here while a turn may run."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator

from ars_cli.exits import ABORTED


@contextlib.contextmanager
def handled(interrupt: Callable[[], None], leave: Callable[[int], None]) -> Iterator[None]:
    """Ctrl-C calls `interrupt`; being told to end, or losing the terminal, calls `leave` with the exit code."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, interrupt)
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, leave, ABORTED)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)
