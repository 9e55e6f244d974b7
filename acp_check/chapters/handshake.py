"""initialize: versions, capabilities, who the agent is, and what comes before it."""

from acp_check.peer import Answer
from acp_check.table import Broken, requirement
from acp_check.trial import Trial, fits
from acp_check.watch import quoted

UNKNOWN_VERSIONS = (2, 999)
INVALID_REQUEST = -32600


@requirement("INIT-001", "mandatory", "initialize is answered with a protocol version and the agent's capabilities")
async def initialize(trial: Trial) -> None:
    async with trial.fresh(handshake=False) as peer:
        hello = await trial.hello(peer)
        fits("InitializeResponse", hello, "the result of initialize")


@requirement("INIT-002", "mandatory", "a version that the agent speaks is answered with that version")
async def agreed(trial: Trial) -> str:
    peer = await trial.peer()
    if (version := peer.hello.get("protocolVersion")) != 1:
        raise Broken(f"version 1 was sent, {version!r} came")
    return "version 1"


@requirement("INIT-003", "mandatory", "a version that it does not speak is answered with its own latest one")
async def not_echoed(trial: Trial) -> str:
    told = []
    for version in UNKNOWN_VERSIONS:
        async with trial.fresh(handshake=False) as peer:
            params = {"protocolVersion": version, "clientCapabilities": {}}
            answer = await peer.request("initialize", params, trial.limits.start)
            found = _version(answer)
            if found is None and version != 999:
                continue  # v2 itself may be refused by an error
            if found in (None, version) and version == 999:
                raise Broken(f"version {version} was sent, the answer was {answer}")
            told.append(f"{version} → {found}")
    return ", ".join(told)


def _version(answer: Answer) -> object:
    return answer.result.get("protocolVersion") if isinstance(answer.result, dict) else None


@requirement("INIT-004", "advisory", "the agent says its name and version")
async def info(trial: Trial) -> str:
    found = (await trial.peer()).hello.get("agentInfo")
    if not isinstance(found, dict) or not found.get("name") or not found.get("version"):
        raise Broken(f"agentInfo is {quoted(found)}")
    return f"{found['name']} {found['version']}"


@requirement("INIT-EARLY", "advisory", "a request before initialize is answered with an error, and harms nothing")
async def early(trial: Trial) -> str:
    async with trial.fresh(handshake=False) as peer:
        peer.notify("session/cancel", {"sessionId": "nobody"})
        answer = await peer.request("session/new", trial.new_params(), trial.limits.start)
        if "error" not in answer.message:
            raise Broken(f"session/new before initialize was answered {answer}, expected {INVALID_REQUEST}")
        await trial.hello(peer)
        return f"answered {answer.code}"


@requirement("INIT-TWICE", "advisory", "a second initialize is answered, and the connection goes on")
async def twice(trial: Trial) -> None:
    async with trial.fresh() as peer:
        params = {"protocolVersion": 1, "clientCapabilities": peer.capabilities}
        await peer.request("initialize", params, trial.limits.start)
        await trial.fence(peer, "a second initialize")
