"""Reviewing a patch hunk by hunk, with the keys of `git add -p`."""

from dataclasses import dataclass

from ars_cli import diffs
from ars_cli.keyboard import END_OF_FILE, Keyboard
from ars_cli.plain import clean
from ars_cli.screen import Screen

HELP = (
    ("y", "accept this hunk"),
    ("n", "leave this hunk out"),
    ("a", "accept this hunk and all later ones of this file"),
    ("d", "leave out this hunk and all later ones of this file"),
    ("q", "leave out this hunk and all that remain"),
    ("?", "print this help"),
)
KEYS = "".join(key for key, _ in HELP)


@dataclass(frozen=True)
class Hunk:
    """One choice of a review: its id, what to call it, the file it belongs to, its lines."""

    id: str
    title: str
    file: str
    lines: tuple[str, ...]


async def review(screen: Screen, keyboard: Keyboard, hunks: list[Hunk]) -> list[str]:
    """Asks about each hunk in order; returns the ids of the accepted ones."""
    accepted: list[str] = []
    whole_file: dict[str, bool] = {}
    file = None
    for number, hunk in enumerate(hunks, 1):
        if hunk.file != file:
            file = hunk.file
            screen.gap()
            screen.line(clean(file), "bold")
        diffs.show(screen, hunk.lines or (hunk.title,))
        question = f"({number}/{len(hunks)}) Apply this hunk [{','.join(KEYS)}]? "
        if file in whole_file:
            key = "y" if whole_file[file] else "n"
            screen.line(f"{question}{key}", "title")
        else:
            key = await ask_key(screen, keyboard, question, KEYS, HELP)
        if key == "q":
            break
        if key in "ad":
            whole_file[hunk.file] = key == "a"
        if key in "ya":
            accepted.append(hunk.id)
    screen.line(f"{len(accepted)} of {len(hunks)} hunks accepted", "good" if accepted else "warning")
    return accepted


async def ask_key(
    screen: Screen, keyboard: Keyboard, question: str, keys: str, help_lines: tuple[tuple[str, str], ...]
) -> str:
    """Asks until one of `keys` is pressed and returns it; `?` prints the help, the end of the input is the last key."""
    while True:
        screen.end_line()
        screen.write(question, "title")
        while (key := await keyboard.key()) not in keys and key not in (END_OF_FILE, ""):
            pass
        if key in (END_OF_FILE, ""):
            key = "q"
        screen.write(f"{key}\n")
        if key != "?":
            return key
        for one, text in help_lines:
            screen.line(f"  {one} - {text}", "warning")
