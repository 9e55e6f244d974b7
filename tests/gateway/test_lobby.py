"""Sockets before their hello: few, not for long, and nobody honest is turned away."""

import asyncio

import anyio
import pytest

from ars_gateway.limits import Limits
from ars_gateway.sockets.lobby import CROWDED, EXPIRED, Lobby
from tests.gateway.host import TOKEN
from tests.gateway.raw import opened


@pytest.fixture
def left() -> list[tuple[str, str]]:
    return []


async def enter(lobby: Lobby, left: list[tuple[str, str]], name: str, address: str = "loopback"):
    return lobby.enter(address, lambda why: left.append((name, why)))


async def until(condition) -> None:
    with anyio.fail_after(20):
        while not condition():
            with anyio.move_on_after(0.005):
                await anyio.sleep_forever()


async def test_who_has_waited_too_long_goes(left):
    lobby = Lobby(Limits(handshake_seconds=0.01), asyncio.get_running_loop().time)
    await enter(lobby, left, "a")
    await until(lambda: left)
    assert left == [("a", EXPIRED)]
    assert len(lobby) == 0


async def test_of_too_many_the_oldest_goes_once_it_had_its_time(left):
    clock = [0.0]
    lobby = Lobby(Limits(waiting_sockets=3, waiting_grace=0.01), lambda: clock[0])
    for number in range(5):
        await enter(lobby, left, str(number))
    assert left == []
    clock[0] = 1.0
    await until(lambda: left)
    assert left == [("0", CROWDED), ("1", CROWDED)]
    lobby.close()


async def test_a_crowd_from_one_address_pushes_out_its_own(left):
    lobby = Lobby(Limits(waiting_most=5), asyncio.get_running_loop().time)
    await enter(lobby, left, "honest", "192.0.2.1")
    for number in range(10):
        await enter(lobby, left, str(number), "192.0.2.2")
    assert [name for name, _ in left] == ["0", "1", "2", "3", "4", "5"]
    assert len(lobby) == 5
    lobby.close()


async def test_who_says_hello_makes_room(left):
    lobby = Lobby(Limits(waiting_most=2), asyncio.get_running_loop().time)
    for number in range(10):
        lobby.left(await enter(lobby, left, str(number)))
    assert left == []
    assert len(lobby) == 0


async def test_two_hundred_clients_that_come_back_at_once_all_get_in(running):
    hellos = 0

    async def come() -> None:
        nonlocal hellos
        async with await opened(running.addresses.port) as raw:
            await raw.connect(TOKEN)
            hellos += 1
            await everybody.wait()

    everybody = anyio.Event()
    async with anyio.create_task_group() as tasks:
        for _ in range(200):
            tasks.start_soon(come)
        await until(lambda: hellos == 200)
        assert len(running.gateway.hub.connections) == 200
        assert len(running.gateway.lobby) == 0
        everybody.set()
