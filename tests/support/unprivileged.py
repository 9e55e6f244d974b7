"""What a test does as an ordinary user: root is refused nothing, so permissions mean nothing to it."""

import os
import pickle
import warnings
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
NOBODY = 65534


def as_nobody(work: Callable[[], T]) -> T:
    """What `work` returns in a process of its own, which is not root's; EOFError if it raised something.

    What `work` needs must be imported already: an ordinary user may not be able to read where this Python lives.
    """
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some Pythons warn of a fork beside threads, and this child uses none
        child = os.fork()
    if child == 0:
        _work(work, writing)
    os.close(writing)
    with open(reading, "rb") as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    found: T = pickle.loads(told)
    return found


def _work(work: Callable[[], T], writing: int) -> None:
    try:
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        os.write(writing, pickle.dumps(work()))
    finally:
        os._exit(0)
