"""The number of chats by combination of status, priority, category and assignee."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from chatapi.domain.documents import Chat
from chatapi.domain.enums import STATUSES
from chatapi.domain.runtime import PerApp
from chatapi.store.cache import CachedTotal
from chatapi.store.database import Document, aggregate, chatrooms

FIELDS = ("status", "priority", "category", "adminId")
GROUPED = frozenset(FIELDS)
Group = tuple[Any, ...]  # the values of FIELDS


def _count() -> Counter[Group]:
    """Count in the database. The filter lists every status, so that an index is used."""
    pipeline: list[Document] = [
        {"$match": {"status": {"$in": list(STATUSES)}}},
        {"$group": {"_id": {name: f"${name}" for name in FIELDS}, "n": {"$sum": 1}}},
    ]
    return Counter({_group(row["_id"]): row["n"] for row in aggregate(chatrooms(), pipeline)})


groups = PerApp(lambda: CachedTotal(_count))


def record_change(before: Chat | None, after: Chat | None) -> None:
    """Apply a chat's change from `before` to `after` to the counts; None: it does not exist."""
    left = _group(before) if before is not None else None
    joined = _group(after) if after is not None else None
    if left == joined:
        return

    def change(known: Counter[Group]) -> Counter[Group]:
        # A copy, because another thread may be reading the cached one.
        counts = known.copy()
        if left is not None:
            counts[left] -= 1
        if joined is not None:
            counts[joined] += 1
        return counts

    groups.current.apply(change)


def _group(chat: Mapping[str, Any]) -> Group:
    return tuple(chat.get(name) for name in FIELDS)
