"""The handshake: what lets in, what is refused, in which words and with which close code."""

import json
from typing import Any

import anyio
import pytest

from ars_gateway.limits import Limits
from tests.gateway.client import Device, Refusal, connect_params
from tests.gateway.host import TOKEN
from tests.gateway.wire import recorded

CLIENT = {"id": "test", "version": "1.0.0", "platform": "linux", "mode": "test"}
REFUSED_CASES = [
    "hs_first_not_connect",
    "hs_guide_bare_object",
    "hs_invalid_role",
    "hs_missing_fields",
    "hs_no_auth_no_device",
    "hs_protocol_too_old",
    "hs_wrong_token_cli",
]


async def refused(running, params: dict[str, Any], device: Device | None = None, **options: Any) -> Refusal:
    """The refusal of a handshake, whose close reason says the same."""
    async with running.socket(**options) as client:
        with pytest.raises(Refusal) as raised:
            await client.connect(params, device)
        code, reason = await client.ended()
        assert reason == raised.value.message.encode()[:120].decode("utf-8", "ignore")
        raised.value.close_code = code  # type: ignore[attr-defined]
        return raised.value


@pytest.mark.parametrize("case", REFUSED_CASES)
async def test_a_recorded_refusal_is_answered_and_closed_in_the_same_words(running, case):
    conversation = recorded(case)
    async with running.socket() as client:
        await client.challenge()
        for line in conversation:
            if line["dir"] == "c2s":
                await client.send(line["frame"])
        closed = next(line for line in conversation if line["dir"] == "close")
        assert await client.ended() == (closed["code"], closed["reason"])
    said = [line["frame"] for line in conversation if line["dir"] == "s2c" and line["frame"]["type"] == "res"]
    assert client.strays == said


async def test_the_shared_token_lets_in_as_admin(running):
    async with running.client() as client:
        assert client.hello["auth"] == {"role": "operator", "scopes": ["operator.admin"]}
        assert client.hello["protocol"] == 3
        assert client.hello["policy"] == {"maxPayload": 524288, "maxBufferedBytes": 1572864, "tickIntervalMs": 30000}
        assert "deviceToken" not in client.hello["auth"]
        presence = await client.request("system-presence")
        assert [entry["mode"] for entry in presence] == ["gateway", "test"]


async def test_the_snapshot_names_files_to_admins_only(running):
    async with running.client() as admin, running.client("operator.pairing") as other:
        assert admin.hello["snapshot"]["stateDir"].endswith("state")
        assert "stateDir" not in other.hello["snapshot"]
        assert other.hello["snapshot"]["presence"] == []


@pytest.mark.parametrize("highest", [3, 4, 9])
async def test_a_range_with_three_in_it_is_served(running, highest):
    async with running.client(minProtocol=1, maxProtocol=highest) as client:
        assert client.hello["protocol"] == 3


async def test_a_range_without_three_is_closed_with_1002(running):
    found = await refused(running, connect_params(TOKEN, minProtocol=4, maxProtocol=5))
    assert found.error == {
        "code": "INVALID_REQUEST",
        "message": "protocol mismatch",
        "details": {"expectedProtocol": 3},
    }
    assert found.close_code == 1002


@pytest.mark.parametrize("family", ["clawdbot", "openclaw"])
@pytest.mark.parametrize("name", ["macos", "ios", "android", "probe"])
async def test_client_ids_of_both_families_are_known(running, family, name):
    async with running.client(client=CLIENT | {"id": f"{family}-{name}", "mode": "ui"}) as client:
        assert client.hello["type"] == "hello-ok"


async def test_a_client_id_that_nobody_has_is_refused(running):
    found = await refused(running, connect_params(TOKEN, client=CLIENT | {"id": "my-app-v1"}))
    assert found.message.startswith("invalid connect params: at /client/id: must be equal to constant; ")
    assert found.close_code == 1008


async def test_unknown_properties_are_refused(running):
    found = await refused(running, connect_params(TOKEN, surprise=1))
    assert found.message == "invalid connect params: at root: unexpected property 'surprise'"


@pytest.mark.parametrize("path", ["/", "/v1/connect", "/any/other"])
async def test_any_path_is_a_websocket(running, path):
    async with running.client(options={"url": running.url + path}) as client:
        assert client.hello["type"] == "hello-ok"


@pytest.mark.parametrize(
    ("client", "hint"),
    [
        ({"id": "cli", "mode": "cli"}, "set gateway.remote.token to match gateway.auth.token"),
        ({"id": "clawdbot-probe", "mode": "probe"}, "provide gateway auth token"),
        (
            {"id": "webchat-ui", "mode": "webchat"},
            "open a tokenized dashboard URL or paste token in Control UI settings",
        ),
    ],
)
async def test_the_hint_says_what_this_client_can_do(running, client, hint):
    origin = running.url.replace("ws:", "http:")
    found = await refused(running, connect_params("wrong-wrong-wrong", client=CLIENT | client), origin=origin)
    assert found.message == f"unauthorized: gateway token mismatch ({hint})"


async def test_a_device_without_a_token_is_told_that_it_is_missing(running):
    found = await refused(running, connect_params(), Device())
    assert found.message == "unauthorized: gateway token missing (provide gateway auth token)"


async def test_a_control_ui_needs_a_device(running):
    params = connect_params(TOKEN, client=CLIENT | {"id": "clawdbot-control-ui", "mode": "webchat"})
    found = await refused(running, params, origin=running.url.replace("ws:", "http:"))
    assert found.message == "control ui requires HTTPS or localhost (secure context)"


@pytest.mark.parametrize("browser", ["webchat-ui", "webchat", "clawdbot-control-ui", "openclaw-control-ui"])
async def test_a_browser_client_says_where_its_page_comes_from(running, browser):
    found = await refused(running, connect_params(TOKEN, client=CLIENT | {"id": browser, "mode": "webchat"}))
    assert found.message.startswith("origin missing")


# ── password mode ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_password_mode_lets_in_by_password_only(start):
    async with start(auth_mode="password", secret="correct horse battery") as running:
        async with running.client(token=None, auth={"password": "correct horse battery"}) as client:
            assert client.hello["auth"]["scopes"] == ["operator.admin"]
        found = await refused(running, connect_params("correct horse battery"))
        assert found.message == "unauthorized: gateway password missing (provide gateway auth password)"
        found = await refused(running, connect_params(auth={"password": "wrong"}))
        assert found.message == "unauthorized: gateway password mismatch (provide gateway auth password)"


async def test_password_hints_are_those_of_the_client(start):
    async with start(auth_mode="password", secret="correct horse battery") as running:
        params = connect_params(auth={"password": "wrong"}, client=CLIENT | {"mode": "cli"})
        found = await refused(running, params)
        hint = "set gateway.remote.password to match gateway.auth.password"
        assert found.message == f"unauthorized: gateway password mismatch ({hint})"


# ── frames before hello ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("text", ["{oops", "", "connect please"])
async def test_a_first_frame_that_is_no_json_closes_without_a_word(running, text):
    async with running.socket() as client:
        await client.challenge()
        await client.send(text)
        assert await client.ended() == (1000, "")


@pytest.mark.parametrize("text", ["null", "5", "[]", '"connect"', '{"type":"req","method":"connect"}'])
async def test_a_first_frame_that_is_no_request_closes_as_a_policy_matter(running, text):
    async with running.socket() as client:
        await client.challenge()
        await client.send(text)
        assert await client.ended() == (1008, "invalid request frame")
        assert client.strays == []


async def test_no_connect_in_time_closes_without_a_word(start):
    async with start(Limits(handshake_seconds=0.2)) as running, running.socket() as client:
        await client.challenge()
        assert await client.ended() == (1000, "")
        assert len(running.gateway.lobby) == 0


async def test_what_is_sent_right_behind_connect_is_answered_after_hello(running):
    async with running.socket() as client:
        device = Device()
        nonce = await client.challenge()
        params = connect_params(TOKEN)
        first = await client.begin("connect", params | {"device": device.proof(params, nonce)})
        second = await client.begin("last-heartbeat")
        await client.answer(first)
        assert await client.answer(second) is None
        assert [frame["id"] for frame in client.frames if frame["type"] == "res"] == [first, second]


async def test_the_first_device_waits_for_its_library_and_nobody_else_does(running):
    running.gateway.crypto_loaded = False
    async with running.socket() as client, running.client():
        device = Device()
        params = connect_params(TOKEN)
        first = await client.begin("connect", params | {"device": device.proof(params, await client.challenge())})
        second = await client.begin("last-heartbeat")
        await client.answer(first)
        assert await client.answer(second) is None
        assert [frame["id"] for frame in client.frames if frame["type"] == "res"] == [first, second]
    assert running.gateway.crypto_loaded


async def test_a_device_is_refused_as_well_while_its_library_loads(running):
    running.gateway.crypto_loaded = False
    found = await refused(running, connect_params("wrong-wrong-wrong"), Device())
    assert found.message == "unauthorized: gateway token mismatch (provide gateway auth token)"


async def test_what_waits_for_hello_is_bounded(running):
    running.gateway.crypto_loaded = False
    async with running.socket() as client:
        params = connect_params(TOKEN)
        await client.begin("connect", params | {"device": Device().proof(params, await client.challenge())})
        for _ in range(3):
            await client.send("x" * 30_000)
        assert await client.ended() == (1008, "too much before hello")


async def test_a_client_that_is_gone_before_its_library_is_there_is_let_go(running):
    running.gateway.crypto_loaded = False
    async with running.socket() as client:
        params = connect_params(TOKEN)
        await client.begin("connect", params | {"device": Device().proof(params, await client.challenge())})
        client.socket.transport.abort()
    async with running.client(device=Device()):
        assert len(running.gateway.hub.connections) == 1


async def test_a_client_may_connect_before_it_reads_the_challenge(running):
    async with running.socket() as client:
        await client.begin("connect", connect_params(TOKEN), "early")
        assert (await client.answer("early"))["type"] == "hello-ok"


async def test_a_second_connect_is_an_error_and_closes_nothing(running):
    async with running.client() as client:
        with pytest.raises(Refusal, match="connect is only valid as the first request"):
            await client.request("connect", connect_params(TOKEN))
        assert await client.request("last-heartbeat") is None


async def test_the_challenge_comes_first_and_has_no_number(running):
    async with running.client() as client:
        first = client.frames[0]
        assert first["event"] == "connect.challenge"
        assert "seq" not in first


async def test_a_client_without_a_name_for_events_gets_those_of_the_program(running):
    async with running.client() as plain, running.client(caps=["chat.event", "agent.event"]) as guided:
        payload = {"runId": "r", "sessionKey": "main", "seq": 1, "state": "final"}
        running.gateway.hub.broadcast("chat", payload)
        running.gateway.hub.broadcast("agent", {"runId": "r", "seq": 1, "stream": "lifecycle", "ts": 1, "data": {}})
        assert (await plain.event("chat"))["payload"] == payload
        assert (await guided.event("chat.event"))["payload"] == payload
        await plain.event("agent")
        await guided.event("agent.event")
        assert not guided.named("chat")


async def test_hello_has_what_the_recorded_one_has(running):
    theirs = next(
        line["frame"]["payload"] for line in recorded("hs_ok_token") if line.get("frame", {}).get("type") == "res"
    )
    async with running.client() as client:
        ours = client.hello
        for part in ("server", "snapshot", "policy"):
            assert ours[part].keys() == theirs[part].keys()
        assert ours["policy"] == theirs["policy"]
        assert ours["snapshot"]["sessionDefaults"] == theirs["snapshot"]["sessionDefaults"]
        for what in ("events", "methods"):
            beyond = {name for name in ours["features"][what] if not name.startswith("_ars.")}
            assert beyond - {"resume"} <= set(theirs["features"][what])


async def test_every_connection_gets_a_tick(start):
    async with start(Limits(tick_seconds=0.05)) as running, running.client() as first, running.client() as second:
        for client in (first, second):
            await client.event("tick", 2)
            assert [event["seq"] for event in client.named("tick")][:2] == [1, 2]


async def test_the_end_of_the_gateway_is_announced_and_closes_with_1012(start):
    async with start() as running:
        gone = anyio.Event()
        async with running.client() as client, anyio.create_task_group() as tasks:

            async def watch() -> None:
                assert (await client.event("shutdown"))["payload"]["restartExpectedMs"] is None
                assert await client.ended() == (1012, "service restart")
                gone.set()

            tasks.start_soon(watch)
            running.gateway.say_goodbye()
            with anyio.fail_after(20):
                await gone.wait()


async def test_a_request_id_that_is_no_text_is_no_request(running):
    async with running.socket() as client:
        await client.challenge()
        await client.send(json.dumps({"type": "req", "id": 7, "method": "connect", "params": connect_params(TOKEN)}))
        assert await client.ended() == (1008, "invalid request frame")
