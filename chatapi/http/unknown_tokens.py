"""Tokens that open nothing: remembered for a moment, and looked up so often for each network.

Who asks with a made-up token is known only after the database has been asked, so this comes
first. It counts in the worker's memory: a shared storage would be asked as often as the database.
"""

from __future__ import annotations

import time

from chatapi.domain.errors import TooManyRequests
from chatapi.domain.networks import Network
from chatapi.http.counters import Counters, WorkerMemory, network_limits

REMEMBER_SECONDS = 5.0
MAX_REMEMBERED = 20_000


class UnknownTokens:
    """Decides whether a token is looked up. It keeps session ids, which are hashes of tokens."""

    def __init__(self) -> None:
        self._counters = Counters(WorkerMemory())
        self._unknown: dict[str, float] = {}  # until when each is believed to open nothing
        self._opened: dict[str, None] = {}

    def is_unknown(self, session_id: str) -> bool:
        """Tell whether the token has just been found to open nothing."""
        return self._unknown.get(session_id, 0.0) > time.monotonic()

    def check(self, session_id: str, network: Network, limit: str) -> None:
        """Refuse a token that may be made up when its network has tried too many.

        One that has opened a session in this process is looked up always. Raises
        TooManyRequests.
        """
        if session_id in self._opened:
            return
        for item, name in network_limits(limit, network):
            if self._counters.count(item, "token", name) >= item.amount:
                left = self._counters.seconds_left(item, "token", name)
                raise TooManyRequests(retryAfter=left)

    def note_opened(self, session_id: str) -> None:
        """Remember a token that has opened a session."""
        self._opened.pop(session_id, None)
        self._opened[session_id] = None
        _bound(self._opened)

    def note_unknown(self, session_id: str, network: Network, limit: str) -> None:
        """Remember and count a token that has opened nothing."""
        self._unknown.pop(session_id, None)
        self._unknown[session_id] = time.monotonic() + REMEMBER_SECONDS
        _bound(self._unknown)
        if session_id not in self._opened:
            for item, name in network_limits(limit, network):
                self._counters.add(item, "token", name)


def _bound(remembered: dict[str, float] | dict[str, None]) -> None:
    """Drop the oldest, so that no number of tokens fills the memory."""
    if len(remembered) > MAX_REMEMBERED:
        del remembered[next(iter(remembered))]
