"""The connections of a client: plain requests, event streams and WebSockets, byte by byte."""

from __future__ import annotations

import abc
import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.clients import Client, Crowd

OPEN_SECONDS = 90  # A connection that is not ready by then is given up and tried again.


class Http:
    """One keep-alive connection for plain requests; opened again whenever it is closed."""

    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(
        self, method: str, path: str, token: str, body: object = None
    ) -> tuple[int, Any]:
        """Send a request and return its status and JSON. Raises OSError when it is cut off."""
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n"
        if data:
            head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        try:
            if self.streams is not None and self.streams[0].at_eof():
                self.close()
            if self.streams is None:
                self.streams = await asyncio.open_connection(*self.crowd.server)
            reader, writer = self.streams
            writer.write(f"{head}\r\n".encode() + data)
            return await asyncio.wait_for(_answer(reader, self), OPEN_SECONDS)
        except (OSError, EOFError, ValueError, TimeoutError) as error:
            self.close()
            raise ConnectionError(repr(error)) from error

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self.streams is not None:
            self.streams[1].transport.abort()
            self.streams = None


async def _answer(reader: asyncio.StreamReader, link: Http) -> tuple[int, Any]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    status = int(head[9:12])
    length = re.search(r"content-length: (\d+)", head)
    data = await reader.readexactly(int(length[1])) if length else b""
    if "connection: close" in head:
        link.close()
    return status, json.loads(data) if data else None


class Link(asyncio.Protocol, abc.ABC):
    """One connection of a client, from its first byte to its last."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.transport: Any = None
        self.raw = b""
        self.has_head = False  # past the head of the answer

    def connection_made(self, transport: Any) -> None:
        self.transport, self.client.link = transport, self
        transport.write(self.greeting())
        if self.client.stopped:
            transport.abort()

    def connection_lost(self, _: Exception | None) -> None:
        self.client.lost(self)

    def data_received(self, data: bytes) -> None:
        self.raw += data
        if not self.has_head:
            head, separator, rest = self.raw.partition(b"\r\n\r\n")
            if not separator:
                return
            status = int(head[9:12])
            if status not in {101, 200}:
                self.client.refused(status)
                self.transport.abort()
                return
            self.has_head, self.raw = True, rest
            self.begun()
        self.read()

    @abc.abstractmethod
    def greeting(self) -> bytes:
        """Return the request that opens the stream."""

    def begun(self) -> None:
        """Do what there is to do when the server has let us in."""

    @abc.abstractmethod
    def read(self) -> None:
        """Take what is whole off `raw` and hand it on."""


class EventStream(Link):
    """Server-sent events, until the connection ends."""

    def greeting(self) -> bytes:
        client = self.client
        path = f"/api/chat/{client.chat}/events" if client.chat else "/api/events"
        head = f"Host: bench\r\nAuthorization: Bearer {client.token}\r\n"
        if client.chat and client.seq is not None:
            # As an EventSource does: a query at first, the header when it reconnects.
            if client.visits > 1:
                head += f"Last-Event-ID: {client.seq}\r\n"
            else:
                path += f"?after={client.seq}"
        return f"GET {path} HTTP/1.1\r\n{head}Accept: text/event-stream\r\n\r\n".encode()

    def begun(self) -> None:
        if self.client.chat is None:
            self.client.came_in()

    def read(self) -> None:
        *blocks, self.raw = self.raw.split(b"\n\n")
        for block in blocks:
            fields = dict(line.partition(b": ")[::2] for line in block.split(b"\n"))
            if b"event" in fields:
                self.client.delivered(fields[b"event"].decode(), json.loads(fields[b"data"]))


class WebSocket(Link):
    """The WebSocket, spoken by hand: the library would cost more than the rest together."""

    def greeting(self) -> bytes:
        return (
            f"GET /api/ws HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {self.client.token}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: bGl2ZWNoYXQgYmVuY2ggIQ==\r\n\r\n"
        ).encode()

    def begun(self) -> None:
        place = {"chatId": self.client.chat, "after": self.client.seq if self.client.chat else None}
        self.say({"type": "subscribe", "ref": "in", **place})

    def read(self) -> None:
        while len(self.raw) >= 2:
            size, start = self.raw[1] & 0x7F, 2
            if size == 126 and len(self.raw) >= 4:
                size, start = int.from_bytes(self.raw[2:4], "big"), 4
            elif size == 127 and len(self.raw) >= 10:
                size, start = int.from_bytes(self.raw[2:10], "big"), 10
            elif size > 125:
                break
            if len(self.raw) < start + size:
                break
            kind, payload = self.raw[0] & 0x0F, self.raw[start : start + size]
            self.raw = self.raw[start + size :]
            if kind == 1:
                self._on_frame(json.loads(payload))
            elif kind == 9:
                self._frame(10, payload)
            elif kind == 8:
                self.transport.close()

    def say(self, data: object) -> None:
        """Send a text frame."""
        self._frame(1, json.dumps(data).encode())

    def hang_up(self) -> None:
        """Close as the protocol wants it; the server answers and closes the connection."""
        self._frame(8, b"\x03\xe8")

    def _on_frame(self, frame: dict[str, Any]) -> None:
        if frame["event"] not in {"ok", "problem"}:
            self.client.delivered(frame["event"], frame["data"])
        elif frame["ref"] == "in" and frame["event"] == "ok":
            self.client.came_in()
        elif frame["ref"] == "in":
            self.client.refused(frame["data"]["status"])
            self.transport.abort()
        else:
            self.client.answered(frame)

    def _frame(self, kind: int, payload: bytes) -> None:
        size = len(payload)
        length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
        # Masked by zeros, which leave the payload as it is.
        self.transport.write(bytes([0x80 | kind]) + length + bytes(4) + payload)
