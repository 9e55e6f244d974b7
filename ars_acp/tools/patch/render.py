"""Writes a patch that has been applied in memory as a git diff, with true line numbers: it applies as it stands."""

from collections.abc import Callable, Sequence

from ars_acp.tools.patch.model import Applied, Hunk

_OPEN = "\\ No newline at end of file"


def render(applied: Sequence[Applied], show: Callable[[str], str]) -> str:
    """The patch of all of `applied`; `show` gives the name under which a path stands in it."""
    return "".join(_file(it, show) for it in applied)


def render_hunk(hunk: Hunk, shift: int = 0) -> str:
    """One hunk; `shift` is how many lines the hunks before it in the file have added."""
    old, new = len(hunk.old), len(hunk.new)
    start = hunk.start or 0
    # An empty side is said to stand after its line, any other one begins at it.
    new_start = start + shift + (1 if hunk.inserts and new else 0) - (1 if old and not new else 0)
    lines = [f"@@ -{start},{old} +{new_start},{new} @@"]
    last_old = max((at for at, (op, _) in enumerate(hunk.lines) if op != "+"), default=-1)
    last_new = max((at for at, (op, _) in enumerate(hunk.lines) if op != "-"), default=-1)
    for at, (op, text) in enumerate(hunk.lines):
        lines.append(op + text)
        if (hunk.old_open and at == last_old) or (hunk.new_open and at == last_new):
            lines.append(_OPEN)
    return "\n".join(lines) + "\n"


def _file(applied: Applied, show: Callable[[str], str]) -> str:
    change = applied.change
    old = show(change.path)
    new = old if change.move_to is None else show(change.move_to)
    lines = [f"diff --git {_quoted('a/' + old)} {_quoted('b/' + new)}"]
    if change.old_text is None:
        lines.append(f"new file mode {'100755' if applied.executable else '100644'}")
    elif change.new_text is None:
        lines.append("deleted file mode 100644")
    elif change.move_to is not None:
        lines += [f"rename from {_quoted(old)}", f"rename to {_quoted(new)}"]
    if applied.hunks:
        lines.append("--- /dev/null" if change.old_text is None else f"--- {_ended('a/' + old)}")
        lines.append("+++ /dev/null" if change.new_text is None else f"+++ {_ended('b/' + new)}")
    text = "\n".join(lines) + "\n"
    shift = 0
    for hunk in applied.hunks:
        text += render_hunk(hunk, shift)
        shift += len(hunk.new) - len(hunk.old)
    return text


def _quoted(name: str) -> str:
    if '"' not in name:
        return name
    return '"' + name.replace('"', '\\"') + '"'


def _ended(name: str) -> str:
    """A name as ---/+++ lines have it: with a tab after it where it holds a blank, as git does."""
    return _quoted(name) + ("\t" if " " in name and '"' not in name else "")
