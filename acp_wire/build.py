"""What goes out, as plain dicts: one small function per variant of ACP v1.

Optional fields that are None are left out, so nothing here sends null where ACP gives it a meaning of its own; a
builder whose null means "clear" says so. `with_meta` adds `_meta` to whatever a builder has made.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Json = dict[str, Any]

# A value that was not given, where None has a meaning of its own.
UNCHANGED: Any = object()


def _without_none(**fields: Any) -> Json:
    return {key: value for key, value in fields.items() if value is not None}


def with_meta(message: Json, meta: Mapping[str, Any] | None) -> Json:
    """`message` itself, with `_meta` set when there is any."""
    if meta:
        message["_meta"] = dict(meta)
    return message


# --- content blocks


def content_text(text: str, *, annotations: Json | None = None) -> Json:
    return _without_none(type="text", text=text, annotations=annotations)


def content_image(data: str, mime_type: str, *, uri: str | None = None, annotations: Json | None = None) -> Json:
    """`data` is base64."""
    return _without_none(type="image", data=data, mimeType=mime_type, uri=uri, annotations=annotations)


def content_audio(data: str, mime_type: str, *, annotations: Json | None = None) -> Json:
    """`data` is base64."""
    return _without_none(type="audio", data=data, mimeType=mime_type, annotations=annotations)


def content_resource_link(
    uri: str,
    name: str,
    *,
    title: str | None = None,
    description: str | None = None,
    mime_type: str | None = None,
    size: int | None = None,
    annotations: Json | None = None,
) -> Json:
    return _without_none(
        type="resource_link",
        uri=uri,
        name=name,
        title=title,
        description=description,
        mimeType=mime_type,
        size=size,
        annotations=annotations,
    )


def content_resource_text(
    uri: str, text: str, *, mime_type: str | None = None, annotations: Json | None = None
) -> Json:
    """A resource whose text is in the message."""
    resource = _without_none(uri=uri, text=text, mimeType=mime_type)
    return _without_none(type="resource", resource=resource, annotations=annotations)


def content_resource_blob(
    uri: str, blob: str, *, mime_type: str | None = None, annotations: Json | None = None
) -> Json:
    """A resource whose bytes are in the message, in base64."""
    resource = _without_none(uri=uri, blob=blob, mimeType=mime_type)
    return _without_none(type="resource", resource=resource, annotations=annotations)


def annotations(
    *, audience: Sequence[str] | None = None, last_modified: str | None = None, priority: float | None = None
) -> Json:
    """`audience` is of `user` and `assistant`; `last_modified` is ISO 8601."""
    audience = None if audience is None else list(audience)
    return _without_none(audience=audience, lastModified=last_modified, priority=priority)


# --- session updates: params of session/update and its variants


def session_update(session_id: str, update: Json, meta: Mapping[str, Any] | None = None) -> Json:
    """The params of `session/update`."""
    return with_meta({"sessionId": session_id, "update": update}, meta)


def _chunk(kind: str, content: str | Json, message_id: str | None) -> Json:
    block = content_text(content) if isinstance(content, str) else content
    return _without_none(sessionUpdate=kind, content=block, messageId=message_id)


def user_message_chunk(content: str | Json, message_id: str | None = None) -> Json:
    """A text or one content block of what the person said; only a replay sends it."""
    return _chunk("user_message_chunk", content, message_id)


def agent_message_chunk(content: str | Json, message_id: str | None = None) -> Json:
    """A text or one content block of the answer. Chunks with the same `message_id` are one message."""
    return _chunk("agent_message_chunk", content, message_id)


def agent_thought_chunk(content: str | Json, message_id: str | None = None) -> Json:
    """A text or one content block of the reasoning."""
    return _chunk("agent_thought_chunk", content, message_id)


def tool_call(
    tool_call_id: str,
    title: str,
    *,
    name: str | None = None,
    kind: str | None = None,
    status: str | None = None,
    content: Sequence[Json] | None = None,
    locations: Sequence[Json] | None = None,
    raw_input: Any = None,
    raw_output: Any = None,
) -> Json:
    """A new tool call; the client takes kind `other` and status `pending` when they are left out."""
    fields = _tool_call_fields(title, name, kind, status, content, locations, raw_input, raw_output)
    return {"sessionUpdate": "tool_call", "toolCallId": tool_call_id, **fields}


def tool_call_update(
    tool_call_id: str,
    *,
    title: str | None = None,
    name: str | None = None,
    kind: str | None = None,
    status: str | None = None,
    content: Sequence[Json] | None = None,
    locations: Sequence[Json] | None = None,
    raw_input: Any = None,
    raw_output: Any = None,
) -> Json:
    """What changed; `content` and `locations` replace the whole list, None is unchanged."""
    fields = _tool_call_fields(title, name, kind, status, content, locations, raw_input, raw_output)
    return {"sessionUpdate": "tool_call_update", "toolCallId": tool_call_id, **fields}


def _tool_call_fields(
    title: str | None,
    name: str | None,
    kind: str | None,
    status: str | None,
    content: Sequence[Json] | None,
    locations: Sequence[Json] | None,
    raw_input: Any,
    raw_output: Any,
) -> Json:
    return _without_none(
        title=title,
        name=name,
        kind=kind,
        status=status,
        content=None if content is None else list(content),
        locations=None if locations is None else list(locations),
        rawInput=raw_input,
        rawOutput=raw_output,
    )


def plan(entries: Sequence[Json]) -> Json:
    """Always the complete list, of `plan_entry`."""
    return {"sessionUpdate": "plan", "entries": list(entries)}


def plan_entry(content: str, *, priority: str = "medium", status: str = "pending") -> Json:
    """`priority` is high, medium or low; `status` is pending, in_progress or completed."""
    return {"content": content, "priority": priority, "status": status}


def available_commands_update(commands: Sequence[Json]) -> Json:
    """Always the complete list, of `available_command`."""
    return {"sessionUpdate": "available_commands_update", "availableCommands": list(commands)}


def available_command(name: str, description: str, *, hint: str | None = None) -> Json:
    """`name` without a slash; `hint` tells that the command takes text, and which."""
    command = {"name": name, "description": description}
    return command if hint is None else {**command, "input": {"hint": hint}}


def current_mode_update(mode_id: str) -> Json:
    return {"sessionUpdate": "current_mode_update", "currentModeId": mode_id}


def config_option_update(options: Sequence[Json]) -> Json:
    """Always the complete list, of `config_select` and `config_boolean`."""
    return {"sessionUpdate": "config_option_update", "configOptions": list(options)}


def session_info_update(*, title: str | None = UNCHANGED, updated_at: str | None = UNCHANGED) -> Json:
    """None clears a field. `updated_at` is ISO 8601."""
    fields = {"title": title, "updatedAt": updated_at}
    return {
        "sessionUpdate": "session_info_update",
        **{key: value for key, value in fields.items() if value is not UNCHANGED},
    }


def usage_update(used: int, size: int, *, cost: Json | None = None) -> Json:
    """Tokens in the context, and the size of the window; `cost` as `cost` builds it."""
    return _without_none(sessionUpdate="usage_update", used=used, size=size, cost=cost)


def cost(amount: float, currency: str) -> Json:
    """`currency` is an ISO 4217 code, or a word such as `credits`."""
    return {"amount": amount, "currency": currency}


def notice(severity: str, title: str, description: str | None = None) -> Json:
    """Only for a client with `session.notices`. `severity` is info, warning or error; `title` is not empty."""
    return _without_none(sessionUpdate="notice", severity=severity, title=title, description=description)


def compaction_update(
    compaction_id: str,
    status: str,
    *,
    summary: Sequence[Json] | None = UNCHANGED,
    error: str | None = UNCHANGED,
) -> Json:
    """Only for a client with `session.compaction`. None clears; `status` ends as completed, failed or cancelled."""
    update: Json = {"sessionUpdate": "compaction_update", "compactionId": compaction_id, "status": status}
    if summary is not UNCHANGED:
        update["summary"] = None if summary is None else list(summary)
    if error is not UNCHANGED:
        update["error"] = error
    return update


def compaction_summary_chunk(compaction_id: str, content: str | Json) -> Json:
    block = content_text(content) if isinstance(content, str) else content
    return {"sessionUpdate": "compaction_summary_chunk", "compactionId": compaction_id, "content": block}


# --- parts of a tool call


def content(block: str | Json) -> Json:
    """A text or a content block as the content of a tool call."""
    return {"type": "content", "content": content_text(block) if isinstance(block, str) else block}


def diff(path: str, old_text: str | None, new_text: str) -> Json:
    """`path` is absolute; `old_text` is None for a new file."""
    return _without_none(type="diff", path=path, oldText=old_text, newText=new_text)


def terminal(terminal_id: str) -> Json:
    """Shows a terminal that has not been released."""
    return {"type": "terminal", "terminalId": terminal_id}


def location(path: str, line: int | None = None) -> Json:
    """`path` is absolute; `line` is counted from 1."""
    return _without_none(path=path, line=line)


def permission_option(option_id: str, name: str, kind: str) -> Json:
    """`kind` is allow_once, allow_always, reject_once or reject_always."""
    return {"optionId": option_id, "name": name, "kind": kind}


def permission_tool_call(tool_call_id: str, **fields: Any) -> Json:
    """The `toolCall` of a permission request: the fields of `tool_call_update`, without its discriminator."""
    update = tool_call_update(tool_call_id, **fields)
    del update["sessionUpdate"]
    return update


def selected(option_id: str) -> Json:
    """The result of a permission request: the person's choice."""
    return {"outcome": {"outcome": "selected", "optionId": option_id}}


def cancelled() -> Json:
    """The result of a permission request whose turn was cancelled."""
    return {"outcome": {"outcome": "cancelled"}}


# --- sessions


def session_modes(current_mode_id: str, modes: Sequence[Json]) -> Json:
    return {"currentModeId": current_mode_id, "availableModes": list(modes)}


def session_mode(mode_id: str, name: str, description: str | None = None) -> Json:
    return _without_none(id=mode_id, name=name, description=description)


def session_info(
    session_id: str,
    cwd: str,
    *,
    additional_directories: Sequence[str] = (),
    title: str | None = None,
    updated_at: str | None = None,
) -> Json:
    """One row of `session/list`."""
    directories = list(additional_directories) or None
    return _without_none(
        sessionId=session_id, cwd=cwd, additionalDirectories=directories, title=title, updatedAt=updated_at
    )


def config_select(
    option_id: str,
    name: str,
    current_value: str,
    options: Sequence[Json],
    *,
    description: str | None = None,
    category: str | None = None,
) -> Json:
    """`options` are `config_value` rows, or all of them `config_group` rows."""
    return _without_none(
        id=option_id,
        name=name,
        description=description,
        category=category,
        type="select",
        currentValue=current_value,
        options=list(options),
    )


def config_boolean(
    option_id: str, name: str, current_value: bool, *, description: str | None = None, category: str | None = None
) -> Json:
    """Only for a client with `session.configOptions.boolean`."""
    return _without_none(
        id=option_id,
        name=name,
        description=description,
        category=category,
        type="boolean",
        currentValue=current_value,
    )


def config_value(value: str, name: str, description: str | None = None) -> Json:
    return _without_none(value=value, name=name, description=description)


def config_group(group: str, name: str, options: Sequence[Json]) -> Json:
    return {"group": group, "name": name, "options": list(options)}


# --- initialize, and what both ends say of themselves


def implementation(name: str, version: str, title: str | None = None) -> Json:
    """`agentInfo` or `clientInfo`."""
    return _without_none(name=name, version=version, title=title)


def initialize_result(
    agent_info: Json, agent_capabilities: Json, *, auth_methods: Sequence[Json] = (), protocol_version: int = 1
) -> Json:
    """`protocol_version` is the client's if the agent speaks it, else the agent's latest, never an echo."""
    return {
        "protocolVersion": protocol_version,
        "agentCapabilities": agent_capabilities,
        "authMethods": list(auth_methods),
        "agentInfo": agent_info,
    }


def agent_capabilities(
    *,
    load_session: bool = False,
    prompt: Sequence[str] = (),
    mcp: Sequence[str] = (),
    session: Sequence[str] = (),
    logout: bool = False,
) -> Json:
    """By wire names: `prompt` of image, audio, embeddedContext; `mcp` of http, sse; `session` of list, delete,
    additionalDirectories, resume, close."""
    return {
        "loadSession": load_session,
        "promptCapabilities": {name: name in prompt for name in ("image", "audio", "embeddedContext")},
        "mcpCapabilities": {name: name in mcp for name in ("http", "sse")},
        "sessionCapabilities": _markers(session),
        "auth": {"logout": {}} if logout else {},
    }


def client_capabilities(
    *,
    read_text_file: bool = False,
    write_text_file: bool = False,
    terminal: bool = False,
    terminal_auth: bool = False,
    elicitation: Sequence[str] = (),
    boolean_options: bool = False,
    notices: bool = False,
    compaction: bool = False,
) -> Json:
    """`elicitation` of form and url. `fs`, `terminal` and `auth` are always said, the rest only where supported."""
    capabilities: Json = {
        "fs": {"readTextFile": read_text_file, "writeTextFile": write_text_file},
        "terminal": terminal,
        "auth": {"terminal": terminal_auth},
    }
    session = _markers([name for name, on in (("notices", notices), ("compaction", compaction)) if on])
    if boolean_options:
        session["configOptions"] = {"boolean": {}}
    if session:
        capabilities["session"] = session
    if elicitation:
        capabilities["elicitation"] = _markers(elicitation)
    return capabilities


def _markers(names: Sequence[str]) -> Json:
    return {name: {} for name in names}


def auth_method(method_id: str, name: str, description: str | None = None) -> Json:
    """A sign-in that the agent carries out, on `authenticate`."""
    return _without_none(id=method_id, name=name, description=description)


def auth_method_terminal(
    method_id: str,
    name: str,
    *,
    description: str | None = None,
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> Json:
    """Only for a client with `auth.terminal`: it runs the agent's command again with these `args` and `env`."""
    return {
        "type": "terminal",
        **_without_none(id=method_id, name=name, description=description, args=list(args) or None),
        **({"env": dict(env)} if env else {}),
    }


# --- params and results of requests


def prompt_result(stop_reason: str) -> Json:
    """`stop_reason` is end_turn, max_tokens, max_turn_requests, refusal or cancelled."""
    return {"stopReason": stop_reason}


def request_permission(session_id: str, tool_call: Json, options: Sequence[Json]) -> Json:
    """`tool_call` as `permission_tool_call` builds it; `options` of `permission_option`."""
    return {"sessionId": session_id, "toolCall": tool_call, "options": list(options)}


def read_text_file(session_id: str, path: str, *, line: int | None = None, limit: int | None = None) -> Json:
    """`path` is absolute; `line` is counted from 1; `limit` is a number of lines."""
    return _without_none(sessionId=session_id, path=path, line=line, limit=limit)


def create_terminal(
    session_id: str,
    command: str,
    *,
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    output_byte_limit: int | None = None,
) -> Json:
    """`cwd` is absolute."""
    return _without_none(
        sessionId=session_id,
        command=command,
        args=list(args),
        env=_pairs(env) if env else None,
        cwd=cwd,
        outputByteLimit=output_byte_limit,
    )


def _pairs(values: Mapping[str, str] | None) -> list[Json]:
    return [{"name": name, "value": value} for name, value in (values or {}).items()]


def exit_status(exit_code: int | None, signal: str | None = None) -> Json:
    """How a command ended; also the result of `terminal/wait_for_exit`. Exit codes are not negative in ACP."""
    return _without_none(exitCode=exit_code, signal=signal)


def terminal_output(output: str, truncated: bool, exit_status: Json | None = None) -> Json:
    """`exit_status` is None while the command runs."""
    return _without_none(output=output, truncated=truncated, exitStatus=exit_status)


def mcp_stdio(name: str, command: str, *, args: Sequence[str] = (), env: Mapping[str, str] | None = None) -> Json:
    return {"name": name, "command": command, "args": list(args), "env": _pairs(env)}


def mcp_http(name: str, url: str, headers: Mapping[str, str] | None = None) -> Json:
    return {"type": "http", "name": name, "url": url, "headers": _pairs(headers)}


def mcp_sse(name: str, url: str, headers: Mapping[str, str] | None = None) -> Json:
    return {"type": "sse", "name": name, "url": url, "headers": _pairs(headers)}


def elicitation_form(session_id: str, message: str, schema: Json, tool_call_id: str | None = None) -> Json:
    """Only for a client with `elicitation.form`. `schema` is a flat object schema."""
    return _without_none(
        mode="form", sessionId=session_id, toolCallId=tool_call_id, message=message, requestedSchema=schema
    )


def elicitation_url(
    session_id: str, message: str, elicitation_id: str, url: str, tool_call_id: str | None = None
) -> Json:
    """Only for a client with `elicitation.url`."""
    return _without_none(
        mode="url",
        sessionId=session_id,
        toolCallId=tool_call_id,
        message=message,
        elicitationId=elicitation_id,
        url=url,
    )


def elicitation_result(action: str, content: Mapping[str, Any] | None = None) -> Json:
    """`action` is accept, decline or cancel; only accept has content."""
    return _without_none(action=action, content=None if content is None else dict(content))
