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


class Following:
    """Whether this process hears of every change of a chat, and how many there were.

    changes -- grows with each change that this process makes or hears of: what was read under a
    number that has passed may be out of date.
    """

    # A stream that was not heard from for so many seconds counts for nothing.
    FRESH_SECONDS = 2.0
    MAX_EXPECTED = 2000

    def __init__(self) -> None:
        self.changes = 0
        self._heard_at: float | None = None
        # The versions of chats that this process writes, each with whether it is to be heard of.
        self._expected: dict[tuple[object, int], bool] = {}

    @property
    def is_fresh(self) -> bool:
        """Tell whether the database reports every change at this moment."""
        heard_at = self._heard_at
        return heard_at is not None and time.monotonic() - heard_at < self.FRESH_SECONDS

    def begin(self) -> None:
        """Note that following begins: what happened before was not heard."""
        self.changes += 1
        self._expected.clear()
        forget_all()
        self._heard_at = time.monotonic()

    def heard(self) -> None:
        """Note that the stream answered, with a change or without."""
        self._heard_at = time.monotonic()

    def end(self) -> None:
        """Note that following was interrupted."""
        self._heard_at = None

    def expect(self, chat_id: object, version: int) -> None:
        """Note that this process is about to write this version of a chat."""
        if len(self._expected) >= self.MAX_EXPECTED:
            # What is then heard of counts as another process's, which is safe.
            self._expected.clear()
        self._expected[chat_id, version] = True

    def did_not_write(self, chat_id: object, version: int) -> None:
        """Note that another writer was first."""
        if not self._expected.pop((chat_id, version), False):
            # That one's write may have been heard of, and taken for this process's.
            forget_all()
            self.changes += 1

    def is_own(self, chat_id: object, version: object) -> bool:
        """Tell of a change that is heard of whether this process has made it."""
        key: Any = chat_id, version
        if key not in self._expected:
            return False
        self._expected[key] = False
        return True

    @property
    def awaits_own(self) -> bool:
        """Tell whether a write of this process is still to be heard of."""
        return any(self._expected.values())


_all: list[Remembered[Any]] = []
following = Following()


class Remembered(Generic[T]):
    """A number over all chats.

    compute -- asks the database for it.
    """

    SECONDS = 1.0
    LONGEST = 5.0

    def __init__(self, compute: Callable[[], T]) -> None:
        self._compute = compute
        self._known: T | None = None
        self._database: object = None
        self._is_sure = False
        self._computed_at = self._sure_at = 0.0
        self._writes = 0
        self._under_way = 0
        self._turn = threading.Lock()
        _all.append(self)

    def get(self) -> T:
        """Return the number. One caller at a time computes; others get what is known."""
        if self._database is not current():
            self._database, self._known = current(), None
        known = self._known
        if known is not None and self._holds():
            return known
        if known is None:
            self._turn.acquire()
        elif not self._turn.acquire(blocking=False):
            return known
        try:
            if known is None and self._known is not None:
                return self._known  # Another caller has just computed it.
            return self._renew()
        finally:
            self._turn.release()

    def _holds(self) -> bool:
        if self._is_sure and following.is_fresh:
            return True
        return time.monotonic() - self._computed_at < self.SECONDS

    def _renew(self) -> T:
        started, writes = time.monotonic(), self._writes
        found = self._compute()
        is_sure = not self._under_way and writes == self._writes
        known = self._known
        if known is None and not is_sure:
            return found
        # Nothing tells whether the database's answer has seen a write that was made meanwhile.
        # What is known has all of them: for some time that is the better number.
        if known is None or is_sure or started - self._sure_at > self.LONGEST:
            known = self._known = found
            self._sure_at, self._is_sure = started, is_sure
        self._computed_at = started
        return known

    def move(self, change: Callable[[T], T]) -> None:
        """Take a write of this process into account."""
        if self._known is not None:
            self._known = change(self._known)

    def forget(self) -> None:
        """Compute it the next time."""
        self._writes += 1
        self._known = None

    def begin_write(self) -> None:
        """Note that a write begins that may change the number."""
        self._under_way += 1

    def end_write(self) -> None:
        """Note that it has ended; if it was made, `move` or `forget` was called."""
        self._under_way -= 1
        self._writes += 1


def forget_all() -> None:
    """Compute every number the next time."""
    for each in _all:
        each.forget()


@contextmanager
def writing() -> Iterator[None]:
    """Say that the block writes to a chat."""
    for each in _all:
        each.begin_write()
    try:
        yield
    except BaseException:
        forget_all()  # Perhaps it was written.
        raise
    finally:
        for each in _all:
            each.end_write()
        following.changes += 1
