"""The `signals` and `presence` collections: what is true for seconds only."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from chatapi.domain import clock
from chatapi.store import expiry
from chatapi.store.database import Document, presence, signals

SIGNAL_SECONDS = 60


def emit(kind: str, **data: Any) -> None:
    """Tell all processes something that nobody keeps."""
    now = clock.real()
    expires = now + timedelta(seconds=SIGNAL_SECONDS)
    signals().insert_one({"kind": kind, "at": now, "expiresAt": expires, **data})
    expiry.purge_expired(signals())


def heartbeat(process: str, people: list[Document]) -> None:
    """Note who is connected to a process now: `{userId, name, role, chatId}` each.

    One document a process, however many are there: a beat is one write.
    """
    now = clock.real()
    expires = now + timedelta(seconds=SIGNAL_SECONDS)
    fields = {"people": people, "seenAt": now, "expiresAt": expires}
    presence().replace_one({"_id": process}, fields, upsert=True)
    expiry.purge_expired(presence())


def clear(process: str) -> None:
    """Take a process's beat back, when nobody is left there."""
    presence().delete_one({"_id": process})


def online_since(seen_since: datetime) -> list[Document]:
    """Return everybody in the beats that are recent enough to believe, and not of the future."""
    seen = {"$gte": seen_since, "$lte": clock.now() + clock.TOLERANCE}
    rows = presence().find({"seenAt": seen})
    return [person for row in rows for person in row["people"]]
