"""What comes out of a task group."""

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def single_errors() -> Iterator[None]:
    """What the block raised, not the group that a task group has made of it."""
    try:
        yield
    except BaseExceptionGroup as group:
        if len(group.exceptions) == 1:
            raise group.exceptions[0] from None
        raise
