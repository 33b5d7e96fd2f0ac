"""Connections that wait without a greenlet.

gunicorn holds each connection in a greenlet with its stack, a parser and a request: more than
20 KB of memory. A stream waits for hours and needs none of it. So it is taken over: gunicorn
is told that the connection is done with, and what stays is a socket and a feed. A greenlet
comes when there is something to write or to read, and goes when that is done.
"""

from __future__ import annotations

import abc
import contextlib
import contextvars
import time
from collections.abc import Callable, Iterable
from typing import Any

import gevent
import structlog
from flask import Request, Response, g
from gevent import socket
from werkzeug.http import http_date

from chatapi.domain.log_events import LogEvent
from chatapi.http import identity
from chatapi.realtime.followers import Follower
from chatapi.services.accounts import Session
from chatapi.services.feeds import Event, Feed

log = structlog.get_logger("chat.streams")

TICK_SECONDS = 1.0
# Those that came together are not all written to together: messages would wait for it.
TICK_GROUPS = 20
TICK_BATCH = 100  # How many connections are looked at before others get their turn.
READ_SIZE = 4096
# A client whose network is gone closes nothing and acknowledges nothing, no heartbeat either.
ACK_TIMEOUT_SECONDS = 10.0
CHUNK = 64 * 1024
# How much the kernel takes of what the network does not take yet, in bytes. The less it is, the
# sooner a slow client is seen to go on, and the more often a fast one wants to be served.
MAX_UNSENT_BYTES = 32 * 1024
READABLE = 1  # libev's number for it
ALIVE = Event("alive", {})  # What is written when nothing was, so that both sides know.


class ConnectionClosed(Exception):
    """The client has gone, or is to go: there is nothing more to read or to write."""


class Connection(abc.ABC):
    """One connection that was taken over, and the feed that it carries.

    One greenlet at a time writes, and one at a time reads; whichever ends last closes.
    """

    __slots__ = ("_is_over", "_is_reading", "_is_writing", "_urgent", "_watcher", "feed", "sock")

    def __init__(self, sock: socket.socket, feed: Feed) -> None:
        self.sock, self.feed = sock, feed
        self._is_over = self._is_reading = False
        self._is_writing = True
        self._urgent: tuple[Event, ...] = ()

    def start(self, head: bytes, events: Iterable[Event]) -> None:
        """Write the head of the response, then these events, then those of the feed.

        Returns at once: a client that does not read must not hold the request. Where the
        connection cannot be taken over, the feed is closed.
        """
        try:
            self._detach()
        except BaseException:
            self.feed.close()
            raise
        connections.add(self)
        self.feed.listener.on_event = self._wake
        gevent.spawn(self._begin, head, events)

    def _begin(self, head: bytes, events: Iterable[Event]) -> None:
        try:
            self.send(head)
        except OSError:
            self.feed.listener.close("closed", 0)
        self._write(events)

    def _detach(self) -> None:
        # The server closes its own when it has done with the request.
        sock = self.sock.dup()
        try:
            _set_socket_options(sock)
            self._watcher = gevent.get_hub().loop.io(sock.fileno(), READABLE)
            self._watcher.start(self._readable)
        except BaseException:
            sock.close()
            raise
        self.sock = self.feed.sock = sock

    @abc.abstractmethod
    def send_event(self, event: Event) -> None:
        """Write an event."""

    @abc.abstractmethod
    def on_data(self, data: bytes) -> bool:
        """Take bytes from the client; return whether to read on. Raises ConnectionClosed."""

    @abc.abstractmethod
    def on_tick(self, now: float) -> None:
        """Do what is due after some time; it must not wait."""

    def on_drained(self) -> None:  # noqa: B027 - not every kind has something to do then
        """Do what is due when every event has been written."""

    def before_close(self) -> None:  # noqa: B027 - the same
        """Do what is due before the socket is closed."""

    def flush(self) -> None:  # noqa: B027 - the same
        """Write what `send_event` has kept to be written together."""

    def send(self, data: bytes) -> None:
        """Write bytes; a slow client may take long, as long as it reads some of them."""
        left = memoryview(data)
        while left:
            # The timer starts again with each part: a client that reads slowly is not stuck.
            with self.feed.writing():
                left = left[self.sock.send(left[:CHUNK]) :]

    def write(self, events: Iterable[Event]) -> None:
        """Let a greenlet write these events; where one writes, after the event it is at.

        What is given while others still wait for that takes their place.
        """
        if self._is_writing:
            self._urgent = tuple(events)
        else:
            self._is_writing = True
            gevent.spawn(self._write, events)

    def _wake(self) -> None:
        if not self._is_writing:
            self.write(())

    def _write(self, events: Iterable[Event]) -> None:
        try:
            while True:
                for event in events:
                    self.send_event(event)
                    self._send_urgent()
                self._send_urgent()
                if not self.feed.listener.has_more or self.feed.is_finished:
                    self.flush()
                self.on_drained()
                if self.feed.is_finished:
                    break
                if not self.feed.listener.has_more:
                    self._is_writing = False
                    return
                events = self.feed.next(0)
        except (ConnectionClosed, OSError):
            pass
        except Exception as error:
            # It ends this client's connection only.
            log.exception(LogEvent.STREAM_FAILED, exc_info=error)
        # It remains the one that writes: there is nothing more to be written.
        self.feed.listener.close("closed", 0)
        self._watcher.stop()
        self._is_over = True
        if not self._is_reading:
            self._close()

    def _send_urgent(self) -> None:
        # A long catch-up must not keep a client from being asked whether it is alive.
        while self._urgent and not self.feed.is_finished:
            events, self._urgent = self._urgent, ()
            for event in events:
                self.send_event(event)

    def _readable(self) -> None:
        self._watcher.stop()
        if not self._is_over:
            self._is_reading = True
            gevent.spawn(self._read)

    def _read(self) -> None:
        keep_reading = False
        try:
            data = self.sock.recv(READ_SIZE)
            if data:
                keep_reading = self.on_data(data)
            else:
                self._on_disconnect()
        except ConnectionClosed:
            self.feed.listener.close("closed", 0)
        except OSError:
            self._on_disconnect()
        except Exception as error:
            # It ends this client's connection only.
            log.exception(LogEvent.STREAM_FAILED, exc_info=error)
            self._on_disconnect()
        self._is_reading = False
        if self._is_over:
            self._close()
        elif keep_reading:
            self._watcher.start(self._readable)

    def _on_disconnect(self) -> None:
        self.feed.listener.close("closed", 0)
        self.feed.abort()

    def _close(self) -> None:
        # Whatever fails on the way, nothing of it may be left behind.
        with contextlib.ExitStack() as steps:
            steps.callback(connections.remove, self)
            steps.callback(self.sock.close)
            steps.enter_context(contextlib.suppress(OSError))
            steps.callback(self.before_close)
            steps.callback(self.feed.close)
            self._watcher.close()


def _set_socket_options(sock: socket.socket) -> None:
    """Have the kernel end a connection that nothing gets through, and keep little unsent,
    where it knows how to."""
    if sock.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        milliseconds = round(ACK_TIMEOUT_SECONDS * 1000)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MAX_UNSENT_BYTES)


class ConnectionRegistry:
    """The open connections of this process; each is looked at every second."""

    def __init__(self) -> None:
        self._connections: set[Connection] = set()
        self.ticker = Follower("ticker", self._tick_all, lambda: not self._connections, _spawn)

    def add(self, connection: Connection) -> None:
        """Note an open connection."""
        self._connections.add(connection)
        self.ticker.ensure_running()

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self._connections.discard(connection)

    def __len__(self) -> int:
        return len(self._connections)

    def _tick_all(self) -> None:
        """Look at every connection once, in TICK_SECONDS."""
        waiting = list(self._connections)
        size = -(-len(waiting) // TICK_GROUPS) or 1
        parts = [waiting[start : start + size] for start in range(0, len(waiting), size)]
        begun = time.monotonic()
        for turn, part in enumerate(parts, 1):
            due = begun + TICK_SECONDS * turn / len(parts)
            gevent.sleep(max(0.0, due - time.monotonic()))
            for number, connection in enumerate(part, 1):
                self._tick(connection)
                if not number % TICK_BATCH:
                    gevent.sleep(0)
        self.ticker.succeeded()

    def _tick(self, connection: Connection) -> None:
        try:
            connection.on_tick(time.monotonic())
        except Exception as error:
            # It ends this client's connection only.
            log.exception(LogEvent.STREAM_FAILED, exc_info=error)
            connection.feed.listener.close("closed", 0)
            connection.feed.abort()


def _spawn(_: str, run: Callable[[], None]) -> None:
    gevent.spawn(contextvars.Context().run, run)


connections = ConnectionRegistry()


def open_feed(session: Session) -> Feed:
    """Open a feed that is closed with this request, unless the response takes it over.

    Raises TooManyRequests.
    """
    feed: Feed = Feed(session, identity.address())
    g.feed = feed
    return feed


def close_feed(_: BaseException | None) -> None:
    """Close the feed of a request that failed on the way to its answer; for `teardown_request`."""
    feed: Feed | None = g.pop("feed", None)
    if feed is not None:
        feed.close()


class FeedStreamResponse(Response):
    """A response that takes over the feed of its request, and closes it."""

    def __call__(self, *given: Any) -> Any:
        body = super().__call__(*given)
        g.pop("feed", None)
        return body


class DetachedResponse(Response):
    """A response that is written to the socket itself and goes on after the request.

    begin -- takes the head of the answer.
    """

    def __init__(self, begin: Callable[[bytes], None], **options: Any) -> None:
        super().__init__(**options)
        self._begin = begin

    def __call__(self, *_: object) -> Any:
        rows = [
            f"HTTP/1.1 {self.status}",
            f"Date: {http_date()}",
            "Connection: close",
            *(f"{name}: {value}" for name, value in self.headers),
        ]
        self._begin("\r\n".join([*rows, "", ""]).encode("latin-1"))
        g.pop("feed", None)
        # gunicorn's word for a connection that needs no answer any more.
        raise StopIteration


def socket_of(incoming: Request) -> socket.socket | None:
    """Return the connection of a request, if the server hands out one that can be taken over."""
    sock = incoming.environ.get("gunicorn.socket")
    # Not one of its kinds, such as TLS, which cannot be shared.
    return sock if type(sock) is socket.socket else None
