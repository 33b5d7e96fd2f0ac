"""Idle connections without a greenlet.

gunicorn keeps a greenlet with its stack, a parser and a request for each connection: more than 20
KB of memory. A stream is idle for hours and needs none of it. So the connection is detached from
gunicorn, and only a socket and a feed remain. A greenlet is started to read or write, and ends
then.
"""

from __future__ import annotations

import abc
import contextlib
import functools
import time
from collections.abc import Callable, Iterable
from typing import Any

import gevent
import structlog
from flask import Request, Response, g
from gevent import socket
from werkzeug.http import http_date

from chatapi.domain import runtime
from chatapi.domain.log_events import LogEvent
from chatapi.domain.runtime import PerApp
from chatapi.http import identity
from chatapi.realtime.followers import Follower
from chatapi.services.feeds import Event, Feed
from chatapi.services.sessions import Session

log = structlog.get_logger("chat.streams")

TICK_SECONDS = 1.0
# Connections are ticked in groups, spread over a second, so that messages are not delayed.
TICK_GROUPS = 20
TICK_BATCH = 100  # The number of connections to tick before other greenlets run.
READ_SIZE = 4096
# A client that lost its network neither closes the connection nor acknowledges data.
ACK_TIMEOUT_SECONDS = 10.0
CHUNK = 64 * 1024
# The maximum of unsent bytes in the kernel. With a smaller value a slow client's progress is seen
# earlier, but fast clients need more writes.
MAX_UNSENT_BYTES = 32 * 1024
READABLE = 1  # libev's number for it
ALIVE = Event("alive", {})  # The heartbeat on an idle connection.


class ConnectionClosed(Exception):
    """The client has disconnected or is being disconnected: neither read nor write any more."""


class Connection(abc.ABC):
    """A detached connection and its feed.

    One greenlet at a time writes, and one at a time reads; the one that ends last closes it.
    """

    __slots__ = (
        *("_is_over", "_is_reading", "_is_writing", "_runtime", "_urgent", "_watcher"),
        *("feed", "sock"),
    )

    def __init__(self, sock: socket.socket, feed: Feed) -> None:
        self.sock, self.feed = sock, feed
        self._is_over = self._is_reading = False
        self._is_writing = True
        self._urgent: tuple[Event, ...] = ()
        self._runtime = runtime.current()

    def start(self, head: bytes, events: Iterable[Event]) -> None:
        """Write the head of the response, then these events, then those of the feed.

        Returns immediately, because a client that does not read must not block the request. If the
        connection cannot be detached, the feed is closed.
        """
        try:
            self._detach()
        except BaseException:
            self.feed.close()
            raise
        connections.current.add(self)
        self.feed.listener.on_event = self._wake
        self._spawn(self._begin, head, events)

    def _begin(self, head: bytes, events: Iterable[Event]) -> None:
        try:
            self.send(head)
        except OSError:
            self.feed.listener.close("closed", 0)
        self._write(events)

    def _detach(self) -> None:
        # gunicorn closes its own socket at the end of the request.
        sock = self.sock.dup()
        try:
            _set_socket_options(sock)
            self._watcher = gevent.get_hub().loop.io(sock.fileno(), READABLE)
            self._watcher.start(self._readable)
        except BaseException:
            sock.close()
            raise
        self.sock = sock
        self.feed.abort = functools.partial(_shut_down, sock)

    @abc.abstractmethod
    def send_event(self, event: Event) -> None:
        """Write an event."""

    @abc.abstractmethod
    def on_data(self, data: bytes) -> bool:
        """Handle bytes from the client; return whether to keep reading. Raises ConnectionClosed."""

    @abc.abstractmethod
    def on_tick(self, now: float) -> None:
        """Handle the timer; it must not block."""

    def on_drained(self) -> None:  # noqa: B027 - optional
        """Handle that every event has been written."""

    def before_close(self) -> None:  # noqa: B027 - optional
        """Prepare for the socket's closing."""

    def flush(self) -> None:  # noqa: B027 - optional
        """Write what `send_event` has buffered."""

    def send(self, data: bytes) -> None:
        """Write bytes; a slow client may take long, as long as it reads some of them."""
        left = memoryview(data)
        while left:
            # Each chunk starts the timer again: a client that reads slowly is not closed.
            with self.feed.writing():
                left = left[self.sock.send(left[:CHUNK]) :]

    def write(self, events: Iterable[Event]) -> None:
        """Write these events in a greenlet; if one is writing, after its current event.

        Urgent events that are not yet written are replaced.
        """
        if self._is_writing:
            self._urgent = tuple(events)
        else:
            self._is_writing = True
            self._spawn(self._write, events)

    def _spawn(self, work: Callable[..., None], *arguments: Any) -> None:
        gevent.spawn(self._runtime.run, work, *arguments)

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
        # `_is_writing` stays set, because nothing may be written any more.
        self.feed.listener.close("closed", 0)
        self._watcher.stop()
        self._is_over = True
        if not self._is_reading:
            self._close()

    def _send_urgent(self) -> None:
        # A long backfill must not delay heartbeats.
        while self._urgent and not self.feed.is_finished:
            events, self._urgent = self._urgent, ()
            for event in events:
                self.send_event(event)

    def _readable(self) -> None:
        self._watcher.stop()
        if not self._is_over:
            self._is_reading = True
            self._spawn(self._read)

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
        # Each step runs, also if another one fails.
        with contextlib.ExitStack() as steps:
            steps.callback(connections.current.remove, self)
            steps.callback(self.sock.close)
            steps.enter_context(contextlib.suppress(OSError))
            steps.callback(self.before_close)
            steps.callback(self.feed.close)
            self._watcher.close()


def _shut_down(sock: socket.socket) -> None:
    """Shut a socket down, so that a blocked read or write of it returns at once."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _set_socket_options(sock: socket.socket) -> None:
    """Set a timeout for unacknowledged data and limit unsent data, if the kernel supports it."""
    if sock.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        milliseconds = round(ACK_TIMEOUT_SECONDS * 1000)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MAX_UNSENT_BYTES)


class ConnectionRegistry:
    """The open connections of this process; each is ticked every second."""

    def __init__(self) -> None:
        self._connections: set[Connection] = set()
        self.ticker = Follower("ticker", self._tick_all, lambda: not self._connections, _spawn)

    def add(self, connection: Connection) -> None:
        """Add an open connection."""
        self._connections.add(connection)
        self.ticker.ensure_running()

    def remove(self, connection: Connection) -> None:
        """Remove a closed connection."""
        self._connections.discard(connection)

    def __len__(self) -> int:
        return len(self._connections)

    def _tick_all(self) -> None:
        """Tick every connection once within TICK_SECONDS."""
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
    gevent.spawn(runtime.current().run, run)


connections = PerApp(ConnectionRegistry)


def open_feed(session: Session) -> Feed:
    """Open a feed that is closed with this request, unless the response keeps it.

    Raises TooManyRequests.
    """
    feed: Feed = Feed(session, identity.address())
    g.feed = feed
    return feed


def close_feed(_: BaseException | None) -> None:
    """Close the feed of a request that failed; for `teardown_request`."""
    feed: Feed | None = g.pop("feed", None)
    if feed is not None:
        feed.close()


class FeedStreamResponse(Response):
    """A response that owns the feed of its request, and closes it."""

    def __call__(self, *given: Any) -> Any:
        body = super().__call__(*given)
        g.pop("feed", None)
        return body


class DetachedResponse(Response):
    """A response that is written directly to the socket and continues after the request.

    begin -- called with the head of the response.
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
        # With this exception gunicorn sends no response.
        raise StopIteration


def socket_of(incoming: Request) -> socket.socket | None:
    """Return the socket of a request, if the server provides one that can be detached."""
    sock = incoming.environ.get("gunicorn.socket")
    # No subclass, such as TLS, which cannot be duplicated.
    return sock if type(sock) is socket.socket else None
