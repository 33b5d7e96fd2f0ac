"""Streams over HTTP: server-sent events, and the signal that somebody types."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from flask import Response, request
from gevent import socket

from chatapi.domain import errors
from chatapi.domain.lengths import BIGGEST_SEQ
from chatapi.http.endpoint import endpoint
from chatapi.schemas.events import EventsQuery
from chatapi.services import streams
from chatapi.services.accounts import Session
from chatapi.services.feeds import Event, Feed
from chatapi.user_api import blueprint, frames, lines
from chatapi.user_api.chats import ACCESS
from chatapi.user_api.lines import ALIVE, Gone, Line, Streamed, Streaming

RETRY = b"retry: 2000\n\n"  # in ms
HEARTBEAT = b": \n\n"
HEARTBEAT_SECONDS = 15.0
WRITTEN_AT_ONCE = 16 * 1024  # bytes
MOST_HEARD = 16 * 1024  # bytes, of what nobody has asked for
AGENT_HEARTBEAT_SECONDS = 5.0  # An agent who is gone must not seem to be there for long.


@endpoint(
    blueprint,
    "GET",
    "/chat/<chat_id>/events",
    query=EventsQuery(),
    returns={200: None},
    refuses=[*ACCESS, errors.TooManyRequests],
    headers={"Content-Type": "text/event-stream"},
)
def chat_events(session: Session, query: dict[str, Any], chat_id: str) -> Any:
    """Stream a chat: its state, messages after Last-Event-ID or `after`, then live events."""
    after = _place(query["after"])
    return _event_stream(session, lambda feed: feed.subscribe(chat_id, after))


@endpoint(
    blueprint,
    "GET",
    "/events",
    returns={200: None},
    refuses=[errors.TooManyRequests],
    headers={"Content-Type": "text/event-stream"},
)
def inbox_events(session: Session) -> Any:
    """Stream the inbox: every chat for agents, their own for others. Then fetch the list."""
    return _event_stream(session, Feed.subscribe_inbox)


@endpoint(
    blueprint,
    "POST",
    "/chat/<chat_id>/typing",
    returns={204: None},
    refuses=[*ACCESS, errors.ChatClosed],
)
def typing(session: Session, chat_id: str) -> Any:
    """Tell the others in a chat that the caller types; repeat it every few seconds."""
    streams.typing(session, chat_id)


def _place(after: int | None) -> int | None:
    """Return the seq to go on from: Last-Event-ID, which a reconnect sends, comes first."""
    last = request.headers.get("Last-Event-ID", "").strip()
    if not last:
        return after
    if not last.isascii() or not last.isdigit() or int(last[:12]) > BIGGEST_SEQ:
        raise errors.InvalidInput.of("Last-Event-ID", "Must be the seq of a message.")
    return int(last[:12])


def _event_stream(session: Session, subscribe: Callable[[Feed], Iterator[Event]]) -> Response:
    feed = lines.open_feed(session)
    # Joined before the client sees the stream open: what it fetches then is not too old.
    events = feed.guarded(subscribe(feed))
    link = lines.link_of(request)
    if request.method != "HEAD" and link is not None:
        line = _EventLine(link, feed)
        response: Response = Streamed(lambda head: line.carry(head + RETRY, events))
    else:
        response = Streaming(_body(feed, events))
        response.call_on_close(feed.close)
    response.mimetype = "text/event-stream"
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


class _EventLine(Line):
    """A connection with server-sent events. It lasts until one side closes it."""

    __slots__ = ("_heard", "_kept", "_said_at")

    def __init__(self, link: socket.socket, feed: Feed) -> None:
        super().__init__(link, feed)
        self._said_at = time.monotonic()
        self._heard = 0
        self._kept = b""

    def tell(self, event: Event) -> None:
        """Write an event, together with those that follow at once: a message and its chat."""
        self._kept += HEARTBEAT if event is ALIVE else frames.sse(event, self.feed.session)
        if len(self._kept) >= WRITTEN_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write what was kept."""
        kept, self._kept = self._kept, b""
        if kept:
            self.send(kept)

    def send(self, data: bytes) -> None:
        """Write bytes, and note when."""
        super().send(data)
        self._said_at = time.monotonic()

    def rest(self) -> None:
        """End when there is nothing to be heard any more: the chat was deleted."""
        if not self.feed.listens:
            self.feed.listener.close("forbidden", 0)

    def hear(self, data: bytes) -> bool:
        """Pass over it: nobody has anything to say on an event stream."""
        self._heard += len(data)
        if self._heard > MOST_HEARD:
            raise Gone
        return True

    def look(self, now: float) -> None:
        """Write a comment after some silence, for the proxies between us and the client."""
        if now - self._said_at >= _heartbeat(self.feed.session):
            self.write([ALIVE])


def _heartbeat(session: Session) -> float:
    return AGENT_HEARTBEAT_SECONDS if session.is_admin else HEARTBEAT_SECONDS


def _body(feed: Feed, events: Iterator[Event]) -> Iterator[bytes]:
    """Yield the stream, for a server that hands out no connection, such as Flask's own."""
    yield RETRY
    while True:
        for event in events:
            yield frames.sse(event, feed.session)
        if feed.is_finished or not feed.listens:
            break
        yield HEARTBEAT
        events = feed.next(_heartbeat(feed.session))
