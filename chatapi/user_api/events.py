"""Streams over HTTP: server-sent events, and the signal that somebody types."""

from __future__ import annotations

import contextlib
import itertools
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

from flask import Response, request

from chatapi import errors
from chatapi.endpoint import endpoint
from chatapi.schemas import BIGGEST_SEQ, EventsQuery
from chatapi.services import streams
from chatapi.services.accounts import Session
from chatapi.services.streams import Event, Feed
from chatapi.user_api import blueprint, frames
from chatapi.user_api.chats import ACCESS

RETRY_MS = 2000
FIRST_EVENTS = 50
AGENT_HEARTBEAT = 5.0  # An agent who is gone must not seem to be there for long.


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
    feed = Feed(session, request.remote_addr or "", request.environ.get("gunicorn.socket"))
    try:
        # Joined before the client sees the stream open: what it fetches then is not too old.
        opening = feed.guarded(subscribe(feed))
        # Most streams open with less than this. Read here, and not by the generator: a
        # greenlet keeps the memory of its deepest call (see deploy/gunicorn.conf.py).
        first = list(itertools.islice(opening, FIRST_EVENTS))
        body = _frames(feed, itertools.chain(first, opening))
        response = Response(body, mimetype="text/event-stream")
    except BaseException:
        feed.close()
        raise
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    # Not in the generator: one that never began would never end.
    response.call_on_close(feed.close)
    return response


def _frames(feed: Feed, events: Iterator[Event]) -> Iterator[bytes]:
    heartbeat = AGENT_HEARTBEAT if feed.session.is_admin else streams.HEARTBEAT_SECONDS
    yield f"retry: {RETRY_MS}\n\n".encode()
    sent_at = time.monotonic()
    while True:
        for event in events:
            with feed.writing():
                yield frames.sse(event, feed.session)
            sent_at = time.monotonic()
            del event  # A quiet stream would keep the last one, and what it was made of.
        if feed.is_finished:
            break
        if not feed.listens:
            # The chat was deleted, and nothing else was asked for.
            feed.listener.close("forbidden", 0)
        elif time.monotonic() - sent_at >= heartbeat:
            with feed.writing():
                yield b": \n\n"
            sent_at = time.monotonic()
        events = feed.next(max(0.0, sent_at + heartbeat - time.monotonic()))
    if feed.link is not None:
        # Nothing more is read from this connection: a process that ends need not wait for it.
        with contextlib.suppress(OSError):
            feed.link.shutdown(socket.SHUT_RD)
