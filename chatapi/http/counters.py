"""Counters of fixed windows, in a worker's memory or in the database.

A window ends at most its own length from now, also if the clock was wrong at its start: a clock
that jumped ahead and back must not leave counters that reject requests for a month.
"""

from __future__ import annotations

import functools
import heapq
import math
import threading
import time
from datetime import timedelta
from typing import Any

from flask import Config
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage, MongoDBStorage, Storage
from pymongo.errors import DuplicateKeyError

from chatapi.domain import clock
from chatapi.domain.networks import Network
from chatapi.store.database import client_timeouts
from chatapi.store.disk import free_space
from chatapi.store.expiry import purge_expired

PREFIX = "chat"  # for a storage shared with other programs
ALL_NETWORKS = "all networks"  # the key of what is counted for all together
parsed = functools.lru_cache(parse)


class Counters:
    """The counters of one storage. `limit` is how many uses a window may have."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def add(self, limit: RateLimitItem, *key: str, amount: int = 1) -> int:
        """Count up, or down, and return the count in the present window."""
        return int(self.storage.incr(counter_key(limit, *key), limit.get_expiry(), amount))

    def count(self, limit: RateLimitItem, *key: str) -> int:
        """Return the count in the present window."""
        return self.storage.get(counter_key(limit, *key))

    def clear(self, limit: RateLimitItem, *key: str) -> None:
        """Forget a counter."""
        self.storage.clear(counter_key(limit, *key))

    def seconds_left(self, limit: RateLimitItem, *key: str) -> int:
        """Return the whole seconds until the present window ends, at least 1."""
        return self.seconds_left_of(counter_key(limit, *key), limit.get_expiry())

    def seconds_left_of(self, key: str, longest: int) -> int:
        """Return the same by the counter's own key; its windows last `longest` seconds."""
        left = self.storage.get_expiry(key) - time.time()
        return max(1, math.ceil(min(left, longest)))


def counter_key(limit: RateLimitItem, *key: str) -> str:
    """Return the key of a limit's counter in the storage."""
    return limit.key_for(PREFIX, *key)


def network_limits(limit: str, network: Network) -> list[tuple[RateLimitItem, str]]:
    """Return the limits that a limit per address sets for a network and the site around it."""
    item = parsed(limit)
    return [
        (type(item)(most, item.multiples), f"address:{name}")
        for name, most in network.counters(item.amount)
    ]


class WorkerMemory(MemoryStorage):
    """Counters in one worker's memory: RATELIMIT_STORAGE_URI=worker://.

    MemoryStorage starts a timer on every hit and then looks at all its counters; here the
    counters that are over are dropped once a minute. It measures by the monotonic clock, which
    does not jump, and keeps MAX_COUNTERS at most: the ones that end soonest go first, but for
    those of ALL_NETWORKS: however many networks there are, they do not reset what all share.
    """

    STORAGE_SCHEME = ["worker", "memory"]  # noqa: RUF012 - limits' own way to register a scheme
    SWEEP_SECONDS = 60
    MAX_COUNTERS = 200_000

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **_: str) -> None:
        super().__init__(uri, wrap_exceptions)
        self.timer.cancel()  # It compares times with the system clock.
        self.monotonic = time.monotonic
        self.next_sweep = self.monotonic() + self.SWEEP_SECONDS

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Count up and return the count; a first count lives for `expiry` seconds."""
        now = self.monotonic()
        if now >= self.next_sweep or len(self.expirations) >= self.MAX_COUNTERS:
            self._evict(now)
        ends = self.expirations.get(key)
        if ends is not None and ends <= now:
            self.clear(key)
        with self.locks[key]:
            if key not in self.expirations:
                self.expirations[key] = now + expiry
            self.storage[key] += amount
            return self.storage[key]

    def _evict(self, now: float) -> None:
        self.next_sweep = now + self.SWEEP_SECONDS
        for key in [name for name, end in self.expirations.items() if end <= now]:
            self.clear(key)
        if len(self.expirations) >= self.MAX_COUNTERS:
            ends = self.expirations
            others = (key for key in ends if f"/{ALL_NETWORKS}/" not in key)
            for key in heapq.nsmallest(self.MAX_COUNTERS // 10, others, key=ends.__getitem__):
                self.clear(key)

    def get(self, key: str) -> int:
        """Return the count of a window that is not over, else 0."""
        if self.expirations.get(key, 0) <= self.monotonic():
            self.clear(key)
            return 0
        return self.storage.get(key, 0)

    def get_expiry(self, key: str) -> float:
        """Return the time, by the clock that people read, at which a window ends."""
        left = self.expirations.get(key, 0) - self.monotonic()
        return time.time() + max(0.0, left)


class DatabaseCounters(MongoDBStorage):
    """Counters in the database: exact across workers, from the first hit on.

    Each hit is a compare-and-set: the counter is read, and written if it is unchanged.
    `find_one_and_update` would read the whole collection on the embedded server (`store.server`).
    """

    STORAGE_SCHEME = ["mongodb", "mongodb+srv"]  # noqa: RUF012 - limits' own way to register

    def __init__(self, uri: str, **options: Any) -> None:
        self._making = threading.RLock()
        super().__init__(uri, **options | {"tz_aware": True})

    @property
    def storage(self) -> Any:
        """The client, made at the first use; two first uses at once make one."""
        with self._making:
            return super().storage

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count a hit and return how many there are in this window."""
        # The sign-in would be rejected later, after the cost of a password hash.
        free_space.current.require()
        purge_expired(self.counters, "expireAt")
        while True:
            now = clock.real()
            end = now + timedelta(seconds=expiry)
            known = self.counters.find_one({"_id": key})
            count = amount
            if known is not None and known["expireAt"] > now:
                count, end = known["count"] + amount, min(known["expireAt"], end)
            fresh = {"count": count, "expireAt": end, "seconds": expiry}
            if self._replace(key, known, fresh):
                return count

    def _replace(self, key: str, known: dict[str, Any] | None, fresh: dict[str, Any]) -> bool:
        """Write a counter if it still is as it was read; tell whether it was."""
        if known is None:
            try:
                self.counters.insert_one({"_id": key, **fresh})
            except DuplicateKeyError:
                return False
            return True
        unchanged = {name: known[name] for name in ("_id", "count", "expireAt")}
        return bool(self.counters.update_one(unchanged, {"$set": fresh}).matched_count)

    def get(self, key: str) -> int:
        """Return the count of a window that is not over, else 0."""
        counter = self._read(key)
        return int(counter["count"]) if counter else 0

    def get_expiry(self, key: str) -> float:
        """Return the time at which a window ends, the present time if there is none."""
        counter = self._read(key)
        return float(counter["expireAt"].timestamp()) if counter else time.time()

    def _read(self, key: str) -> dict[str, Any] | None:
        now = clock.real()
        counter: dict[str, Any] | None = self.counters.find_one({"_id": key})
        if counter is None or counter["expireAt"] <= now:
            return None
        end = now + timedelta(seconds=counter.get("seconds", 0))
        if counter["expireAt"] > end:
            # The clock was ahead when it started.
            self.counters.update_one(
                {"_id": key, "expireAt": counter["expireAt"]}, {"$set": {"expireAt": end}}
            )
            counter["expireAt"] = end
        return counter


def database_counters(config: Config) -> Storage:
    """Return counters in the product's database."""
    return DatabaseCounters(
        config["MONGO_URI"],
        database_name=config["DATABASE_NAME"],
        counter_collection_name="attempts",
        window_collection_name="attemptWindows",
        connect=False,
        wrap_exceptions=False,
        maxPoolSize=10,
        **client_timeouts(config["DATABASE_TIMEOUT_MS"]),
    )
