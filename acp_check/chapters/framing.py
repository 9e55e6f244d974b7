"""Lines and bytes: what an agent must survive on its stdin, and what it must read all the same."""

import json
import random
from functools import partial

import anyio
import anyio.lowlevel

from acp_check.chapters.wire import INVALID_PARAMS
from acp_check.peer import Peer
from acp_check.report import one_line
from acp_check.table import Broken, NotSeen, requirement
from acp_check.trial import Trial
from acp_check.watch import key_of, quoted

MIB = 1 << 20
LINES = 40
ENVELOPES = (b"[]", b'[{"jsonrpc":"2.0","id":1,"method":"session/list"}]', b"null", b"1", b'"s"', b"{}")
TEXT = "🦀 Привет, 世界! "
SHOWN = 60
METHOD = "_acp_check/framing"


def request(identity: object, params: str = "{}", method: str = METHOD) -> bytes:
    """A request as bytes, without the newline; the params are text, so that they may be no JSON."""
    head = json.dumps({"jsonrpc": "2.0", "id": identity, "method": method}, ensure_ascii=False)
    return f'{head[:-1]},"params":{params}}}'.encode()


class Tries:
    """Lines given one by one; an agent that one of them ends is started again for the next."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.faults: list[str] = []
        self.refused = 0
        self.last_words = ""

    async def give(self, data: bytes, what: str = "", *, identity: object = None, refusable: bool = True) -> None:
        """Writes lines; with `identity` they are a request: to be answered under it or, `refusable`, under none."""
        what = what or one_line(data[:SHOWN].decode(errors="backslashreplace"))
        peer = await self.trial.peer()
        strays = len(peer.strays)
        if identity is not None:
            peer.watch.sent({"id": identity, "method": METHOD})
        peer.write(data if data.endswith(b"\n") else data + b"\n")
        try:
            await self.trial.fence(peer, what)
        except Broken as why:
            self.faults.append(f"{what} ended it ({peer.process.exit})" if peer.gone else str(why))
            self.last_words = peer.last_words()
            await self.trial.drop()
            return
        refused = len(peer.strays) - strays
        self.refused += refused
        if identity is not None and key_of(identity) not in peer.answers and not (refusable and refused):
            self.faults.append(f"{what} was refused" if refused else f"{what} had no answer")

    def done(self) -> None:
        """Raises `Broken` where one of the lines did harm."""
        if self.faults:
            raise Broken("; ".join(self.faults) + self.last_words)


@requirement("FRAME-01", "advisory", "lines that are no JSON end nothing: every valid one between them is answered")
async def no_json(trial: Trial) -> str:
    peer = await trial.peer()
    chance = random.Random(1)
    whole = request("cut")
    for number in range(LINES):
        line = whole[: chance.randrange(1, len(whole))] if number % 2 else chance.randbytes(24).replace(b"\n", b"")
        peer.write(line + b"\n")
        peer.begin(METHOD, {}, identity=f"valid-{number}")
    sent = f"{LINES} broken lines between {LINES} valid ones"
    try:
        await trial.fence(peer, sent)
    except Broken:
        if not peer.gone:
            raise
    answered = sum(key_of(f"valid-{number}") in peer.answers for number in range(LINES))
    if answered < LINES:
        ended = f", then it ended ({peer.how_it_ended()})" if peer.gone else ""
        raise Broken(f"of {sent} {answered} were answered{ended}")
    return f"{len(peer.strays)} answered as parse errors"


@requirement("FRAME-02", "advisory", "arrays, null, numbers, strings and empty objects end nothing", rules=("31",))
async def envelopes(trial: Trial) -> str:
    tries = Tries(trial)
    for line in ENVELOPES:
        await tries.give(line)
    tries.done()
    return f"{tries.refused} of {len(ENVELOPES)} answered as invalid requests"


@requirement("FRAME-03", "advisory", "a request with a wrong envelope is answered under its id", rules=("30",))
async def wrong_envelope(trial: Trial) -> None:
    tries = Tries(trial)
    for identity, more in (
        ("method-7", {"jsonrpc": "2.0", "method": 7}),
        ("no-version", {"method": METHOD}),
        ("version-1", {"jsonrpc": "1.0", "method": METHOD}),
    ):
        await tries.give(json.dumps({**more, "id": identity}).encode(), identity=identity)
    tries.done()


@requirement(
    "FRAME-04",
    "advisory",
    "CRLF, blank lines and a byte order mark are taken, NUL and bad UTF-8 survived",
    rules=("29",),
)
async def bytes_around(trial: Trial) -> None:
    tries = Tries(trial)
    await tries.give(request("crlf") + b"\r\n", "a line that ends in CRLF", identity="crlf", refusable=False)
    await tries.give(b"\n\r\n  \n" + request("blank"), "a request after blank lines", identity="blank", refusable=False)
    marked = b"\xef\xbb\xbf" + request("bom")
    await tries.give(marked, "a line that begins with a byte order mark", identity="bom", refusable=False)
    await tries.give(b"\0" + request(None), "a line that begins with NUL")
    await tries.give(b'{"x":"\xff\xfe"}', "a line with bytes that are not UTF-8")
    tries.done()


@requirement("FRAME-05", "advisory", "writes may cut a line, and a character, anywhere", rules=("29",))
async def cut_anywhere(trial: Trial) -> None:
    peer = await trial.peer()
    first, second = f"{TEXT}1", f"{TEXT}2"
    for identity in (first, second, "two-1", "two-2"):
        peer.watch.sent({"id": identity, "method": METHOD})
    for byte in request(first) + b"\n" + request(second) + b"\n":
        peer.write(bytes((byte,)))
        await anyio.lowlevel.checkpoint()
    peer.write(request("two-1") + b"\n" + request("two-2") + b"\n")
    await trial.fence(peer, "lines written byte by byte")
    for identity in (first, second, "two-1", "two-2"):
        if key_of(identity) not in peer.answers:
            raise Broken(f"a line written in pieces was not answered under its id {identity!r}")
    tries = Tries(trial)
    await tries.give(request("joined-1") + request("joined-2"), "two messages without a newline between them")
    tries.done()


def _heard(peer: Peer, identity: str, strays: int) -> bool:
    """Whether the request was answered, or something refused without an id."""
    return key_of(identity) in peer.answers or len(peer.strays) > strays


@requirement("FRAME-06", "advisory", "long lines are read", rules=("33",))
async def long_lines(trial: Trial) -> str:
    largest = trial.subject.line_mib
    for size in sorted({0.07, 1.0, largest}):
        if size > largest:
            continue
        peer = await trial.peer()
        identity = f"long-{size:g}"
        peer.watch.sent({"id": identity, "method": METHOD})
        peer.write(request(identity, json.dumps({"x": "y" * int(size * MIB)})) + b"\n")
        with anyio.move_on_after(trial.limits.turn):
            await peer.process.written()
        strays, what = len(peer.strays), f"the answer to a request of {size:g} MiB"
        await peer.until(partial(_heard, peer, identity, strays), what, trial.limits.turn)
        if len(peer.strays) > strays:
            raise Broken(f"a request of {size:g} MiB was refused: {quoted(peer.strays[-1])}")
        answer = await peer.answer(identity)
        if "result" not in answer.message and answer.code not in (-32601, -32602):
            raise Broken(f"a request of {size:g} MiB was answered {answer}")
        await trial.fence(peer, f"a line of {size:g} MiB")
    return f"up to {largest:g} MiB"


@requirement("FRAME-07", "advisory", "a line that never ends does not fill the memory", rules=("33",))
async def endless(trial: Trial) -> str:
    size = trial.subject.endless_mib
    if not size:
        raise NotSeen("not tried; --endless-line MIB tries it")
    async with trial.fresh() as peer:
        before = peer.process.resident()
        if before is None:
            raise NotSeen("the memory of a process cannot be read here")
        most = before
        chunk = b"x" * MIB
        for _ in range(int(size)):
            peer.write(chunk)
            with anyio.move_on_after(trial.limits.answer):
                await peer.process.written()
            if peer.gone:
                return "it closed the connection"
            most = max(most, peer.process.resident() or 0)
        rise = (most - before) / MIB
        if rise > size / 2:
            raise Broken(f"{size:g} MiB without a newline made it grow by {rise:.0f} MiB")
        return f"{size:g} MiB made it grow by {rise:.0f} MiB"


@requirement("FRAME-08", "advisory", "depth, long numbers, NaN and doubled keys end nothing")
async def strange_json(trial: Trial) -> str:
    tries = Tries(trial)
    for depth in (1_000, 100_000):
        params = '{"x":' + "[" * depth + "]" * depth + "}"
        await tries.give(request(f"deep-{depth}", params), f"{depth:,} arrays in each other", identity=f"deep-{depth}")
    await tries.give(request("digits", '{"x":' + "9" * 5000 + "}"), "a number of 5,000 digits", identity="digits")
    await tries.give(request("doubled", '{"x":1,"x":2}'), "a key twice in one object", identity="doubled")
    await tries.give(b'{"x":NaN}', "NaN")
    tries.done()
    return f"{tries.refused} refused"


@requirement(
    "FRAME-09",
    "advisory",
    "ids of every kind are echoed exactly or refused, and no other id is answered",
    rules=("30",),
)
async def strange_ids(trial: Trial) -> None:
    tries = Tries(trial)
    for text in ("null", "1.5", str(2**53 + 1), '{"a":1}', "[1]"):
        peer = await trial.peer()
        seen = len(peer.messages)
        identity = json.loads(text)
        # One that was rounded is answered to nobody: that is said here, and no other answer's fault.
        rounded = int(float(identity)) if isinstance(identity, int) else identity
        peer.watch.lenient |= {key_of(identity), key_of(rounded)}
        line = f'{{"jsonrpc":"2.0","id":{text},"method":"{METHOD}","params":{{}}}}'
        await tries.give(line.encode(), f"a request with the id {text}")
        for message in peer.messages[seen:]:
            found = message.get("id")
            fenced = key_of(found) in peer.answers
            if "method" not in message and not fenced and found is not None and repr(found) != repr(identity):
                tries.faults.append(f"a request with the id {text} was answered under {quoted(message)}")
    peer = await trial.peer()
    key = key_of("twice")
    peer.watch.lenient.add(key)
    await tries.give(request("twice") + b"\n" + request("twice"), "two requests with one id", identity="twice")
    tries.done()


@requirement(
    "FRAME-10", "advisory", "answers to nothing and unknown notifications are ignored, and not answered", rules=("31",)
)
async def stray_answers(trial: Trial) -> None:
    peer = await trial.peer()
    await trial.fence(peer, "the hand-shake")
    before = len(peer.messages)
    for message in (
        {"id": 990088, "result": {}},
        {"id": 990088, "result": {}},
        {"id": 990089, "error": {"code": 1, "message": "no"}},
        {"id": "stray", "error": "rubbish"},
        {"id": None, "error": {"code": -32700, "message": "Parse error"}},
        {"method": "no/such"},
        {"method": "session/cancel"},
    ):
        peer.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
    await trial.fence(peer, "answers to nothing and unknown notifications")
    answers = [it for it in peer.messages[before:] if "method" not in it]
    if len(answers) > 1:
        raise Broken(f"an answer to nothing, or a notification, was answered {quoted(answers[0])}")


@requirement("FRAME-11", "advisory", "params that are wrong or missing are answered -32602")
async def wrong_params(trial: Trial) -> None:
    peer = await trial.peer()
    await trial.session(peer)
    wrong: list[str] = []
    for method, params in (
        ("session/new", {}),
        ("session/new", {"cwd": 7, "mcpServers": []}),
        ("session/new", {"cwd": trial.cwd, "mcpServers": 7}),
        ("session/new", [1]),
        ("session/prompt", {"sessionId": 7}),
    ):
        answer = await peer.request(method, params, trial.limits.session)
        if answer.code != INVALID_PARAMS:
            wrong.append(f"{method} {quoted(params)} was answered {answer}")
    if wrong:
        raise Broken("; ".join(wrong))


@requirement("FRAME-12", "advisory", "half of a surrogate pair in a text is survived")
async def surrogates(trial: Trial) -> None:
    tries = Tries(trial)
    await tries.give(request("half", '{"x":"a\\ud800b"}'), "a lone \\ud800 in a text", identity="half")
    tries.done()
    if not trial.subject.turns:
        return
    await trial.turns_work()
    peer = await trial.peer()
    session = await trial.session_id(peer)
    blocks = [*trial.blocks("say"), {"type": "text", "text": "\ud800"}]
    await trial.begin_turn(peer, session, blocks).end()
    await trial.fence(peer, "a prompt with a lone \\ud800")
