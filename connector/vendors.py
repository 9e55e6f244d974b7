"""The agents that we know, one row each: how it is started, how a person signs in, what it does in its own way.

A row is data seen in the real program, whose version stands beside it: `tests/connector/test_vendors_contract.py` sees
it again. What is not in the table is a command like any other: `command_of("my-agent --acp")`.
"""

import os.path
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from connector.limits import DEFAULTS, Limits
from connector.process import Command

# Node agents take seconds to start, and the better part of two minutes where npx has to fetch them first.
FOR_NODE = replace(DEFAULTS, initialize=120, session=120)

# What every program that talks to its provider may need to reach it, and where it keeps its things.
SURROUNDINGS = (
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS"),
    *("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"),
)


@dataclass(frozen=True)
class SignIn:
    """How a person gets in, and how it shows that nobody has.

    `run` says what the person runs or sets, as the end of a sentence. `shows` is the request that an agent without a
    login answers with AUTH_REQUIRED; `never` where it goes on without. `methods` are the ACP sign-in methods that need
    no person, only one of these variables; they are to be tried, in this order, when the agent asks for a sign-in.
    """

    run: str
    shows: Literal["session/new", "session/prompt", "never"] = "session/new"
    methods: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Quirks:
    """What an agent does that others do not. The mock agent does the same in that vendor's shape.

    `options`        the permission options, id and kind, in the order in which it lists them
    `requests`       methods it calls that the protocol does not have; they are answered METHOD_NOT_FOUND
    `notifications`  the same without an answer
    `late`           the kinds of updates it sends after the answer that ended their turn
    `noise`          lines on stdout that are no messages
    `calls`          the methods of the client it uses for files and commands; the rest it does by itself
    `withheld`       the methods of the client that it is not offered, as it cannot use them
    `refusal`        the stop reason with which a refusal ends its turn; None: the model is told, and goes on
    `forgets`        the model is not told later of a prompt that was cancelled
    `eof_seconds`    how long it goes on after its stdin has ended
    `answers_in_turn`  it answers other requests while it is at a prompt: one that does not is wedged
    `forgets_unfinished`  of a reply that its process was killed at it knows nothing in its next one
    `re_executes`    its process is the parent of the one that works: only a signal to the group reaches both
    """

    options: tuple[tuple[str, str], ...] = (("allow_once", "allow_once"), ("reject_once", "reject_once"))
    requests: tuple[str, ...] = ()
    notifications: tuple[str, ...] = ()
    late: tuple[str, ...] = ()
    noise: tuple[str, ...] = ()
    calls: frozenset[str] = frozenset()
    withheld: frozenset[str] = frozenset()
    refusal: str | None = None
    forgets: bool = False
    eof_seconds: float = 0.0
    answers_in_turn: bool = False
    forgets_unfinished: bool = False
    re_executes: bool = False


@dataclass(frozen=True)
class Vendor:
    """One agent program.

    `switch` is what makes it speak ACP; the first spelling is added to `argv` where none stands there. `asking` is
    added where its first word does not: what makes the agent ask before it acts, whatever the person's own settings
    say. `credentials` and `settings` name the variables of our environment that it gets besides the usual ones;
    `ARS_*` are all that begin so.
    """

    name: str
    title: str
    argv: tuple[str, ...]
    switch: tuple[str, ...] = ()
    asking: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    credentials: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    install: str = ""
    package: str = ""
    sign_in: SignIn = SignIn("see its documentation")
    quirks: Quirks = Quirks()
    limits: Limits = DEFAULTS

    def command(self) -> Command:
        """How it is started."""
        argv = list(self.argv)
        if self.switch and not set(self.switch) & set(argv[1:]):
            argv.append(self.switch[0])
        if self.asking and not any(word.partition("=")[0] == self.asking[0] for word in argv):
            argv += self.asking
        return Command(self.name, argv, self.env, (*self.credentials, *self.settings, *SURROUNDINGS))


_ROWS = (
    Vendor(
        "ars",
        "ARS",
        ("ars-acp",),
        credentials=("OPENAI_API_KEY",),
        settings=("OPENAI_BASE_URL", "OPENAI_MODEL", "ARS_*"),
        install="uv tool install .",
        package="ars-acp",
        sign_in=SignIn("run `ars-acp login`, or set OPENAI_API_KEY"),
        quirks=Quirks(
            calls=frozenset({"fs/read_text_file", "fs/write_text_file", "terminal/create"}), answers_in_turn=True
        ),
        limits=replace(DEFAULTS, late=0.0),  # its answer to a prompt is the last that it says of the turn
    ),
    Vendor(  # 1.18.33
        "opencode",
        "OpenCode",
        ("opencode",),
        switch=("acp",),
        # Its own default allows everything; it must not replace itself while it is driven either.
        env={"OPENCODE_PERMISSION": '{"edit":"ask","bash":"ask"}', "OPENCODE_DISABLE_AUTOUPDATE": "1"},
        credentials=("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "OPENROUTER_API_KEY", "OPENCODE_API_KEY"),
        settings=("OPENCODE_CONFIG", "OPENCODE_CONFIG_DIR", "OPENCODE_CONFIG_CONTENT", "OPENCODE_DISABLE_MODELS_FETCH"),
        install="npm install --global opencode-ai",
        package="opencode-ai",
        # Without a login it goes on with free models of its own provider.
        sign_in=SignIn("run `opencode auth login`", shows="never"),
        quirks=Quirks(
            options=(("once", "allow_once"), ("always", "allow_always"), ("reject", "reject_once")),
            calls=frozenset({"fs/write_text_file"}),
            refusal="end_turn",
            forgets_unfinished=True,
        ),
        limits=FOR_NODE,
    ),
    Vendor(  # 0.24.4
        "qwen",
        "Qwen Code",
        ("qwen",),
        switch=("--acp", "--experimental-acp"),
        # Its own default lets a model judge which acts need no question.
        asking=("--approval-mode", "default"),
        credentials=("OPENAI_API_KEY", "DASHSCOPE_API_KEY"),
        settings=("OPENAI_BASE_URL", "OPENAI_MODEL"),
        install="npm install --global @qwen-code/qwen-code",
        package="@qwen-code/qwen-code",
        sign_in=SignIn(
            "run `qwen` and sign in with /auth, or set OPENAI_API_KEY", methods={"openai": ("OPENAI_API_KEY",)}
        ),
        quirks=Quirks(
            options=(("proceed_always", "allow_always"), ("proceed_once", "allow_once"), ("cancel", "reject_once")),
            requests=("craft/drainMidTurnQueue",),
            notifications=("qwen/notify/session/prompt-suggestion",),
            calls=frozenset({"fs/read_text_file", "fs/write_text_file"}),
            refusal="end_turn",
            forgets_unfinished=True,
            re_executes=True,
        ),
        limits=FOR_NODE,
    ),
    Vendor(  # 0.61.0
        "gemini",
        "Gemini CLI",
        ("gemini",),
        switch=("--acp", "--experimental-acp"),
        asking=("--approval-mode", "default"),
        credentials=("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_APPLICATION_CREDENTIALS"),
        settings=(
            *("GEMINI_MODEL", "GOOGLE_GEMINI_BASE_URL", "GOOGLE_GENAI_USE_VERTEXAI"),
            *("GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_LOCATION"),
        ),
        install="npm install --global @google/gemini-cli",
        package="@google/gemini-cli",
        sign_in=SignIn(
            "run `gemini` and sign in, or set GEMINI_API_KEY",
            methods={"gemini-api-key": ("GEMINI_API_KEY",), "vertex-ai": ("GOOGLE_API_KEY",)},
        ),
        quirks=Quirks(
            options=(
                ("proceed_always", "allow_always"),
                ("proceed_once", "allow_once"),
                ("cancel", "reject_once"),
            ),
            noise=("Loaded cached credentials.",),  # older ones, as people report
            calls=frozenset({"fs/write_text_file"}),
            # It takes the answer that a file is not there for a failure, and then writes no new files.
            withheld=frozenset({"fs/read_text_file"}),
            forgets=True,
            re_executes=True,
        ),
        limits=FOR_NODE,
    ),
    Vendor(  # claude-agent-acp 0.100.0
        "claude",
        "Claude Agent",
        ("claude-agent-acp",),
        env={"DISABLE_AUTOUPDATER": "1"},
        credentials=("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"),
        settings=("ANTHROPIC_BASE_URL", "ANTHROPIC_MODEL", "CLAUDE_CONFIG_DIR", "CLAUDE_CODE_EXECUTABLE"),
        install="npm install --global @agentclientprotocol/claude-agent-acp",
        package="@agentclientprotocol/claude-agent-acp",
        sign_in=SignIn("run `claude-agent-acp --cli auth login`, or set ANTHROPIC_API_KEY", shows="session/prompt"),
        quirks=Quirks(
            options=(
                ("allow-once", "allow_once"),
                ("allow-with-updates", "allow_always"),
                ("reject", "reject_once"),
            ),
            notifications=("_auth/status_update",),
            late=("session_info_update",),
        ),
        limits=FOR_NODE,
    ),
    Vendor(  # codex-acp 2.6.0
        "codex",
        "Codex",
        ("codex-acp",),
        # Read-only is its mode that asks before it changes anything.
        env={"INITIAL_AGENT_MODE": "read-only"},
        credentials=("CODEX_API_KEY", "OPENAI_API_KEY"),
        settings=("CODEX_HOME", "CODEX_PATH", "CODEX_CONFIG", "MODEL_PROVIDER", "OPENAI_BASE_URL"),
        install="npm install --global @agentclientprotocol/codex-acp",
        package="@agentclientprotocol/codex-acp",
        sign_in=SignIn(
            "run `codex login`, or set CODEX_API_KEY or OPENAI_API_KEY",
            methods={"api-key": ("CODEX_API_KEY", "OPENAI_API_KEY")},
        ),
        quirks=Quirks(
            options=(
                ("allow_once", "allow_once"),
                ("accept_execpolicy_amendment", "allow_always"),
                ("cancel", "reject_once"),
            ),
            notifications=("_auth/status_update",),
            refusal="cancelled",
            eof_seconds=2.0,
        ),
        limits=FOR_NODE,
    ),
)
VENDORS: Mapping[str, Vendor] = {row.name: row for row in _ROWS}


def command_of(what: str | Sequence[str]) -> Vendor:
    """The row behind a vendor's name, a command line or an argv; a new one for a command that we do not know.

    A known program keeps its row under another path or with other arguments, and when a package runner or node starts
    it: `/opt/bin/qwen -m x`, `npx -y @google/gemini-cli@0.61`. Raises ValueError where there is no command.
    """
    if isinstance(what, str) and what in VENDORS:
        return VENDORS[what]
    argv = tuple(shlex.split(what) if isinstance(what, str) else what)
    if not argv or not argv[0]:
        raise ValueError(f"an agent is one of {', '.join(VENDORS)}, or a command")
    known = next((row for row in VENDORS.values() if _is_of(row, argv)), None)
    return Vendor(os.path.basename(argv[0]), argv[0], argv) if known is None else replace(known, argv=argv)


def _is_of(row: Vendor, argv: tuple[str, ...]) -> bool:
    return os.path.basename(argv[0]) == row.argv[0] or any(_names(word, row.package) for word in argv)


def _names(word: str, package: str) -> bool:
    """Whether a word is that npm package, perhaps of a version, or a file of its."""
    return word == package or word.startswith(f"{package}@") or f"/node_modules/{package}/" in word
