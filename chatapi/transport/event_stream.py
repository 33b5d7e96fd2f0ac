"""Server-sent events on a detached connection."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator

from flask import Response, request
from gevent import socket

from chatapi.domain import runtime
from chatapi.services.feeds import Event, Feed
from chatapi.services.sessions import Session
from chatapi.transport import encoding
from chatapi.transport.connections import (
    ALIVE,
    Connection,
    ConnectionClosed,
    DetachedResponse,
    FeedStreamResponse,
    open_feed,
    socket_of,
)

RETRY = b"retry: 2000\n\n"  # in ms
HEARTBEAT = b": \n\n"
HEARTBEAT_SECONDS = 15.0
BUFFER_BYTES = 16 * 1024  # bytes
MAX_RECEIVED_BYTES = 16 * 1024  # from a client, which has nothing to send
AGENT_HEARTBEAT_SECONDS = 5.0  # Shorter, because agents' presence is shown.


def respond(session: Session, subscribe: Callable[[Feed], Iterator[Event]]) -> Response:
    """Return a response that streams a feed's events until one side closes it.

    Raises what `subscribe` raises, and TooManyRequests.
    """
    feed = open_feed(session)
    # Subscribed before the stream opens, so that what the client fetches then is not outdated.
    events = feed.until_end(subscribe(feed))
    sock = socket_of(request)
    if request.method != "HEAD" and sock is not None:
        connection = _EventConnection(sock, feed)
        response: Response = DetachedResponse(lambda head: connection.start(head + RETRY, events))
    else:
        # The body is read, and closed, after the request.
        here = runtime.current()
        response = FeedStreamResponse(here.iterate(_body(feed, events)))
        response.call_on_close(functools.partial(here.run, feed.close))
    response.mimetype = "text/event-stream"
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


class _EventConnection(Connection):
    """A connection with server-sent events."""

    __slots__ = ("_buffer", "_received", "_sent_at")

    def __init__(self, sock: socket.socket, feed: Feed) -> None:
        super().__init__(sock, feed)
        self._sent_at = time.monotonic()
        self._received = 0
        self._buffer = b""

    def send_event(self, event: Event) -> None:
        """Buffer an event, so that a message and its chat are sent together."""
        self._buffer += HEARTBEAT if event is ALIVE else encoding.sse(event, self.feed.session)
        if len(self._buffer) >= BUFFER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send what was buffered."""
        buffered, self._buffer = self._buffer, b""
        if buffered:
            self.send(buffered)

    def send(self, data: bytes) -> None:
        """Write bytes, and record the time."""
        super().send(data)
        self._sent_at = time.monotonic()

    def on_drained(self) -> None:
        """Close the stream when the feed has no subscription left: the chat was deleted."""
        if not self.feed.is_subscribed:
            self.feed.listener.close("forbidden", 0)

    def on_data(self, data: bytes) -> bool:
        """Ignore what the client sends, up to MAX_RECEIVED_BYTES."""
        self._received += len(data)
        if self._received > MAX_RECEIVED_BYTES:
            raise ConnectionClosed
        return True

    def on_tick(self, now: float) -> None:
        """Write a comment on an idle connection, for proxies in between."""
        if now - self._sent_at >= _heartbeat(self.feed.session):
            self.write([ALIVE])


def _heartbeat(session: Session) -> float:
    return AGENT_HEARTBEAT_SECONDS if session.is_admin else HEARTBEAT_SECONDS


def _body(feed: Feed, events: Iterator[Event]) -> Iterator[bytes]:
    """Yield the stream, for a server that provides no socket, such as Flask's own."""
    yield RETRY
    while True:
        for event in events:
            yield encoding.sse(event, feed.session)
        if feed.is_finished or not feed.is_subscribed:
            break
        yield HEARTBEAT
        events = feed.next(_heartbeat(feed.session))
