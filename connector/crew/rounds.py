"""How a crew takes turns: plain async functions over one primitive, asking one role.

A round of your own is one more such function: it asks in whatever order, looks at the replies and returns when it is
done. It must ask for the same things again when it is given the same replies: a round that was interrupted is run
anew, and what was answered before is answered from the log.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import anyio

from connector.crew.conversation import Reply


class Floor(Protocol):
    """What a round works with."""

    @property
    def roles(self) -> Sequence[str]:
        """Who takes part, in their order."""

    @property
    def first(self) -> int:
        """The index of the round's first message, the person's."""

    @property
    def messages(self) -> int:
        """The index behind the last message that the round knows of, its own replies included."""

    async def ask(self, role: str, *, upto: int | None = None, only: Sequence[int] | None = None) -> Reply:
        """One turn of one role: it is given what is new to it, and what comes back is returned. A role that fails is a
        reply too: nothing is raised. It does not return where the round has to end.

        `upto` is the index before which the messages end that it is given; with `only` it is given just those of this
        round's messages. A role to which nothing is new is not asked, and its reply is empty.
        """


Round = Callable[[Floor], Awaitable[None]]
Agreed = Callable[[Sequence[Reply]], bool]


async def sequential(floor: Floor) -> None:
    """One after the other, each knowing what those before have said."""
    for role in floor.roles:
        await floor.ask(role)


async def parallel(floor: Floor) -> None:
    """All at once, none knowing what the others say."""
    await together(floor)


async def pipeline(floor: Floor) -> None:
    """One after the other; each is given what the person said and what the one before it has made, no more.

    Where one fails, the next is given what that one was given.
    """
    handed = floor.first
    for role in floor.roles:
        reply = await floor.ask(role, only=(floor.first, handed))
        if reply.index is not None and reply.text.strip():
            handed = reply.index


def debate(rounds: int = 3, until: Agreed | None = None) -> Round:
    """All at once, as often as `rounds` says, each time knowing what the others said the time before.

    It ends earlier when `until`, which is given the replies of one time in the order of the roles, says that they
    agree. It is not asked where a role has failed, as nobody knows what that one would have said.
    """
    if rounds < 1:
        raise ValueError("a debate has at least one round")

    async def debate(floor: Floor) -> None:
        for _ in range(rounds):
            replies = await together(floor)
            if until is not None and not any(reply.failed for reply in replies) and until(replies):
                return

    return debate


def all_end_with(word: str) -> Agreed:
    """A rule for debates: each reply ends with that word, whatever its case and the punctuation behind it."""
    wanted = word.casefold()

    def agreed(replies: Sequence[Reply]) -> bool:
        return all(reply.text.casefold().rstrip(" \t\r\n.!*_`\"'").endswith(wanted) for reply in replies)

    return agreed


async def together(floor: Floor) -> list[Reply]:
    """All roles at once, each given what there is now; their replies in the order of the roles."""
    now, replies = floor.messages, dict[str, Reply]()

    async def ask(role: str) -> None:
        replies[role] = await floor.ask(role, upto=now)

    async with anyio.create_task_group() as tasks:
        for role in floor.roles:
            tasks.start_soon(ask, role)
    return [replies[role] for role in floor.roles]


ROUNDS: Mapping[str, Round] = {
    "sequential": sequential,
    "parallel": parallel,
    "pipeline": pipeline,
    "debate": debate(),
}
