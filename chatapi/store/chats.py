"""The `chatrooms` collection: a chat's state, with all that a list shows of it.

Every change is a compare-and-set on `version`, so nothing is lost between two writers and
the version tells a poll whether anything is new.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import ObjectId
from pymongo import DESCENDING

from chatapi.domain import clock
from chatapi.domain.paging import Position
from chatapi.store import (
    chat_counts,
    chat_terms,
    decoded,
    durability,
    remembered,
    server,
    unread,
)
from chatapi.store.database import Document, Duplicate, chatrooms, translate_duplicate_key
from chatapi.store.parts import aggregate_by_ids

_ORDER = [("lastMessageAt", DESCENDING), ("_id", DESCENDING)]
_PLACES = {"lastMessageAt": 1}
MAX_SEEN = 2000
MAX_REACHED = 2000
CHANGED_BATCH = 100
# Where more chats have a word, a page is read from the newest chats.
FEW_FOUND = 5000
WALKED_BATCH = 500
# How far back a page that was never read is looked for at first, and at most.
FIRST_LOOK = timedelta(minutes=1)
MAX_LOOK = timedelta(days=3650)
# So many chats more are read with a page, for those whose last message has its place's time.
SAME_TIME = 3
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
# The time of the last chat of each page that was read; _BEGINNING where all there are were read.
_reached: dict[tuple[Filter, int, Position | None], datetime] = {}
# How far the times of neighbours are apart in a list, a little more than on the page read last.
_apart: dict[Filter, timedelta] = {}
_seen: dict[ObjectId, Document] = {}


@dataclass(frozen=True)
class Filter:
    """Which chats a list asks for. An empty tuple or None does not narrow it."""

    user_id: ObjectId | None = None
    statuses: tuple[str, ...] = ()
    priorities: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    admin_id: ObjectId | None = None
    unassigned: bool = False
    unread_by_admin: bool | None = None
    unread_by_user: bool | None = None
    solved: bool | None = None
    terms: tuple[str, ...] = ()


def insert(chat: Document, terms: Sequence[str] = ()) -> None:
    """Add a chat that is found by these terms.

    Raises Duplicate while the user has another open one.
    """
    # Before the chat: there is never one that nobody finds.
    chat_terms.upsert(chat, terms)
    try:
        with translate_duplicate_key(), remembered.writing():
            remembered.following.expect(chat["_id"], chat["version"])
            chatrooms().insert_one(chat | {"changedAt": clock.real()})
            unread.moved(0, chat["unread"]["admin"])
            chat_counts.moved(None, chat)
    except Duplicate:
        chat_terms.delete(chat["_id"])
        raise


def by_id(chat_id: ObjectId) -> Document | None:
    chat = chatrooms().find_one({"_id": chat_id})
    if chat is not None:
        _remember(chat)
    return chat


def last_seen(chat_id: ObjectId) -> Document | None:
    """Return the chat as this process last saw it, without asking the database.

    It may be out of date in all but its id and user: good enough to prepare a `replace`,
    which then refuses, and for nothing else.
    """
    return _seen.get(chat_id)


def told(chat: Document) -> None:
    """Take note of a chat's state as the database tells of it."""
    seen = _seen.get(chat["_id"])
    if seen is None or seen["version"] < chat["version"]:
        # Another process has written it.
        unread.by_admins.forget()


def heard(change: Document) -> bool:
    """Take note of a change of a chat as `changes.ACCESS` reports it: without the document.

    Return whether another process may have made it.
    """
    updated = change.get("updateDescription", {}).get("updatedFields", {})
    operation = change["operationType"]
    chat_id = change.get("documentKey", {}).get("_id")
    version = 1 if operation == "insert" else updated.get("version")
    if remembered.following.is_own(chat_id, version):
        return False
    if operation != "update":
        remembered.forget_all()
    else:
        unread.by_admins.forget()
        if not chat_counts.GROUPED.isdisjoint(updated):
            chat_counts.groups.forget()
    remembered.following.changes += 1
    return True


def _remember(chat: Document) -> None:
    if len(_seen) >= MAX_SEEN:
        _seen.clear()
    _seen[chat["_id"]] = chat


def open_chat_of(user_id: ObjectId) -> Document | None:
    return chatrooms().find_one({"userId": user_id, "isOpen": True})


def made_with(user_id: ObjectId, create_key: str) -> Document | None:
    """Return the user's chat that was opened with this key."""
    return chatrooms().find_one({"userId": user_id, "createKey": create_key})


def replace(chat_id: ObjectId, version: int, fields: Mapping[str, Any]) -> bool:
    """Set fields if the chat still has this version; tell whether it had.

    Raises Duplicate when the change opens a second chat of the same user.
    """
    with translate_duplicate_key(), remembered.writing():
        remembered.following.expect(chat_id, version + 1)
        had = durability.to_commit("chatrooms").set_fields(
            chat_id, version, {**fields, "changedAt": clock.real()}
        )
        before = _seen.pop(chat_id, None)
        if not had:
            remembered.following.did_not_write(chat_id, version + 1)
            return False
        if before is not None and before["version"] == version:
            after = before | dict(fields) | {"version": version + 1}
            _remember(after)
            unread.moved(before["unread"]["admin"], after["unread"]["admin"])
            if not chat_counts.GROUPED.isdisjoint(fields):
                chat_counts.moved(before, after)
        else:
            unread.by_admins.forget()
            if not chat_counts.GROUPED.isdisjoint(fields):
                chat_counts.groups.forget()
        return True


def rename_user(user_id: ObjectId, fields: Document, terms: Sequence[str]) -> None:
    """Show a user's new name on their chats, which are then found by both names."""
    _rename({"userId": user_id}, fields, terms)


def rename_admin(admin_id: ObjectId, fields: Document) -> None:
    """Show an agent's new name on the chats assigned to them."""
    _rename({"adminId": admin_id}, fields, ())


def _rename(whose: Document, fields: Document, terms: Sequence[str]) -> None:
    """Set the fields in the chats that differ, so many at a time: no command takes long."""
    found = chatrooms().find(whose, dict.fromkeys(fields, 1))
    left = iter([c["_id"] for c in found if any(c.get(n) != v for n, v in fields.items())])
    while ids := list(itertools.islice(left, CHANGED_BATCH)):
        if terms:
            chat_terms.add(ids, terms)
        now = {"$set": fields | {"changedAt": clock.real()}, "$inc": {"version": 1}}
        with remembered.writing():
            chatrooms().update_many({"_id": {"$in": ids}, **whose}, now)


def open_chats_assigned_to(admin_id: ObjectId) -> list[ObjectId]:
    """Return the ids of some of an agent's open chats: as many as one command changes."""
    where = {"adminId": admin_id, "isOpen": True}
    return [row["_id"] for row in chatrooms().find(where, {"_id": 1}).limit(CHANGED_BATCH)]


def unassign(admin_id: ObjectId, ids: Sequence[ObjectId]) -> int:
    """Unassign those of these chats that are open and assigned to this agent; return how many."""
    where = {"_id": {"$in": list(ids)}, "adminId": admin_id, "isOpen": True}
    fields = {"adminId": None, "adminName": None, "adminImage": None, "updatedAt": clock.now()}
    now = {"$set": fields | {"changedAt": clock.real()}, "$inc": {"version": 1}}
    with remembered.writing():
        chat_counts.groups.forget()
        return chatrooms().update_many(where, now).modified_count


def delete(chat_id: ObjectId) -> bool:
    _seen.pop(chat_id, None)
    with remembered.writing():
        deleted = chatrooms().delete_one({"_id": chat_id}).deleted_count > 0
        remembered.forget_all()
    chat_terms.delete(chat_id)
    return deleted


def query(wanted: Filter) -> Document:
    """Return the MongoDB filter of a list, its terms and place aside. The live tests explain it."""
    where: Document = {}
    if wanted.user_id is not None:
        where["userId"] = wanted.user_id
    for name, values in (
        ("status", wanted.statuses),
        ("priority", wanted.priorities),
        ("category", wanted.categories),
    ):
        if values:
            where[name] = values[0] if len(values) == 1 else {"$in": list(values)}
    if wanted.unassigned:
        where["adminId"] = None
    elif wanted.admin_id is not None:
        where["adminId"] = wanted.admin_id
    if wanted.unread_by_admin is not None:
        where["unreadByAdmin"] = wanted.unread_by_admin
    if wanted.unread_by_user is not None:
        where["unread.user"] = {"$gt": 0} if wanted.unread_by_user else 0
    if wanted.solved is not None:
        # Chats of before there was such a mark have no field.
        where["solvedAt"] = {"$ne": None} if wanted.solved else None
    return where


def newest(wanted: Filter, limit: int, after: Position | None = None) -> list[Document]:
    """Return up to `limit` chats, the latest message first, from a place in the list on.

    The documents are shared with other lists: who changes one changes a copy.

    Whole documents: the embedded server does not gain by leaving out the few other fields. Where
    a server (`store.server`) does not stop at the limit, a page looks back only as far as the same
    page reached the last time, or as its neighbours' times are apart, and further until it is full.
    """
    if wanted.terms:
        return _found(wanted, limit, after)
    # One person has few chats.
    if wanted.user_id is not None or server.current().stops_at_limit:
        return _page(wanted, limit, after, None)
    key = wanted, limit, after
    since = _reached.get(key) or _guess(wanted, limit, after)
    while True:
        rows = _page(wanted, limit, after, since)
        if len(rows) == limit or since == _BEGINNING:
            _remember_reach(key, rows)
            return rows
        since = _further(since, after, len(rows), limit)


def _page(
    wanted: Filter, limit: int, after: Position | None, since: datetime | None
) -> list[Document]:
    """Read a page of a list: what lies after a place, and not before a time."""
    # The time first: the index of the list's order is the one to read.
    earliest = {} if since is None else {"$gte": since}
    bounds = ({"$lte": after.at} if after else {}) | earliest
    where = ({"lastMessageAt": bounds} if bounds else {}) | query(wanted)
    if after is None:
        return decoded.find(chatrooms(), where, _ORDER, limit)
    # Those of the place's own time come first, and some of them stand before it.
    rows = decoded.find(chatrooms(), where, _ORDER, limit + SAME_TIME)
    left = [row for row in rows if _is_after(row, after)]
    if len(left) >= limit or len(rows) < limit + SAME_TIME:
        return left[:limit]
    # More chats than that have the very time of the place: they are read first, then the older
    # ones: the embedded server takes no index for one `$or` of both (`store.server`).
    same = {"lastMessageAt": after.at, "_id": {"$lt": after.id}} | query(wanted)
    page = decoded.find(chatrooms(), same, _ORDER, limit)
    if len(page) < limit:
        older = {"lastMessageAt": {"$lt": after.at} | earliest} | query(wanted)
        page += decoded.find(chatrooms(), older, _ORDER, limit - len(page))
    return page


def _is_after(chat: Document, place: Position | None) -> bool:
    return place is None or (chat["lastMessageAt"], chat["_id"]) < (place.at, place.id)


def _guess(wanted: Filter, limit: int, after: Position | None) -> datetime:
    """Return how far back to look for a page that was never read."""
    span = _apart.get(wanted, FIRST_LOOK / limit) * limit
    return (after.at if after else clock.now()) - span


def _further(since: datetime, after: Position | None, found: int, limit: int) -> datetime:
    """Return how far back to look next, where fewer chats than wanted were found."""
    start = after.at if after else clock.now()
    factor = min(64.0, max(2.0, 1.5 * limit / found)) if found else 8.0
    span = max(start - since, FIRST_LOOK / 10) * factor
    return start - span if span < MAX_LOOK else _BEGINNING


def _remember_reach(key: tuple[Filter, int, Position | None], rows: list[Document]) -> None:
    wanted, limit, _ = key
    if len(_reached) >= MAX_REACHED:
        _reached.clear()
        _apart.clear()
    if len(rows) < limit:
        _reached[key] = _BEGINNING
        return
    first, last = rows[0]["lastMessageAt"], rows[-1]["lastMessageAt"]
    # A little further: the embedded server may leave out the very time (`store.server`).
    _reached[key] = last - timedelta(milliseconds=1)
    _apart[wanted] = (first - last) * 1.25 / limit


def _found(wanted: Filter, limit: int, after: Position | None) -> list[Document]:
    """Read a page of the chats that a search finds.

    Up to FEW_FOUND are all read, and sorted. Where each word has more, the newest chats are
    gone through until the page is full: the more there are, the sooner it is.
    """
    ids = chat_terms.search(wanted.terms, wanted.user_id, FEW_FOUND)
    if ids is None:
        return list(itertools.islice(_walked(wanted, after), limit))
    light: list[Document] = [{"$match": query(wanted)}, {"$project": _PLACES}]
    rows = [row for row in aggregate_by_ids(chatrooms(), ids, light) if _is_after(row, after)]
    rows.sort(key=lambda chat: (chat["lastMessageAt"], chat["_id"]), reverse=True)
    page: list[Document] = []
    while rows and len(page) < limit:
        # Once more where a chat is deleted in between: a short page would be the last one.
        next_ids = [row["_id"] for row in rows[: limit - len(page)]]
        rows = rows[len(next_ids) :]
        read = {chat["_id"]: chat for chat in aggregate_by_ids(chatrooms(), next_ids, [])}
        page += [read[chat_id] for chat_id in next_ids if chat_id in read]
    return page


def _walked(wanted: Filter, after: Position | None) -> Iterator[Document]:
    """Yield the chats that a search finds, the newest first, as they are come across."""
    all_of_them = dataclasses.replace(wanted, terms=())
    while batch := newest(all_of_them, WALKED_BATCH, after):
        ids = chat_terms.filter_by_terms([chat["_id"] for chat in batch], wanted.terms)
        yield from (chat for chat in batch if chat["_id"] in ids)
        after = Position(batch[-1]["lastMessageAt"], batch[-1]["_id"])


def has_category(category: str) -> bool:
    """Say whether any chat has a category."""
    return chatrooms().find_one({"category": category}, {"_id": 1}) is not None
