"""Lists of chats: filter, page, ETag, and what is unread in all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bson import ObjectId

from chatapi.domain import errors, paging
from chatapi.domain.documents import ShownChat
from chatapi.domain.runtime import PerApp
from chatapi.services import search
from chatapi.services.chats import REPRESENTATION, present_chat
from chatapi.services.sessions import Session
from chatapi.store import chats
from chatapi.store import unread as unread_sums
from chatapi.store.cache import change_tracker
from chatapi.store.database import object_id


@dataclass(frozen=True)
class ChatFilters:
    """The filters of a list. Empty or None does not restrict it.

    assigned -- "me", "none" or an agent's id. q -- words that the subject, the user's
    name or e-mail has words beginning with.
    """

    status: Sequence[str] = ()
    priority: Sequence[str] = ()
    category: Sequence[str] = ()
    assigned: str | None = None
    unread: bool | None = None
    solved: bool | None = None
    q: str | None = None


@dataclass(frozen=True)
class ChatPage(paging.Page[ShownChat]):
    """A page of chats, its ETag, and what the caller has not read in all of theirs.

    is_unchanged -- the caller has this page already; it comes without its items.
    """

    etag: str
    unread_chats: int
    unread_messages: int
    is_unchanged: bool = False


PageKey = tuple[ObjectId, str, chats.Filter, int, paging.Position | None]

# Cached pages without items, each with the number of changes at which it was read.
_cached_pages: PerApp[dict[PageKey, tuple[int, ChatPage]]] = PerApp(dict)

MAX_CACHED_PAGES = 5000


def list_chats(
    session: Session,
    filters: ChatFilters,
    limit: int = 50,
    cursor: str | None = None,
    has_etag: Callable[[str], bool] | None = None,
    *,
    allow_cached: bool = True,
) -> ChatPage:
    """Return a page of the chats the caller may see, the latest message first.

    has_etag -- return whether the caller has the page with an ETag; its items are left out then.
    allow_cached -- whether the cache may decide that, while the change stream reports every change;
    changes by another process are known a fifth of a second later.
    Raises InvalidInput on `assigned` or `cursor`.
    """
    wanted, after = _filter(session, filters), paging.decode(cursor)
    key = session.user_id, session.side, wanted, limit, after
    known = _cached_page(key) if allow_cached and has_etag is not None else None
    if known is not None and has_etag is not None and has_etag(known.etag):
        return known
    tracker = change_tracker.current
    changes = tracker.changes
    rows = chats.newest(wanted, limit + 1, after)
    # The row after the page only decides whether there is a cursor.
    seen = [row["version"] for row in rows[:limit]], len(rows) > limit
    unread_chats, unread_messages = unread(session)
    facts = (REPRESENTATION, session.user_id, session.side, limit, seen, unread_messages)
    digest = hashlib.blake2b(repr(facts).encode(), digest_size=16)
    digest.update(b"".join([row["_id"].binary for row in rows[:limit]]))
    etag = digest.hexdigest()
    known = ChatPage([], None, etag, unread_chats, unread_messages, is_unchanged=True)
    if tracker.is_fresh and changes == tracker.changes:
        pages = _cached_pages.current
        if len(pages) >= MAX_CACHED_PAGES:
            pages.clear()
        pages[key] = changes, known
    if has_etag is not None and has_etag(etag):
        return known
    page = paging.page(rows, limit, "lastMessageAt")
    items = [present_chat(session, row) for row in page.items]
    return ChatPage(items, page.next_cursor, etag, unread_chats, unread_messages)


def _cached_page(key: PageKey) -> ChatPage | None:
    """Return a cached page, without its items, if no chat has changed since."""
    changes, known = _cached_pages.current.get(key, (-1, None))
    tracker = change_tracker.current
    return known if tracker.is_fresh and changes == tracker.changes else None


def unread(session: Session) -> tuple[int, int]:
    """Return how many of the caller's chats have unread messages, and how many messages."""
    if session.is_admin:
        return unread_sums.by_admins.current.get()
    return unread_sums.by_user(session.user_id)


def check_categories(wanted: Sequence[str], offered: Sequence[str]) -> None:
    """Raise InvalidInput for a category that is neither offered nor stored in a chat."""
    for category in wanted:
        if category not in offered and not chats.has_category(category):
            allowed = ", ".join(offered)
            text = f"Must be one of: {allowed}; or a category that a chat has."
            raise errors.InvalidInput.for_field("category", text)


def _filter(session: Session, filters: ChatFilters) -> chats.Filter:
    admin_id = None
    if filters.assigned == "me":
        admin_id = session.user_id
    elif filters.assigned not in {None, "none"}:
        admin_id = object_id(filters.assigned)
        if admin_id is None:
            raise errors.InvalidInput.for_field(
                "assigned", "Must be 'me', 'none' or an agent's id."
            )
    return chats.Filter(
        user_id=None if session.is_admin else session.user_id,
        statuses=tuple(filters.status),
        priorities=tuple(filters.priority),
        categories=tuple(filters.category),
        admin_id=admin_id,
        unassigned=filters.assigned == "none",
        unread_by_admin=filters.unread if session.is_admin else None,
        unread_by_user=None if session.is_admin else filters.unread,
        solved=filters.solved,
        terms=tuple(search.query_terms(filters.q)),
    )
