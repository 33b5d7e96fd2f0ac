"""The `leases` collection: what only one process may do at a time.

A lease keeps things in order. Correctness does not rest on it: a process that was paused still
believes that it holds its lease. What is done under a lease is therefore harmless when two do it.
"""

from __future__ import annotations

import functools
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from chatapi.domain import clock, runtime
from chatapi.domain.log_events import LogEvent

log = structlog.get_logger("chat.leases")

LEASE_TTL = 15.0
RENEW_INTERVAL = 5.0
POLL_INTERVAL = 0.5
_RELEASED = datetime(1970, 1, 1, tzinfo=UTC)


class LeaseLost(Exception):
    """Another process has taken the lease: this one was paused, or cut off from the database."""


class Lease:
    """One process's right to do something, renewed by a thread while it is held.

    The document: `owner`, `until` when the lease ends, and `fence`, which counts the owners.
    """

    def __init__(self, database: Database[Any], name: str) -> None:
        self.name = name
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex}"
        self._leases = database["leases"]
        self._is_lost = False
        self._renewed_at = 0.0  # on the monotonic clock
        self._released = threading.Event()
        # A part of this app: the database checks the app's free space before it writes.
        keep = functools.partial(runtime.current().run, self._keep)
        self._thread = threading.Thread(target=keep, name=f"lease {name}", daemon=True)

    def acquire(self) -> bool:
        """Take the lease if no process holds it; tell whether it is ours now."""
        now = clock.real()
        taken = {"owner": self.owner, "until": now + timedelta(seconds=LEASE_TTL)}
        ended = {"_id": self.name, "until": {"$lt": now}}
        if not self._leases.update_one(ended, {"$set": taken, "$inc": {"fence": 1}}).matched_count:
            try:
                self._leases.insert_one({"_id": self.name, **taken, "fence": 1})
            except DuplicateKeyError:
                return False
        self._renewed_at = time.monotonic()
        self._thread.start()
        return True

    def require(self) -> None:
        """Raise LeaseLost if another process has taken the lease, or could take it by now."""
        if self._is_lost or time.monotonic() - self._renewed_at > LEASE_TTL:
            raise LeaseLost(self.name)

    def holder(self) -> str:
        """Return the process that holds the lease, as HOST:PID:ID."""
        row = self._leases.find_one({"_id": self.name})
        return str(row["owner"]) if row else ""

    def release(self) -> None:
        """Give the lease back."""
        self._released.set()
        self._thread.join()
        self._leases.update_one(
            {"_id": self.name, "owner": self.owner}, {"$set": {"until": _RELEASED}}
        )

    def _keep(self) -> None:
        while not self._released.wait(RENEW_INTERVAL):
            until = clock.real() + timedelta(seconds=LEASE_TTL)
            mine = {"_id": self.name, "owner": self.owner}
            asked_at = time.monotonic()
            try:
                renewed = self._leases.update_one(mine, {"$set": {"until": until}}).matched_count
            except Exception as error:
                # `require` knows when it has lasted for too long.
                log.info(LogEvent.LEASE_NOT_RENEWED, lease=self.name, exc_info=error)
                continue
            if not renewed:
                self._is_lost = True
                return
            self._renewed_at = asked_at


@contextmanager
def hold(
    database: Database[Any], name: str, waiting: Callable[[str], None] = lambda _: None
) -> Iterator[Lease]:
    """Hold a lease for the block, once no other process does. Raises PyMongoError.

    waiting -- called once, with the process that holds it, if there is one.
    """
    lease = Lease(database, name)
    is_known = False
    while not lease.acquire():
        if not is_known:
            waiting(lease.holder())
            is_known = True
        time.sleep(POLL_INTERVAL)
    try:
        yield lease
    finally:
        lease.release()
