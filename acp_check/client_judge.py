"""Every message of a client, held against the protocol: its form, its ids, and what the agent had offered by then."""

from collections.abc import Callable
from typing import Any

from acp_check import v1
from acp_check.client_table import Json, Row, judged
from acp_check.report import one_line
from acp_wire import framing

judged(
    Row("WIRE-001", "mandatory", "Each line it writes is one JSON-RPC 2.0 message in UTF-8"),
    Row("WIRE-002", "mandatory", "Its messages are as the v1 schema has them, method by method"),
    Row("WIRE-003", "mandatory", "Each request gets one answer, under its own id, and nothing else gets any"),
    Row("WIRE-004", "advisory", "Nothing stands in its messages that the schema does not have"),
    Row("INIT-001", "mandatory", "initialize comes first, and nothing else before its answer"),
    Row("INIT-002", "advisory", "It says who it is: clientInfo"),
    Row("SESSION-001", "mandatory", "The directories that it opens a session with are absolute"),
    Row("SESSION-002", "mandatory", "It uses a session's id as it was given, and no other"),
    Row("GATE-001", "mandatory", "It calls no method that the agent does not offer"),
    Row("GATE-002", "mandatory", "It sends no image, audio or embedded resource that the agent does not take"),
    Row("GATE-003", "mandatory", "It hands over no MCP server of a transport that the agent does not offer"),
    Row("GATE-004", "mandatory", "It hands over no more directories where the agent does not take them"),
)

ENVELOPE = {"jsonrpc", "id", "method", "params", "result", "error"}
BASELINE = {"initialize", "session/new", "session/prompt", "session/cancel", "$/cancel_request"}
OFFERED_BY = {
    "session/load": "loadSession",
    "session/list": "sessionCapabilities.list",
    "session/resume": "sessionCapabilities.resume",
    "session/close": "sessionCapabilities.close",
    "session/delete": "sessionCapabilities.delete",
    "logout": "auth.logout",
}
# What the answer that opens a session has, where these may be called.
OFFERED_WITH = {
    "session/set_mode": "modes",
    "session/set_config_option": "configOptions",
    "session/set_model": "models",
}
BLOCKS = {"image": "image", "audio": "audio", "resource": "embeddedContext"}


def offers(capabilities: Any, path: str) -> bool:
    """Whether a dotted path in capabilities counts as offered: `true`, or an object that is there."""
    found = capabilities
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found is True or isinstance(found, dict)


class Tally:
    """What all the judges of a kit have seen: the first fault of each row, and which rows could have shown one."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.broken: dict[str, str] = {}

    def fault(self, row: str, why: str) -> None:
        """The client has broken a row."""
        self.seen.add(row)
        self.broken.setdefault(row, one_line(why))


class Judge:
    """Is fed with all that a client writes to one agent, and told what that agent has said."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._open: dict[tuple[type, Any], str] = {}  # our requests without an answer
        self._theirs: set[tuple[type, Any]] = set()
        self._first = True
        self._initializing: Any = None
        self._methods: set[str] = set(BASELINE)
        self.capabilities: Json = {}  # the agent's
        self.client: Json = {}  # the client's
        self.sessions: set[str] = set()

    # ── what the agent says ─────────────────────────────────────────────────────────────────────────────────────────

    def asked(self, message: Json) -> None:
        """A request of the agent's goes out."""
        self._open[_key(message["id"])] = message["method"]

    def forgotten(self, request_id: Any) -> None:
        """Nobody waits for an answer any more; one that comes under that id is no fault."""
        self._open[_key(request_id)] = ""

    def answered(self, request: Json, result: Any) -> None:
        """An answer of the agent's goes out."""
        self._theirs.discard(_key(request.get("id")))
        if not isinstance(result, dict):
            return
        if request["method"] == "initialize":
            self._initializing = None
            self.capabilities = result.get("agentCapabilities") or {}
            if result.get("authMethods"):
                self._methods.add("authenticate")
        elif request["method"] == "session/new":
            self.sessions.add(result["sessionId"])
            self._methods.update(name for name, key in OFFERED_WITH.items() if result.get(key))

    # ── what the client says ────────────────────────────────────────────────────────────────────────────────────────

    def take(self, line: bytes | bytearray | framing.LineTooLong) -> Json | None:
        """One line. Returns the message, None where it is nothing to act upon."""
        if isinstance(line, framing.LineTooLong):
            self._tally.fault("WIRE-001", f"a line of more than {framing.LINE_LIMIT} bytes")
            return None
        if not line.strip():
            return None
        self._tally.seen.update(("WIRE-001", "WIRE-002", "WIRE-004"))
        shown = line[:200].decode(errors="replace")
        try:
            message = framing.decode(line)
        except framing.NotJson as why:
            self._tally.fault("WIRE-001", f"{why}: {shown}")
            return None
        if not isinstance(message, dict):
            self._tally.fault("WIRE-001", f"not an object: {shown}")
            return None
        if message.get("jsonrpc") != "2.0":
            self._tally.fault("WIRE-001", f'no "jsonrpc": "2.0": {shown}')
        if extra := message.keys() - ENVELOPE:
            self._tally.fault("WIRE-004", f"{', '.join(sorted(extra))} in {shown}")
        if "method" in message:
            return self._call(message, shown)
        return self._answer(message, shown)

    def _call(self, message: Json, shown: str) -> Json | None:
        method, params = message["method"], message.get("params")
        if not isinstance(method, str) or "result" in message or "error" in message:
            self._tally.fault("WIRE-001", f"neither a call nor an answer: {shown}")
            return None
        self._order(message, method)
        row = v1.METHODS.get(method)
        if row is None:
            if not method.startswith("_") and method not in self._methods:
                self._tally.fault("GATE-001", f"{method} is no method of v1, and was not offered")
        elif row["side"] == "client":
            self._tally.fault("WIRE-002", f"{method} is for the agent to call")
        elif ("result" in row) != ("id" in message):
            self._tally.fault("WIRE-002", f"{method} is a {'request' if 'result' in row else 'notification'}")
        else:
            self._form(row["params"], {} if params is None else params, f"{method}: params")
        if "id" in message:
            self._own_id(message, method)
        if isinstance(params, dict):
            self._gates(method, params)
        return message

    def _order(self, message: Json, method: str) -> None:
        self._tally.seen.add("INIT-001")
        if self._first and method != "initialize":
            self._tally.fault("INIT-001", f"{method} came first")
        elif self._initializing is not None and not method.startswith("$/"):
            self._tally.fault("INIT-001", f"{method} came before initialize was answered")
        if method == "initialize":
            self._initializing = message.get("id")
            self._tally.seen.add("INIT-002")
            params = message.get("params")
            self.client = (params.get("clientCapabilities") if isinstance(params, dict) else None) or {}
            if not isinstance(params, dict) or not params.get("clientInfo"):
                self._tally.fault("INIT-002", "no clientInfo")
        self._first = False

    def _own_id(self, message: Json, method: str) -> None:
        self._tally.seen.add("WIRE-003")
        if not _is_id(message["id"]):
            self._tally.fault("WIRE-003", f"{method}: {message['id']!r} is no id")
        elif (key := _key(message["id"])) in self._theirs:
            self._tally.fault("WIRE-003", f"{method}: the id {message['id']!r} is in use")
        else:
            self._theirs.add(key)

    def _answer(self, message: Json, shown: str) -> Json | None:
        if ("result" in message) == ("error" in message) or "id" not in message:
            self._tally.fault("WIRE-001", f"neither a call nor an answer: {shown}")
            return None
        self._tally.seen.add("WIRE-003")
        method = self._open.pop(_key(message["id"]), None)
        if "error" in message:
            self._form("Error", message["error"], f"{method}: error")
            # A line that could not be read has no id to give back.
            if method is None and message["id"] is not None:
                self._tally.fault("WIRE-003", f"an answer to nothing: {shown}")
        elif method is None:
            self._tally.fault("WIRE-003", f"an answer to nothing: {shown}")
        elif method in v1.METHODS and v1.METHODS[method]["side"] == "client":
            self._form(v1.METHODS[method]["result"], message["result"], f"{method}: result")
        return message

    def _form(self, definition: str, value: Any, what: str) -> None:
        if fault := v1.fault(definition, value):
            self._tally.fault("WIRE-002", f"{what}: {fault}")
        elif unknown := v1.unknown_keys(definition, value):
            self._tally.fault("WIRE-004", f"{what}: {', '.join(sorted(unknown))}")

    def _gates(self, method: str, params: Json) -> None:
        def gate(row: str, kept: Callable[[], bool], why: str) -> None:
            self._tally.seen.add(row)
            if not kept():
                self._tally.fault(row, f"{method}: {why}")

        if v1.METHODS.get(method, {}).get("side") == "agent" and method not in BASELINE:
            capability = OFFERED_BY.get(method)
            offered = capability is not None and offers(self.capabilities, capability)
            gate("GATE-001", lambda: offered or method in self._methods, "not offered")
        elif method == "session/prompt":
            self._tally.seen.add("GATE-001")
            kinds = {str(it.get("type")) for it in _items(params, "prompt") if isinstance(it, dict)} & BLOCKS.keys()
            taken = {it for it in kinds if offers(self.capabilities, f"promptCapabilities.{BLOCKS[it]}")}
            gate("GATE-002", lambda: kinds == taken, f"a block of type {', '.join(sorted(kinds - taken))}")
        if isinstance(session := params.get("sessionId"), str) and method not in ("session/load", "session/resume"):
            gate("SESSION-002", lambda: session in self.sessions, f"{session!r} was given to nobody")
        if method in ("session/new", "session/load", "session/resume"):
            more, servers = _items(params, "additionalDirectories"), _items(params, "mcpServers")
            places = [str(params.get("cwd")), *map(str, more)]
            relative = [place for place in places if not place.startswith("/")]
            gate("SESSION-001", lambda: not relative, f"relative: {relative}")
            many = offers(self.capabilities, "sessionCapabilities.additionalDirectories")
            gate("GATE-004", lambda: not more or many, f"additionalDirectories: {more}")
            remote = {str(it["type"]) for it in servers if isinstance(it, dict) and it.get("type") in ("http", "sse")}
            bad = [it for it in sorted(remote) if not offers(self.capabilities, f"mcpCapabilities.{it}")]
            gate("GATE-003", lambda: not bad, f"MCP servers over {', '.join(bad)}")


def _items(params: Json, name: str) -> list[Any]:
    found = params.get(name)
    return found if isinstance(found, list) else []


def _is_id(value: Any) -> bool:
    return value is None or type(value) in (int, str)


def _key(value: Any) -> tuple[type, Any]:
    # True, 1 and 1.0 are one key to Python; what is no id is told apart by how it is written.
    return (type(value), value) if _is_id(value) else (type(value), repr(value))
