"""The `deletions` collection: chats and messages whose deletion has begun, so that a crash
cannot leave half of one behind."""

from __future__ import annotations

from typing import Any

from bson import ObjectId

from chatapi.store.database import Document, deletions


def note(chat_id: ObjectId, seq: int | None = None) -> Document:
    """Return what stands here while a message, or with no seq a whole chat, is deleted.

    Each deletion of a message has a note of its own: who ends one cannot end another's.
    """
    return {"_id": chat_id} if seq is None else {"_id": ObjectId(), "chatId": chat_id, "seq": seq}


def begin(chat_id: ObjectId, seq: int | None = None, **facts: Any) -> Document:
    """Note that a deletion begins, with what its end needs to know, and return the note."""
    begun = note(chat_id, seq) | facts
    deletions().replace_one({"_id": begun["_id"]}, begun, upsert=True)
    return begun


def finish(begun: Document) -> None:
    deletions().delete_one({"_id": begun["_id"]})


def unfinished() -> list[Document]:
    return list(deletions().find())
