"""The `deletions` collection: deletions of chats and messages that have begun, so that `init-db`
can finish those that a crash interrupted."""

from __future__ import annotations

from typing import Any

from bson import ObjectId

from chatapi.store.database import Document, deletions


def note(chat_id: ObjectId, seq: int | None = None) -> Document:
    """Return the record of a deletion, of a message or, without a seq, of a whole chat.

    Each deletion of a message has its own record, so that finishing one does not finish another.
    """
    return {"_id": chat_id} if seq is None else {"_id": ObjectId(), "chatId": chat_id, "seq": seq}


def begin(chat_id: ObjectId, seq: int | None = None, **facts: Any) -> Document:
    """Store and return the record of a deletion, with the facts that finishing it needs."""
    begun = note(chat_id, seq) | facts
    deletions().replace_one({"_id": begun["_id"]}, begun, upsert=True)
    return begun


def finish(begun: Document) -> None:
    deletions().delete_one({"_id": begun["_id"]})


def unfinished() -> list[Document]:
    return list(deletions().find())
