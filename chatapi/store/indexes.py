"""Every index and validator, in one place. `ensure` is idempotent and safe on every start.

The one partial index guards: it answers only a query whose filter implies the index's, and no
list's does. Search is an equality on `chat_terms`: the embedded server has no
text index (`store.server`).
"""

from __future__ import annotations

import contextlib
from typing import Any

from pymongo import ASCENDING as UP
from pymongo import DESCENDING as DOWN
from pymongo import IndexModel
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import CollectionInvalid, OperationFailure

from chatapi.domain.enums import PRIORITIES, ROLES, SENDER_ROLES, STATUSES
from chatapi.store.server import has_change_streams

_RECENT = [("lastMessageAt", DOWN), ("_id", DOWN)]

INDEXES: dict[str, list[IndexModel]] = {
    "users": [
        IndexModel([("loginKey", UP)], unique=True, name="login"),
        IndexModel([("createdAt", DOWN), ("_id", DOWN)], name="recent"),
        IndexModel([("role", UP), ("createdAt", DOWN), ("_id", DOWN)], name="role_recent"),
        IndexModel([("disabled", UP), ("createdAt", DOWN), ("_id", DOWN)], name="disabled_recent"),
        IndexModel([("searchTerms", UP)], name="search"),
        # Guests without a chat; `store.expiry` removes them.
        IndexModel([("expiresAt", UP)], name="expiry"),
    ],
    "sessions": [
        IndexModel([("userId", UP), ("createdAt", DOWN)], name="user_recent"),
        IndexModel([("expiresAt", UP)], expireAfterSeconds=0, name="expiry"),
    ],
    "passwordLinks": [
        IndexModel([("userId", UP)], name="user"),
        IndexModel([("expiresAt", UP)], name="expiry"),
    ],
    "chatrooms": [
        IndexModel([("userId", UP), ("createdAt", DOWN)], name="user_created"),
        IndexModel([("adminId", UP), ("createdAt", DOWN)], name="admin_created"),
        IndexModel([("status", UP)], name="status"),
        # At most one open chat for each user, enforced by the database.
        IndexModel(
            [("userId", UP)],
            unique=True,
            partialFilterExpression={"isOpen": True},
            name="one_open_chat",
        ),
        IndexModel(_RECENT, name="recent"),
        IndexModel([("adminId", UP), *_RECENT], name="admin_recent"),
        IndexModel([("status", UP), *_RECENT], name="status_recent"),
        IndexModel([("priority", UP), *_RECENT], name="priority_recent"),
        IndexModel([("unreadByAdmin", UP), *_RECENT], name="unread_recent"),
    ],
    "chat_terms": [
        IndexModel([("terms", UP)], name="search"),
        IndexModel([("userId", UP)], name="user"),
    ],
    "ephemeralEvents": [
        IndexModel([("at", UP)], name="recent"),
        IndexModel([("expiresAt", UP)], expireAfterSeconds=0, name="expiry"),
    ],
    "presence": [
        IndexModel([("seenAt", UP)], name="recent"),
        IndexModel([("expiresAt", UP)], expireAfterSeconds=0, name="expiry"),
    ],
    "messages": [
        IndexModel([("chatId", UP), ("seq", UP)], unique=True, name="order"),
        IndexModel(
            [("chatId", UP), ("senderId", UP), ("idempotencyKey", UP)],
            unique=True,
            name="idempotency",
        ),
    ],
}


# The index for polling, only on servers without change streams.
POLLED = IndexModel([("changedAt", UP)], name="changes")
# Indexes of `chatrooms` that release 0.1.0 created and that are dropped, because each one makes
# sending slower. A category is found along `recent`, the counts are cached, and the few chats of a
# user are found by `user_created` and sorted.
DROPPED = ("category_recent", "counts", "user_recent")
# The unique index of `messages` in release 0.1.0. A migration drops it. A 0.1.0 that is started
# once more creates it again, and then it refuses each sender's second message.
OLD_KEY = "send_once"


def _schema(required: dict[str, Any]) -> dict[str, Any]:
    return {
        "$jsonSchema": {
            "bsonType": "object",
            "required": list(required),
            "properties": required,
        }
    }


_NUMBER = {"bsonType": ["int", "long"]}
_TEXT = {"bsonType": "string"}
_TIME = {"bsonType": "date"}
_ID = {"bsonType": "objectId"}

VALIDATORS: dict[str, dict[str, Any]] = {
    "users": _schema(
        {
            "name": _TEXT,
            "email": _TEXT,
            "loginKey": _TEXT,
            "role": {"enum": list(ROLES)},
            "disabled": {"bsonType": "bool"},
            "createdAt": _TIME,
        }
    ),
    "sessions": _schema({"userId": _ID, "createdAt": _TIME, "expiresAt": _TIME}),
    "chatrooms": _schema(
        {
            "userId": _ID,
            "subject": _TEXT,
            "status": {"enum": list(STATUSES)},
            "priority": {"enum": list(PRIORITIES)},
            "category": _TEXT,
            "isOpen": {"bsonType": "bool"},
            "lastSeq": {**_NUMBER, "minimum": 0},
            "version": {**_NUMBER, "minimum": 1},
            "createdAt": _TIME,
            "lastMessageAt": _TIME,
        }
    ),
    "messages": _schema(
        {
            "chatId": _ID,
            "seq": {**_NUMBER, "minimum": 1},
            "idempotencyKey": _TEXT,
            "senderId": _ID,
            "senderRole": {"enum": list(SENDER_ROLES)},
            "content": _TEXT,
            "timestamp": _TIME,
        }
    ),
}


def ensure(database: Database[Any], validators: bool = True) -> None:
    """Create the collections, indexes and validators that are missing; drop indexes of 0.1.0.

    validators -- False where the server has none (mongomock).
    """
    chats = [POLLED] if not has_change_streams(database) else []
    for name, models in INDEXES.items():
        if validators and name in VALIDATORS:
            _ensure_validator(database, name)
        for model in [*models, *(chats if name == "chatrooms" else ())]:
            # One at a time: mongomock's create_indexes forgets the partial filter.
            options = dict(model.document)
            database[name].create_index(list(options.pop("key").items()), **options)

    there = database["chatrooms"].index_information()
    for name in there.keys() & {*DROPPED, *(() if chats else ("changes",))}:
        _drop_index(database["chatrooms"], name)
    if OLD_KEY in database["messages"].index_information():
        _drop_index(database["messages"], OLD_KEY)


def _drop_index(collection: Collection[Any], name: str) -> None:
    with contextlib.suppress(OperationFailure):  # Another process may have dropped it.
        collection.drop_index(name)


def _ensure_validator(database: Database[Any], name: str) -> None:
    try:
        database.create_collection(name, validator=VALIDATORS[name])
    except (CollectionInvalid, OperationFailure):
        try:
            database.command("collMod", name, validator=VALIDATORS[name])
        except OperationFailure as error:
            # A server without collMod keeps the validator it was created with.
            if error.code not in {59, 115, 238}:
                raise
