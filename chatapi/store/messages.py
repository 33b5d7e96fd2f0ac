"""The `messages` collection, one document a message, in the order of `seq`.

A message is committed when the chat's `lastSeq` has reached its `seq`. One with a larger `seq` is
uncommitted, and no reader gets it (see `services.messages`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bson import ObjectId
from pymongo.errors import BulkWriteError

from chatapi.domain.documents import Message
from chatapi.store import durability
from chatapi.store.database import (
    DUPLICATE_KEY,
    Duplicate,
    messages,
    translate_duplicate_key,
)


def insert(message: Message) -> None:
    """Insert a message, which is durable when `chats.replace` has committed it.

    Raises Duplicate when its seq or its idempotency key is taken.
    """
    with translate_duplicate_key():
        durability.before_commit("messages").insert_one(message)


def insert_many(rows: Sequence[Message]) -> None:
    """Insert messages in this order, up to the first whose seq or idempotency key is taken.

    Raises Duplicate if there is one.
    """
    try:
        messages().insert_many(rows)
    except BulkWriteError as error:
        failed = error.details["writeErrors"]
        if not failed or any(each["code"] != DUPLICATE_KEY for each in failed):
            raise
        raise Duplicate(str(error)) from error


def at(chat_id: ObjectId, seq: int) -> Message | None:
    return messages().find_one({"chatId": chat_id, "seq": seq})


def by_idempotency_key(chat_id: ObjectId, sender_id: ObjectId, key: str) -> Message | None:
    return messages().find_one({"chatId": chat_id, "senderId": sender_id, "idempotencyKey": key})


def between(chat_id: ObjectId, first: int, last: int) -> list[Message]:
    """Return the messages from seq `first` to `last`, both included, ascending.

    A range of the index: the length of the chat does not matter.
    """
    if last < first:
        return []
    where = {"chatId": chat_id, "seq": {"$gte": first, "$lte": last}}
    return list(messages().find(where).sort("seq"))


def delete(message_id: ObjectId) -> None:
    messages().delete_one({"_id": message_id})


def delete_of_chat(chat_id: ObjectId) -> None:
    messages().delete_many({"chatId": chat_id})


def redact(chat_id: ObjectId, seq: int, content: str, when: datetime) -> None:
    """Replace a message's text by the tombstone's."""
    where = {"chatId": chat_id, "seq": seq}
    messages().update_one(where, {"$set": {"content": content, "deletedAt": when}})
