"""Modes and options of a session, where they are offered: choosing, refusing, telling."""

from typing import Any

from acp_check.chapters.wire import INVALID_PARAMS
from acp_check.hands import FULL
from acp_check.peer import Json, Peer
from acp_check.table import Broken, NotOffered, requirement
from acp_check.trial import Trial, code_of
from acp_check.watch import quoted

MOST_VALUES = 4  # of one option; an agent may list a hundred models


async def _modes(trial: Trial, peer: Peer) -> tuple[str, list[str]]:
    """A session, and the modes that it offers."""
    session = await trial.session(peer)
    modes = session.get("modes") or {}
    found = [it["id"] for it in modes.get("availableModes") or []]
    if not found:
        raise NotOffered("session/new offers no modes")
    if modes["currentModeId"] not in found:
        raise Broken(f"currentModeId {modes['currentModeId']!r} is none of availableModes {found}")
    return session["sessionId"], found


@requirement("MODES-001", "conditional", "each mode that is offered can be chosen, and the choice is told")
async def modes(trial: Trial) -> str:
    peer = await trial.peer()
    session, found = await _modes(trial, peer)
    for mode in [*found, found[0]]:
        await peer.ask("session/set_mode", {"sessionId": session, "modeId": mode}, trial.limits.session)
    await peer.quiet()
    told = [it.update for it in peer.updates if it.session == session and it.kind == "current_mode_update"]
    if told and told[-1].get("currentModeId") != found[0]:
        raise Broken(f"the mode {found[0]!r} was chosen last, and told was {quoted(told[-1])}")
    return ", ".join(found)


@requirement("MODES-002", "conditional", "a mode that is not offered is refused with -32602")
async def no_mode(trial: Trial) -> None:
    peer = await trial.peer()
    session, _ = await _modes(trial, peer)
    code_of(await peer.request("session/set_mode", {"sessionId": session, "modeId": "acp-check-none"}), INVALID_PARAMS)


async def _options(trial: Trial, peer: Peer) -> tuple[str, list[Json]]:
    session = await trial.session(peer)
    found = session.get("configOptions") or []
    if not found:
        raise NotOffered("session/new offers no configOptions")
    return session["sessionId"], found


def values(option: Json) -> list[Any]:
    """What can be chosen of an option, groups opened; the current value is the last of them."""
    if option["type"] == "boolean":
        return [not option["currentValue"], option["currentValue"]]
    found = [it["value"] for choice in option["options"] for it in choice.get("options", [choice])]
    return [*[it for it in found if it != option["currentValue"]][:MOST_VALUES], option["currentValue"]]


async def choose(trial: Trial, peer: Peer, session: str, option: Json, value: Any) -> list[Json]:
    """Chooses, and returns the list of the answer."""
    chosen = {"type": "boolean", "value": value} if isinstance(value, bool) else {"value": value}
    params = {"sessionId": session, "configId": option["id"], **chosen}
    found: list[Json] = (await peer.ask("session/set_config_option", params, trial.limits.session))["configOptions"]
    return found


@requirement(
    "CONFIG-001", "conditional", "a chosen option is answered with the whole list, the choice in it", rules=("10",)
)
async def config(trial: Trial) -> str:
    peer = await trial.peer()
    session, options = await _options(trial, peer)
    known = {it["id"] for it in options}
    for option in options:
        for value in values(option):
            told = await choose(trial, peer, session, option, value)
            current = {it["id"]: it["currentValue"] for it in told}
            if current.get(option["id"]) != value:
                raise Broken(f"{option['id']} was set to {value!r}, the answer has {current}")
            # One choice may bring others into the list, a model's own options for instance; it takes none for good.
            if len(told) == 1 < len(known):
                raise Broken(f"{option['id']} was set, the answer has that option alone of {', '.join(sorted(known))}")
    return ", ".join(sorted(known))


@requirement("RULE-10", "advisory", "the mode option and the modes agree", rules=("10",))
async def agree(trial: Trial) -> None:
    peer = await trial.peer()
    session, modes = await _modes(trial, peer)
    _, options = await _options(trial, peer)
    option = next((it for it in options if it.get("category") == "mode" and it["type"] == "select"), None)
    if option is None:
        raise NotOffered("there are modes, and no option of the category mode")
    for mode in (modes[-1], modes[0]):
        told = await choose(trial, peer, session, option, mode)
        await peer.quiet()
        updates = [it.update for it in peer.updates if it.session == session and it.kind == "current_mode_update"]
        if {it["id"]: it["currentValue"] for it in told}[option["id"]] != mode:
            raise Broken(f"the option {option['id']} was set to {mode!r}, the answer has {quoted(told)}")
        if updates and updates[-1].get("currentModeId") != mode:
            raise Broken(f"the option {option['id']} was set to {mode!r}, told was {quoted(updates[-1])}")


@requirement("CONFIG-002", "conditional", "an option or a value that is not offered is refused with -32602")
async def no_option(trial: Trial) -> None:
    peer = await trial.peer()
    session, options = await _options(trial, peer)
    wrong: list[Json] = [{"configId": "acp-check-none", "value": "x"}]
    wrong += [{"configId": it["id"], "value": "acp-check-none"} for it in options if it["type"] == "select"]
    faults = []
    for params in wrong:
        answer = await peer.request("session/set_config_option", {"sessionId": session, **params}, trial.limits.session)
        if answer.code != INVALID_PARAMS:
            faults.append(f"{quoted(params)} was answered {answer}")
    if faults:
        raise Broken("; ".join(faults))


@requirement(
    "CONFIG-003", "mandatory", "switches are offered only to a client that shows them", rules=("8",), watched=True
)
async def switches(trial: Trial) -> None:
    without = {**FULL, "session": {}}
    async with trial.fresh(without) as peer:
        await trial.session(peer)
        await peer.quiet()
