"""The one place that reads the time.

A time is for people to read, for sessions to expire by and to tell who was there a moment
ago; the order of messages never depends on it (see `services.messages`).
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta

# How far the clock of another host may be ahead of ours. A stored time that is further ahead
# was written under a clock that jumped, and says nothing about the present.
TOLERANCE = timedelta(seconds=10)

_frozen: ContextVar[datetime | None] = ContextVar("frozen", default=None)


def now() -> datetime:
    """Return the time in UTC, cut to the milliseconds that MongoDB keeps."""
    return _cut(_frozen.get() or datetime.now(UTC))


def real() -> datetime:
    """Return the time in UTC even where it is frozen: for what other processes compare."""
    return _cut(datetime.now(UTC))


def _cut(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


@contextlib.contextmanager
def frozen(at: datetime) -> Iterator[None]:
    """Let everything in the block happen at a given time: for imports and demo data."""
    token = _frozen.set(at)
    try:
        yield
    finally:
        _frozen.reset(token)


@functools.lru_cache(maxsize=4096)  # a list shows the same times with each poll
def iso(at: datetime) -> str:
    """Return a time as the API writes it: 2026-11-22T18:00:00.000Z."""
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    return at.isoformat(timespec="milliseconds")[:-6] + "Z"
