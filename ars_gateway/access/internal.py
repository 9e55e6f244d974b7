"""`X-Internal-Auth`: how a service that shares a secret with the gateway signs a request, instead of showing a bearer.

    X-Internal-Auth: v1 <time> <nonce> <digest> <signature>

    time       milliseconds since 1970, at most 60 s from the gateway's clock and not before the gateway's start
    nonce      22 to 64 of `A-Z a-z 0-9 - _`, random and new for each request (`secrets.token_urlsafe(16)`)
    digest     the SHA-256 of the body's bytes, in lower-case hex; of no bytes where there is no body
    signature  HMAC-SHA256, in lower-case hex, under the secret's UTF-8 bytes, of these lines joined by a line feed:
               `ars-internal-v1`, time, nonce, the method in capitals, the path with its query as they are sent, digest

The secret is the text of `internal.secret` in the gateway's state directory (0600), or `ARS_GATEWAY_INTERNAL_SECRET`.
A body may have 16 MiB at most, and less where its door says so. Each header is good for one request: a repeat is
refused. Who has signed in like this may read, write and decide approvals, for the gateway's owner.
"""

import hmac
import re
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256

from ars_gateway.access.scopes import APPROVALS, READ, WRITE

SCHEME = "ars-internal-v1"
SCOPES = frozenset({READ, WRITE, APPROVALS})
WINDOW_MS = 60_000
# 800 requests a second for the two minutes in which a header could come again.
MOST = 100_000
_HEADER = re.compile(r"v1 (\d{13}) ([A-Za-z0-9_-]{22,64}) ([0-9a-f]{64}) ([0-9a-f]{64})", re.ASCII)


class NotSigned(Exception):
    """The header lets nobody in. `guessed`: a signature was compared, and was wrong."""

    def __init__(self, why: str, guessed: bool = False) -> None:
        super().__init__(why)
        self.guessed = guessed


class Busy(Exception):
    """More requests than can be told apart from repeats."""


def signed(secret: bytes, time: str, nonce: str, method: str, target: str, digest: str) -> str:
    """The signature of a request, as the header has it."""
    text = "\n".join([SCHEME, time, nonce, method, target, digest])
    return hmac.new(secret, text.encode(), sha256).hexdigest()


class Internal:
    """Knows the secret, and which nonces were used. Times are milliseconds of `now`, the wall clock."""

    def __init__(self, secret: bytes, now: Callable[[], int]) -> None:
        self._secret = secret
        self._now = now
        # What was used before the start is not known: nothing from then is taken.
        self._oldest = now()
        self._used: OrderedDict[str, int] = OrderedDict()

    def check(self, header: str, method: str, target: str) -> str:
        """The digest that the body has to have. The nonce is used up. Raises `NotSigned` and `Busy`."""
        found = _HEADER.fullmatch(header)
        if found is None:
            raise NotSigned("X-Internal-Auth: v1 <time> <nonce> <digest> <signature> is asked for")
        time, nonce, digest, signature = found.groups()
        now, at = self._now(), int(time)
        if abs(now - at) > WINDOW_MS:
            raise NotSigned(f"X-Internal-Auth: the time is not within 60 s of the gateway's, which is {now}")
        if at < self._oldest:
            raise NotSigned("X-Internal-Auth: the time is before the gateway's start")
        if not hmac.compare_digest(signed(self._secret, time, nonce, method, target, digest), signature):
            raise NotSigned("X-Internal-Auth: signature mismatch", guessed=True)
        self._use(nonce, now)
        return digest

    def _use(self, nonce: str, now: int) -> None:
        """Asked last, so that strangers cannot fill the list. None is forgotten before its time: rather nobody enters.

        A header is good until 60 s after its time, which is 60 s from now at most.
        """
        while self._used:
            oldest, at = next(iter(self._used.items()))
            if at + 2 * WINDOW_MS >= now:
                break
            del self._used[oldest]
            # Should the clock be set back, what was forgotten does not come again.
            self._oldest = max(self._oldest, at + WINDOW_MS)
        if nonce in self._used:
            raise NotSigned("X-Internal-Auth: the nonce was used before")
        if len(self._used) >= MOST:
            raise Busy
        self._used[nonce] = now
