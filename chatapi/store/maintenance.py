"""Queries over the whole database, for `doctor`, `backup` and `restore`; no request uses them."""

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
from chatapi.domain.documents import Chat, Message, User
from chatapi.store import chats, scan
from chatapi.store import server as servers
from chatapi.store.database import AWARE, Document, chatrooms, current, messages, users
from chatapi.store.id_chunks import chunked

# Collections that give access, and those with short-lived data and counters.
SECRET = frozenset({"sessions", "passwordLinks"})
SHORT_LIVED = frozenset(
    {
        "ephemeralEvents",
        "presence",
        "attempts",
        "attemptWindows",
        "counters",
        "windows",
        "maintenance",
        "leases",
        "probes",
    }
)
_RAW = AWARE.with_options(document_class=RawBSONDocument)
_TERMS_BATCH = 500
_OLD_SEARCH = "search"
_RESTORE: Document = {"_id": "restore"}


def server() -> Document:
    """Return the server's name, version, form, and number of available connections.

    `form` is "standalone", "replica set" or "sharded cluster". A number that the server does not
    report is None. Raises PyMongoError if it does not respond.
    """
    database, kind = current(), servers.current()
    hello = database.command("hello")
    form = "standalone"
    if hello.get("msg") == "isdbgrid":
        form = "sharded cluster"
    elif "setName" in hello:
        form = "replica set"
    build = _run_if_allowed(database.client["admin"], "buildInfo")
    connections = _run_if_allowed(database.client["admin"], "serverStatus").get("connections", {})
    return {
        "name": kind.name,
        "version": build.get("version"),
        "embedded": kind.is_embedded,
        "form": form,
        "writable": bool(hello.get("isWritablePrimary", hello.get("ismaster"))),
        "connections": connections.get("available") or None,
    }


def _run_if_allowed(database: Database[Document], command: str) -> Document:
    """Return the response to a command, or {} if the user may not run it."""
    try:
        return database.command(command)
    except OperationFailure:
        return {}


def pool_size() -> int:
    """Return the maximum number of connections of this process's client."""
    return int(current().client.options.pool_options.max_pool_size or 0)


def write_concern() -> Document:
    """Return the client's write concern."""
    return dict(current().write_concern.document)


def acknowledged() -> bool:
    """Return whether writes wait for the server's acknowledgement."""
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


def users_with_prefix(prefix: str) -> list[User]:
    """Return the accounts whose login begins so."""
    where = {"loginKey": {"$gte": prefix, "$lt": prefix + "\uffff"}}
    return list(users().find(where, {"passwordHash": 0}))


def chat_ids_of_user(user_id: ObjectId) -> list[ObjectId]:
    return [row["_id"] for row in chatrooms().find({"userId": user_id}, {"_id": 1})]


def delete_user(user_id: ObjectId) -> None:
    """Remove an account and its sessions; the chats must be gone already."""
    current()["sessions"].delete_many({"userId": user_id})
    users().delete_one({"_id": user_id})


def login_attempts(key: str) -> int:
    """Return what the database's counter of sign-in attempts stands at."""
    row = current()["attempts"].find_one({"_id": key})
    return int(row["count"]) if row else 0


# Copies.


def backup_collections(*, sessions: bool) -> list[str]:
    """Return the names of the collections that a backup contains, also unknown ones."""
    left_out = SHORT_LIVED if sessions else SHORT_LIVED | SECRET
    return sorted(set(collections()) - left_out)


def estimate(names: Iterable[str]) -> int:
    """Return the estimated number of documents in these collections."""
    return sum(current()[name].estimated_document_count() for name in names)


def count(name: str) -> int:
    return current()[name].count_documents({})


def is_empty(names: Iterable[str]) -> bool:
    return all(current()[name].find_one({}, {"_id": 1}) is None for name in names)


def _raw(name: str) -> Collection[RawBSONDocument]:
    return current()[name].with_options(codec_options=_RAW)


def batches(name: str, size: int) -> Iterator[list[RawBSONDocument]]:
    """Yield a collection's documents as they are stored, in batches that are read lazily."""
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
    """Yield the messages of some chats, in no order, including uncommitted ones."""
    yield from _raw("messages").find({"chatId": {"$in": list(chat_ids)}})


def raw_messages_from(chat_id: ObjectId, seq: int) -> Iterator[RawBSONDocument]:
    yield from _raw("messages").find({"chatId": chat_id, "seq": {"$gte": seq}})


def insert(name: str, documents: Sequence[RawBSONDocument]) -> None:
    """Insert documents without any change."""
    _raw(name).insert_many(documents, ordered=False)


def replace(name: str, documents: Sequence[RawBSONDocument]) -> None:
    """Replace the documents with the same ids, or insert them."""
    for document in documents:
        _raw(name).replace_one({"_id": document["_id"]}, document, upsert=True)


def in_use(since: datetime) -> bool:
    """Return whether the product was in use since a time: typing, presence, connected agents.

    Deletions do not count, because a command may have made them.
    """
    recently = {"$gte": since, "$lte": clock.now() + clock.TOLERANCE}
    connected = current()["presence"].find_one({"seenAt": recently})
    ephemeral = {"at": recently, "kind": {"$ne": "deleted"}}
    return bool(connected or current()["ephemeralEvents"].find_one(ephemeral))


def clear() -> None:
    """Drop every collection that a backup replaces, and those that refer to its users."""
    for name in {*backup_collections(sessions=True), *SECRET, "ephemeralEvents", "presence"}:
        current().drop_collection(name)


def begin_restore(facts: Document) -> None:
    """Record that a restore has started."""
    current()["maintenance"].replace_one(_RESTORE, _RESTORE | facts, upsert=True)


def unfinished_restore() -> Document | None:
    """Return the record of a restore that has not finished, or None."""
    return current()["maintenance"].find_one(_RESTORE)


def finish_restore() -> None:
    current().drop_collection("maintenance")


# Consistency.


def chat_batches(size: int, newest: int | None = None) -> Iterator[list[Chat]]:
    """Yield chats in batches: all, or only those with the newest messages."""
    if newest is None:
        found = scan.newest_first(chatrooms(), "userId")
    else:
        found = iter(chats.newest(chats.Filter(), newest))
    while batch := list(itertools.islice(found, size)):
        yield batch


def histories(chat_ids: Sequence[ObjectId]) -> dict[ObjectId, list[Message]]:
    """Return all messages of some chats by chat, ascending."""
    found: dict[ObjectId, list[Message]] = {chat_id: [] for chat_id in chat_ids}
    shown = {"senderImage": 0, "clientMessageId": 0, "chatChanges": 0}
    for message in messages().find({"chatId": {"$in": list(chat_ids)}}, shown):
        found[message["chatId"]].append(message)
    for history in found.values():
        history.sort(key=lambda message: int(message["seq"]))
    return found


def chat(chat_id: ObjectId) -> Chat | None:
    return chatrooms().find_one({"_id": chat_id})


# Messages of no chat.


def message_chat_ids(
    before: datetime, newest: int | None = None
) -> Iterator[tuple[ObjectId, ObjectId]]:
    """Yield (message id, chat id) of messages created before a time, the newest chats first.

    newest -- the maximum number, because no index has the newest messages of all chats.
    """
    found = scan.newest_first(messages(), "chatId", {"chatId": 1})
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


def chats_without_terms() -> Iterator[Chat]:
    """Yield the chats without search terms: their ids, owners, subjects and names."""
    named = {"userId": 1, "subject": 1, "userName": 1, "userEmail": 1}
    rows = scan.newest_first(chatrooms(), "userId", named)
    while batch := {row["_id"]: row for row in itertools.islice(rows, _TERMS_BATCH)}:
        known = existing_ids("chat_terms", batch)
        yield from (chat for chat_id, chat in batch.items() if chat_id not in known)


def has_legacy_search_index() -> bool:
    """Return whether the search index of releases before 0.1.0 exists."""
    return _OLD_SEARCH in indexes_of("chatrooms")


def drop_legacy_search_index() -> None:
    """Drop that index; another process may have done it."""
    with contextlib.suppress(OperationFailure):
        chatrooms().drop_index(_OLD_SEARCH)


def delete_orphaned_terms(before: datetime) -> None:
    """Delete orphaned search terms: of chats that do not exist, created before a time."""
    rows = scan.newest_first(current()["chat_terms"], "userId", {"_id": 1})
    old = (row["_id"] for row in rows if row["_id"].generation_time < before)
    for some in chunked(old):
        lost = set(some) - existing_ids("chatrooms", some)
        if lost:
            current()["chat_terms"].delete_many({"_id": {"$in": list(lost)}})


def delete_messages(ids: Iterable[ObjectId]) -> None:
    for some in chunked(ids):
        messages().delete_many({"_id": {"$in": some}})
