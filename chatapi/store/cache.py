"""Cached totals over all chats, because computing one reads all of them.

A process updates its totals with its own writes. The change stream that `realtime.session_cache`
follows reports the writes of other processes and invalidates the totals. Without a change stream a
total is valid for a second.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from chatapi.domain.runtime import PerApp
from chatapi.store.database import current

T = TypeVar("T")


class ChangeTracker:
    """Track whether the change stream reports every change of a chat, and count the changes.

    changes -- incremented with each change, by this process or reported. A result that was read
    with a smaller number may be out of date.
    active_writes, writes -- how many writes to chats are under way, and have ended.
    """

    # The change stream is stale when it has not responded for so long.
    FRESH_SECONDS = 2.0
    MAX_EXPECTED = 2000

    def __init__(self) -> None:
        self.changes = self.active_writes = self.writes = 0
        self._last_response_at: float | None = None
        # The versions of chats that this process writes; True until the stream has reported one.
        self._expected: dict[tuple[object, int], bool] = {}

    @property
    def is_fresh(self) -> bool:
        """Return whether the change stream reports every change now."""
        last = self._last_response_at
        return last is not None and time.monotonic() - last < self.FRESH_SECONDS

    def start(self) -> None:
        """Start tracking. Earlier changes were not reported, so invalidate all totals."""
        self.changes += 1
        self._expected.clear()
        invalidate_all()
        self._last_response_at = time.monotonic()

    def mark_alive(self) -> None:
        """Record that the stream responded, with a change or without."""
        self._last_response_at = time.monotonic()

    def stop(self) -> None:
        """Record that the stream was interrupted."""
        self._last_response_at = None

    def expect_write(self, chat_id: object, version: int) -> None:
        """Expect that this process writes this version of a chat."""
        if len(self._expected) >= self.MAX_EXPECTED:
            # Reported changes then count as another process's, which is safe.
            self._expected.clear()
        self._expected[chat_id, version] = True

    def cancel_write(self, chat_id: object, version: int) -> None:
        """Cancel an expected write, because another process was first."""
        if not self._expected.pop((chat_id, version), False):
            # The other write may have been reported already and counted as this process's.
            invalidate_all()
            self.changes += 1

    def is_own(self, chat_id: object, version: object) -> bool:
        """Return whether this process made a reported change."""
        key: Any = chat_id, version
        if key not in self._expected:
            return False
        self._expected[key] = False
        return True

    @property
    def awaits_own_write(self) -> bool:
        """Return whether the stream has not yet reported a write of this process."""
        return any(self._expected.values())


change_tracker = PerApp(ChangeTracker)
_totals: PerApp[list[CachedTotal[Any]]] = PerApp(list)


class CachedTotal(Generic[T]):
    """A total over all chats.

    compute -- reads it from the database.
    """

    TTL = 1.0
    MAX_STALE = 5.0

    def __init__(self, compute: Callable[[], T]) -> None:
        self._compute = compute
        self._cached: T | None = None
        self._database: object = None
        self._is_exact = False
        self._computed_at = self._exact_at = 0.0
        self._invalidations = 0
        self._lock = threading.Lock()
        _totals.current.append(self)

    def get(self) -> T:
        """Return the total. One caller at a time computes it; others get the cached one."""
        if self._database is not current():
            self._database, self._cached = current(), None
        cached = self._cached
        if cached is not None and self._is_valid():
            return cached
        if cached is None:
            self._lock.acquire()
        elif not self._lock.acquire(blocking=False):
            return cached
        try:
            if cached is None and self._cached is not None:
                return self._cached  # Another caller has just computed it.
            return self._refresh()
        finally:
            self._lock.release()

    def _is_valid(self) -> bool:
        if self._is_exact and change_tracker.current.is_fresh:
            return True
        return time.monotonic() - self._computed_at < self.TTL

    def _refresh(self) -> T:
        tracker, started = change_tracker.current, time.monotonic()
        before = tracker.writes, self._invalidations
        found = self._compute()
        after = tracker.writes, self._invalidations
        is_exact = not tracker.active_writes and before == after
        cached = self._cached
        if cached is None and not is_exact:
            return found
        # A concurrent write may or may not be part of the result. The cached total includes all
        # own writes, so it is kept for some time.
        if cached is None or is_exact or started - self._exact_at > self.MAX_STALE:
            cached = self._cached = found
            self._exact_at, self._is_exact = started, is_exact
        self._computed_at = started
        return cached

    def apply(self, change: Callable[[T], T]) -> None:
        """Apply a write of this process to the cached total, inside `writing`."""
        if self._cached is not None:
            self._cached = change(self._cached)

    def invalidate(self) -> None:
        """Drop the cached total; the next `get` computes it."""
        self._invalidations += 1
        self._cached = None


def invalidate_all() -> None:
    """Invalidate every total."""
    for each in _totals.current:
        each.invalidate()


@contextmanager
def writing() -> Iterator[None]:
    """Mark that the block writes to a chat. If it succeeds, it calls `apply` or `invalidate`."""
    tracker = change_tracker.current
    tracker.active_writes += 1
    try:
        yield
    except BaseException:
        invalidate_all()  # The write may have succeeded.
        raise
    finally:
        tracker.active_writes -= 1
        tracker.writes += 1
        tracker.changes += 1
