"""Unread totals over all chats."""

from __future__ import annotations

from bson import ObjectId

from chatapi.domain.runtime import PerApp
from chatapi.store.cache import CachedTotal
from chatapi.store.database import Document, aggregate, chatrooms

Sum = tuple[int, int]  # chats with unread messages, and messages
NO_MESSAGES: Sum = (0, 0)


def _by_admins() -> Sum:
    return _sum({"unreadByAdmin": True}, "$unread.admin")


# The total of messages that no agent has read.
by_admins = PerApp(lambda: CachedTotal(_by_admins))


def record_change(before: int, after: int) -> None:
    """Apply a change of a chat's number of messages that no agent has read to the total."""

    def change(known: Sum) -> Sum:
        chats, messages = known
        return chats + (after > 0) - (before > 0), messages + after - before

    by_admins.current.apply(change)


def by_user(user_id: ObjectId) -> Sum:
    """Return the total of agents' messages that a user has not read."""
    return _sum({"userId": user_id, "unread.user": {"$gt": 0}}, "$unread.user")


def _sum(where: Document, number: str) -> Sum:
    group = {"_id": None, "chats": {"$sum": 1}, "messages": {"$sum": number}}
    for row in aggregate(chatrooms(), [{"$match": where}, {"$group": group}]):
        return row["chats"], row["messages"]
    return NO_MESSAGES
