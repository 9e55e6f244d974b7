"""Signatures without a nonce that were used: each lets in once."""

from collections.abc import Callable

from ars_gateway.access.identity import SKEW_MS

MOST = 10_000


class Signatures:
    """Signatures of the last minutes: an older one is refused for its age. Times are milliseconds of `now`."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._used: dict[str, int] = {}

    def first_use(self, signature: str, signed_at: int) -> bool:
        """Whether this signature was not used before; it is from here on. When too many are known, none is new."""
        spelled = signature.rstrip("=")
        now = self._now()
        if len(self._used) >= MOST:
            self._used = {one: until for one, until in self._used.items() if until >= now}
        if spelled in self._used or len(self._used) >= MOST:
            return False
        self._used[spelled] = signed_at + SKEW_MS
        return True
