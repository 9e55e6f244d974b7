"""An answer out of bytes in memory: where they are cut, when they stop, and what is let go."""

from collections.abc import Sequence

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ars_acp.models.answer import Answer, Broken
from ars_acp.models.config import ModelConfig
from ars_acp.models.faults import Fault, Faults
from ars_acp.models.model import BATCH, Piece, Reply
from fixtures.model_modes import CALLS, USAGE, chunk, text, tokens
from fixtures.model_server import sse

CONFIG = ModelConfig("http://model.invalid/v1", first_byte_seconds=1.0, idle_seconds=0.1)
STOP = sse(chunk({}, "stop"))
DONE = sse("[DONE]")


class Bytes:
    """A `Source` of prepared parts; then it ends, breaks, or stays silent."""

    content_type = "text/event-stream"

    def __init__(self, parts: Sequence[bytes], ending: str = "end") -> None:
        self.parts = list(parts)
        self.ending = ending
        self.closed = 0

    async def receive(self) -> bytes | None:
        """See `Source.receive`."""
        await anyio.lowlevel.checkpoint()
        if self.parts:
            return self.parts.pop(0)
        if self.ending == "broken":
            raise Broken
        if self.ending == "silent":
            await anyio.sleep_forever()
        return None

    async def aclose(self) -> None:
        """See `Source.aclose`."""
        await anyio.lowlevel.checkpoint()
        self.closed += 1


def answer_to(source: Bytes) -> Answer:
    return Answer(source, CONFIG, Faults(()), None, anyio.current_time())


async def read(source: Bytes) -> tuple[list[list[Piece]], Reply]:
    answer = answer_to(source)
    lists = []
    with anyio.fail_after(5):
        while pieces := await answer.next():
            lists.append(pieces)
        return lists, answer.reply(None, 0.0)


async def fault_of(source: Bytes) -> Fault:
    with pytest.raises(Fault) as caught:
        await read(source)
    return caught.value


STREAM = b"".join(
    [
        sse(chunk({"reasoning": "hm 🌍"})),
        *(sse(text(f"токен{number} ")) for number in range(40)),
        b": comment\r\n\r\n",
        *(sse(chunk({"tool_calls": delta})) for delta in CALLS["interleaved"]),
        STOP,
        sse({"choices": [], "usage": USAGE}),
        DONE,
    ]
)


@settings(deadline=None)
@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_the_reply_is_the_same_however_the_stream_is_cut(cuts: list[int]):
    cuts = sorted(cuts)
    parts = [STREAM[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(STREAM)], strict=True)]
    lists, reply = anyio.run(read, Bytes([part for part in parts if part]))
    pieces = [piece for pieces in lists for piece in pieces]
    assert pieces == [("thought", "hm 🌍"), *(("text", f"токен{number} ") for number in range(40))]
    assert reply.text == "".join(delta for kind, delta in pieces if kind == "text")
    assert [call.id for call in reply.tool_calls] == ["c1", "c2"]
    assert reply.usage is not None


async def test_what_arrived_together_comes_together_and_at_most_a_batch():
    stream = b"".join(sse(text(f"tok{number} ")) for number in range(70))
    lists, reply = await read(Bytes([sse(text("first ")), stream, STOP]))
    assert [len(pieces) for pieces in lists] == [1, BATCH, BATCH, 6]
    assert reply.text == "first " + tokens(70)


async def test_a_chunk_of_many_parts_is_split_into_batches():
    parts = [{"type": "text", "text": f"{number} "} for number in range(100)]
    lists, _ = await read(Bytes([sse(chunk({"content": parts})), STOP]))
    assert [len(pieces) for pieces in lists] == [BATCH, BATCH, BATCH, 4]


async def test_pieces_before_a_broken_event_in_the_same_bytes_are_shown():
    answer = answer_to(Bytes([sse(text("shown")) + b"data: {x\n\n" + sse(text("never"))]))
    assert await answer.next() == [("text", "shown")]
    with pytest.raises(Fault) as caught:
        await answer.next()
    assert caught.value.error.details == {"partial_chars": 5, "reason": "json"}


@pytest.mark.parametrize("ending", ["end", "broken", "silent"])
@pytest.mark.parametrize("last", [STOP, STOP + b'data: {"usage": {"prompt_to', STOP + DONE, STOP.rstrip()])
async def test_after_the_finish_reason_no_ending_matters(last: bytes, ending: str):
    assert (await read(Bytes([sse(text("All said.")), last], ending)))[1].text == "All said."


@pytest.mark.parametrize(("ending", "reason"), [("end", "eof"), ("broken", "connection"), ("silent", "idle")])
async def test_without_a_finish_reason_the_ending_is_told(ending: str, reason: str):
    fault = await fault_of(Bytes([sse(text("abc"))], ending))
    assert fault.error.details == {"partial_chars": 3, "reason": reason}
    assert fault.again == (reason != "idle")


async def test_an_error_without_its_blank_line_is_still_an_error():
    fault = await fault_of(Bytes([b'data: {"error": {"message": "overloaded"}}']))
    assert "overloaded" in fault.error.message


async def test_no_byte_at_all_is_an_endpoint_that_cannot_be_reached():
    answer = Answer(Bytes([], "silent"), CONFIG, Faults(()), None, anyio.current_time() - 0.98)
    with anyio.fail_after(5), pytest.raises(Fault) as caught:
        await answer.next()
    assert (caught.value.error.code, caught.value.error.details) == ("LLM_ERROR", {"reason": "connection"})


async def test_a_whole_reply_may_come_in_parts():
    body = b' \n{"choices": [{"message": {"role": "assistant", "content": "All at once."}, "finish_reason": "stop"}]}'
    assert (await read(Bytes([body[:9], body[9:40], body[40:]])))[0] == [[("text", "All at once.")]]


@pytest.mark.parametrize("body", [b"{x", b'{"choices": 7}', b'{"error": {"message": "no"}}'])
async def test_a_whole_body_that_is_no_reply_is_an_interruption(body: bytes):
    assert (await fault_of(Bytes([body]))).error.code == "LLM_STREAM_INTERRUPTED"


async def test_a_body_is_read_to_its_end_so_that_its_connection_can_be_used_again():
    source = Bytes([sse(text("a")) + STOP + DONE, b": the end\n\n"])
    await read(source)
    assert source.parts == []


async def test_closing_closes_the_source_under_cancellation_too():
    source = Bytes([], "silent")
    with anyio.CancelScope() as scope:
        scope.cancel()
        await answer_to(source).aclose()
    assert source.closed == 1


@pytest.mark.parametrize("beginning", [b"data: ", b"{"])
async def test_what_has_no_end_is_given_up_at_64_mib(beginning: bytes):
    fault = await fault_of(Bytes([beginning, *[b"x" * (1 << 20)] * 65]))
    assert fault.error.details["reason"] == "size"
