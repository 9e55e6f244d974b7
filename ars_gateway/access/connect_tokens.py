"""One-time tokens: each lets one client in by one WebSocket connect, within a minute, with no more than its maker may.

Only their digests are kept, in memory. `use` is one step without an await, so that of any number who come with the
same token one gets in.
"""

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ars_gateway.access.auth import CONTROL_UI_IDS, Credential, digest
from ars_gateway.access.limiter import Rate

SECONDS = 60.0
# Our own page: a browser client, so an Origin of ours is asked for, and one that has to show a device of its own.
PAGE_CLIENT = CONTROL_UI_IDS[-1]
MOST = 10_000
MADE = (120, 60.0)  # by one caller, in seconds


@dataclass(frozen=True)
class _Held:
    credential: Credential
    client_id: str
    until: float


class ConnectTokens:
    """The tokens that nobody has used yet. Times are seconds of `clock`, which never goes back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._held: dict[bytes, _Held] = {}
        self.rate = Rate(*MADE, clock)

    def make(self, principal: str, scopes: Iterable[str], client_id: str) -> str:
        """A token that lets `client_id` in as `principal`, for `SECONDS`, with these scopes at most."""
        now = self._clock()
        for key in [key for key, one in self._held.items() if one.until <= now]:
            del self._held[key]
        while len(self._held) >= MOST:
            del self._held[next(iter(self._held))]
        token = secrets.token_urlsafe(32)
        key = digest(token)
        self._held[key] = _Held(Credential(principal, key, frozenset(scopes)), client_id, now + SECONDS)
        return token

    def use(self, token: str, client_id: str) -> Credential | None:
        """What the token allows `client_id`, or None. It is used up by it, also where another client shows it.

        It is found by its digest: what the time of a look-up tells of that is no help to guess a token.
        """
        found = self._held.pop(digest(token), None)
        if found is None or found.until <= self._clock() or found.client_id != client_id:
            return None
        return found.credential


def page_address(urls: tuple[str, ...], token: str) -> str:
    """The page's address with a token for it in the fragment, which browsers send to nobody. `urls`: the gateway's."""
    return f"{page_origin(urls)}/#token={token}"


def page_origin(urls: tuple[str, ...]) -> str:
    """Where the page is, seen from this machine."""
    base = urls[0].replace("ws://", "http://", 1)
    for everywhere in ("//0.0.0.0:", "//[::]:"):
        base = base.replace(everywhere, "//localhost:")
    return base
