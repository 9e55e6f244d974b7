"""Spawning an agent: launch → initialize, and its end."""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

import anyio
import anyio.abc

from connector.client import Client
from connector.connector import Connector
from connector.generation import OnEvent, Program, begun
from connector.groups import single_errors
from connector.limits import Limits
from connector.link import Link
from connector.process import Command
from connector.sign_in import without_a_person
from connector.vendors import Vendor, command_of
from event_log.stores import Store
from event_log.stores.memory import MemoryStore

Agent = str | Sequence[str] | Vendor | Command
IN_OUR_NAME = {"name": "ars-connector", "version": "0"}


@contextlib.asynccontextmanager
async def launch(
    agent: Agent,
    client: Client,
    *,
    cwd: str,
    limits: Limits | None = None,
    system_prompt: str = "",
    sign_in: str = "",
    client_info: dict[str, str] | None = None,
    on_event: OnEvent | None = None,
    on_stderr: Callable[[bytes], None] = lambda data: None,
    store: Store | None = None,
) -> AsyncIterator[Connector]:
    """A running, initialized agent for the length of the block; its whole process group is gone afterwards.

    `agent` is a vendor's name, a command line, or a row or a `Command` of your own. `limits` are the vendor's without
    it. `system_prompt` begins every new session. `sign_in` is the id of the agent's own method to use where it wants to
    be signed in; without it, those that need no person are tried. `store` is where the sessions' records are kept; it
    is the caller's, who runs and closes it (`stored.keeping`). Without one they are in memory. Raises `ConnectorError`
    where the agent cannot be started or does not shake hands, ValueError for what is no command.
    """
    with single_errors(), contextlib.ExitStack() as at_end:
        async with anyio.create_task_group() as tasks:
            connector, link = connector_of(
                agent,
                client,
                tasks,
                cwd=cwd,
                limits=limits,
                system_prompt=system_prompt,
                sign_in=sign_in,
                client_info=client_info,
                on_event=on_event,
                on_stderr=on_stderr,
                store=store,
            )
            at_end.callback(connector.close_records)
            generation = await begun(link.begin(), tasks)
            try:
                await connector.take_over(generation)
                yield connector
            finally:
                await connector.shutdown()
                tasks.cancel_scope.cancel()


def connector_of(
    agent: Agent,
    client: Client,
    tasks: anyio.abc.TaskGroup,
    *,
    cwd: str,
    limits: Limits | None,
    system_prompt: str,
    sign_in: str,
    client_info: dict[str, str] | None,
    on_event: OnEvent | None,
    on_stderr: Callable[[bytes], None],
    store: Store | None,
) -> tuple[Connector, Link]:
    """A connector that has no process yet, and what its processes are attached to. For `launch` and the supervisor."""
    vendor, command = _started_by(agent)
    capabilities = client.capabilities(withheld=vendor.quirks.withheld)
    program = Program(vendor, command, cwd, capabilities, limits or vendor.limits, client_info or IN_OUR_NAME)
    link = Link(program, client, tasks, on_event, on_stderr)
    ways = [sign_in] if sign_in else without_a_person(vendor.sign_in)
    made = Connector(link, cwd=cwd, system_prompt=system_prompt, sign_in=ways, store=store or MemoryStore())
    return made, link


def _started_by(agent: Agent) -> tuple[Vendor, Command]:
    if isinstance(agent, Command):
        return command_of(agent.argv) if agent.argv and agent.argv[0] else Vendor("", "", ()), agent
    vendor = agent if isinstance(agent, Vendor) else command_of(agent)
    return vendor, vendor.command()
