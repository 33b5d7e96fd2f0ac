"""Typing: the other listeners of a chat see that somebody types. Nothing of it is kept."""

from __future__ import annotations

import contextlib
import time
from collections import OrderedDict
from collections.abc import Iterator

from bson import ObjectId

from chatapi.domain import errors
from chatapi.services.access import access_chat
from chatapi.services.accounts import Session
from chatapi.store import presence
from chatapi.store.database import Document

TYPING_SECONDS, MAX_TYPINGS = 2.0, 10_000


class _Typings:
    """Who types where, as told a moment ago: who repeats it sooner tells nobody anything new."""

    def __init__(self) -> None:
        self._notified_at: OrderedDict[tuple[ObjectId, ObjectId, int], float] = OrderedDict()

    @contextlib.contextmanager
    def news(self, sender: ObjectId, chat: Document) -> Iterator[bool]:
        """Say whether there is something to tell; what fails in the block was not told.

        A message ends the typing that came before it, so that what comes after it is news.
        """
        key, now = (sender, chat["_id"], chat["lastSeq"]), time.monotonic()
        self._forget_before(now - TYPING_SECONDS)
        if key in self._notified_at:
            yield False
            return
        self._notified_at[key] = now
        try:
            yield True
        except BaseException:
            self._notified_at.pop(key, None)
            raise

    def _forget_before(self, end: float) -> None:
        while self._notified_at:
            oldest = next(iter(self._notified_at))
            if self._notified_at[oldest] > end and len(self._notified_at) < MAX_TYPINGS:
                break
            del self._notified_at[oldest]


_typings = _Typings()


def notify(session: Session, chat_id: object) -> None:
    """Tell the chat's other listeners that somebody types. Nothing of it is kept.

    Repeated within TYPING_SECONDS, without a message between, it is told once. Raises
    ChatNotFound, NotYourChat, ChatClosed.
    """
    chat = access_chat(session, chat_id)
    if not chat["isOpen"]:
        raise errors.ChatClosed(chatStatus=chat["status"])
    with _typings.news(session.user_id, chat) as is_news:
        if is_news:
            presence.emit(
                "typing",
                chatId=chat["_id"],
                userId=chat["userId"],
                senderId=session.user_id,
                senderName=session.name,
                senderRole=session.role,
            )
