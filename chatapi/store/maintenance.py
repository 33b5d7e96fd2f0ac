"""The database as a whole: what it is, what is in it, and how all of it is copied.

For `verify`, `backup` and `restore`; no request comes here.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from bson import ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import OperationFailure

from chatapi.domain import clock
from chatapi.store import chats, scan
from chatapi.store import server as servers
from chatapi.store.database import AWARE, Document, current
from chatapi.store.id_chunks import chunked

# What is true for seconds, counts attempts, or lets somebody in.
SECRET = frozenset({"sessions", "passwordLinks"})
SHORT_LIVED = frozenset(
    {"signals", "presence", "attempts", "attemptWindows", "counters", "windows", "maintenance"}
    | {"probes"}
)
_RAW = AWARE.with_options(document_class=RawBSONDocument)
_TERMS_BATCH = 500
_OLD_SEARCH = "search"
_RESTORE: Document = {"_id": "restore"}
_NOT_PLANNED = frozenset({"rejectedPlans", "parsedQuery"})


def server() -> Document:
    """Return the server's name and version, what it is, and how many connections it has left.

    `form` is "standalone", "replica set" or "sharded cluster". A number the server does not
    tell is None. Raises PyMongoError when it does not answer.
    """
    database, kind = current(), servers.current()
    hello = database.command("hello")
    form = "standalone"
    if hello.get("msg") == "isdbgrid":
        form = "sharded cluster"
    elif "setName" in hello:
        form = "replica set"
    build = _told(database.client["admin"], "buildInfo")
    connections = _told(database.client["admin"], "serverStatus").get("connections", {})
    return {
        "name": kind.name,
        "version": build.get("version"),
        "embedded": kind.is_embedded,
        "form": form,
        "writable": bool(hello.get("isWritablePrimary", hello.get("ismaster"))),
        "connections": connections.get("available") or None,
    }


def _told(database: Database[Document], command: str) -> Document:
    """Return a command's answer, nothing if we may not ask."""
    try:
        return database.command(command)
    except OperationFailure:
        return {}


def pool_size() -> int:
    """Return how many connections this process's client keeps at most."""
    return int(current().client.options.pool_options.max_pool_size or 0)


def write_concern() -> Document:
    """Return what the client asks of a write before it counts as done."""
    return dict(current().write_concern.document)


def acknowledged() -> bool:
    """Tell whether writes wait for the server's answer."""
    return current().write_concern.acknowledged


def collections() -> dict[str, Document]:
    """Return the options of every collection there is, by name."""
    return {
        row["name"]: row.get("options", {})
        for row in current().list_collections()
        if not row["name"].startswith("system.") and row.get("type", "collection") == "collection"
    }


def indexes_of(name: str) -> dict[str, Document]:
    """Return the indexes of a collection as the server lists them, by name."""
    return {
        str(index): {**facts, "key": [tuple(part) for part in facts["key"]]}
        for index, facts in current()[name].index_information().items()
    }


def plan(name: str, where: Document, sort: Document | None = None) -> list[str]:
    """Return the stages in which the server would answer a query, from the top."""
    find: Document = {"find": name, "filter": where} | ({"sort": sort} if sort else {})
    answer = current().command("explain", find, verbosity="queryPlanner")
    found: list[str] = []
    below: list[Any] = [answer["queryPlanner"]]
    while below:
        part = below.pop()
        if isinstance(part, dict):
            if isinstance(part.get("stage"), str):
                found.append(part["stage"])
            below += [
                value
                for name, value in part.items()
                if name not in {"rejectedPlans", "parsedQuery"}
            ]
        elif isinstance(part, list):
            below += part
    return found


# People made for a run of `verify`.


def users_with_prefix(prefix: str) -> list[Document]:
    """Return the accounts whose login begins so."""
    where = {"loginKey": {"$gte": prefix, "$lt": prefix + "\uffff"}}
    return list(current()["users"].find(where, {"passwordHash": 0}))


def chat_ids_of_user(user_id: ObjectId) -> list[ObjectId]:
    return [row["_id"] for row in current()["chatrooms"].find({"userId": user_id}, {"_id": 1})]


def delete_user(user_id: ObjectId) -> None:
    """Remove an account and its sessions; the chats must be gone already."""
    current()["sessions"].delete_many({"userId": user_id})
    current()["users"].delete_one({"_id": user_id})


def login_attempts(key: str) -> int:
    """Return what the database's counter of sign-in attempts stands at."""
    row = current()["attempts"].find_one({"_id": key})
    return int(row["count"]) if row else 0


# Copies.


def backup_collections(*, sessions: bool) -> list[str]:
    """Return the names of the collections that a backup holds, whoever made them."""
    left_out = SHORT_LIVED if sessions else SHORT_LIVED | SECRET
    return sorted(set(collections()) - left_out)


def estimate(names: Iterable[str]) -> int:
    """Return about how many documents there are in these."""
    return sum(current()[name].estimated_document_count() for name in names)


def count(name: str) -> int:
    return current()[name].count_documents({})


def is_empty(names: Iterable[str]) -> bool:
    return all(current()[name].find_one({}, {"_id": 1}) is None for name in names)


def _raw(name: str) -> Collection[RawBSONDocument]:
    return current()[name].with_options(codec_options=_RAW)


def batches(name: str, size: int) -> Iterator[list[RawBSONDocument]]:
    """Yield a collection's documents as they are stored, so many at a time.

    A batch is read when it is asked for, not before.
    """
    batch: list[RawBSONDocument] = []
    for document in _raw(name).find(batch_size=size):
        batch.append(document)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def raw_chat(chat_id: ObjectId) -> RawBSONDocument | None:
    return _raw("chatrooms").find_one({"_id": chat_id})


def raw_messages(chat_ids: Sequence[ObjectId]) -> Iterator[RawBSONDocument]:
    """Yield the messages of some chats, in no order, those never committed included."""
    yield from _raw("messages").find({"chatId": {"$in": list(chat_ids)}})


def raw_messages_from(chat_id: ObjectId, seq: int) -> Iterator[RawBSONDocument]:
    yield from _raw("messages").find({"chatId": chat_id, "seq": {"$gte": seq}})


def insert(name: str, documents: Sequence[RawBSONDocument]) -> None:
    """Add documents as they are."""
    _raw(name).insert_many(documents, ordered=False)


def replace(name: str, documents: Sequence[RawBSONDocument]) -> None:
    """Put documents in the place of those with their ids, or add them."""
    for document in documents:
        _raw(name).replace_one({"_id": document["_id"]}, document, upsert=True)


def in_use(since: datetime) -> bool:
    """Tell whether anybody typed, came or went since then, or an agent was connected.

    What was deleted a command may have deleted.
    """
    recently = {"$gte": since, "$lte": clock.now() + clock.TOLERANCE}
    connected = current()["presence"].find_one({"seenAt": recently})
    told = {"at": recently, "kind": {"$ne": "deleted"}}
    return bool(connected or current()["signals"].find_one(told))


def clear() -> None:
    """Drop everything that a backup replaces, and what belongs to the people in it."""
    for name in {*backup_collections(sessions=True), *SECRET, "signals", "presence"}:
        current().drop_collection(name)


def begin_restore(facts: Document) -> None:
    """Note that the database is being filled."""
    current()["maintenance"].replace_one(_RESTORE, _RESTORE | facts, upsert=True)


def unfinished_restore() -> Document | None:
    """Return what was noted of a restore that has not come to its end."""
    return current()["maintenance"].find_one(_RESTORE)


def finish_restore() -> None:
    current().drop_collection("maintenance")


# Consistency.


def chat_batches(size: int, newest: int | None = None) -> Iterator[list[Document]]:
    """Yield chats, so many at a time: all, or only those of the latest messages."""
    if newest is None:
        found = scan.newest_first(current()["chatrooms"], "userId")
    else:
        found = iter(chats.newest(chats.Filter(), newest))
    while batch := list(itertools.islice(found, size)):
        yield batch


def histories(chat_ids: Sequence[ObjectId]) -> dict[ObjectId, list[Document]]:
    """Return all messages of some chats by chat, ascending."""
    found: dict[ObjectId, list[Document]] = {chat_id: [] for chat_id in chat_ids}
    shown = {"senderImage": 0, "clientMessageId": 0, "also": 0}
    for message in current()["messages"].find({"chatId": {"$in": list(chat_ids)}}, shown):
        found[message["chatId"]].append(message)
    for history in found.values():
        history.sort(key=lambda message: int(message["seq"]))
    return found


def chat(chat_id: ObjectId) -> Document | None:
    return current()["chatrooms"].find_one({"_id": chat_id})


# Messages of no chat.


def message_chat_ids(
    before: datetime, newest: int | None = None
) -> Iterator[tuple[ObjectId, ObjectId]]:
    """Yield the ids of messages made before a time, each with its chat's, the newest chats first.

    newest -- only so many: no index leads to the newest messages of all chats together.
    """
    found = scan.newest_first(current()["messages"], "chatId", {"chatId": 1})
    old = (row for row in found if row["_id"].generation_time < before)
    for row in itertools.islice(old, newest):
        yield row["_id"], row["chatId"]


def existing_ids(name: str, ids: Iterable[ObjectId]) -> set[ObjectId]:
    """Return which of these ids are in a collection."""
    found: set[ObjectId] = set()
    for some in chunked(ids):
        rows = current()[name].find({"_id": {"$in": some}}, {"_id": 1})
        found |= {row["_id"] for row in rows}
    return found


def chats_without_terms() -> Iterator[Document]:
    """Yield the chats that no search finds: their ids, owners and what names them."""
    named = {"userId": 1, "subject": 1, "userName": 1, "userEmail": 1}
    rows = scan.newest_first(current()["chatrooms"], "userId", named)
    while batch := {row["_id"]: row for row in itertools.islice(rows, _TERMS_BATCH)}:
        known = existing_ids("chat_terms", batch)
        yield from (chat for chat_id, chat in batch.items() if chat_id not in known)


def has_legacy_search_index() -> bool:
    """Tell whether chats were found by terms of their own here, as before version 0.1.0."""
    return _OLD_SEARCH in indexes_of("chatrooms")


def drop_legacy_search_index() -> None:
    """Drop the index of these terms; another process may have done it."""
    with contextlib.suppress(OperationFailure):
        current()["chatrooms"].drop_index(_OLD_SEARCH)


def delete_orphaned_terms(before: datetime) -> None:
    """Remove the search terms made before a time of chats that do not exist."""
    rows = scan.newest_first(current()["chat_terms"], "userId", {"_id": 1})
    old = (row["_id"] for row in rows if row["_id"].generation_time < before)
    for some in chunked(old):
        lost = set(some) - existing_ids("chatrooms", some)
        if lost:
            current()["chat_terms"].delete_many({"_id": {"$in": list(lost)}})


def delete_messages(ids: Iterable[ObjectId]) -> None:
    for some in chunked(ids):
        current()["messages"].delete_many({"_id": {"$in": some}})
