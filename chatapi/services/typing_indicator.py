"""The typing indicator: an event to the other listeners of a chat. Nothing of it is stored."""

from __future__ import annotations

import contextlib
import time
from collections import OrderedDict
from collections.abc import Iterator

from bson import ObjectId

from chatapi.domain import errors
from chatapi.domain.documents import Chat
from chatapi.domain.runtime import PerApp
from chatapi.services.access import access_chat
from chatapi.services.sessions import Session
from chatapi.store import presence

TYPING_SECONDS, MAX_TYPINGS = 2.0, 10_000


class _RecentTypings:
    """Who was announced to type in which chat, within the last TYPING_SECONDS."""

    def __init__(self) -> None:
        self._notified_at: OrderedDict[tuple[ObjectId, ObjectId, int], float] = OrderedDict()

    @contextlib.contextmanager
    def announcing(self, sender: ObjectId, chat: Chat) -> Iterator[bool]:
        """Yield whether to send the event; where the block fails, it was not sent.

        A message ends the typing before it, so the next typing is announced again.
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


_recent = PerApp(_RecentTypings)


def notify(session: Session, chat_id: object) -> None:
    """Send a typing event to the chat's other listeners.

    Repeated within TYPING_SECONDS, without a message between, it is sent once. Raises
    ChatNotFound, NotYourChat, ChatClosed.
    """
    chat = access_chat(session, chat_id)
    if not chat["isOpen"]:
        raise errors.ChatClosed(chatStatus=chat["status"])
    with _recent.current.announcing(session.user_id, chat) as is_due:
        if is_due:
            presence.emit(
                "typing",
                chatId=chat["_id"],
                userId=chat["userId"],
                senderId=session.user_id,
                senderName=session.name,
                senderRole=session.role,
            )
