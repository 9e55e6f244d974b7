"""What a client does not offer it is not asked for: turns with tools under every mixture of its three abilities."""

from collections.abc import Mapping
from functools import partial
from itertools import product
from typing import Any

from acp_check.table import NotSeen, requirement
from acp_check.trial import Trial

LACKING = [it for it in product((True, False), repeat=3) if not all(it)]


def client(read: bool, write: bool, terminal: bool) -> Mapping[str, Any]:
    """The capabilities of a client that can do these, and nothing else."""
    return {"fs": {"readTextFile": read, "writeTextFile": write}, "terminal": terminal}


async def _lacking(trial: Trial, which: int, watched: str) -> str:
    """A turn with tools under each mixture without that ability. Each mixture is tried once in a run."""
    tried = 0
    for mixture in LACKING:
        if mixture[which] or trial.faults.of(watched) is not None:
            continue
        await trial.once(f"mixture {mixture}", partial(_turn, trial, client(*mixture)))
        tried += 1
    return f"{tried} mixtures of what a client offers"


async def _turn(trial: Trial, capabilities: Mapping[str, Any]) -> None:
    await trial.turns_work()
    async with trial.fresh(capabilities) as peer:
        session = await trial.session_id(peer)
        _, answer = await trial.turn(peer, session, "tools")
        if "result" not in answer.message:
            raise NotSeen(f"a prompt was answered {answer}")


@requirement(
    "CLIENTCAP-001",
    "mandatory",
    "no file is read by a client that does not offer it",
    rules=("8",),
    turns=True,
    watched=True,
)
async def read(trial: Trial) -> str:
    return await _lacking(trial, 0, "CLIENTCAP-001")


@requirement(
    "CLIENTCAP-002",
    "mandatory",
    "no file is written by a client that does not offer it",
    rules=("8",),
    turns=True,
    watched=True,
)
async def write(trial: Trial) -> str:
    return await _lacking(trial, 1, "CLIENTCAP-002")


@requirement(
    "CLIENTCAP-003",
    "mandatory",
    "no terminal is made by a client that does not offer it",
    rules=("8",),
    turns=True,
    watched=True,
)
async def terminal(trial: Trial) -> str:
    return await _lacking(trial, 2, "CLIENTCAP-003")


@requirement(
    "RULE-08",
    "advisory",
    "nothing else is asked of, or sent to, a client that does not offer it",
    rules=("8",),
    turns=True,
    watched=True,
)
async def nothing(trial: Trial) -> None:
    await trial.once("mixture of nothing", lambda: _turn(trial, {}))
