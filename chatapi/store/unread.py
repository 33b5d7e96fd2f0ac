"""How much is unread: the numbers beside the lists, over all chats."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from bson import ObjectId

from chatapi.store.database import Document, chatrooms, current

Sum = tuple[int, int]  # chats with unread messages, and messages


class ByAdmins:
    """What no agent has read. Summed once a second at most, since it reads all those chats.

    What this process writes in between is added up, so it always sees its own writes; what
    others write it sees a second later, or at once where it is told of it (`forget`).
    """

    SECONDS = 1.0

    def __init__(self) -> None:
        self._known: Sum | None = None
        self._database: object = None
        self._summed_at = 0.0
        self._writes = 0
        self._under_way = 0

    def get(self) -> Sum:
        """Return the sum."""
        if self._database is not current():
            self._database, self._known = current(), None
        started, writes = time.monotonic(), self._writes
        if self._known is not None and started - self._summed_at < self.SECONDS:
            return self._known
        found = _sum({"unreadByAdmin": True}, "$unread.admin")
        # Nobody can tell whether the sum has seen a write that was made meanwhile.
        if not self._under_way and writes == self._writes:
            self._known, self._summed_at = found, started
        return found

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Say that the block writes to a chat."""
        self._under_way += 1
        try:
            yield
        except BaseException:
            self.forget()  # Perhaps it was written.
            raise
        finally:
            self._under_way -= 1
            self._writes += 1

    def moved(self, before: int, after: int) -> None:
        """Add up that a chat's unread messages were so many and are so many now."""
        if self._known is not None:
            chats, messages = self._known
            self._known = chats + (after > 0) - (before > 0), messages + after - before

    def forget(self) -> None:
        """Sum anew the next time."""
        self._writes += 1
        self._known = None


by_admins = ByAdmins()


def by_user(user_id: ObjectId) -> Sum:
    """Return what a user has not read of agents' messages."""
    return _sum({"userId": user_id, "unread.user": {"$gt": 0}}, "$unread.user")


def _sum(where: Document, number: str) -> Sum:
    group = {"_id": None, "chats": {"$sum": 1}, "messages": {"$sum": number}}
    for row in chatrooms().aggregate([{"$match": where}, {"$group": group}]):
        return row["chats"], row["messages"]
    return 0, 0
