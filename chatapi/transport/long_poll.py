"""Long-poll: a request for messages that waits until there are any."""

from __future__ import annotations

import time
from collections.abc import Iterator

from chatapi.domain import errors
from chatapi.domain.documents import Chat, ShownMessage
from chatapi.services import messages
from chatapi.services.feeds import Event, Feed
from chatapi.services.sessions import Session


def wait_for_messages(
    session: Session, address: str, chat_id: object, after: int, limit: int, seconds: float
) -> tuple[Chat, list[ShownMessage]]:
    """Return the chat and messages after a seq, waiting until there are any or time is up.

    Raises ChatNotFound, NotYourChat, SessionExpired when it ends while waiting.
    """
    chat, found = messages.history(session, chat_id, after=after, limit=limit)
    if found or seconds <= 0:
        return chat, found
    end = time.monotonic() + seconds
    with Feed(session, address, is_present=False) as feed:
        arrived = _has_message(feed.until_end(feed.subscribe(chat_id, after)))
        while not arrived and feed.is_subscribed and not feed.is_finished:
            left = end - time.monotonic()
            if left <= 0:
                break
            arrived = _has_message(feed.next(left))
        if feed.listener.end is not None and feed.listener.end.data["code"] == "session_ended":
            raise errors.SessionExpired
    return messages.history(session, chat_id, after=after, limit=limit)


def _has_message(events: Iterator[Event]) -> bool:
    return any(event.name == "message" for event in events)
