"""The state of the database's storage, for health checks."""

from __future__ import annotations

from chatapi.store import server
from chatapi.store.disk import free_space


def is_full() -> bool:
    """Return whether writes are rejected because too little space is free."""
    return free_space.current.is_low


def check() -> float | None:
    """Read a document and return how many seconds ago the newest write was acknowledged.

    None if it is unknown. Never writes. Raises PyMongoError if the read fails: an engine that has
    panicked still responds to `ping`.
    """
    return server.seconds_since_write()
