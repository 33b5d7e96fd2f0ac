"""The `chatrooms` collection: the state of chats, with everything that a list shows.

Every change is a compare-and-set on `version`, so two writers never overwrite each other, and a
poll sees by the version whether the chat has changed.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bson import ObjectId
from pymongo import DESCENDING

from chatapi.domain import clock
from chatapi.domain.documents import Chat, ChatChanges
from chatapi.domain.paging import Position
from chatapi.domain.runtime import PerApp
from chatapi.store import (
    cache,
    chat_counts,
    chat_terms,
    document_cache,
    durability,
    server,
    unread,
)
from chatapi.store.database import Document, Duplicate, chatrooms, translate_duplicate_key
from chatapi.store.id_chunks import aggregate_by_ids

_ORDER = [("lastMessageAt", DESCENDING), ("_id", DESCENDING)]
_PLACES = {"lastMessageAt": 1}
MAX_CACHED = 2000
MAX_PAGE_ENDS = 2000
CHANGED_BATCH = 100
# If more chats have a word, the newest chats are scanned instead of sorting all matches.
MAX_SORTED = 5000
SCAN_BATCH = 500
# The initial and the maximum time span in which a page is searched that was never read.
INITIAL_SPAN = timedelta(minutes=1)
MAX_SPAN = timedelta(days=3650)
# The number of extra chats read with a page, because several may have the time of its position.
TIE_ROWS = 3
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
# The time of the last chat of each page that was read; _BEGINNING if it was the last page.
_page_ends: PerApp[dict[tuple[Filter, int, Position | None], datetime]] = PerApp(dict)
# The average time between neighbours in a list, from the page that was read last.
_gaps: PerApp[dict[Filter, timedelta]] = PerApp(dict)
_last_seen: PerApp[dict[ObjectId, Chat]] = PerApp(dict)


@dataclass(frozen=True)
class Filter:
    """The filter of a list of chats. An empty tuple or None does not restrict it."""

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


def insert(chat: Chat, terms: Sequence[str] = ()) -> None:
    """Insert a chat with its search terms.

    Raises Duplicate while the user has another open one.
    """
    # The terms first, so that no chat is ever without them.
    chat_terms.upsert(chat, terms)
    try:
        with translate_duplicate_key(), cache.writing():
            cache.change_tracker.current.expect_write(chat["_id"], chat["version"])
            chatrooms().insert_one(chat | {"changedAt": clock.real()})
            unread.record_change(0, chat["unread"]["admin"])
            chat_counts.record_change(None, chat)
    except Duplicate:
        chat_terms.delete(chat["_id"])
        raise


def by_id(chat_id: ObjectId) -> Chat | None:
    chat = chatrooms().find_one({"_id": chat_id})
    if chat is not None:
        _cache_chat(chat)
    return chat


def last_seen(chat_id: ObjectId) -> Chat | None:
    """Return the chat as this process last read or wrote it, without a query.

    Everything but its id and user may be out of date. Use it only to prepare a `replace`, which
    fails if the version has changed.
    """
    return _last_seen.current.get(chat_id)


def invalidate_if_newer(chat: Chat) -> None:
    """Invalidate the unread total if the database reports a newer version than was cached."""
    seen = _last_seen.current.get(chat["_id"])
    if seen is None or seen["version"] < chat["version"]:
        # Another process has written it.
        unread.by_admins.current.invalidate()


def apply_reported_change(change: Document) -> bool:
    """Apply a change that `changes.ACCESS` reports, without the document, to the cached totals.

    Return whether another process may have made it.
    """
    updated = change.get("updateDescription", {}).get("updatedFields", {})
    operation = change["operationType"]
    chat_id = change.get("documentKey", {}).get("_id")
    version = 1 if operation == "insert" else updated.get("version")
    if cache.change_tracker.current.is_own(chat_id, version):
        return False
    if operation != "update":
        cache.invalidate_all()
    else:
        unread.by_admins.current.invalidate()
        if not chat_counts.GROUPED.isdisjoint(updated):
            chat_counts.groups.current.invalidate()
    cache.change_tracker.current.changes += 1
    return True


def _cache_chat(chat: Chat) -> None:
    seen = _last_seen.current
    if len(seen) >= MAX_CACHED:
        seen.clear()
    seen[chat["_id"]] = chat


def open_chat_of(user_id: ObjectId) -> Chat | None:
    return chatrooms().find_one({"userId": user_id, "isOpen": True})


def by_idempotency_key(user_id: ObjectId, key: str) -> Chat | None:
    """Return the user's chat that was created with this key."""
    return chatrooms().find_one({"userId": user_id, "idempotencyKey": key})


def replace(chat_id: ObjectId, version: int, fields: ChatChanges) -> bool:
    """Set fields if the chat still has this version; return whether it had.

    Raises Duplicate if the change reopens a second chat of the same user.
    """
    with translate_duplicate_key(), cache.writing():
        cache.change_tracker.current.expect_write(chat_id, version + 1)
        had = durability.to_commit("chatrooms").set_fields(
            chat_id, version, {**fields, "changedAt": clock.real()}
        )
        before = _last_seen.current.pop(chat_id, None)
        if not had:
            cache.change_tracker.current.cancel_write(chat_id, version + 1)
            return False
        if before is not None and before["version"] == version:
            after: Chat = {**before, **fields, "version": version + 1}
            _cache_chat(after)
            unread.record_change(before["unread"]["admin"], after["unread"]["admin"])
            if not chat_counts.GROUPED.isdisjoint(fields):
                chat_counts.record_change(before, after)
        else:
            unread.by_admins.current.invalidate()
            if not chat_counts.GROUPED.isdisjoint(fields):
                chat_counts.groups.current.invalidate()
        return True


def rename_user(user_id: ObjectId, fields: ChatChanges, terms: Sequence[str]) -> None:
    """Set a user's new name on their chats, and add its search terms."""
    _rename({"userId": user_id}, fields, terms)


def rename_admin(admin_id: ObjectId, fields: ChatChanges) -> None:
    """Set an agent's new name on the chats assigned to them."""
    _rename({"adminId": admin_id}, fields, ())


def _rename(whose: Document, fields: ChatChanges, terms: Sequence[str]) -> None:
    """Set the fields in the chats that differ, in batches, so that no command takes long."""
    found = chatrooms().find(whose, dict.fromkeys(fields, 1))
    left = iter([c["_id"] for c in found if any(c.get(n) != v for n, v in fields.items())])
    while ids := list(itertools.islice(left, CHANGED_BATCH)):
        if terms:
            chat_terms.add(ids, terms)
        now = {"$set": fields | {"changedAt": clock.real()}, "$inc": {"version": 1}}
        with cache.writing():
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
    with cache.writing():
        chat_counts.groups.current.invalidate()
        return chatrooms().update_many(where, now).modified_count


def delete(chat_id: ObjectId) -> bool:
    _last_seen.current.pop(chat_id, None)
    with cache.writing():
        deleted = chatrooms().delete_one({"_id": chat_id}).deleted_count > 0
        cache.invalidate_all()
    chat_terms.delete(chat_id)
    return deleted


def query(wanted: Filter) -> Document:
    """Return the MongoDB filter of a list, without its terms and position."""
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
        # Chats of older releases lack the field.
        where["solvedAt"] = {"$ne": None} if wanted.solved else None
    return where


def newest(wanted: Filter, limit: int, after: Position | None = None) -> list[Chat]:
    """Return up to `limit` chats after a position, the latest message first.

    The documents are shared with other lists: change only a copy. If the server (`store.server`)
    does not stop at the limit, the query is restricted to the time range that the page needed the
    last time, or to an estimated one, which is extended until the page is full.
    """
    if wanted.terms:
        return _search_page(wanted, limit, after)
    # A user has few chats.
    if wanted.user_id is not None or server.current().stops_at_limit:
        return _page(wanted, limit, after, None)
    key = wanted, limit, after
    since = _page_ends.current.get(key) or _estimate_start(wanted, limit, after)
    while True:
        rows = _page(wanted, limit, after, since)
        if len(rows) == limit or since == _BEGINNING:
            _cache_page_end(key, rows)
            return rows
        since = _extend_range(since, after, len(rows), limit)


def _page(wanted: Filter, limit: int, after: Position | None, since: datetime | None) -> list[Chat]:
    """Read a page of a list: the chats after a position, and not before a time."""
    # The time first, so that the index of the list's order is used.
    earliest = {} if since is None else {"$gte": since}
    bounds = ({"$lte": after.at} if after else {}) | earliest
    where = ({"lastMessageAt": bounds} if bounds else {}) | query(wanted)
    if after is None:
        return document_cache.find(chatrooms(), where, _ORDER, limit)
    # Chats with the position's own time come first; some of them belong to earlier pages.
    rows = document_cache.find(chatrooms(), where, _ORDER, limit + TIE_ROWS)
    left = [row for row in rows if _is_after(row, after)]
    if len(left) >= limit or len(rows) < limit + TIE_ROWS:
        return left[:limit]
    # Even more chats have the position's time. They are read first, then the older ones, because
    # the embedded server uses no index for one `$or` of both (`store.server`).
    same = {"lastMessageAt": after.at, "_id": {"$lt": after.id}} | query(wanted)
    page = document_cache.find(chatrooms(), same, _ORDER, limit)
    if len(page) < limit:
        older = {"lastMessageAt": {"$lt": after.at} | earliest} | query(wanted)
        page += document_cache.find(chatrooms(), older, _ORDER, limit - len(page))
    return page


def _is_after(chat: Chat, place: Position | None) -> bool:
    return place is None or (chat["lastMessageAt"], chat["_id"]) < (place.at, place.id)


def _estimate_start(wanted: Filter, limit: int, after: Position | None) -> datetime:
    """Return the start of the time range for a page that was never read."""
    span = _gaps.current.get(wanted, INITIAL_SPAN / limit) * limit
    return (after.at if after else clock.now()) - span


def _extend_range(since: datetime, after: Position | None, found: int, limit: int) -> datetime:
    """Return an earlier start of the time range, after one with too few chats."""
    start = after.at if after else clock.now()
    factor = min(64.0, max(2.0, 1.5 * limit / found)) if found else 8.0
    span = max(start - since, INITIAL_SPAN / 10) * factor
    return start - span if span < MAX_SPAN else _BEGINNING


def _cache_page_end(key: tuple[Filter, int, Position | None], rows: list[Chat]) -> None:
    wanted, limit, _ = key
    page_ends, gaps = _page_ends.current, _gaps.current
    if len(page_ends) >= MAX_PAGE_ENDS:
        page_ends.clear()
        gaps.clear()
    if len(rows) < limit:
        page_ends[key] = _BEGINNING
        return
    first, last = rows[0]["lastMessageAt"], rows[-1]["lastMessageAt"]
    # A millisecond earlier: the embedded server may exclude the bound itself (`store.server`).
    page_ends[key] = last - timedelta(milliseconds=1)
    gaps[wanted] = (first - last) * 1.25 / limit


def _search_page(wanted: Filter, limit: int, after: Position | None) -> list[Chat]:
    """Read a page of the matches of a search.

    Up to MAX_SORTED matches are all read and sorted. If each word has more, the newest chats are
    scanned until the page is full, which is fast because matches are frequent.
    """
    ids = chat_terms.search(wanted.terms, wanted.user_id, MAX_SORTED)
    if ids is None:
        return list(itertools.islice(_scan_matches(wanted, after), limit))
    light: list[Document] = [{"$match": query(wanted)}, {"$project": _PLACES}]
    rows = [row for row in aggregate_by_ids(chatrooms(), ids, light) if _is_after(row, after)]
    rows.sort(key=lambda chat: (chat["lastMessageAt"], chat["_id"]), reverse=True)
    page: list[Chat] = []
    while rows and len(page) < limit:
        # Read further if a chat was deleted in between: a short page would mean the end.
        next_ids = [row["_id"] for row in rows[: limit - len(page)]]
        rows = rows[len(next_ids) :]
        read = {chat["_id"]: chat for chat in aggregate_by_ids(chatrooms(), next_ids, [])}
        page += [read[chat_id] for chat_id in next_ids if chat_id in read]
    return page


def _scan_matches(wanted: Filter, after: Position | None) -> Iterator[Chat]:
    """Yield the matches of a search from a scan of all chats, the newest first."""
    all_of_them = dataclasses.replace(wanted, terms=())
    while batch := newest(all_of_them, SCAN_BATCH, after):
        ids = chat_terms.filter_by_terms([chat["_id"] for chat in batch], wanted.terms)
        yield from (chat for chat in batch if chat["_id"] in ids)
        after = Position(batch[-1]["lastMessageAt"], batch[-1]["_id"])


def has_category(category: str) -> bool:
    """Return whether any chat has a category."""
    return chatrooms().find_one({"category": category}, {"_id": 1}) is not None
