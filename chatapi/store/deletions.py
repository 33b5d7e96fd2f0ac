"""The `deletions` collection: deletions of chats and messages that have begun, so that `init-db`
can finish those that a crash interrupted."""

from __future__ import annotations

from bson import ObjectId

from chatapi.domain.documents import Deletion
from chatapi.store.database import deletions


def record(chat_id: ObjectId, seq: int | None = None) -> Deletion:
    """Return the record of a deletion, of a message or, without a seq, of a whole chat.

    Each deletion of a message has its own record, so that finishing one does not finish another.
    """
    return {"_id": chat_id} if seq is None else {"_id": ObjectId(), "chatId": chat_id, "seq": seq}


def begin(chat_id: ObjectId, seq: int | None = None, user_id: ObjectId | None = None) -> Deletion:
    """Store and return the record of a deletion.

    user_id -- whose chat it is: finishing the deletion of a chat needs it.
    """
    begun = record(chat_id, seq)
    if user_id is not None:
        begun["userId"] = user_id
    deletions().replace_one({"_id": begun["_id"]}, begun, upsert=True)
    return begun


def finish(begun: Deletion) -> None:
    deletions().delete_one({"_id": begun["_id"]})


def unfinished() -> list[Deletion]:
    return list(deletions().find())
