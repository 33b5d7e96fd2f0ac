"""Clients of the product's streams, for tests and measurements: event streams and WebSockets.

Each reads in the test's own thread and waits no longer than it is told to. What a client
has received stays in `events`, in order.
"""

from __future__ import annotations

import abc
import json
import select
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Message,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.utilities import RemoteProtocolError

WAIT = 10.0


class ConnectionClosed(Exception):
    """The server has ended the connection."""


class Refused(Exception):
    """The server did not open the stream."""

    def __init__(self, status: int, body: Any) -> None:
        self.status, self.body = status, body
        super().__init__(f"{status}: {body}")


@dataclass
class Received:
    """One event: its name, its data, on an event stream its id, and when it came."""

    name: str
    data: Any
    id: str | None = None
    ref: Any = None
    at: float = 0.0


def has_seq(seq: int) -> Callable[[Any], bool]:
    """Return what tells, for `Stream.until`, whether a message has this seq."""
    return lambda data: bool(data["seq"] == seq)


class Stream(abc.ABC):
    """What both kinds of client share: a socket and the events that came through it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self.host = parts.netloc
        self.socket = socket.create_connection((parts.hostname, parts.port or 80), timeout=WAIT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.events: list[Received] = []
        self.seen = 0
        self.is_gone = False

    @abc.abstractmethod
    def feed(self, data: bytes) -> None:
        """Take in what came; b"" says that the server has closed."""

    def read(self, timeout: float) -> bool:
        """Take in what is there, waiting for something; tell whether anything came."""
        if self.is_gone:
            raise ConnectionClosed
        if not select.select([self.socket], [], [], max(0.0, timeout))[0]:
            return False
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            data = b""
        self.is_gone = not data
        self.feed(data)
        return True

    def next(self, timeout: float = WAIT) -> Received:
        """Return the next event that was not asked for yet."""
        end = time.monotonic() + timeout
        while len(self.events) <= self.seen:
            left = end - time.monotonic()
            assert left > 0, f"no event in {timeout} s after {self.events[-3:]}"
            self.read(left)
        self.seen += 1
        return self.events[self.seen - 1]

    def until(
        self, name: str, wanted: Callable[[Any], bool] = lambda _: True, timeout: float = WAIT
    ) -> Received:
        """Return the next event of this name whose data are wanted, passing by the others."""
        end = time.monotonic() + timeout
        while True:
            event = self.next(max(0.01, end - time.monotonic()))
            if event.name == name and wanted(event.data):
                return event

    def silent_for(self, seconds: float, *names: str) -> None:
        """Check that none of these events comes for so long; of any, when none is named."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.read(left)
            news, self.seen = self.events[self.seen :], len(self.events)
            heard = [event for event in news if not names or event.name in names]
            assert not heard, heard

    def to_the_end(self, timeout: float = WAIT) -> Received:
        """Read until the server closes and return the last event."""
        end = time.monotonic() + timeout
        while not self.is_gone:
            left = end - time.monotonic()
            assert left > 0, f"still open after {timeout} s: {self.events[-3:]}"
            self.read(left)
        self.seen = len(self.events)
        return self.events[-1]

    def seqs(self, chat_id: str | None = None) -> list[int]:
        """Return the seq of every message that came, in the order in which they came."""
        return [
            event.data["seq"]
            for event in self.events
            if event.name == "message" and chat_id in {None, event.data["chatId"]}
        ]

    def drop(self) -> None:
        """Close without a word, as a killed client does."""
        self.socket.close()
        self.is_gone = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.drop()


class EventStream(Stream):
    """A client of server-sent events. Raises Refused when the stream is not opened."""

    def __init__(
        self,
        url: str,
        path: str,
        token: str | None = None,
        last_event_id: int | None = None,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
    ) -> None:
        super().__init__(url)
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}", "Accept: text/event-stream"]
        if token is not None:
            lines.append(f"Authorization: Bearer {token}")
        if last_event_id is not None:
            lines.append(f"Last-Event-ID: {last_event_id}")
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self.status = 0
        self.headers: dict[str, str] = {}
        self.retry: int | None = None
        self.heartbeats = 0
        self._raw = b""
        end = time.monotonic() + WAIT
        try:
            while not self.status:
                assert time.monotonic() < end, "no answer"
                self.read(0.5)
            if self.status != 200:
                self._refuse()
        except BaseException:
            self.socket.close()
            raise

    def _refuse(self) -> None:
        length = int(self.headers.get("content-length", 0))
        while len(self._raw) < length and not self.is_gone:
            self.read(1)
        raise Refused(self.status, json.loads(self._raw or b"null"))

    def feed(self, data: bytes) -> None:
        """Take in a piece of the answer."""
        self._raw += data
        if not self.status:
            head, found, rest = self._raw.partition(b"\r\n\r\n")
            if not found:
                if not data:
                    raise ConnectionClosed
                return
            first, *lines = head.decode("latin-1").split("\r\n")
            self.status = int(first.split()[1])
            for line in lines:
                name, _, value = line.partition(":")
                self.headers[name.lower()] = value.strip()
            self._raw = rest
        if self.status == 200:
            self._take_events()

    def _take_events(self) -> None:
        *whole, self._raw = self._raw.split(b"\n\n")
        for block in whole:
            fields = {}
            for line in block.decode().split("\n"):
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
            if "event" in fields:
                data = json.loads(fields["data"])
                event = Received(fields["event"], data, fields.get("id"), at=time.time())
                self.events.append(event)
            elif "retry" in fields:
                self.retry = int(fields["retry"])
            elif "" in fields:
                self.heartbeats += 1


class WebSocket(Stream):
    """A client of /api/ws. Raises Refused when the handshake is."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        protocols: list[str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(url)
        self.protocol = WSConnection(ConnectionType.CLIENT)
        self.subprotocol: str | None = None
        self.close_code: int | None = None
        self.pings = 0
        self.answers_pings = True
        self._parts: list[str] = []
        self._accepted = False
        self._refusal: tuple[int, bytes] | None = None
        sent = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        if token is not None:
            sent.append((b"authorization", f"Bearer {token}".encode()))
        self.write(
            Request(
                host=self.host, target="/api/ws", subprotocols=protocols or [], extra_headers=sent
            )
        )
        end = time.monotonic() + WAIT
        try:
            while not self._accepted:
                assert time.monotonic() < end, "no answer"
                self.read(0.5)
        except BaseException:
            self.socket.close()
            raise

    def write(self, event: Any) -> None:
        """Send an event of the protocol."""
        self.socket.sendall(self.protocol.send(event))

    def say(self, **frame: Any) -> None:
        """Send a frame."""
        self.write(TextMessage(data=json.dumps(frame)))

    def ask(self, ref: object, timeout: float = WAIT, **frame: Any) -> Received:
        """Send a frame with a ref and return its answer, passing by other events."""
        self.say(ref=ref, **frame)
        end = time.monotonic() + timeout
        while True:
            event = self.next(max(0.01, end - time.monotonic()))
            if event.ref == ref:
                return event

    def feed(self, data: bytes) -> None:
        """Take in a piece of what the server sends."""
        try:
            self.protocol.receive_data(data or None)
            for event in self.protocol.events():
                self._take(event)
        except RemoteProtocolError:
            self.is_gone = True

    def _take(self, event: Any) -> None:
        if isinstance(event, AcceptConnection):
            self._accepted, self.subprotocol = True, event.subprotocol
        elif isinstance(event, RejectConnection):
            self._refusal = (event.status_code, b"")
            if not event.has_body:
                raise Refused(event.status_code, None)
        elif isinstance(event, RejectData) and self._refusal is not None:
            status, body = self._refusal
            self._refusal = (status, body + event.data)
            if event.body_finished:
                raise Refused(status, json.loads(body + event.data or b"null"))
        elif isinstance(event, Ping):
            self.pings += 1
            if self.answers_pings:
                self.write(event.response())
        elif isinstance(event, CloseConnection):
            self.close_code = event.code
            self.is_gone = True
        elif isinstance(event, Message):
            self._parts.append(str(event.data))
            if event.message_finished:
                whole, self._parts = json.loads("".join(self._parts)), []
                received = Received(whole["event"], whole["data"], ref=whole.get("ref"))
                received.at = time.time()
                self.events.append(received)
