"""As many clients as there are descriptors for, and never so many that nothing is left for what they ask for."""

import subprocess
import sys

import anyio
import anyio.lowlevel
import pytest

from ars_gateway import descriptors
from tests.gateway.raw import asked

LIMITED = """
import resource, sys
from ars_gateway.descriptors import for_clients, raise_limit
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
raise_limit()
print(*resource.getrlimit(resource.RLIMIT_NOFILE), for_clients())
"""


@pytest.mark.parametrize(
    ("soft", "hard", "raised", "clients"), [(128, 1_024, 1_024, 768), (256, 256, 256, 192), (64, 80, 80, 16)]
)
def test_the_limit_is_raised_as_far_as_it_may_be_and_a_part_is_kept(soft, hard, raised, clients):
    ran = subprocess.run([sys.executable, "-c", LIMITED, str(soft), str(hard)], capture_output=True, text=True)
    assert ran.stdout.split() == [str(raised), str(hard), str(clients)], ran.stderr


async def test_a_socket_that_is_one_too_many_is_told_so_and_those_that_are_there_go_on(start, monkeypatch):
    monkeypatch.setattr(descriptors, "for_clients", lambda: 2)
    async with start() as running, running.client() as one:
        port = running.addresses.port
        health = f"GET /healthz HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n".encode()
        async with running.client() as other:
            assert (await asked(port, b""))[0] == 503
            assert (await one.request("health"))["ok"]
            assert (await other.request("health"))["ok"]
            assert running.log.named("gateway.full")
        with anyio.fail_after(10):  # the socket that was closed is gone a moment later
            while (await asked(port, health))[0] != 200:
                await anyio.lowlevel.checkpoint()
