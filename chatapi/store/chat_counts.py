"""How many chats there are of each combination of status, priority, category and assignee."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from chatapi.store.cache import CachedTotal
from chatapi.store.database import Document, chatrooms

FIELDS = ("status", "priority", "category", "adminId")
GROUPED = frozenset(FIELDS)
Group = tuple[Any, ...]  # the values of FIELDS
STATUSES = ("active", "pending", "closed", "archived")


def _count() -> Counter[Group]:
    """Ask the database. The filter names every status, so that an index finds the chats."""
    pipeline: list[Document] = [
        {"$match": {"status": {"$in": list(STATUSES)}}},
        {"$group": {"_id": {name: f"${name}" for name in FIELDS}, "n": {"$sum": 1}}},
    ]
    return Counter({_group(row["_id"]): row["n"] for row in chatrooms().aggregate(pipeline)})


groups = CachedTotal(_count)


def record_change(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> None:
    """Take into account that a chat was `before` and is `after`; None where there is none."""
    left = _group(before) if before is not None else None
    joined = _group(after) if after is not None else None
    if left == joined:
        return

    def change(known: Counter[Group]) -> Counter[Group]:
        # A copy: another thread may be reading the one that was known.
        counts = known.copy()
        if left is not None:
            counts[left] -= 1
        if joined is not None:
            counts[joined] += 1
        return counts

    groups.apply(change)


def _group(chat: Mapping[str, Any]) -> Group:
    return tuple(chat.get(name) for name in FIELDS)
