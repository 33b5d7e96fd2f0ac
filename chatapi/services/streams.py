"""Streams as a whole: waiting for messages, typing, and what a process does with all of them.

What one connection is told is a `Feed`; see `services.feeds`.
"""

from __future__ import annotations

import contextlib
import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from bson import ObjectId

from chatapi.domain import errors
from chatapi.realtime import followers
from chatapi.realtime.hub import hub
from chatapi.realtime.signed_in import signed_in
from chatapi.realtime.tail import tail
from chatapi.services import messages
from chatapi.services.access import access_chat
from chatapi.services.accounts import Session
from chatapi.services.caretaker import caretaker, end_the_stuck
from chatapi.services.feeds import Event, Feed, caps, register
from chatapi.services.presence import PROCESS
from chatapi.store import presence
from chatapi.store.database import Document

__all__ = ["caps", "cut_the_stuck", "shutdown", "state", "typing", "wait_for_messages"]

GOODBYE_STUCK_SECONDS = 2.0
TYPING_SECONDS, MOST_TYPINGS = 2.0, 10_000


def wait_for_messages(
    session: Session, address: str, chat_id: object, after: int, limit: int, seconds: float
) -> tuple[Document, list[Document]]:
    """Return the chat and messages after a seq, waiting until there are any or time is up.

    Raises ChatNotFound, NotYourChat, SessionExpired when it ends while waiting.
    """
    chat, found = messages.history(session, chat_id, after=after, limit=limit)
    if found or seconds <= 0:
        return chat, found
    end = time.monotonic() + seconds
    with Feed(session, address, is_present=False) as feed:
        arrived = _has_message(feed.guarded(feed.subscribe(chat_id, after)))
        while not arrived and feed.listens and not feed.is_finished:
            left = end - time.monotonic()
            if left <= 0:
                break
            arrived = _has_message(feed.next(left))
        if feed.listener.end is not None and feed.listener.end.data["code"] == "session_ended":
            raise errors.SessionExpired
    return messages.history(session, chat_id, after=after, limit=limit)


def _has_message(events: Iterator[Event]) -> bool:
    return any(event.name == "message" for event in events)


class _Typings:
    """Who types where, as told a moment ago: who repeats it sooner tells nobody anything new."""

    def __init__(self) -> None:
        self._told_at: OrderedDict[tuple[ObjectId, ObjectId, int], float] = OrderedDict()

    @contextlib.contextmanager
    def news(self, sender: ObjectId, chat: Document) -> Iterator[bool]:
        """Say whether there is something to tell; what fails in the block was not told.

        A message ends the typing that came before it, so that what comes after it is news.
        """
        key, now = (sender, chat["_id"], chat["lastSeq"]), time.monotonic()
        self._forget_before(now - TYPING_SECONDS)
        if key in self._told_at:
            yield False
            return
        self._told_at[key] = now
        try:
            yield True
        except BaseException:
            self._told_at.pop(key, None)
            raise

    def _forget_before(self, end: float) -> None:
        while self._told_at:
            oldest = next(iter(self._told_at))
            if self._told_at[oldest] > end and len(self._told_at) < MOST_TYPINGS:
                break
            del self._told_at[oldest]


_typings = _Typings()


def typing(session: Session, chat_id: object) -> None:
    """Tell the chat's other listeners that somebody types. Nothing of it is kept.

    Repeated within TYPING_SECONDS, without a message between, it is told once. Raises
    ChatNotFound, NotYourChat, ChatClosed.
    """
    chat = access_chat(session, chat_id)
    if not chat["isOpen"]:
        raise errors.ChatClosed(chatStatus=chat["status"])
    with _typings.news(session.user_id, chat) as is_news:
        if is_news:
            presence.signal(
                "typing",
                chatId=chat["_id"],
                userId=chat["userId"],
                senderId=session.user_id,
                senderName=session.name,
                senderRole=session.role,
            )


def shutdown() -> None:
    """Tell every client to come again elsewhere: this process is about to end."""
    register.ending = True
    open_feeds = register.all()
    for number, feed in enumerate(open_feeds):
        # Spread over two seconds, so that they do not all come back in one moment.
        feed.listener.close("restarting", 0.2 + 2 * number / len(open_feeds))


def cut_the_stuck() -> None:
    """Cut off the clients that do not read, when the process waits for nothing else."""
    end_the_stuck(register.all(), GOODBYE_STUCK_SECONDS)


def state() -> dict[str, Any]:
    """Return how real time does in this process, for whoever watches."""
    open_feeds = register.all()
    return {
        "process": PROCESS[:8],
        "streams": len(open_feeds),
        "accounts": len({feed.session.user_id for feed in open_feeds}),
        "longestQueue": max((feed.listener.backlog for feed in open_feeds), default=0),
        **tail.state(),
        "followers": followers.state(),
    }


# Whoever opens a feed has it taken care of.
register.on_open = caretaker.ensure_running
register.on_arrival = hub.on_presence = caretaker.wake
signed_in.on_change = caretaker.suspect
