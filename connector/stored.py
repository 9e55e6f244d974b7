"""Conversations that outlive the application: found again by agent, directory and name."""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import anyio

from connector.errors import SessionNotFound
from connector.groups import single_errors
from connector.record import Record
from event_log.stores import open_store

if TYPE_CHECKING:
    from connector.connector import Connector
    from connector.session import Session
    from event_log.stores import Store


@contextlib.asynccontextmanager
async def keeping(
    url: str, *, beside: str = "", tell: Callable[[str], None] = lambda line: None
) -> "AsyncIterator[Store]":
    """The store that a URL names (`event_log.open_store`), at work for the length of the block, then closed.

    Raises `event_log.StoreInvalid`.
    """
    store = open_store(url, beside=beside, tell=tell)
    with single_errors():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.run)
            try:
                yield store
            finally:
                with anyio.CancelScope(shield=True):
                    await store.close()
                tasks.cancel_scope.cancel()


async def ensure(connector: "Connector", name: str, cwd: str, **more: Any) -> "Session":
    """The conversation called `name` with this agent in `cwd`: the same as last time, or a new one the first time.

    The agent's session is resumed, else loaded, without anything of it being told a second time; where the agent can do
    neither or has lost it, the conversation goes on in a new session which is told with the next prompt what was said
    (`session.how` is `recreated`, so is the event `session.recreated` and the record's entry). Takes what `new_session`
    takes. Raises as that, `ConversationHeld` and `RecordUnusable`: never a fresh conversation under an old name.
    """
    record = await connector.open_record(cwd, name)
    try:
        return await _taken_up(connector, record, cwd, more)
    except BaseException:
        record.close()
        raise


async def _taken_up(connector: "Connector", record: Record, cwd: str, more: dict[str, Any]) -> "Session":
    session_id = record.session_id
    if session_id is None:
        return await connector.new_session(cwd, record=record, **more)
    why = "the agent can neither resume nor load a session"
    kept = {name: value for name, value in more.items() if name != "meta"}
    for offered, take_up in (
        (connector.offers("session_capabilities.resume"), connector.resume_session),
        (connector.offers("load_session"), connector.load_session),
    ):
        if offered:
            try:
                return await take_up(session_id, cwd, record=record, **kept)
            except SessionNotFound as lost:
                why = str(lost)
    session = await connector.new_session(cwd, record=record, **more)
    connector.tell("session.recreated", name=record.name, was=session_id, session=session.id, why=why)
    return session
