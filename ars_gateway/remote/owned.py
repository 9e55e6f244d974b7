"""Whose the sessions are that editors elsewhere have begun: an agent that keeps one store for all who run it would list
and load anybody's to each of them."""

from ars_gateway.index import Index, Statement

# Of one principal with one agent; of older ones nobody knows any more whose they are, so that nobody gets them.
MOST_KEPT = 10_000
_TABLE = """CREATE TABLE IF NOT EXISTS remote_sessions (
    number INTEGER PRIMARY KEY AUTOINCREMENT, principal TEXT NOT NULL, agent TEXT NOT NULL, session TEXT NOT NULL,
    UNIQUE (principal, agent, session)) STRICT"""
_ADD = "INSERT OR IGNORE INTO remote_sessions (principal, agent, session) VALUES (?, ?, ?)"
_REMOVE = "DELETE FROM remote_sessions WHERE principal = ? AND agent = ? AND session = ?"


class Owned:
    """They are held in memory and written through: `add` and `remove` hold even where they raise sqlite3.Error."""

    def __init__(self, index: Index) -> None:
        self._index = index
        index.execute(_TABLE)
        # The oldest first.
        self._sessions: dict[tuple[str, str], dict[str, None]] = {}
        for principal, agent, session in index.execute(
            "SELECT principal, agent, session FROM remote_sessions ORDER BY number"
        ):
            self._sessions.setdefault((principal, agent), {})[session] = None

    def has(self, principal: str, agent: str, session: str) -> bool:
        """Whether the principal has begun that session with that agent here."""
        return session in self._sessions.get((principal, agent), {})

    def add(self, principal: str, agent: str, session: str) -> None:
        """It has."""
        kept = self._sessions.setdefault((principal, agent), {})
        if session in kept:
            return
        kept[session] = None
        gone = next(iter(kept)) if len(kept) > MOST_KEPT else None
        if gone is not None:
            del kept[gone]
        statements: list[Statement] = [(_ADD, (principal, agent, session))]
        if gone is not None:
            statements.append((_REMOVE, (principal, agent, gone)))
        self._index.write(*statements)

    def remove(self, principal: str, agent: str, session: str) -> None:
        """It is deleted."""
        self._sessions.get((principal, agent), {}).pop(session, None)
        self._index.write((_REMOVE, (principal, agent, session)))
