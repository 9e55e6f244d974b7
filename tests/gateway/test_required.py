"""What a gateway has to resist, row by row, and the tests that show it; here are those that belong nowhere else."""

import ast
from pathlib import Path

import pytest

from ars_gateway.methods import METHODS
from ars_gateway.protocol.validate import compiled, problems
from tests.gateway.client import Device, Refusal
from tests.gateway.conftest import TOKEN, Running
from tests.gateway.raw import asked

ROOT = Path(__file__).parents[2]
FAULTS = "tests/faults/test_s_gateway.py"
FRAMES = "tests/faults/test_f_frames.py"

ROWS: dict[int, tuple[str, ...]] = {
    # pages, names and proxies
    1: (f"{FAULTS}::test_no_foreign_page_gets_a_socket", "test_doors.py::test_our_own_pages_are_let_in"),
    2: (f"{FAULTS}::test_no_foreign_name_of_this_machine_is_answered",),
    3: ("test_doors.py::test_who_speaks_for_somebody_else_is_not_local",),
    4: ("test_doors.py::test_the_token_is_made_once_and_kept", f"{FAULTS}::test_an_open_gateway_does_not_start"),
    5: (
        "test_config.py::test_only_admins_see_or_write_it",
        "test_config.py::test_no_program_and_no_environment_comes_over_the_wire",
    ),
    # (what a page makes of its own address is its matter)
    6: (
        "test_doors.py::test_a_credential_in_an_address_is_refused",
        f"{FAULTS}::test_a_token_is_in_no_address_and_in_no_log",
    ),
    # devices, tokens and scopes
    7: ("test_devices.py::test_a_wrong_token_relaxes_nothing",),
    8: (
        "test_scopes.py::test_every_method_against_six_kinds_of_caller",
        "test_handshake.py::test_the_shared_token_lets_in_as_admin",
    ),
    9: (
        "test_devices.py::test_rotating_tells_the_new_token_to_its_owner_only",
        "test_devices.py::test_rotating_may_narrow_and_not_widen",
        "test_devices.py::test_who_is_no_admin_manages_its_own_device_only",
    ),
    10: ("test_devices.py::test_a_revoked_token_closes_the_devices_sockets",),
    11: ("test_devices.py::test_a_signature_without_a_nonce_lets_in_once",),
    12: ("test_devices.py::test_a_local_device_that_wants_more_than_before_has_to_be_approved",),
    13: (
        f"{FAULTS}::test_guessing_gets_five_tries",
        "test_limiter.py::test_a_paired_device_is_let_in_while_strangers_beside_it_are_locked_out",
        "test_limiter.py::test_another_kind_of_credential_does_not_switch_the_counting_off",
    ),
    # floods
    14: (f"{FAULTS}::test_a_thousand_silent_sockets_do_not_keep_a_client_waiting",),
    15: ("test_frames.py::test_before_hello_64_kib_are_the_most",),
    16: (f"{FRAMES}::test_a_flood_of_unauthorised_calls_is_cut_off",),
    17: (
        "test_config.py::test_three_writes_a_minute_are_the_most_by_whatever_method",
        "test_required.py::test_nothing_is_updated_from_the_wire",
    ),
    # what is told
    18: ("test_scopes.py::test_every_event_against_six_kinds_of_caller",),
    19: (
        "test_config.py::test_secrets_are_not_shown_and_not_lost",
        "test_devices.py::test_the_list_shows_no_token_and_who_the_devices_are",
        "test_logs.py::test_secrets_are_not_written",
    ),
    20: (f"{FAULTS}::test_the_time_of_a_comparison_tells_nothing",),
    21: (
        "test_frames.py::test_an_unknown_method_is_named_whatever_it_is_called",
        "test_config.py::test_what_is_no_config_is_refused_and_changes_nothing",
    ),
    22: (f"{FAULTS}::test_what_strangers_say_of_themselves_draws_nothing",),
    23: (
        "test_required.py::test_no_parameter_names_another_gateway",
        "test_required.py::test_the_gateway_calls_nobody",
    ),
    24: ("test_doors.py::test_identity_headers_of_a_proxy_are_not_believed",),
    25: ("test_doors.py::test_an_address_that_others_reach_needs_a_word_of_its_own",),
    26: ("test_required.py::test_the_gateways_token_opens_no_hook",),
    27: (
        "test_hub.py::test_a_client_that_is_behind_loses_droppable_events_and_then_the_connection",
        "tests/faults/test_f_reconnect.py::test_a_client_that_does_not_read_costs_the_others_nothing",
    ),
    28: (
        "test_frames.py::test_json_nested_too_deep_is_no_request",
        "test_frames.py::test_a_frame_of_the_largest_size_is_read_and_one_byte_more_closes",
        "test_frames.py::test_a_message_in_fragments_is_one_message",
        "test_frames.py::test_text_that_is_no_utf8_closes_with_1007",
        "test_frames.py::test_compression_is_offered_and_not_taken",
        f"{FRAMES}::test_frames_that_no_client_sends_end_as_they_should",
    ),
    29: (
        "test_approvals.py::test_a_request_waits_until_somebody_else_decides",
        "test_recorded.py::test_a_recorded_conversation_goes_as_recorded",
    ),
    30: ("test_required.py::test_a_node_begins_no_run",),
}


def test_every_row_has_tests_and_they_are_there():
    assert sorted(ROWS) == list(range(1, 31))
    for row, names in ROWS.items():
        for name in names:
            file, _, test = name.partition("::")
            path = ROOT / file if "/" in file else Path(__file__).parent / file
            tree = ast.parse(path.read_text("utf-8"))
            there = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
            assert test in there, f"row {row}: {name}"


async def test_nothing_is_updated_from_the_wire(running: Running):
    async with running.client() as one:
        assert "update.run" not in one.hello["features"]["methods"]
        with pytest.raises(Refusal, match="not served") as refused:
            await one.request("update.run", {})
        assert refused.value.code == "UNAVAILABLE"


def test_no_parameter_names_another_gateway():
    checked = [name for name in METHODS if compiled(name) is not None]
    assert len(checked) > 50
    for name in checked:
        assert "unexpected property 'gatewayUrl'" in problems(name, {"gatewayUrl": "ws://evil.example"}), name


def test_the_gateway_calls_nobody():
    """It answers; no module of it has a client of any network protocol."""
    clients = {"httpx", "aiohttp", "requests", "urllib.request", "http.client", "websockets.client", "websockets.sync"}
    clients |= {"websockets.asyncio", "smtplib", "ftplib"}
    calls = {"open_connection", "create_connection", "connect_tcp", "open_unix_connection", "urlopen"}
    for file in (ROOT / "ars_gateway").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                module = node.module if isinstance(node, ast.ImportFrom) else None
                names = {module or alias.name for alias in node.names}
                names |= {f"{module}.{alias.name}" for alias in node.names if module}
                assert not any(name == one or name.startswith(f"{one}.") for name in names for one in clients), file
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                assert node.func.attr not in calls, file


@pytest.mark.parametrize("path", ["/hooks/wake", "/hooks/agent", "/hooks"])
async def test_the_gateways_token_opens_no_hook(running: Running, path: str):
    port = running.addresses.port
    head = f"POST {path}%s HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {TOKEN}\r\n"
    rest = "x-clawdbot-token: " + TOKEN + "\r\nContent-Length: 2\r\n\r\n{}"
    assert (await asked(port, (head % "" + rest).encode()))[0] == 404
    assert (await asked(port, (head % f"?token={TOKEN}" + rest).encode()))[0] == 400


async def test_a_node_begins_no_run(running: Running):
    node = {"id": "node-host", "version": "1", "platform": "linux", "mode": "node"}
    async with running.client("operator.admin", device=Device(), role="node", client=node) as one:
        for method in ("agent", "chat.send", "send", "wake", "sessions.patch", "config.get", "exec.approval.resolve"):
            with pytest.raises(Refusal, match="unauthorized role: node"):
                await one.request(method, {"message": "do it", "sessionKey": "main", "idempotencyKey": method})
        for event in ("agent.request", "voice.transcript"):
            with pytest.raises(Refusal, match="not served"):
                await one.request(
                    "node.event", {"event": event, "payloadJSON": '{"message": "do it", "text": "do it"}'}
                )
    assert not running.gateway.talks.runs.live
    assert running.gateway.talks.rooms.count() == 0
