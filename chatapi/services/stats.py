"""Statistics over all chats, for agents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypedDict

from chatapi.domain.enums import PRIORITIES, STATUSES
from chatapi.services.sessions import Session
from chatapi.store import chat_counts, unread


class Stats(TypedDict):
    """How many chats there are."""

    status: dict[str, int]
    priority: dict[str, int]
    category: dict[str, int]
    total: int
    unassigned: int
    unread: int  # with messages that no agent has read
    unreadMessages: int  # how many messages those are


def counts(session: Session, categories: Sequence[str]) -> Stats:
    """Return the number of chats of each kind. Raises AdminOnly."""
    session.require_admin()
    by: dict[str, Counter[str]] = {
        "status": Counter(dict.fromkeys(STATUSES, 0)),
        "priority": Counter(dict.fromkeys(PRIORITIES, 0)),
        "category": Counter(dict.fromkeys(categories, 0)),
    }
    total = unassigned = 0
    for group, number in chat_counts.groups.current.get().items():
        values = dict(zip(chat_counts.FIELDS, group, strict=True))
        for name, counter in by.items():
            counter[values[name]] += number
        total += number
        unassigned += 0 if values["adminId"] else number
    unread_chats, unread_messages = unread.by_admins.current.get()
    return {
        "status": dict(by["status"]),
        "priority": dict(by["priority"]),
        "category": dict(by["category"]),
        "total": total,
        "unassigned": unassigned,
        "unread": unread_chats,
        "unreadMessages": unread_messages,
    }
