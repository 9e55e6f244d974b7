"""What an OpenAI client is told of a run that waits for a person: its API has no word for it, so it stands in the
answer, as a paragraph by itself, and says where it is answered. Nothing is allowed by that. Pure."""

from typing import Any
from urllib.parse import quote

from ars_gateway.sessions.feed import Entry

Json = dict[str, Any]

LONGEST = 200


class Notes:
    """The notes of one run. `where` is an address that a person opens to answer; of kinds of entries that are `hidden`
    from the client it hears that something waits, and not what."""

    def __init__(self, where: str, hidden: frozenset[str] = frozenset()) -> None:
        self._where = where
        self._hidden = hidden
        self._asked: dict[str, str] = {}

    def waits(self, entry: Entry) -> str:
        """The note for an entry that begins to wait; empty for every other one."""
        data = entry.data
        if entry.kind == "question":
            words = "" if entry.kind in self._hidden else data["request"]["command"]
            what = f"permission{_quoted(words)}"
        elif entry.kind == "form":
            what = f"an answer{_quoted('' if entry.kind in self._hidden else data['message'])}"
        else:
            return ""
        self._asked[data["id"]] = what
        seconds = round((data["expiresAtMs"] - data["createdAtMs"]) / 1000)
        return _note(f"The agent waits for {what}. Give it at {self._where} within {seconds} s.")

    def missed(self, entry: Entry) -> str:
        """The note for an entry that ends a wait because nobody has answered; empty for every other one."""
        if entry.kind not in ("answered", "filled") or entry.data["resolvedBy"] is not None:
            return ""
        what = self._asked.pop(entry.data["id"], "an answer")
        return _note(f"Nobody gave {what}, so the agent goes on without. Such questions are answered at {self._where}")


def where(origin: str, key: str) -> str:
    """The page's address of a session."""
    return f"{origin}/#s={quote(key, safe=':')}"


def _note(text: str) -> str:
    return f"\n\n> {text}\n\n"


def _quoted(text: str) -> str:
    """The words of an agent within a line of ours, on which they are to stay."""
    plain = " ".join(text.replace("`", "'").split())
    return f": `{plain if len(plain) <= LONGEST else f'{plain[:LONGEST]}…'}`" if plain else ""
