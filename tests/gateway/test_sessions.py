"""sessions.*: the list, what is chosen, the beginning anew and the end of a session."""

from pathlib import Path

import pytest

from tests.gateway.client import Client, Json, Refusal
from tests.gateway.conftest import Running, Start
from tests.gateway.talking import GUEST, admit_guest, last, mock, said, send, text_of


async def patch(client: Client, key: str, **changed: object) -> Json:
    answer: Json = await client.request("sessions.patch", {"key": key, **changed})
    return answer["entry"]


async def test_a_patch_makes_a_session_and_keeps_what_was_chosen(running: Running):
    async with running.client() as one:
        assert (await one.request("sessions.list", {}))["sessions"] == []
        chosen = {"label": "Golden Session", "thinkingLevel": "low", "responseUsage": "tokens"}
        entry = await patch(one, "agent:main:golden-1", **chosen)
        assert {name: entry[name] for name in chosen} == chosen
        entry = await patch(one, "golden-1", model="nope/none", sendPolicy="deny")
        assert (entry["providerOverride"], entry["modelOverride"], entry["sendPolicy"]) == ("nope", "none", "deny")
        entry = await patch(one, "golden-1", label=None, model=None, sendPolicy=None, thinkingLevel="off")
        assert entry.keys() == {"sessionId", "updatedAt", "responseUsage"}


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (
            {"thinkingLevel": "bogus"},
            r"^INVALID_REQUEST: invalid thinkingLevel \(use off\|minimal\|low\|medium\|high\)$",
        ),
        ({"verboseLevel": "loud"}, "invalid verboseLevel"),
        ({"execHost": "moon"}, "invalid execHost"),
        ({"label": "Taken"}, "^INVALID_REQUEST: label already in use: Taken$"),
        ({"bad": 1}, "invalid sessions.patch params: at root: unexpected property 'bad'"),
    ],
)
async def test_a_patch_that_is_none_changes_nothing(running: Running, changed: Json, why: str):
    async with running.client() as one:
        await patch(one, "other", label="Taken")
        with pytest.raises(Refusal, match=why):
            await patch(one, "mine", **changed)
        assert (await one.request("sessions.list", {}))["count"] == 1


async def test_sessions_are_found_by_label_words_agent_and_age(running: Running):
    async with running.client() as one:
        await patch(one, "one", label="Golden Session")
        await patch(one, "two", spawnedBy="agent:main:one")

        async def found(**params: object) -> list[str]:
            listed = await one.request("sessions.list", params)
            assert listed["count"] == len(listed["sessions"])
            return [row["key"] for row in listed["sessions"]]

        assert await found() == ["agent:main:two", "agent:main:one"]
        assert await found(label="Golden Session") == await found(search="gold") == ["agent:main:one"]
        assert await found(spawnedBy="agent:main:one") == await found(limit=1) == ["agent:main:two"]
        assert await found(agentId="main", activeMinutes=5) == ["agent:main:two", "agent:main:one"]
        await one.request("sessions.patch", {"key": "global", "verboseLevel": "on"})
        assert "global" not in await found()
        assert "global" in await found(includeGlobal=True)
        row = (await one.request("sessions.list", {"label": "Golden Session"}))["sessions"][0]
        assert (row["kind"], row["displayName"], row["totalTokens"]) == ("direct", "Golden Session", 0)


async def test_a_session_is_resolved_by_key_label_and_id(running: Running):
    async with running.client() as one:
        entry = await patch(one, "golden-1", label="Golden")
        named = ({"key": "golden-1"}, {"label": "Golden"}, {"sessionId": entry["sessionId"]})
        answers = [await one.request("sessions.resolve", params) for params in named]
        assert answers == [{"ok": True, "key": "agent:main:golden-1"}] * 3
        for params, why in (
            ({"key": "missing"}, "^INVALID_REQUEST: No session found: missing$"),
            ({}, "Either key, sessionId, or label is required"),
            ({"key": "golden-1", "label": "Golden"}, "not multiple"),
        ):
            with pytest.raises(Refusal, match=why):
                await one.request("sessions.resolve", params)


async def test_a_reset_begins_another_transcript_and_keeps_what_was_chosen(start: Start, tmp_path: Path):
    agent = mock(tmp_path, "=== turn repeat\nsay: $told\nwait 0.3\n")
    async with start(agent=agent) as gateway, gateway.client() as one:
        await patch(one, "main", label="Kept", verboseLevel="on")
        await send(one, "k1", "before")
        await last(one, "k1", "delta")
        reset = await one.request("sessions.reset", {"key": "main"})
        assert (await last(one, "k1", "aborted"))["stopReason"] == "rpc"
        entry = reset["entry"]
        assert (entry["label"], entry["verboseLevel"], entry["totalTokens"]) == ("Kept", "on", 0)
        assert (await one.request("chat.history", {"sessionKey": "main"}))["messages"] == []
        await send(one, "k2", "after")
        assert text_of(await last(one, "k2")) == "after"


async def test_a_deleted_session_is_gone_with_its_runs_and_its_transcript(start: Start, tmp_path: Path):
    agent = mock(tmp_path, "=== turn repeat\nsay: Hello\nwait 30\n")
    async with start(agent=agent) as gateway, gateway.client() as one:
        with pytest.raises(Refusal, match=r"Cannot delete the main session \(agent:main:main\)\."):
            await one.request("sessions.delete", {"key": "main"})
        await send(one, "k1", key="x")
        await last(one, "k1", "delta")
        kept = tmp_path / "state/transcripts"
        assert [*kept.glob("named-*")]
        answer = {"ok": True, "key": "agent:main:x", "archived": []}
        assert await one.request("sessions.delete", {"key": "x"}) == {**answer, "deleted": True}
        assert said(one, "k1", "aborted")
        assert [*kept.glob("named-*")] == []
        assert await one.request("sessions.delete", {"key": "x"}) == {**answer, "deleted": False}
        assert (await one.request("sessions.list", {}))["count"] == 0


async def test_previews_tell_what_was_said_last(start: Start, tmp_path: Path):
    agent = mock(tmp_path, "=== turn repeat\nsay: a long answer to $prompt\n")
    async with start(agent=agent) as gateway, gateway.client() as one:
        await patch(one, "silent")
        await send(one, "k1", "hi")
        await last(one, "k1")
        told = await one.request("sessions.preview", {"keys": ["main", "silent", "nope"], "maxChars": 20})
        assert told["previews"] == [
            {
                "key": "main",
                "status": "ok",
                "items": [{"role": "user", "text": "hi"}, {"role": "assistant", "text": "a long answer to hi"}],
            },
            {"key": "silent", "status": "empty", "items": []},
            {"key": "nope", "status": "missing", "items": []},
        ]
        rows = (await one.request("sessions.list", {"includeDerivedTitles": True, "includeLastMessage": True}))[
            "sessions"
        ]
        assert (rows[0]["derivedTitle"], rows[0]["lastMessagePreview"]) == ("hi", "a long answer to hi")


async def test_the_list_shows_what_was_said_last_not_how_the_answer_began(start: Start, tmp_path: Path):
    agent = mock(tmp_path, "=== turn repeat\nsay: I look.\nread notes.txt\nsay: It was the comma.\n")
    async with start(agent=agent) as gateway, gateway.client() as one:
        await send(one, "k1")
        assert text_of(await last(one, "k1")).startswith("I look.")
        [row] = (await one.request("sessions.list", {"includeLastMessage": True}))["sessions"]
        assert row["lastMessagePreview"] == "It was the comma."


async def test_nothing_is_compacted_where_nothing_is_too_long(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, "=== turn repeat\nsay: ok\n")) as gateway, gateway.client() as one:
        none = {"ok": True, "key": "agent:main:main", "compacted": False, "reason": "no transcript"}
        assert await one.request("sessions.compact", {"key": "main", "maxLines": 1}) == none
        await send(one, "k1")
        await last(one, "k1")
        kept = {"ok": True, "key": "agent:main:main", "compacted": False, "kept": 2}
        assert await one.request("sessions.compact", {"key": "main"}) == kept
        answer = await one.request("sessions.compact", {"key": "main", "maxLines": 1})
        assert (answer["compacted"], answer["reason"]) == (False, "the agent has no command for it")


async def test_sessions_and_what_was_chosen_survive_a_restart(start: Start, tmp_path: Path):
    agent = mock(tmp_path, "=== turn repeat\nsay: $told\n", "ars", "--store", str(tmp_path / "kept"))
    async with start(agent=agent) as gateway, gateway.client() as one:
        await patch(one, "main", label="Kept")
        await send(one, "k1", "before")
        await last(one, "k1")
    async with start(agent=agent) as gateway, gateway.client() as one:
        row = (await one.request("sessions.list", {}))["sessions"][0]
        assert row["label"] == "Kept"
        assert (await send(one, "k1", "before"))["status"] == "ok"
        await send(one, "k2", "after")
        assert text_of(await last(one, "k2")) == "before | after"
        history = await one.request("chat.history", {"sessionKey": "main"})
        assert len(history["messages"]) == 4


async def test_a_damaged_transcript_is_told_and_harms_nothing_else(start: Start, tmp_path: Path):
    agent = mock(tmp_path, "=== turn repeat\nsay: $prompt\n")
    async with start(agent=agent) as gateway, gateway.client() as one:
        await send(one, "k1")
        await last(one, "k1")
    [file] = (tmp_path / "state/transcripts").glob("named-*.jsonl")
    file.write_bytes(b"{broken\n" + file.read_bytes())
    async with start(agent=agent) as gateway, gateway.client() as one:
        with pytest.raises(Refusal, match="the transcript cannot be used") as refused:
            await one.request("chat.history", {"sessionKey": "main"})
        assert refused.value.code == "UNAVAILABLE"
        told = await one.request("sessions.preview", {"keys": ["main", "agent:::"]})
        assert [it["status"] for it in told["previews"]] == ["error", "error"]
        await send(one, "k2")
        assert "errorMessage" in await last(one, "k2", "error")
        await send(one, "k3", "fine", "other")
        assert text_of(await last(one, "k3")) == "fine"


async def test_a_session_whose_agent_is_not_there_any_more_says_so(running: Running):
    async with running.client() as one:
        entry = await patch(one, "x")
        room = running.gateway.talks.rooms.by_id("owner", entry["sessionId"])
        assert room is not None
        room.agent = "gone"
        request = await one.begin("agent", {"message": "hi", "sessionId": entry["sessionId"], "idempotencyKey": "k"})
        with pytest.raises(Refusal, match="not installed any more"):
            await one.answer(request, 2)


async def test_a_session_of_somebody_else_is_as_one_that_is_not_there(running: Running):
    admit_guest(running)
    async with running.client() as one, running.client(token=GUEST) as guest:
        mine = (await patch(one, "x"))["sessionId"]
        unknown = "00000000-0000-4000-8000-000000000000"
        for method, name in (("sessions.resolve", "sessionId"), ("agent", "sessionId")):
            told = []
            for id in (mine, unknown):
                more = {"message": "hi", "idempotencyKey": id} if method == "agent" else {}
                with pytest.raises(Refusal) as refused:
                    await guest.request(method, {name: id, **more})
                told.append((refused.value.code, refused.value.message.replace(id, "")))
            assert told[0] == told[1]
