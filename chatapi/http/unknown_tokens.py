"""Invalid tokens: cached for a short time, and limited for each network.

A token is known to be invalid only after a query, so this check comes
first. It counts in the worker's memory: a shared storage would get as many queries as the database.
"""

from __future__ import annotations

import time

from chatapi.domain.errors import TooManyRequests
from chatapi.domain.networks import Network
from chatapi.domain.runtime import PerApp
from chatapi.http.counters import Counters, WorkerMemory, network_limits

CACHE_TTL_SECONDS = 5.0
MAX_CACHED_TOKENS = 20_000


class UnknownTokens:
    """Decides whether a token is looked up. It stores session ids, which are hashes of tokens."""

    def __init__(self) -> None:
        self._counters = Counters(WorkerMemory())
        self._unknown: dict[str, float] = {}  # until when each is believed to open nothing
        self._opened: dict[str, None] = {}

    def is_known_invalid(self, session_id: str) -> bool:
        """Return whether the token was found invalid a short time ago."""
        return self._unknown.get(session_id, 0.0) > time.monotonic()

    def check(self, session_id: str, network: Network, limit: str) -> None:
        """Raise TooManyRequests for a new token when its network has sent too many invalid ones.

        One that has opened a session in this process is looked up always. Raises
        TooManyRequests.
        """
        if session_id in self._opened:
            return
        for item, name in network_limits(limit, network):
            if self._counters.count(item, "token", name) >= item.amount:
                left = self._counters.seconds_left(item, "token", name)
                raise TooManyRequests(retryAfter=left)

    def record_valid(self, session_id: str) -> None:
        """Record a valid token."""
        self._opened.pop(session_id, None)
        self._opened[session_id] = None
        _bound(self._opened)

    def record_invalid(self, session_id: str, network: Network, limit: str) -> None:
        """Record and count an invalid token."""
        self._unknown.pop(session_id, None)
        self._unknown[session_id] = time.monotonic() + CACHE_TTL_SECONDS
        _bound(self._unknown)
        if session_id not in self._opened:
            for item, name in network_limits(limit, network):
                self._counters.add(item, "token", name)


unknown_tokens = PerApp(UnknownTokens)


def _bound(remembered: dict[str, float] | dict[str, None]) -> None:
    """Drop the oldest entry when there are too many."""
    if len(remembered) > MAX_CACHED_TOKENS:
        del remembered[next(iter(remembered))]
