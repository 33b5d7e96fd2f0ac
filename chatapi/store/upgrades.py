"""The `upgrades` collection: guests who become users, and whose chats may not be updated yet."""

from __future__ import annotations

from bson import ObjectId

from chatapi.store.database import Document, upgrades


def begin(user_id: ObjectId) -> None:
    """Record that this guest is about to become a user."""
    upgrades().replace_one({"_id": user_id}, {"_id": user_id}, upsert=True)


def finish(user_id: ObjectId) -> None:
    upgrades().delete_one({"_id": user_id})


def unfinished(only: ObjectId | None = None) -> list[ObjectId]:
    where: Document = {} if only is None else {"_id": only}
    return [row["_id"] for row in upgrades().find(where)]
