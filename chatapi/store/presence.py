"""The `ephemeralEvents` and `presence` collections: ephemeral events and heartbeats."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from chatapi.domain import clock
from chatapi.store import expiry
from chatapi.store.database import Document, ephemeral_events, presence

EVENT_TTL_SECONDS = 60


def emit(kind: str, **data: Any) -> None:
    """Send an ephemeral event to all processes."""
    now = clock.real()
    expires = now + timedelta(seconds=EVENT_TTL_SECONDS)
    ephemeral_events().insert_one({"kind": kind, "at": now, "expiresAt": expires, **data})
    expiry.purge_expired(ephemeral_events())


def heartbeat(process: str, people: list[Document]) -> None:
    """Record the agents connected to a process now: `{userId, name, role, chatId}` each.

    One document for each process, so a heartbeat is one write.
    """
    now = clock.real()
    expires = now + timedelta(seconds=EVENT_TTL_SECONDS)
    fields = {"people": people, "seenAt": now, "expiresAt": expires}
    presence().replace_one({"_id": process}, fields, upsert=True)
    expiry.purge_expired(presence())


def clear(process: str) -> None:
    """Remove a process's heartbeat, when no agent is connected to it."""
    presence().delete_one({"_id": process})


def online_since(seen_since: datetime) -> list[Document]:
    """Return the agents in heartbeats since a time; heartbeats from the future are ignored."""
    seen = {"$gte": seen_since, "$lte": clock.now() + clock.TOLERANCE}
    rows = presence().find({"seenAt": seen})
    return [person for row in rows for person in row["people"]]
