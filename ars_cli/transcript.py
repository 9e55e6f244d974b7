"""What an agent reports, as a person reads it: text, thoughts, the plan, tool calls with their output and diffs."""

import os
import re
import shlex
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from ars_cli import diffs
from ars_cli.plain import clean, visible
from ars_cli.screen import Screen
from connector.permissions import merged

if TYPE_CHECKING:
    from acp_wire.schema.session_update import Plan
    from acp_wire.schema.tool_calls import Diff, ToolCall, ToolCallUpdate

TERMINAL_LINES = 200
FAILURE_LINES = 12
PLAN_MARKS = {"completed": ("✓", "good"), "in_progress": ("▸", "bold"), "pending": ("○", "dim")}
SEVERITIES = {"error": "bad", "warning": "warning"}


class Transcript:
    """Prints a session's updates. `cwd` is left out of the paths below it."""

    def __init__(self, screen: Screen, cwd: str) -> None:
        self._screen = screen
        self._cwd = cwd
        self._block = ""
        self._plan: dict[str, str] = {}
        self._calls: dict[str, ToolCall | ToolCallUpdate] = {}
        self._begun: set[str] = set()
        self._finished: set[str] = set()
        self._shown_diffs: set[tuple[str, str | None, str]] = set()
        self._terminals: dict[str, _TerminalView] = {}
        self._waiting_output: dict[str, str] = defaultdict(str)

    # ── updates ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def update(self, update: Any) -> None:
        """Prints one update of the session, in order."""
        kind = update.session_update
        if kind in ("agent_message_chunk", "agent_thought_chunk", "user_message_chunk"):
            self._say(kind, update.content)
        elif kind == "plan":
            self._show_plan(update)
        elif kind == "tool_call":
            self._calls[update.tool_call_id] = update
            self._tool_call(update)
        elif kind == "tool_call_update":
            known = self._calls.get(update.tool_call_id)
            self._calls[update.tool_call_id] = update if known is None else merged(known, update)
            self._tool_call(self._calls[update.tool_call_id])
        elif kind == "notice":
            self.notice(update.severity, update.title, update.description)
        elif kind == "current_mode_update":
            self._own_line(f"mode: {visible(update.current_mode_id)}", "dim")
        elif kind == "compaction_update" and update.status != "in_progress":
            self._own_line(f"the conversation was compacted: {visible(update.status)}", "dim")

    def terminal_output(self, terminal_id: str, text: str) -> None:
        """Takes what a terminal writes; it is printed once a tool call shows that terminal."""
        if view := self._terminals.get(terminal_id):
            self.end_block()
            view.feed(text)
        else:
            self._waiting_output[terminal_id] += text

    def notice(self, severity: str, title: str, description: str | None = None) -> None:
        """Prints a message that is not the model's."""
        more = f" – {clean(description)}" if description else ""
        self._own_line(f"! {clean(title)}{more}", SEVERITIES.get(severity, "info"))

    def end_block(self) -> None:
        """Ends the text that is being streamed, if any."""
        if self._block:
            self._screen.gap()
        self._screen.end_line()
        self._block = ""

    # ── for whoever asks the person ─────────────────────────────────────────────────────────────────────────────────

    def heading(self, call: "ToolCall | ToolCallUpdate") -> str:
        """One line that says what a call does: by its kind and raw input rather than by its title alone."""
        title = visible(self._short(call.title or call.name or "tool call"))
        command = command_line(call.raw_input)
        if call.kind == "execute" and command and command not in title:
            title = f"{title}: {command}" if title else command
        return f"{call.kind or 'other':<8} {title}"

    def known(self, tool_call_id: str) -> "ToolCall | ToolCallUpdate | None":
        """What has been reported of a tool call so far."""
        return self._calls.get(tool_call_id)

    def consider_begun(self, call: "ToolCall | ToolCallUpdate") -> None:
        """What a call is has just been printed: its output and its end can follow."""
        self._begun.add(call.tool_call_id)

    def show_diffs(self, call: "ToolCall | ToolCallUpdate") -> None:
        """Prints the diffs of a call that have not been printed yet."""
        for item in _diffs(call):
            if _key(item) not in self._shown_diffs:
                diffs.show(
                    self._screen, diffs.unified(self._short(item.path), item.old_text, item.new_text), indent="  "
                )
        self.consider_shown(call)

    def consider_shown(self, call: "ToolCall | ToolCallUpdate") -> None:
        """The person knows these diffs: they have reviewed them."""
        self._shown_diffs.update(_key(item) for item in _diffs(call))

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _say(self, kind: str, content: Any) -> None:
        text = content.text if content.type == "text" else f"[{content.type}]"
        text = clean(text)
        if self._block != kind:
            text = text.lstrip("\n")
            if not text:
                return
            self._screen.gap()
            self._block = kind
        self._screen.write(text, "thought" if kind == "agent_thought_chunk" else "", wrap=True)

    def _show_plan(self, plan: "Plan") -> None:
        """The whole plan the first time, then what has changed."""
        entries = {clean(entry.content).replace("\n", " "): entry.status for entry in plan.entries}
        new = [text for text in entries if text not in self._plan]
        shown = entries if new else {text: it for text, it in entries.items() if self._plan.get(text) != it}
        self._plan = dict(entries)
        if not shown:
            return
        self.end_block()
        self._screen.gap()
        self._screen.line("Plan", "bold")
        for text, status in shown.items():
            mark, style = PLAN_MARKS[status]
            self._screen.line(f"  {mark} {text}", style)
        self._screen.gap()

    def _tool_call(self, call: "ToolCall | ToolCallUpdate") -> None:
        terminals = [item.terminal_id for item in call.content or () if item.type == "terminal"]
        for terminal_id in terminals:
            if terminal_id not in self._terminals:
                self.begin(call)
                self._terminals[terminal_id] = view = _TerminalView(self._screen)
                view.feed(self._waiting_output.pop(terminal_id, ""))
        if call.status in ("completed", "failed"):
            self._finish(call, [self._terminals[terminal_id] for terminal_id in terminals])
        elif call.tool_call_id not in self._begun:
            self.end_block()
            self._screen.status(f"▸ {self.heading(call)}")

    def begin(self, call: "ToolCall | ToolCallUpdate") -> None:
        """Prints a call's heading now, because something that belongs to it follows."""
        if call.tool_call_id not in self._begun:
            self._begun.add(call.tool_call_id)
            self.end_block()
            self._screen.line(f"▸ {self.heading(call)}", "bold")

    def _finish(self, call: "ToolCall | ToolCallUpdate", views: "list[_TerminalView]") -> None:
        if call.tool_call_id in self._finished:
            return
        self._finished.add(call.tool_call_id)
        del self._calls[call.tool_call_id]
        if call.kind == "think" and call.status == "completed":
            return  # what it thought, a plan for instance, has been shown as such
        self.end_block()
        for view in views:
            view.end()
        good = call.status == "completed"
        mark, style = ("✓", "good") if good else ("✗", "bad")
        changed = [diffs.counted(diffs.unified(it.path, it.old_text, it.new_text)) for it in _diffs(call)]
        made = bool(changed) and good and call.kind in ("edit", "delete", "move")
        summary = f" (+{sum(it[0] for it in changed)} -{sum(it[1] for it in changed)})" if made else ""
        texts = [it.content.text for it in call.content or () if it.type == "content" and it.content.type == "text"]
        if call.tool_call_id not in self._begun:
            self._screen.line(f"{mark} {self.heading(call)}{summary}", style)
        elif views:
            # The output has been printed as it came: what is left to say is how it ended.
            self._screen.line(f"  └ {mark} {_ended(call.raw_output) or ('done' if good else 'failed')}", style)
            return
        else:
            self._screen.line(f"{mark} {'done' if good else 'failed'}{summary}", style)
        if good:
            self.show_diffs(call)
        self._show_texts(texts, good)

    def _show_texts(self, texts: list[str], good: bool) -> None:
        """A failure's reason, and a diff that came as text; what a tool has merely read is the model's business."""
        for text in texts:
            diff = re.sub(r"\A`{3,}\w*\n|\n?`{3,}\s*\Z", "", text)
            if good and diff.startswith("diff --git "):
                diffs.show(self._screen, diff.splitlines(), indent="  ")
            elif not good:
                lines = clean(text).strip().splitlines()
                for line in lines[:FAILURE_LINES]:
                    self._screen.line(f"  {line}", "dim")
                if len(lines) > FAILURE_LINES:
                    self._screen.line(f"  … {len(lines) - FAILURE_LINES} more lines", "dim")

    def _own_line(self, text: str, style: str) -> None:
        self.end_block()
        self._screen.line(text, style)

    def _short(self, text: str) -> str:
        return text.replace(self._cwd + os.sep, "").replace(self._cwd, ".")


class _TerminalView:
    """The output of one terminal, printed as it comes."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._partial = ""
        self._lines = 0

    def feed(self, text: str) -> None:
        *lines, self._partial = (self._partial + text).split("\n")
        for line in lines:
            self._print(line)

    def end(self) -> None:
        if self._partial:
            self._print(self._partial)
            self._partial = ""
        if self._lines > TERMINAL_LINES:
            self._screen.line(f"  │ … {self._lines - TERMINAL_LINES} more lines", "dim")
            self._lines = 0

    def _print(self, line: str) -> None:
        self._lines += 1
        if self._lines <= TERMINAL_LINES:
            # What a carriage return would overwrite is not shown, as on a terminal.
            self._screen.line(f"  │ {clean(line.rstrip(chr(13)).rpartition(chr(13))[2])}", "dim")


def command_line(raw_input: Any) -> str:
    """The command in a call's raw input as a shell would take it, with everything unusual written out."""
    if not isinstance(raw_input, dict):
        return ""
    for name in ("argv", "command", "cmd"):
        value = raw_input.get(name)
        args = raw_input.get("args")
        words = [*(value if isinstance(value, list) else [value]), *(args if isinstance(args, list) else [])]
        if value and all(isinstance(word, str) for word in words):
            return visible(shlex.join(words) if len(words) > 1 or isinstance(value, list) else words[0])
    return ""


def _ended(raw_output: Any) -> str:
    """How a command ended, where a call's raw output tells it."""
    if not isinstance(raw_output, dict):
        return ""
    if raw_output.get("timedOut") is True:
        return "stopped: it took too long"
    code, signal = raw_output.get("exitCode"), raw_output.get("signal")
    if isinstance(signal, str):
        return f"ended by {visible(signal)}"
    return f"exit code {code}" if isinstance(code, int) else ""


def _diffs(call: "ToolCall | ToolCallUpdate") -> "list[Diff]":
    return [item for item in call.content or () if item.type == "diff"]


def _key(diff: "Diff") -> tuple[str, str | None, str]:
    return diff.path, diff.old_text, diff.new_text
