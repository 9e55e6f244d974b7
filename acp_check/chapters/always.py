"""What holds for every message of the whole run. The rows here only see to it that there is something to be seen."""

from acp_check.table import Broken, NotSeen, requirement
from acp_check.trial import Trial


@requirement(
    "TRANSPORT-001",
    "mandatory",
    "stdout carries JSON-RPC messages, one a line, and nothing else",
    rules=("29",),
    watched=True,
)
async def only_messages(trial: Trial) -> None:
    await trial.conversation()


@requirement(
    "TRANSPORT-002", "mandatory", "every line is UTF-8, whatever text passes through", rules=("29",), watched=True
)
async def utf8(trial: Trial) -> None:
    peer = await trial.conversation()
    if not peer.messages:
        raise NotSeen("nothing came")
    strange = "Grüße, 世界, 🦀, \u2028 and \x85"
    await peer.request(f"_acp_check/{strange}", {"text": strange})


@requirement(
    "JSONRPC-002", "mandatory", "an answer has a result or an error, never both and never neither", watched=True
)
async def one_of_two(trial: Trial) -> None:
    await trial.conversation()


@requirement(
    "SCHEMA-001", "mandatory", "every message is as the schema of its method has it", rules=("37",), watched=True
)
async def schema(trial: Trial) -> None:
    await trial.conversation()


@requirement(
    "SCHEMA-002", "advisory", "no key stands beside those of the schema but in `_meta`", rules=("34",), watched=True
)
async def no_other_keys(trial: Trial) -> None:
    await trial.conversation()


@requirement(
    "RULE-02",
    "advisory",
    "no update of a session is written before the answer that names it",
    rules=("2",),
    watched=True,
)
async def after_the_answer(trial: Trial) -> None:
    peer = await trial.conversation()
    for _ in range(3):
        await trial.session(peer)
    await peer.quiet()


@requirement("RULE-11", "advisory", "an empty result is {}, not null", rules=("11",), watched=True)
async def empty_results(trial: Trial) -> None:
    await trial.conversation()


@requirement("ERROR-001", "advisory", "an error has a code of 32 bits and one line of text", watched=True)
async def errors(trial: Trial) -> None:
    peer = await trial.conversation()
    for method, params in (("session/new", {"cwd": "a\nb", "mcpServers": []}), ("no/such\nmethod", {})):
        await peer.request(method, params, trial.limits.session)


@requirement("STDERR", "info", "what the agent has to say to nobody goes to stderr")
async def stderr(trial: Trial) -> str:
    peer = await trial.conversation()
    if (noise := trial.faults.of("TRANSPORT-001")) is not None:
        raise Broken(noise)
    written = trial.stderr_bytes + peer.process.stderr_bytes
    return f"{written:,} bytes on stderr in the whole run" if written else "nothing on stderr either"
