"""The `ephemeralEvents` and `presence` collections: ephemeral events and heartbeats."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal, TypedDict, Unpack

from bson import ObjectId

from chatapi.domain import clock
from chatapi.domain.documents import EphemeralEvent, Heartbeat, Person
from chatapi.domain.enums import Role
from chatapi.store import expiry
from chatapi.store.database import ephemeral_events, presence

EVENT_TTL_SECONDS = 60


class EventFields(TypedDict, total=False):
    """What an ephemeral event says beside its kind and time."""

    chatId: ObjectId
    userId: ObjectId | None
    seq: int | None
    senderId: ObjectId
    senderName: str
    senderRole: Role


def emit(kind: Literal["typing", "deleted", "presence"], **data: Unpack[EventFields]) -> None:
    """Send an ephemeral event to all processes."""
    now = clock.real()
    expires = now + timedelta(seconds=EVENT_TTL_SECONDS)
    event: EphemeralEvent = {
        "_id": ObjectId(),
        "kind": kind,
        "at": now,
        "expiresAt": expires,
        **data,
    }
    ephemeral_events().insert_one(event)
    expiry.purge_expired(ephemeral_events())


def heartbeat(process: str, people: list[Person]) -> None:
    """Record the agents connected to a process now: `{userId, name, role, chatId}` each.

    One document for each process, so a heartbeat is one write.
    """
    now = clock.real()
    expires = now + timedelta(seconds=EVENT_TTL_SECONDS)
    row: Heartbeat = {"_id": process, "people": people, "seenAt": now, "expiresAt": expires}
    presence().replace_one({"_id": process}, row, upsert=True)
    expiry.purge_expired(presence())


def clear(process: str) -> None:
    """Remove a process's heartbeat, when no agent is connected to it."""
    presence().delete_one({"_id": process})


def online_since(seen_since: datetime) -> list[Person]:
    """Return the agents in heartbeats since a time; heartbeats from the future are ignored."""
    seen = {"$gte": seen_since, "$lte": clock.now() + clock.TOLERANCE}
    rows = presence().find({"seenAt": seen})
    return [person for row in rows for person in row["people"]]
