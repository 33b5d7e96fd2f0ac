"""The `deletions` collection: chats whose deletion has begun, so that a crash cannot leave
half of one behind."""

from __future__ import annotations

from bson import ObjectId

from chatapi.store.database import deletions


def begin(chat_id: ObjectId) -> None:
    deletions().replace_one({"_id": chat_id}, {"_id": chat_id}, upsert=True)


def finish(chat_id: ObjectId) -> None:
    deletions().delete_one({"_id": chat_id})


def unfinished() -> list[ObjectId]:
    return [row["_id"] for row in deletions().find()]
