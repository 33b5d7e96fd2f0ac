"""Rename what release 0.1.0 stored under names of its own. Offline.

In `messages` `sendKey` becomes `idempotencyKey` and `also` becomes `chatChanges`; in `chatrooms`
`createKey` becomes `idempotencyKey` and `burying` becomes `pendingRedactions`. The collection
`signals`, whose documents live for a minute, is `ephemeralEvents` now.

Offline, because a retry that one release handles must find the message that the other stored. So it
refuses while release 0.1.0 serves, and then lets the database itself refuse what that release
writes: from the second step on, a message needs the new key.

The order keeps a unique index on the key at every moment. Each message first gets the key under the
new name, too; then comes the new index; then the old one goes, and only then the old name.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from pymongo import ASCENDING, DESCENDING
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import OperationFailure

from chatapi.store import scan
from chatapi.store.migrations import MigrationRefused, Step, serving

BATCH = 1000
NAMESPACE_NOT_FOUND, INDEX_NOT_FOUND = 26, 27
# What the database takes while this runs: nothing that release 0.1.0 writes.
VALIDATORS: dict[str, dict[str, Any]] = {
    "messages": {"idempotencyKey": {"$type": "string"}},
    "chatrooms": {"burying": {"$exists": False}, "createKey": {"$exists": False}},
}
RENAMED = {
    "messages": {"sendKey": "idempotencyKey", "also": "chatChanges"},
    "chatrooms": {"createKey": "idempotencyKey", "burying": "pendingRedactions"},
}


def up(database: Database[Any], step: Step) -> None:
    """Rename the fields. Raises MigrationRefused while release 0.1.0 serves."""
    messages, chats = database["messages"], database["chatrooms"]
    step("look for processes of release 0.1.0")
    trace = serving.find(database)
    if trace:
        raise MigrationRefused(
            f"Release 0.1.0 still works on this database: {trace}. Stop all of its processes, on "
            "every host, and run init-db again. Nothing was changed."
        )
    step("let the database refuse what release 0.1.0 writes")
    _refuse_old_writes(database)
    step("make the indexes along which all is read")  # a restored database has none yet
    messages.create_index([("chatId", ASCENDING), ("seq", ASCENDING)], unique=True, name="order")
    chats.create_index([("userId", ASCENDING), ("createdAt", DESCENDING)], name="user_created")
    for part in _parts(messages, "chatId"):
        step("copy the keys of messages")
        missing = {"sendKey": {"$exists": True}, "idempotencyKey": {"$exists": False}}
        messages.update_many(part | missing, [{"$set": {"idempotencyKey": "$sendKey"}}])
    step("make the unique index of the new key")
    messages.create_index(
        [("chatId", ASCENDING), ("senderId", ASCENDING), ("idempotencyKey", ASCENDING)],
        unique=True,
        name="idempotency",
    )
    step("drop the unique index of the old key")
    _drop_index(messages, "send_once")
    for part in _parts(messages, "chatId"):
        step("remove the old names from messages")
        change = {"$unset": {"sendKey": ""}, "$rename": {"also": "chatChanges"}}
        messages.update_many(part | {"sendKey": {"$exists": True}}, change)
    for part in _parts(chats, "userId"):
        step("rename the fields of chats")
        # All at once: the validator refuses a chat that keeps one of the old names.
        change = {"$rename": RENAMED["chatrooms"]}
        for name in RENAMED["chatrooms"]:
            chats.update_many(part | {name: {"$exists": True}}, change)
    step("drop the old ephemeral events")
    database.drop_collection("signals")


def _refuse_old_writes(database: Database[Any]) -> None:
    bound: object = database
    if not isinstance(bound, Database):
        return  # a stand-in, in memory, has no validators
    for name, validator in VALIDATORS.items():
        try:
            bound.command("collMod", name, validator=validator)
        except OperationFailure as error:
            if error.code != NAMESPACE_NOT_FOUND:
                raise


def _parts(collection: Collection[Any], field: str) -> Iterator[dict[str, Any]]:
    """Yield filters that together find all documents, a thousand or a few more each.

    The field comes first in each filter, for the embedded server (`store.server`).
    """
    rows = scan.newest_first(collection, field, {"_id": 0, field: 1})
    while batch := list(itertools.islice(rows, BATCH)):
        yield {field: {"$gte": batch[-1][field], "$lte": batch[0][field]}}


def _drop_index(collection: Collection[Any], name: str) -> None:
    try:
        collection.drop_index(name)
    except OperationFailure as error:
        if error.code not in {NAMESPACE_NOT_FOUND, INDEX_NOT_FOUND, None}:
            raise
