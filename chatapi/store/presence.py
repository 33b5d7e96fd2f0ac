"""The `signals` and `presence` collections: what is true for seconds only."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from bson import ObjectId

from chatapi import clock
from chatapi.store.database import Document, presence, signals

SIGNAL_SECONDS = 60


def signal(kind: str, **data: Any) -> None:
    """Tell all processes something that nobody keeps."""
    now = clock.now()
    expires = now + timedelta(seconds=SIGNAL_SECONDS)
    signals().insert_one({"kind": kind, "at": now, "expiresAt": expires, **data})


def beat(key: str, fields: Document) -> None:
    """Note that somebody is here. `key` is one per process, user and chat."""
    presence().replace_one({"_id": key}, fields, upsert=True)


def leave(keys: list[str]) -> None:
    """Take beats back, when a connection ends in order."""
    presence().delete_many({"_id": {"$in": keys}})


def here(seen_since: datetime) -> list[Document]:
    """Return every beat that is recent enough to believe."""
    return list(presence().find({"seenAt": {"$gte": seen_since}}))


def looking_at(chat_id: ObjectId, seen_since: datetime) -> list[Document]:
    """Return the beats of those who look at a chat."""
    return list(presence().find({"chatId": chat_id, "seenAt": {"$gte": seen_since}}))
