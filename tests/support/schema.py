"""Checks every message on the wire against the v1 schema, method by method."""

from collections.abc import Callable
from typing import Any, Literal

from acp_check.v1 import DEFS, METHODS, SCHEMA, accepts, fault
from acp_wire.errors import RpcError
from acp_wire.methods import CLIENT_EXTENSIONS, EXTENSIONS

__all__ = ["DEFS", "METHODS", "SCHEMA", "WireCheck", "check", "check_message", "schema_accepts"]

Json = dict[str, Any]
Side = Literal["agent", "client"]
# Who sent an open request, the type of its id (1 and True are one key to Python), the id -> its method.
Pending = dict[tuple[Side, type, Any], str]
schema_accepts = accepts

# Served, and no part of the stable schema.
BESIDES = {row.name for row in EXTENSIONS}
# Our own, of which our own types say what is proper.
OURS = {row.name: row for row in (*EXTENSIONS, *CLIENT_EXTENSIONS) if row.name.startswith("_ars/")}


def check(definition: str, value: Any, what: str = "") -> None:
    """Raises AssertionError, which names `what` and the path, unless `value` is as the def has it."""
    why = fault(definition, value)
    assert why is None, f"{what or definition}: {why}"


def check_message(message: Any, sender: Side, pending: Pending) -> None:
    """Raises AssertionError unless `message` is a whole and proper v1 message for `sender` to send now.

    `pending` is kept up to date: a request is entered, its one answer takes it out.
    """
    assert isinstance(message, dict), f"{sender} sent a {type(message).__name__}, not an object"
    assert message.get("jsonrpc") == "2.0", f"{sender}: jsonrpc is {message.get('jsonrpc')!r}"
    extra = message.keys() - {"jsonrpc", "id", "method", "params", "result", "error"}
    assert not extra, f"{sender}: keys that the envelope does not have: {sorted(extra)}"
    if "id" in message:
        check("RequestId", message["id"], f"{sender}: id")
    if "method" in message:
        _check_call(message, sender, pending)
    else:
        _check_answer(message, sender, pending)


def _check_call(message: Json, sender: Side, pending: Pending) -> None:
    method = message["method"]
    assert isinstance(method, str), f"{sender}: the method is a {type(method).__name__}"
    assert "result" not in message, f"{sender}: {method}: a call with a result"
    assert "error" not in message, f"{sender}: {method}: a call with an error"
    params = message.get("params")
    if not method.startswith("_") and not (method in BESIDES and sender == "client"):
        row = METHODS.get(method)
        assert row is not None, f"{sender}: {method} is not a method of v1"
        assert row["side"] != sender, f"{sender}: {method} is not for the {sender} to send"
        is_request = "result" in row
        assert is_request == ("id" in message), f"{sender}: {method} is a {'request' if is_request else 'notification'}"
        check(row["params"], {} if params is None else params, f"{sender}: {method} params")
    elif method in OURS:
        _by_our_types(OURS[method].params, params, f"{sender}: {method} params")
    if "id" in message:
        key = (sender, type(message["id"]), message["id"])
        assert key not in pending, f"{sender}: {method}: the id {message['id']!r} is in use by {pending[key]}"
        pending[key] = method


def _check_answer(message: Json, sender: Side, pending: Pending) -> None:
    assert "id" in message, f"{sender}: neither a call nor an answer: {sorted(message)}"
    assert ("result" in message) != ("error" in message), f"{sender}: an answer has a result or an error"
    assert "params" not in message, f"{sender}: an answer with params"
    identity = message["id"]
    asker: Side = "client" if sender == "agent" else "agent"
    method = pending.pop((asker, type(identity), identity), None)
    if "error" in message:
        check("Error", message["error"], f"{sender}: {method} error")
        # A line that could not be read has no id to give back.
        assert method is not None or identity is None, f"{sender}: an error for {identity!r}, which is not open"
        return
    assert method is not None, f"{sender}: a result for {identity!r}, which is not open"
    if not method.startswith("_") and method not in BESIDES:
        check(METHODS[method]["result"], message["result"], f"{sender}: {method} result")
    elif method in OURS:
        _by_our_types(OURS[method].result, message["result"], f"{sender}: {method} result")
        for update in message["result"].get("updates", ()):
            check("SessionNotification", update, f"{sender}: {method} result's update")


def _by_our_types(parse: Callable[[Any], Any], value: Any, what: str) -> None:
    try:
        parse(value)
    except RpcError as why:
        raise AssertionError(f"{what}: {why.message}") from None


class WireCheck:
    """Is fed with every message of one connection, in both directions and in order; raises AssertionError.

    `wrong=True` is for what a test gets wrong on purpose: nothing is checked, but its answer is expected.
    """

    def __init__(self) -> None:
        self.pending: Pending = {}
        self.seen = 0

    def sent_by_agent(self, message: Any, *, wrong: bool = False) -> None:
        self._sent(message, "agent", wrong)

    def sent_by_client(self, message: Any, *, wrong: bool = False) -> None:
        self._sent(message, "client", wrong)

    def all_answered(self) -> None:
        """Raises AssertionError when a request has had no answer."""
        assert not self.pending, f"without an answer: {sorted(map(repr, self.pending.items()))}"

    def _sent(self, message: Any, sender: Side, wrong: bool) -> None:
        self.seen += 1
        if not wrong:
            check_message(message, sender, self.pending)
        elif isinstance(message, dict) and "id" in message:
            method = message.get("method")
            known = isinstance(method, str) and method in METHODS
            self.pending[(sender, type(message["id"]), message["id"])] = str(method) if known else "_wrong"
