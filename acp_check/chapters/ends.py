"""How the process ends: at the end of stdin, idle and in mid-turn, by SIGTERM, when nobody reads it any more."""

from collections.abc import Callable

import anyio

from acp_check.peer import Peer
from acp_check.table import Broken, NotSeen, requirement
from acp_check.trial import Trial

LOOK_SECONDS = 0.05


async def _ends(trial: Trial, peer: Peer, what: str) -> str:
    """Waits for its end, with all that it has started. Raises `Broken`."""
    ended = await peer.process.ended(trial.limits.end)
    if ended is None:
        raise Broken(f"{what}, and {trial.limits.end:g} s later it still runs{peer.last_words()}")
    with anyio.move_on_after(trial.limits.end):
        while peer.process.left_over():  # noqa: ASYNC110 (nobody tells of the end of another's children)
            await anyio.sleep(LOOK_SECONDS)
    if left := peer.process.left_over():
        raise Broken(f"{what}: it ended ({ended}) and left running: {'; '.join(sorted(left))}")
    return str(ended)


@requirement(
    "SHUTDOWN-001", "advisory", "when stdin closes the process ends by itself, with its children", rules=("14",)
)
async def end_of_stdin(trial: Trial) -> str:
    async with trial.fresh() as peer:
        try:
            await trial.session(peer)
            await peer.quiet()
        except NotSeen:
            await peer.quiet()
        peer.process.close_stdin()
        return await _ends(trial, peer, "stdin was closed while nothing ran")


@requirement("END-BEFORE", "advisory", "when stdin closes before initialize the process ends by itself", rules=("14",))
async def end_before(trial: Trial) -> str:
    async with trial.fresh(handshake=False) as peer:
        peer.process.close_stdin()
        ended = await peer.process.ended(trial.limits.start)
        if ended is None:
            raise Broken(f"stdin was closed at once, and {trial.limits.start:g} s later it still runs")
        return str(ended)


async def _in_mid_turn(trial: Trial, act: Callable[[Peer], None], what: str) -> str:
    async with trial.fresh() as peer:
        session = await trial.session_id(peer)
        await trial.long_turn(peer, session)
        act(peer)
        return await _ends(trial, peer, what)


@requirement(
    "END-TURN",
    "advisory",
    "when stdin closes in mid-turn the process ends, with its children",
    rules=("14",),
    turns=True,
)
async def end_in_turn(trial: Trial) -> str:
    return await _in_mid_turn(trial, lambda peer: peer.process.close_stdin(), "stdin was closed in mid-turn")


@requirement("END-TERM", "advisory", "SIGTERM ends the process, with its children")
async def terminated(trial: Trial) -> str:
    async with trial.fresh() as peer:
        peer.process.terminate()
        return await _ends(trial, peer, "SIGTERM to the process")


@requirement("END-TERM-TURN", "advisory", "SIGTERM in mid-turn ends the process, with its children", turns=True)
async def terminated_in_turn(trial: Trial) -> str:
    return await _in_mid_turn(trial, lambda peer: peer.process.terminate(), "SIGTERM in mid-turn")


@requirement(
    "END-UNREAD", "advisory", "a client that is gone, both pipes closed in mid-turn, ends the process", turns=True
)
async def client_gone(trial: Trial) -> str:
    def leave(peer: Peer) -> None:
        peer.process.close_stdout()
        peer.process.close_stdin()

    return await _in_mid_turn(trial, leave, "both pipes were closed in mid-turn")
