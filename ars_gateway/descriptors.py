"""File descriptors: as many as the system gives for the asking, and of those a part that no client can use up."""

import resource
from contextlib import suppress

# More than a gateway needs; agents inherit the limit, and programs that try every number they may have are slow above.
MOST = 65_536
# For agents, their logs, the index: at least so many, and at least a quarter.
RESERVED = 64


def raise_limit() -> None:
    """Takes what may be taken: a usual limit of 1,024 would be used up by as many clients."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(MOST, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # a system that refuses it has its reasons
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def for_clients() -> int:
    """How many sockets of clients may be open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST if soft == resource.RLIM_INFINITY else soft
    return max(most - max(RESERVED, most // 4), 1)
