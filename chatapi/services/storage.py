"""Whether the database has room, and when it last took a write."""

from __future__ import annotations

from chatapi.store import server
from chatapi.store.disk import free_space


def is_full() -> bool:
    """Tell whether writes are refused because too little space is free."""
    return free_space.is_low


def check() -> float | None:
    """Read a document and return how many seconds ago the newest write was acknowledged.

    None where nothing tells. Never writes. Raises PyMongoError when reading fails: an engine
    that has panicked still answers `ping`.
    """
    return server.seconds_since_write()
