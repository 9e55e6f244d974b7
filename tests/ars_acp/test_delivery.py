"""What a client has missed is sent again, from where it says it stands; and turns taken back by request."""

from typing import Any

import pytest

from acp_wire import methods
from acp_wire.connection import Call
from acp_wire.errors import INVALID_PARAMS, RpcError
from acp_wire.schema.extensions import AckRequest
from ars_acp import delivery, replay
from tests.support.in_memory import Client, House, house

Json = dict[str, Any]
SCRIPT = """
=== turn
think: hm hm hm
say: I look at it
call read_file {"path": "a.py"}
--- step
say: and this is what I found
=== turn
call write_file {"path": "a.py", "content": "two\\n"}
--- step
say: written
=== turn repeat
say: well
"""


async def missed(it: House, **after: int) -> Any:
    return await it.wire.request(methods.ARS_SESSION_REPLAY, {"sessionId": it.session, **after})


async def all_missed(it: House, after: int) -> list[Json]:
    """The raw updates of every page."""
    found: list[Json] = []
    while True:
        await missed(it, after=after)
        result = it.stream.sent[-1]["result"]
        found += result["updates"]
        after = result["last"]
        if not result["more"]:
            return found


def text_of(updates: list[Json], message: str | None = None) -> str:
    chunks = [it["update"] for it in updates if "chunk" in it["update"]["sessionUpdate"]]
    return "".join(chunk["content"]["text"] for chunk in chunks if message in (None, chunk.get("messageId")))


def with_file() -> Client:
    client = Client()
    client.files["/project/a.py"] = "one\n"
    return client


async def test_from_any_number_on_a_replay_shows_what_was_shown_live() -> None:
    async with house(SCRIPT, client=with_file()) as it:
        await it.prompt("go")
        live = list(it.client.updates)
        for seen in range(len(live)):
            after = live[seen]["_meta"]["ars/seq"]
            again = await all_missed(it, after)
            assert text_of(again) == text_of(live[seen + 1 :])
            for message in {update["update"].get("messageId") for update in live} - {None}:
                assert text_of(live[: seen + 1] + again, message) == text_of(live, message), "ids go on"
            assert [u["update"] for u in again if "toolCallId" in u["update"]] == [
                u["update"] for u in live[seen + 1 :] if "toolCallId" in u["update"]
            ]
            metas = [update["_meta"] for update in again]
            assert [meta["ars/prev"] for meta in metas] == [after, *(meta["ars/seq"] for meta in metas)][: len(metas)]


@pytest.mark.parametrize("entries", [1, 2, 7])
async def test_pages_are_the_whole_whatever_their_size(entries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async with house(SCRIPT, client=with_file()) as it:
        await it.prompt("go")
        whole = await all_missed(it, 0)
        monkeypatch.setattr(replay, "PAGE_ENTRIES", entries)
        paged = await all_missed(it, 0)
        assert text_of(paged) == text_of(whole)
        assert [u["update"] for u in paged if "toolCallId" in u["update"]] == [
            u["update"] for u in whole if "toolCallId" in u["update"]
        ]


async def test_a_replay_that_names_no_number_starts_at_the_acknowledged_one_in_a_later_process_too() -> None:
    async with house(SCRIPT, client=with_file()) as it:
        await it.prompt("go")
        half = it.client.updates[4]["_meta"]["ars/seq"]
        for seq in (half, half - 2):  # it is cumulative: the highest counts
            await it.wire.request(methods.ARS_SESSION_ACK, {"sessionId": it.session, "seq": seq})
        first = (await missed(it)).updates
        assert first[0].meta["ars/prev"] == half
        await it.wire.request(methods.SESSION_CLOSE, {"sessionId": it.session})
        await it.wire.request(methods.SESSION_RESUME, {"sessionId": it.session, "cwd": "/project", "mcpServers": []})
        again = (await missed(it)).updates
        assert [update.meta for update in again][: len(first)] == [update.meta for update in first]


async def test_acknowledgements_in_the_middle_of_a_turn_cost_an_entry_in_a_thousand_numbers() -> None:
    async with house("=== turn\nsay: " + "word " * 1500 + "\n=== turn repeat\nsay: well\n") as it:
        await it.prompt("go")
        session = it.agent._sessions.active[it.session]
        session.prompts.append(Call(None, "session/prompt", {}))
        before = len(await it.entries())
        for params in it.client.updates:
            delivery.ack(session, AckRequest(session_id=it.session, seq=params["_meta"]["ars/seq"]))
        session.prompts.clear()
        assert len(await it.entries()) == before + 1
        assert session.acknowledged == it.client.updates[-1]["_meta"]["ars/seq"]


async def test_a_number_that_the_session_never_came_to_is_refused() -> None:
    async with house(SCRIPT) as it:
        with pytest.raises(RpcError, match="no entry 1000, its last is 1"):
            await missed(it, after=1000)


async def test_a_rewind_by_turns_puts_files_back_and_says_so() -> None:
    client = with_file()
    async with house(SCRIPT, client=client, mode="accept-edits") as it:
        await it.prompt("go")
        await it.prompt("write")
        assert client.files["/project/a.py"] == "two\n"
        await it.wire.request(methods.ARS_SESSION_REWIND, {"sessionId": it.session})
        result = it.stream.sent[-1]["result"]
        assert client.files["/project/a.py"] == "one\n"
        assert result["turns"] == 1
        assert result["files"] == [{"path": "/project/a.py", "outcome": "restored"}]
        assert result["commands"] == 0
        assert "written" not in text_of(await all_missed(it, 0))
        gone = (await missed(it, after=result["to"] + 1)).taken_back
        assert [(it.after, it.through > it.after) for it in gone] == [(result["to"], True)]


async def test_a_rewind_to_a_number_takes_back_every_turn_that_began_later() -> None:
    async with house(SCRIPT, client=with_file(), mode="accept-edits") as it:
        for text in ("one", "two", "three"):
            await it.prompt(text)
        first_turn = next(n for n, entry in enumerate(await it.entries(), 1) if entry["type"] == "turn")
        answer = await it.wire.request(methods.ARS_SESSION_REWIND, {"sessionId": it.session, "toSeq": first_turn})
        assert answer.turns == 2
        said = [m["content"] for m in it.agent._sessions.active[it.session].history.messages if m["role"] == "user"]
        assert said == ["one"]


@pytest.mark.parametrize("params", [{"turns": 2}, {"toSeq": 99}, {"turns": 1, "toSeq": 1}])
async def test_a_rewind_that_cannot_be_is_refused_and_changes_nothing(params: Json) -> None:
    async with house(SCRIPT, client=with_file()) as it:
        await it.prompt("go")
        before = await it.entries()
        with pytest.raises(RpcError) as error:
            await it.wire.request(methods.ARS_SESSION_REWIND, {"sessionId": it.session, **params})
        assert error.value.code == INVALID_PARAMS
        assert await it.entries() == before
