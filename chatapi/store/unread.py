"""How much is unread: the numbers beside the lists, over all chats."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bson import ObjectId

from chatapi.store.database import Document, chatrooms, current

Sum = tuple[int, int]  # chats with unread messages, and messages
NOTHING: Sum = (0, 0)


class ByAdmins:
    """What no agent has read. Remembered for a second, since it reads all those chats.

    What this process writes in between is added up, so it sees its own writes. When it is
    told that another wrote (`forget`), it sums anew; where it is told of nothing, it sees
    that a second later, and LONGEST later while it writes without a pause itself.
    """

    SECONDS = 1.0
    LONGEST = 5.0

    def __init__(self) -> None:
        self._known: Sum | None = None
        self._database: object = None
        self._summed_at = self._sure_at = 0.0
        self._writes = 0
        self._under_way = 0
        self._turn = threading.Lock()

    def get(self) -> Sum:
        """Return the sum. One caller at a time sums; meanwhile others get what is known."""
        if self._database is not current():
            self._database, self._known = current(), None
        known = self._known
        if known is not None and time.monotonic() - self._summed_at < self.SECONDS:
            return known
        if not self._turn.acquire(blocking=known is None):
            return known or NOTHING
        try:
            if known is None and self._known is not None:
                return self._known  # Somebody else has just summed.
            return self._renew()
        finally:
            self._turn.release()

    def _renew(self) -> Sum:
        started, writes = time.monotonic(), self._writes
        found = _sum({"unreadByAdmin": True}, "$unread.admin")
        is_sure = not self._under_way and writes == self._writes
        known = self._known
        if known is None and not is_sure:
            return found
        # Nobody can tell whether the sum has seen a write that was made meanwhile. What is
        # known has all of them: for some time that is the better number.
        if known is None or is_sure or started - self._sure_at > self.LONGEST:
            known = self._known = found
            self._sure_at = started
        self._summed_at = started
        return known

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
    return NOTHING
