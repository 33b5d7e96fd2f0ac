"""Expired documents, removed a few at a time as others are written.

Not every collection has a TTL index, and the embedded server acts on none (`store.server`). Where
one is acted on, it is done twice, which costs a read every SWEEP_SECONDS. Every reader of such a
document looks at its time.
"""

from __future__ import annotations

import time
from typing import Any

import structlog
from pymongo.collection import Collection
from pymongo.errors import PyMongoError

from chatapi.domain import clock
from chatapi.domain.log_events import LogEvent
from chatapi.domain.runtime import PerApp

log = structlog.get_logger("chat.expiry")

PURGE_INTERVAL, PURGE_BATCH = 10.0, 50
_next_purges: PerApp[dict[str, float]] = PerApp(dict)


def purge_expired(collection: Collection[Any], field: str = "expiresAt") -> None:
    """Delete a batch of documents whose time in `field` has passed, if a purge is due.

    A purge is due every PURGE_INTERVAL seconds in each process, or immediately if there were more.
    Raises nothing, because the caller's own write has already succeeded.
    """
    now, next_purges = time.monotonic(), _next_purges.current
    if now < next_purges.get(collection.full_name, 0):
        return
    next_purges[collection.full_name] = now + PURGE_INTERVAL
    try:
        if _remove(collection, field) == PURGE_BATCH:
            next_purges[collection.full_name] = 0
    except PyMongoError as error:
        log.info(LogEvent.PURGE_INTERRUPTED, collection=collection.name, exc_info=error)


def _remove(collection: Collection[Any], field: str) -> int:
    expired = {field: {"$lt": clock.now()}}
    found = [row["_id"] for row in collection.find(expired, {"_id": 1}).limit(PURGE_BATCH)]
    if found:
        # Only if still expired: a session may have been used in the meantime.
        collection.delete_many({"_id": {"$in": found}, **expired})
    return len(found)
