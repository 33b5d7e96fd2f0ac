"""Event streams over HTTP, and the typing event."""

from __future__ import annotations

from typing import Any

from flask import request

from chatapi.domain import errors
from chatapi.domain.lengths import MAX_SEQ
from chatapi.http.endpoint import endpoint
from chatapi.schemas.events import EventsQuery
from chatapi.services import typing_indicator
from chatapi.services.feeds import Feed
from chatapi.services.sessions import Session
from chatapi.transport import connections, event_stream
from chatapi.user_api import blueprint
from chatapi.user_api.chats import ACCESS

blueprint.teardown_request(connections.close_feed)


@endpoint(
    blueprint,
    "GET",
    "/chat/<chat_id>/events",
    query=EventsQuery(),
    returns={200: None},
    errors=[*ACCESS, errors.TooManyRequests],
    headers={"Content-Type": "text/event-stream"},
)
def chat_events(session: Session, query: dict[str, Any], chat_id: str) -> Any:
    """Stream a chat: its state, messages after Last-Event-ID or `after`, then live events."""
    after = _place(query["after"])
    return event_stream.respond(session, lambda feed: feed.subscribe(chat_id, after))


@endpoint(
    blueprint,
    "GET",
    "/events",
    returns={200: None},
    errors=[errors.TooManyRequests],
    headers={"Content-Type": "text/event-stream"},
)
def inbox_events(session: Session) -> Any:
    """Stream the inbox: every chat for agents, their own for others. Then fetch the list."""
    return event_stream.respond(session, Feed.subscribe_inbox)


@endpoint(
    blueprint,
    "POST",
    "/chat/<chat_id>/typing",
    returns={204: None},
    errors=[*ACCESS, errors.ChatClosed],
)
def typing(session: Session, chat_id: str) -> Any:
    """Send a typing event to the others in a chat; repeat it every few seconds."""
    typing_indicator.notify(session, chat_id)


def _place(after: int | None) -> int | None:
    """Return the seq to start after: Last-Event-ID, which a reconnect sends, or else `after`."""
    last = request.headers.get("Last-Event-ID", "").strip()
    if not last:
        return after
    if not last.isascii() or not last.isdigit() or int(last[:12]) > MAX_SEQ:
        raise errors.InvalidInput.for_field("Last-Event-ID", "Must be the seq of a message.")
    return int(last[:12])
