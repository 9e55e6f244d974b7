"""Logs in Redis: for each one a stream, whose ids are the entries' numbers, and a hash with its lease.

The keys of one log share a hash tag, and no script touches those of two, so that a cluster may spread them. They begin
with `ars:`, or with what the URL's own option `prefix` says.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import anyio

from event_log.errors import StoreUnreachable
from event_log.stores import LEASE_SECONDS
from event_log.stores.address import Address
from event_log.stores.server import (
    PUSH_SECONDS,
    REACH_SECONDS,
    Fenced,
    Holder,
    Lease,
    holder_from,
    reason,
)

if TYPE_CHECKING:
    from redis.asyncio import Redis

_PAGE = 500  # entries read at once
_GRAVE_SECONDS = 90 * 24 * 3600  # how long a deleted log is remembered

_TAKE = """
if (redis.call('HGET', KEYS[1], 'fence') or '0') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'fence', ARGV[2], 'holder', ARGV[3], 'id', ARGV[4], 'held', 1)
if redis.call('HDEL', KEYS[1], 'deleted') == 1 then
  redis.call('PERSIST', KEYS[1])
  redis.call('HSET', KEYS[1], 'last', 0)
end
redis.call('HSETNX', KEYS[1], 'last', 0)
return 1
"""

_APPEND = """
local lease = redis.call('HMGET', KEYS[1], 'fence', 'id', 'last', 'held')
if lease[1] ~= ARGV[1] or lease[2] ~= ARGV[2] or lease[4] ~= '1' then return 0 end
local last, n = tonumber(lease[3]), tonumber(ARGV[3])
if n > last + 1 then return 0 end
for line in string.gmatch(ARGV[4], '[^\\n]+') do
  if n > last then redis.call('XADD', KEYS[2], string.format('%d-0', n), 'e', line) end
  n = n + 1
end
if n - 1 > last then redis.call('HSET', KEYS[1], 'last', string.format('%d', n - 1)) end
return 1
"""

_RELEASE = """
local lease = redis.call('HMGET', KEYS[1], 'fence', 'id')
if lease[1] == ARGV[1] and lease[2] == ARGV[2] then redis.call('HSET', KEYS[1], 'held', 0) end
"""

_DELETE = """
redis.call('DEL', KEYS[2])
if redis.call('EXISTS', KEYS[1]) == 0 then return end
redis.call('HINCRBY', KEYS[1], 'fence', 1)
redis.call('HSET', KEYS[1], 'deleted', 1, 'held', 0, 'last', 0)
redis.call('EXPIRE', KEYS[1], ARGV[1])
"""


class RedisServer:
    """A Server. Written means: as the server's own settings say (`appendonly yes`, `appendfsync`)."""

    def __init__(self, address: Address) -> None:
        self.shown = address.shown
        self._address = address
        self._prefix = address.prefix or "ars:"
        self._index = f"{self._prefix}logs"  # when each log was written
        self._redis: Redis | None = None
        self._errors: tuple[type[Exception], ...] = (OSError,)

    async def lease(self, name: str) -> Lease | None:
        async with self._reaching() as redis:
            fields: Any = await redis.hgetall(self._keys(name)[0])
        if not fields:
            return None
        return Lease(
            holder_from(fields[b"holder"].decode()),
            fields[b"held"] == b"1",
            int(fields[b"fence"]),
            int(fields[b"last"]),
            b"deleted" in fields,
        )

    async def take(self, name: str, holder: Holder, over: int, fence: int) -> None:
        async with self._reaching() as redis:
            taken = await redis.register_script(_TAKE)(
                keys=self._keys(name)[:1], args=[over, fence, holder.encoded(), holder.id]
            )
            if taken:
                await redis.zadd(self._index, {name: _now()}, nx=True)
        if not taken:
            raise Fenced

    async def append(self, name: str, holder: Holder, fence: int, first: int, lines: bytes) -> None:
        async with self._reaching(PUSH_SECONDS) as redis:
            added = await redis.register_script(_APPEND)(keys=self._keys(name), args=[fence, holder.id, first, lines])
            if added:
                await redis.zadd(self._index, {name: _now()})
        if not added:
            raise Fenced

    async def read(self, name: str, after: int) -> bytes:
        async with self._reaching(PUSH_SECONDS) as redis:
            found: Any = await redis.xrange(self._keys(name)[1], min=f"({after}-0", count=_PAGE)
        return b"".join(fields[b"e"] + b"\n" for _, fields in found)

    async def release(self, name: str, holder: Holder, fence: int) -> None:
        async with self._reaching() as redis:
            await redis.register_script(_RELEASE)(keys=self._keys(name)[:1], args=[fence, holder.id])

    async def delete(self, name: str) -> None:
        async with self._reaching() as redis:
            await redis.register_script(_DELETE)(keys=self._keys(name), args=[_GRAVE_SECONDS])
            await redis.zrem(self._index, name)

    async def recent(self) -> list[tuple[int, str]]:
        async with self._reaching() as redis:
            found: Any = await redis.zrange(self._index, 0, -1, withscores=True)
        return [(int(at) * 1_000_000, name.decode()) for name, at in found]

    async def beat(self, holder: Holder) -> None:
        async with self._reaching(LEASE_SECONDS) as redis:
            await redis.set(self._beat(holder), 1, px=int(LEASE_SECONDS * 1000))

    async def alive(self, holder: Holder) -> bool:
        async with self._reaching() as redis:
            return bool(await redis.exists(self._beat(holder)))

    async def leave(self, holder: Holder) -> None:
        async with self._reaching() as redis:
            await redis.delete(self._beat(holder))

    async def aclose(self) -> None:
        redis, self._redis = self._redis, None
        if redis is not None:
            await redis.aclose()

    async def _open(self) -> "Redis":
        """The client, made once; its package takes a tenth of a second to load."""
        await anyio.to_thread.run_sync(import_module, "redis.asyncio", abandon_on_cancel=True)
        from redis.asyncio import Redis, RedisError
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        if self._redis is None:
            self._errors = (OSError, RedisError)
            self._redis = Redis.from_url(
                self._address.url,
                retry=Retry(NoBackoff(), 1),  # as a connection may have ended meanwhile
                socket_connect_timeout=REACH_SECONDS,
            )
        return self._redis

    @asynccontextmanager
    async def _reaching(self, seconds: float = REACH_SECONDS) -> AsyncIterator["Redis"]:
        try:
            redis = self._redis or await self._open()
            with anyio.fail_after(seconds):
                yield redis
        except TimeoutError:
            raise StoreUnreachable(self.shown, f"no answer within {seconds:g} s") from None
        except self._errors as error:
            raise StoreUnreachable(self.shown, reason(error, self._address.password)) from None
        except (ValueError, TypeError):
            raise StoreUnreachable(self.shown, "its URL says something that redis cannot use") from None

    def _keys(self, name: str) -> list[str]:
        return [f"{self._prefix}{{{name}}}:lease", f"{self._prefix}{{{name}}}:log"]

    def _beat(self, holder: Holder) -> str:
        return f"{self._prefix}owner:{holder.id}"


def _now() -> int:
    return time.time_ns() // 1_000_000
