"""Tool calls that a client of the gateway carries out itself: told in the session's feed, answered by whoever does it.

What the model reads of a result: its `content` where that is text, else all of it as JSON; of an error its `message`.
A review's result that is a `content` and nothing else is the patch that a person accepts, where whoever answers may
decide that: the agent then need not ask once more.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
import orjson

from acp_wire.build_extensions import tool_result
from ars_gateway.sessions.feed import Feeds
from ars_gateway.sessions.rooms import Room
from connector import ToolCall

Json = dict[str, Any]

# Answers that are remembered, so that one which comes again is known.
MOST_REMEMBERED = 1_000
FAILED = "TOOL_FAILED"
REVIEW = "apply_patch_review"


class Unknown(Exception):
    """Nobody waits for that call: there never was one of that id, or its time is over."""


class Twice(Exception):
    """That call has another answer already."""


@dataclass(eq=False)
class Waiting:
    """One call of `tool` that is not answered yet."""

    tool: str
    result: Json | None = None
    answered: anyio.Event = field(default_factory=anyio.Event)
    told: bool = False


class Hands:
    """The calls of all sessions. It belongs to the event loop's thread: to answer is one step."""

    def __init__(self, feeds: Feeds) -> None:
        self._feeds = feeds
        # By transcript and the call's id.
        self._waiting: dict[tuple[str, str], Waiting] = {}
        self._answered: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    async def carry_out(self, room: Room, run: str, call: ToolCall) -> Json:
        """Asks whoever follows the session, and waits for the answer: the result of `_ars/tool/call`.

        The agent bounds the wait: it cancels. One that asks again for the same call may get the first one's answer.
        """
        key, feed = (room.session_id, call.id), self._feeds.of(room.session_id)

        def over(one: Waiting) -> None:
            if not one.told:
                one.told = True
                feed.add(run, "called", {"call_id": call.id, "ok": one.result and one.result["ok"]})

        if (former := self._waiting.get(key)) is not None:
            over(former)  # it is just being given up
            former.result = tool_result("it was asked for again", ok=False, code=FAILED)
            former.answered.set()
        waiting = self._waiting[key] = Waiting(call.name)
        self._answered.pop(key, None)
        feed.add(run, "call", {"call_id": call.id, "tool": call.name, "arguments": call.arguments})
        try:
            await waiting.answered.wait()
        finally:
            if self._waiting.get(key) is waiting:
                del self._waiting[key]
            over(waiting)
        assert waiting.result is not None, "set before the event"
        return waiting.result

    def waits(self, room: Room) -> Callable[[str], bool]:
        """What says of a call of that session whether its answer is still waited for."""
        return lambda call_id: (room.session_id, call_id) in self._waiting

    def answer(self, room: Room, call_id: str, said: Json, *, may_approve: bool = False) -> None:
        """Answers a call, with `result` or `error`; `may_approve` says whether who answers may decide what agents do.

        The same answer again is none; raises `Unknown` and `Twice`.
        """
        key, digest = (room.session_id, call_id), hashlib.sha256(orjson.dumps(said)).digest()
        if (former := self._answered.get(key)) is not None:
            if former != digest:
                raise Twice
            return
        waiting = self._waiting.get(key)
        if waiting is None:
            raise Unknown
        waiting.result = result_of(said, accepts=may_approve and waiting.tool == REVIEW)
        waiting.answered.set()
        self._answered[key] = digest
        if len(self._answered) > MOST_REMEMBERED:
            self._answered.popitem(last=False)


def result_of(said: Json, *, accepts: bool = False) -> Json:
    """What the agent is told of `{"result": …}` or `{"error": {"message", "code"?}}`; `accepts` of a patch's review."""
    if (error := said.get("error")) is not None:
        return tool_result(error["message"], ok=False, raw=error, code=error.get("code") or FAILED)
    result: Json = said["result"]
    content = result.get("content")
    if not isinstance(content, str):
        return tool_result(orjson.dumps(result).decode(), raw=result)
    # What else it holds may say anything, also no.
    return tool_result(content, raw=result, approved=accepts and len(result) == 1)
