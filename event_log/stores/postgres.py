"""Logs in PostgreSQL: a row for each log with its lease, a row for each entry, a row for each owner's last beat."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

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
    count,
    holder_from,
    reason,
)

_PAGE = 500  # entries read at once
_CONNECTIONS = 4  # an append that takes long keeps nobody else waiting

# Two that make the tables at the same time would trip over each other: one waits.
_TABLES = """
select pg_advisory_xact_lock(4707012021);
create table if not exists ars_logs (
  name text collate "C" primary key, holder text not null, id text not null, held boolean not null,
  fence bigint not null, last bigint not null, deleted boolean not null default false,
  written_at timestamptz not null default now());
create table if not exists ars_entries (
  name text collate "C", n bigint, line text not null, primary key (name, n));
create table if not exists ars_owners (id text collate "C" primary key, seen_at timestamptz not null);
"""

_TAKE = """
insert into ars_logs as l (name, holder, id, held, fence, last) values ($1, $2, $3, true, $5, 0)
on conflict (name) do update set holder = $2, id = $3, held = true, fence = $5,
  last = case when l.deleted then 0 else l.last end, deleted = false
where l.fence = $4 returning 1
"""

_APPEND = """
with lease as (
  update ars_logs set last = greatest(last, $5::bigint), written_at = now()
  where name = $1 and fence = $2 and id = $3 and held and last >= $4::bigint - 1 returning 1),
added as (
  insert into ars_entries (name, n, line)
  select $1, $4 + i - 1, line from lease, unnest(string_to_array($6, E'\n')) with ordinality as lines (line, i)
  on conflict do nothing)
select 1 from lease
"""

_DELETE = """
with entries as (delete from ars_entries where name = $1)
update ars_logs set deleted = true, held = false, last = 0, fence = fence + 1 where name = $1
"""


class PostgresServer:
    """A Server. Written means: committed, under the server's own settings (`synchronous_commit`)."""

    def __init__(self, address: Address) -> None:
        self.shown = address.shown
        self._address = address
        # Not asyncpg's own pool: that asks the server to reset a connection each time that it is given back.
        self._idle: list[Any] = []
        self._free = anyio.Semaphore(_CONNECTIONS)
        self._tables_made = False
        self._errors: tuple[type[Exception], ...] = (OSError,)

    async def lease(self, name: str) -> Lease | None:
        async with self._reaching() as db:
            row = await db.fetchrow("select holder, held, fence, last, deleted from ars_logs where name = $1", name)
        return row and Lease(holder_from(row["holder"]), row["held"], row["fence"], row["last"], row["deleted"])

    async def take(self, name: str, holder: Holder, over: int, fence: int) -> None:
        async with self._reaching() as db:
            taken = await db.fetchval(_TAKE, name, holder.encoded(), holder.id, over, fence)
        if not taken:
            raise Fenced

    async def append(self, name: str, holder: Holder, fence: int, first: int, lines: bytes) -> None:
        # As one text, which the server takes apart: asyncpg is slow with arrays.
        last, text = first + count(lines) - 1, lines[:-1].decode()
        async with self._reaching(PUSH_SECONDS) as db:
            added = await db.fetchval(_APPEND, name, fence, holder.id, first, last, text)
        if not added:
            raise Fenced

    async def read(self, name: str, after: int) -> bytes:
        query = "select line from ars_entries where name = $1 and n > $2 order by n limit $3"
        async with self._reaching(PUSH_SECONDS) as db:
            rows = await db.fetch(query, name, after, _PAGE)
        return b"".join(row["line"].encode() + b"\n" for row in rows)

    async def release(self, name: str, holder: Holder, fence: int) -> None:
        query = "update ars_logs set held = false where name = $1 and id = $2 and fence = $3"
        async with self._reaching() as db:
            await db.execute(query, name, holder.id, fence)

    async def delete(self, name: str) -> None:
        async with self._reaching() as db:
            await db.execute(_DELETE, name)

    async def recent(self) -> list[tuple[int, str]]:
        query = "select (extract(epoch from written_at) * 1000000)::bigint as at, name from ars_logs where not deleted"
        async with self._reaching() as db:
            rows = await db.fetch(query)
        return [(row["at"] * 1000, row["name"]) for row in rows]

    async def beat(self, holder: Holder) -> None:
        query = "insert into ars_owners values ($1, now()) on conflict (id) do update set seen_at = now()"
        async with self._reaching() as db:
            await db.execute(query, holder.id)

    async def alive(self, holder: Holder) -> bool:
        query = "select true from ars_owners where id = $1 and seen_at > now() - $2::float * interval '1 second'"
        async with self._reaching() as db:
            return bool(await db.fetchval(query, holder.id, LEASE_SECONDS))

    async def leave(self, holder: Holder) -> None:
        async with self._reaching() as db:
            await db.execute("delete from ars_owners where id = $1 or seen_at < now() - interval '1 day'", holder.id)

    async def aclose(self) -> None:
        while self._idle:
            self._idle.pop().terminate()

    @asynccontextmanager
    async def _reaching(self, seconds: float = REACH_SECONDS) -> AsyncIterator[Any]:
        try:
            with anyio.fail_after(seconds):
                async with self._free, self._connection() as connection:
                    yield connection
        except TimeoutError:
            raise StoreUnreachable(self.shown, f"no answer within {seconds:g} s") from None
        except self._errors as error:
            raise StoreUnreachable(self.shown, reason(error, self._address.password)) from None
        except (ValueError, TypeError):
            raise StoreUnreachable(self.shown, "its URL says something that asyncpg cannot use") from None

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        """One that is free, or a new one; it goes when anything goes wrong with it."""
        connection = None
        while self._idle and (connection is None or connection.is_closed()):
            connection = self._idle.pop()
        if connection is None or connection.is_closed():
            connection = await self._connect()
        try:
            yield connection
        except BaseException:
            connection.terminate()
            self._tables_made = False  # somebody may have taken them away
            raise
        self._idle.append(connection)

    async def _connect(self) -> Any:
        # Its package takes a twentieth of a second to load.
        await anyio.to_thread.run_sync(import_module, "asyncpg", abandon_on_cancel=True)
        import asyncpg

        self._errors = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
        connection = await asyncpg.connect(self._address.url, timeout=REACH_SECONDS)
        try:
            if not self._tables_made:
                await connection.execute(_TABLES)
                self._tables_made = True
        except BaseException:
            connection.terminate()
            raise
        return connection
