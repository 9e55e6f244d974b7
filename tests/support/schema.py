"""Checks every message on the wire against the v1 schema, method by method.

The schema's own top-level union is no use for that: its extension branch accepts anything.
"""

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

import jsonschema
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.validators import extend

from acp_wire.errors import RpcError
from acp_wire.methods import EXTENSIONS

Json = dict[str, Any]
Side = Literal["agent", "client"]
# Who sent an open request, the type of its id (1 and True are one key to Python), the id -> its method.
Pending = dict[tuple[Side, type, Any], str]

SCHEMA: Json = json.loads((Path(__file__).parents[2] / "fixtures/schema/acp-v1.schema.json").read_text())
DEFS: Json = SCHEMA["$defs"]

_RANGES = {
    "uint16": (0, 2**16 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
}


def definitions_by_method() -> dict[str, dict[str, str]]:
    """Method -> `side` (who serves it: agent, client or protocol), `params` and, for a request, `result`: def names."""
    methods: dict[str, dict[str, str]] = {}
    for name, definition in DEFS.items():
        if "x-method" in definition:
            row = methods.setdefault(definition["x-method"], {"side": definition["x-side"]})
            row["result" if name.endswith("Response") else "params"] = name
    return methods


METHODS = definitions_by_method()
# Served, and no part of the stable schema.
BESIDES = {row.name for row in EXTENSIONS}
# Our own, of which our own types say what is proper.
OURS = {row.name: row for row in EXTENSIONS if row.name.startswith("_ars/")}


def _one_of(validator: Any, options: list[Json], instance: Any, schema: Json) -> Iterator[ValidationError]:
    # By the discriminator where there is one: faster, and the error is about the variant that was meant.
    if "discriminator" not in schema or not isinstance(instance, dict):
        yield from jsonschema.Draft202012Validator.VALIDATORS["oneOf"](validator, options, instance, schema)
        return
    key = schema["discriminator"]["propertyName"]
    for option in options:
        if option["properties"][key]["const"] == instance.get(key):
            yield from validator.descend(instance, option)
            return
    yield ValidationError(f"{key} {instance.get(key)!r} is not in v1")


_formats = jsonschema.FormatChecker(formats=())
for _name, (_low, _high) in _RANGES.items():
    _formats.checks(_name)(lambda it, low=_low, high=_high: not isinstance(it, int) or low <= it <= high)
_Validator = extend(jsonschema.Draft202012Validator, {"oneOf": _one_of})
_whole = _Validator(SCHEMA, format_checker=_formats)


@cache
def _validator(definition: str) -> Any:
    return _Validator({"$ref": f"#/$defs/{definition}", "$defs": DEFS}, format_checker=_formats)


def check(definition: str, value: Any, what: str = "") -> None:
    """Raises AssertionError, which names `what` and the path, unless `value` is as the def has it."""
    error = best_match(_validator(definition).iter_errors(value))
    if error is not None:
        raise AssertionError(f"{what or definition}: {error.json_path}: {error.message}")


def schema_accepts(schema: Json, value: Any) -> bool:
    """Whether a part of the schema, such as one property, accepts `value`."""
    return bool(_whole.evolve(schema={**schema, "$defs": DEFS}).is_valid(value))


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
