"""Every message of an agent, held against what holds always: the schema, ids, order, what its client offers."""

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from acp_check import v1
from acp_check.report import one_line

Json = dict[str, Any]
Key = tuple[type, Any]

MOST_KEPT = 20  # of one requirement
MOST_QUOTED = 200
ENVELOPE = {"jsonrpc", "id", "method", "params", "result", "error"}
OPENS = ("session/new", "session/load", "session/resume")
OF_TURNS = {"agent_message_chunk", "agent_thought_chunk", "tool_call", "tool_call_update", "plan"}
NEEDS = {
    "fs/read_text_file": ("CLIENTCAP-001", "fs", "readTextFile"),
    "fs/write_text_file": ("CLIENTCAP-002", "fs", "writeTextFile"),
    "terminal/": ("CLIENTCAP-003", "terminal", ""),
    "elicitation/create": ("RULE-08", "elicitation", ""),
}
UPDATES_NEED = {
    "notice": ("session", "notices"),
    "compaction_update": ("session", "compaction"),
    "compaction_summary_chunk": ("session", "compaction"),
}


class Faults:
    """What was found wrong in passing, by the requirement that it breaks; the whole run shares one."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = defaultdict(list)

    def add(self, name: str, why: str) -> None:
        """Notes one, unless it is known or there are enough."""
        known = self._found[name]
        if why not in known and len(known) < MOST_KEPT:
            known.append(why)

    def of(self, name: str) -> str | None:
        """All of one requirement in a line, the first one in full; None where there is none."""
        found = self._found.get(name)
        if not found:
            return None
        more = len(found) - 1
        return found[0] if not more else f"{found[0]} (and {more} more of the kind)"


def quoted(message: Any) -> str:
    """A message, or a line, as it is told of."""
    return one_line(message if isinstance(message, str) else json.dumps(message, ensure_ascii=False), MOST_QUOTED)


class Watch:
    """One connection. `sent` and `took` are told of every message, in order."""

    def __init__(self, faults: Faults, capabilities: Mapping[str, Any]) -> None:
        self.faults = faults
        self.capabilities = capabilities
        self.open: dict[Key, str] = {}
        self.params: dict[Key, Json] = {}
        self.sessions: set[str] = set()
        self.methods: list[Any] = []  # of signing in, as it offered them
        self.initialized = False
        self.lenient: set[Key] = set()  # ids whose answers the kit itself has made doubtful
        self._asked: set[Key] = set()
        self._early: dict[str, str] = {}
        self._prompts: dict[str, int] = defaultdict(int)
        self._over: dict[str, str] = {}
        self._calls: dict[str, set[str]] = defaultdict(set)
        self._turn_calls: dict[str, set[str]] = defaultdict(set)

    # ── what we send ────────────────────────────────────────────────────────────────────────────────────────────────

    def sent(self, message: Json) -> None:
        """A message of ours, as far as the answer to it depends on it."""
        method, params = message.get("method"), message.get("params")
        if "id" not in message:
            return
        key = key_of(message["id"])
        if not isinstance(method, str):
            self._asked.discard(key)
            return
        self.open[key] = method
        self.params[key] = params if isinstance(params, dict) else {}
        session = self.params[key].get("sessionId")
        if isinstance(session, str) and method in OPENS:
            self.sessions.add(session)
        if isinstance(session, str) and method == "session/prompt":
            self.sessions.add(session)  # whether there is one is another matter
            self._prompts[session] += 1
            self._turn_calls[session] = set()

    # ── what came ───────────────────────────────────────────────────────────────────────────────────────────────────

    def meant(self, message: Json) -> Key | None:
        """The request of ours that an answer is for; an id of another type is taken for the one that it looks like."""
        identity = message.get("id")
        if "method" in message or isinstance(identity, list | dict):
            return None
        key = key_of(identity)
        if key in self.open or key in self.lenient or identity is None:
            return key if key in self.open else None
        return next((it for it in self.open if str(it[1]) == str(identity) and it not in self.lenient), None)

    def took(self, message: Json) -> None:
        """A message of the agent's."""
        if message.get("jsonrpc") != "2.0":
            self._add("TRANSPORT-001", f"jsonrpc is {message.get('jsonrpc')!r} in", message)
        if extra := sorted(message.keys() - ENVELOPE):
            self._add("SCHEMA-002", f"the envelope has no {', '.join(extra)}:", message)
        if "method" in message:
            self._called(message)
        else:
            self._answered(message)

    def ended(self) -> None:
        """The connection is over: what was for a session that nobody has named stays so."""
        for session, what in self._early.items():
            self.faults.add("PROMPT-002", f"an update of {session!r}, a session that this connection has not: {what}")
        self._early.clear()

    def _add(self, name: str, why: str, message: Any) -> None:
        self.faults.add(name, f"{why} {quoted(message)}")

    def _called(self, message: Json) -> None:
        method, params = message["method"], message.get("params")
        if not isinstance(method, str) or "result" in message or "error" in message:
            self._add("JSONRPC-002", "neither a call nor an answer:", message)
            return
        if "id" in message:
            self._request(method, message)
        if method.startswith("_"):
            return
        row = v1.METHODS.get(method)
        if row is None or row["side"] == "agent":
            self._add("SCHEMA-001", f"{method} is no method of v1 that an agent calls:", message)
            return
        if ("result" in row) != ("id" in message):
            kind = "a request" if "result" in row else "a notification"
            self._add("SCHEMA-001", f"{method} is {kind}:", message)
        self._shape(row["params"], {} if params is None else params, f"{method} params")
        if isinstance(params, dict) and method == "session/update":
            self._updated(params)

    def _request(self, method: str, message: Json) -> None:
        key = key_of(message["id"])
        if key in self._asked:
            self._add("JSONRPC-001", "two open requests of the agent have one id:", message)
        self._asked.add(key)
        for prefix, (name, capability, part) in NEEDS.items():
            if method.startswith(prefix) and not offers(self.capabilities, capability, part):
                self._add(name, f"asked of a client that does not offer {capability}{part and '.'}{part}:", message)
        params = message.get("params")
        mode = params.get("mode") if isinstance(params, dict) else None
        known = method == "elicitation/create" and mode in ("form", "url") and offers(self.capabilities, "elicitation")
        if known and not offers(self.capabilities, "elicitation", str(mode)):
            self._add("RULE-08", f"asked of a client that does not offer elicitation.{mode}:", message)

    def _answered(self, message: Json) -> None:
        if ("result" in message) == ("error" in message):
            self._add("JSONRPC-002", "an answer has a result or an error:", message)
        key = self.meant(message)
        method = None if key is None else self.open.pop(key)
        if "error" in message and "result" not in message:
            self._error(message, method)
        if key is None or method is None:
            doubtful = key_of(message.get("id")) in self.lenient or ("error" in message and message.get("id") is None)
            if not doubtful:
                self._add("JSONRPC-001", "an answer to nothing that is open:", message)
            return
        if key != key_of(message.get("id")):
            self._add("JSONRPC-001", f"an answer to {key[1]!r} carries an id of another type:", message)
        if "result" in message:
            self._result(method, self.params[key], message["result"])
        elif method == "session/prompt":
            self._turn_over(self.params[key], None)

    def _error(self, message: Json, method: str | None) -> None:
        error = message["error"]
        self._shape("Error", error, f"{method or 'an'} error")
        if not isinstance(error, dict):
            return
        text = error.get("message")
        if isinstance(text, str) and (not text.strip() or "\n" in text):
            self._add("ERROR-001", "an error's message is one line:", message)
        code = error.get("code")
        if isinstance(code, int) and not -(2**31) <= code < 2**31:
            self._add("ERROR-001", "an error's code has 32 bits:", message)
        if code == -32000 and self.initialized and not self.methods:
            self._add("AUTH-005", f"{method} was answered -32000, and no way to sign in was offered:", message)

    def _result(self, method: str, params: Json, result: Any) -> None:
        row = v1.METHODS.get(method)
        version = result.get("protocolVersion") if method == "initialize" and isinstance(result, dict) else 1
        if row is None or (isinstance(version, int) and version != 1):
            return  # an answer in the words of another version
        needs = v1.DEFS[row["result"]].get("required")
        if result is None and not needs:
            self.faults.add("RULE-11", f"{method} was answered with null, an empty result is {{}}")
        else:
            self._shape(row["result"], result, f"{method} result")
        if not isinstance(result, dict):
            return
        if method == "initialize":
            self._offered(result)
        if method in OPENS:
            self._opened(params.get("sessionId") if method != "session/new" else result.get("sessionId"), result)
        if method == "session/prompt":
            self._turn_over(params, result.get("stopReason"))

    def _offered(self, result: Json) -> None:
        found = result.get("authMethods")
        self.initialized = True
        self.methods = found if isinstance(found, list) else []
        for it in self.methods:
            if (
                isinstance(it, dict)
                and it.get("type") == "terminal"
                and not offers(self.capabilities, "auth", "terminal")
            ):
                self._add("AUTH-002", "signing in by a terminal is offered to a client that has none for it:", it)

    def _opened(self, session: Any, result: Json) -> None:
        if not isinstance(session, str):
            return
        self.sessions.add(session)
        if (what := self._early.pop(session, None)) is not None:
            self.faults.add("RULE-02", f"an update of {session!r} came before the answer that names it: {what}")
        self._options(result.get("configOptions"))

    def _options(self, options: Any) -> None:
        if offers(self.capabilities, "session", "configOptions", "boolean") or not isinstance(options, list):
            return
        for it in options:
            if isinstance(it, dict) and it.get("type") == "boolean":
                self._add("CONFIG-003", "a switch is offered to a client that does not show switches:", it)

    def _turn_over(self, params: Json, how: Any) -> None:
        session = params.get("sessionId")
        if isinstance(session, str):
            self._prompts[session] -= 1
            self._over[session] = how if isinstance(how, str) else "an error"

    def _updated(self, params: Json) -> None:
        session, update = params.get("sessionId"), params.get("update")
        if not isinstance(session, str) or not isinstance(update, dict):
            return
        kind = update.get("sessionUpdate")
        if session not in self.sessions:
            self._early.setdefault(session, quoted(params))
            return
        if isinstance(kind, str) and kind in UPDATES_NEED and not offers(self.capabilities, *UPDATES_NEED[kind]):
            self._add("RULE-08", f"sent to a client that does not offer {'.'.join(UPDATES_NEED[kind])}:", update)
        self._options(update.get("configOptions"))
        if kind in OF_TURNS and not self._prompts[session] and session in self._over and not self._is_opening(session):
            how = self._over[session]
            name = "CANCEL-002" if how == "cancelled" else "RULE-01"
            self._add(name, f"after the answer to its prompt ({how}) came:", update)
        if kind == "tool_call" and isinstance(update.get("toolCallId"), str):
            self._tool_call(session, update)

    def _tool_call(self, session: str, update: Json) -> None:
        # A call may be told of twice in its turn; in another turn the same id is another call's.
        call = update["toolCallId"]
        if call in self._calls[session] - self._turn_calls[session] and not self._is_opening(session):
            self._add("RULE-12", f"the id {call!r} was another tool call's in an earlier turn of the session:", update)
        self._calls[session].add(call)
        self._turn_calls[session].add(call)

    def _is_opening(self, session: str) -> bool:
        """Whether what was before is being shown again."""
        return any(
            method in OPENS and self.params[key].get("sessionId") == session for key, method in self.open.items()
        )

    def _shape(self, definition: str, value: Any, what: str) -> None:
        if (why := v1.fault(definition, value)) is not None:
            self.faults.add("SCHEMA-001", f"{what}: {one_line(why)}")
        elif extra := v1.unknown_keys(definition, value):
            self.faults.add("SCHEMA-002", f"{what}: the schema has no {', '.join(sorted(extra))}")


def key_of(identity: Any) -> Key:
    """What an id is looked up by: to Python 1 and True are one key. What is no id has none of its own."""
    return (type(identity), identity if not isinstance(identity, list | dict) else repr(identity))


def offers(capabilities: Mapping[str, Any], *path: str) -> bool:
    """Whether a capability is there: a switch that is true, an object that is not null; "" names nothing."""
    found: Any = capabilities
    for name in filter(None, path):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found is True or isinstance(found, Mapping)
