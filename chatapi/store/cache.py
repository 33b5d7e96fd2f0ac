"""Numbers over all chats, which cost a read of all of them and are therefore remembered.

A process adds up what it writes itself. What other processes write it hears of by the change
stream that `realtime.session_cache` follows. While that is followed, a number is valid until
another process has changed it; otherwise it is for a second.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from chatapi.store.database import current

T = TypeVar("T")


class ChangeTracker:
    """Whether this process hears of every change of a chat, and how many there were.

    changes -- grows with each change that this process makes or hears of: what was read under a
    number that has passed may be out of date.
    """

    # A stream that was not heard from for so many seconds counts for nothing.
    FRESH_SECONDS = 2.0
    MAX_EXPECTED = 2000

    def __init__(self) -> None:
        self.changes = 0
        self._last_response_at: float | None = None
        # The versions of chats that this process writes, each with whether it is to be heard of.
        self._expected: dict[tuple[object, int], bool] = {}

    @property
    def is_fresh(self) -> bool:
        """Tell whether the database reports every change at this moment."""
        last = self._last_response_at
        return last is not None and time.monotonic() - last < self.FRESH_SECONDS

    def start(self) -> None:
        """Note that following begins: what happened before was not heard."""
        self.changes += 1
        self._expected.clear()
        invalidate_all()
        self._last_response_at = time.monotonic()

    def mark_alive(self) -> None:
        """Note that the stream answered, with a change or without."""
        self._last_response_at = time.monotonic()

    def stop(self) -> None:
        """Note that following was interrupted."""
        self._last_response_at = None

    def expect_write(self, chat_id: object, version: int) -> None:
        """Note that this process is about to write this version of a chat."""
        if len(self._expected) >= self.MAX_EXPECTED:
            # What is then heard of counts as another process's, which is safe.
            self._expected.clear()
        self._expected[chat_id, version] = True

    def cancel_write(self, chat_id: object, version: int) -> None:
        """Note that another writer was first."""
        if not self._expected.pop((chat_id, version), False):
            # That one's write may have been heard of, and taken for this process's.
            invalidate_all()
            self.changes += 1

    def is_own(self, chat_id: object, version: object) -> bool:
        """Tell of a change that is heard of whether this process has made it."""
        key: Any = chat_id, version
        if key not in self._expected:
            return False
        self._expected[key] = False
        return True

    @property
    def awaits_own_write(self) -> bool:
        """Tell whether a write of this process is still to be heard of."""
        return any(self._expected.values())


_totals: list[CachedTotal[Any]] = []
change_tracker = ChangeTracker()


class CachedTotal(Generic[T]):
    """A number over all chats.

    compute -- asks the database for it.
    """

    TTL = 1.0
    MAX_STALE = 5.0

    def __init__(self, compute: Callable[[], T]) -> None:
        self._compute = compute
        self._cached: T | None = None
        self._database: object = None
        self._is_exact = False
        self._computed_at = self._exact_at = 0.0
        self._writes = 0
        self._active_writes = 0
        self._lock = threading.Lock()
        _totals.append(self)

    def get(self) -> T:
        """Return the number. One caller at a time computes; others get what is known."""
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
        if self._is_exact and change_tracker.is_fresh:
            return True
        return time.monotonic() - self._computed_at < self.TTL

    def _refresh(self) -> T:
        started, writes = time.monotonic(), self._writes
        found = self._compute()
        is_exact = not self._active_writes and writes == self._writes
        cached = self._cached
        if cached is None and not is_exact:
            return found
        # Nothing tells whether the database's answer has seen a write that was made meanwhile.
        # What is known has all of them: for some time that is the better number.
        if cached is None or is_exact or started - self._exact_at > self.MAX_STALE:
            cached = self._cached = found
            self._exact_at, self._is_exact = started, is_exact
        self._computed_at = started
        return cached

    def apply(self, change: Callable[[T], T]) -> None:
        """Take a write of this process into account."""
        if self._cached is not None:
            self._cached = change(self._cached)

    def invalidate(self) -> None:
        """Compute it the next time."""
        self._writes += 1
        self._cached = None

    def begin_write(self) -> None:
        """Note that a write begins that may change the number."""
        self._active_writes += 1

    def end_write(self) -> None:
        """Note that it has ended; if it was made, `move` or `forget` was called."""
        self._active_writes -= 1
        self._writes += 1


def invalidate_all() -> None:
    """Compute every number the next time."""
    for each in _totals:
        each.invalidate()


@contextmanager
def writing() -> Iterator[None]:
    """Say that the block writes to a chat."""
    for each in _totals:
        each.begin_write()
    try:
        yield
    except BaseException:
        invalidate_all()  # Perhaps it was written.
        raise
    finally:
        for each in _totals:
            each.end_write()
        change_tracker.changes += 1
