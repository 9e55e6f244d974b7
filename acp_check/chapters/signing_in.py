"""Signing in: the ways that are offered, and what is answered to them."""

from acp_check.table import Broken, NotOffered, NotSeen, requirement
from acp_check.trial import AUTH_REQUIRED, Trial
from acp_check.watch import quoted


@requirement("AUTH-001", "advisory", "each way to sign in has an id and a name")
async def ways(trial: Trial) -> str:
    methods = (await trial.peer()).hello.get("authMethods") or []
    if not methods:
        raise NotOffered("authMethods is empty")
    for it in methods:
        if not it.get("id") or not it.get("name"):
            raise Broken(f"authMethods has {quoted(it)}")
    names = [it["id"] for it in methods]
    if len(set(names)) < len(names):
        raise Broken(f"authMethods has an id twice: {', '.join(names)}")
    return ", ".join(names)


@requirement(
    "AUTH-002",
    "mandatory",
    "signing in by a terminal is offered only to a client that has one for it",
    rules=("8",),
    watched=True,
)
async def terminal(trial: Trial) -> None:
    await trial.peer()


@requirement("AUTH-003", "conditional", "authenticate with a way that is offered is answered with an object")
async def offered(trial: Trial) -> str:
    peer = await trial.peer()
    methods = peer.hello.get("authMethods") or []
    if not methods:
        raise NotOffered("authMethods is empty")
    chosen = trial.subject.sign_in
    if chosen is None:
        raise NotSeen("which way works without a person is not known; --sign-in METHOD says it")
    if chosen not in [it["id"] for it in methods]:
        raise NotSeen(f"{chosen!r} is none of authMethods")
    answer = await peer.request("authenticate", {"methodId": chosen}, trial.limits.session)
    if not isinstance(answer.result, dict):
        raise Broken(f"authenticate {chosen!r} was answered {answer}")
    return chosen


@requirement("AUTH-004", "conditional", "authenticate with a way that is not offered is refused")
async def not_offered(trial: Trial) -> str:
    async with trial.fresh() as peer:
        if not peer.hello.get("authMethods"):
            raise NotOffered("authMethods is empty")
        answer = await peer.request("authenticate", {"methodId": "acp-check-none"}, trial.limits.session)
        if "error" not in answer.message:
            raise Broken(f"authenticate with an unknown way was answered {answer}")
        return f"answered {answer.code}"


@requirement(
    "AUTH-005", "advisory", "who is asked to sign in has been told a way to do it", rules=("15",), watched=True
)
async def told(trial: Trial) -> str | None:
    peer = await trial.peer()
    answer = await peer.request("session/new", trial.new_params(), trial.limits.session)
    return "a sign-in is asked for" if answer.code == AUTH_REQUIRED else None
