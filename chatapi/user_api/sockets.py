"""The WebSocket /api/ws: the same events and catch-up as over SSE, plus sending.

wsproto speaks the protocol; the loop around it is ours, so that frames are bounded, a
flood meets TCP's own back-pressure, and a slow client costs no more than its queue.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from flask import Response, request
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    Pong,
    TextMessage,
)
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from chatapi import endpoint, errors, identity, limits, problem
from chatapi.schemas import MessageOut, SocketMessages
from chatapi.services import messages, streams
from chatapi.services.access import access_chat
from chatapi.services.streams import Event, Feed
from chatapi.user_api import blueprint, frames

PROTOCOL = "chat.v1"
LONGEST_FRAME = 64 * 1024
PING_SECONDS = 15.0
SILENCE_SECONDS = 40.0
FRAMES_A_SECOND, BURST = 20.0, 60.0
MOST_CHATS = 50

CLOSE_CODES = {"session_ended": 4401, "forbidden": 4403, "too_slow": 4408, "restarting": 1012}


@blueprint.get("/ws")
def websocket() -> Response:
    """Open a WebSocket. Authenticate as everywhere; a browser's page of another origin
    offers the subprotocols "chat.v1" and "bearer.TOKEN"."""
    session = identity.required()
    identity.check_origin()
    link = request.environ.get("gunicorn.socket") or request.environ.get("werkzeug.socket")
    if request.headers.get("Upgrade", "").lower() != "websocket" or link is None:
        raise errors.UpgradeRequired
    feed = Feed(session, request.remote_addr or "")
    try:
        _Socket(link, feed).serve()
    finally:
        feed.close()
    return _Served()


_refuses = [errors.UpgradeRequired, errors.TooManyRequests]
_contract = endpoint.Contract("session", None, None, {101: None}, _refuses, {}, None)
setattr(websocket, endpoint.CONTRACT, _contract)


class _Served(Response):
    """What a view returns when its socket is spent."""

    def __call__(self, *_: object) -> Any:
        # gunicorn's word for a connection that needs no answer any more.
        raise StopIteration


class _Closed(Exception):
    """The client has gone, or is to go: nothing more to read."""


class _Socket:
    """One connection: this greenlet reads and answers, another hands on the feed's events."""

    def __init__(self, link: socket.socket, feed: Feed) -> None:
        self.link, self.feed, self.session = link, feed, feed.session
        self.protocol = WSConnection(ConnectionType.SERVER)
        self.lock = threading.Lock()
        self.text: list[str] = []
        self.tokens, self.counted_at = BURST, time.monotonic()
        self.strikes = 0

    def serve(self) -> None:
        """Speak until either side has had enough."""
        self._shake_hands()
        writer = threading.Thread(target=self._write, name="socket", daemon=True)
        writer.start()
        try:
            self.link.settimeout(SILENCE_SECONDS)
            while True:
                data = self.link.recv(4096)
                if not data:
                    break
                self.protocol.receive_data(data)
                for event in self.protocol.events():
                    self._handle(event)
        except (_Closed, OSError, LocalProtocolError, RemoteProtocolError):
            pass
        finally:
            self.feed.listener.close("closed", 0)
            writer.join(2)

    def _shake_hands(self) -> None:
        headers = [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers
        ]
        self.protocol.initiate_upgrade_connection(headers, request.full_path)
        offered = request.headers.get("Sec-WebSocket-Protocol", "")
        chosen = PROTOCOL if PROTOCOL in [part.strip() for part in offered.split(",")] else None
        for _ in self.protocol.events():
            self._send_raw(AcceptConnection(subprotocol=chosen))

    def _write(self) -> None:
        """Hand on what the feed has, and ping while it has nothing."""
        try:
            while not self.feed.is_finished:
                quiet = True
                for event in self.feed.next(PING_SECONDS):
                    quiet = False
                    if event.name == "end" and event.data["code"] == "closed":
                        return
                    self._send_text(frames.websocket(event, self.session))
                    if event.name == "end":
                        code = CLOSE_CODES.get(event.data["code"], 1000)
                        self._send_raw(CloseConnection(code, event.data["code"]))
                        self.link.shutdown(socket.SHUT_RD)
                if quiet:
                    self._send_raw(Ping())
        except (OSError, LocalProtocolError):
            self.feed.listener.close("closed", 0)

    def _handle(self, event: object) -> None:
        if isinstance(event, CloseConnection):
            self._send_raw(event.response())
            raise _Closed
        if isinstance(event, Ping):
            self._send_raw(event.response())
        elif isinstance(event, BytesMessage):
            self._close(1003, "Text frames only.")
        elif isinstance(event, TextMessage):
            self.text.append(event.data)
            if sum(map(len, self.text)) > LONGEST_FRAME:
                self._close(1009, "The frame is over 64 KB.")
            if event.message_finished:
                whole, self.text = "".join(self.text), []
                self._answer(whole)
        elif not isinstance(event, Pong):
            raise _Closed

    def _answer(self, text: str) -> None:
        ref = None
        try:
            self._count()
            asked = _parsed(text)
            ref = asked.get("ref")
            data = self._do(asked)
            self._send_json({"event": "ok", "ref": ref, "data": data})
        except Exception as error:  # noqa: BLE001 - one frame's failure is that frame's alone
            refusal = problem.from_exception(error)
            if refusal.status >= 500:
                problem.log.error("request_failed", code=refusal.code, exc_info=error)
            self._send_json({"event": "problem", "ref": ref, "data": problem.body_of(refusal)})
            if isinstance(refusal, (errors.BadJson, errors.TooManyRequests)):
                self.strikes += 1
                if self.strikes >= 10:
                    self._close(1008, "Too many bad frames.")

    def _count(self) -> None:
        """Let so many frames a second through. Raises TooManyRequests."""
        now = time.monotonic()
        self.tokens = min(BURST, self.tokens + (now - self.counted_at) * FRAMES_A_SECOND)
        self.counted_at = now
        if self.tokens < 1:
            raise errors.TooManyRequests(retryAfter=1)
        self.tokens -= 1

    def _do(self, asked: dict[str, Any]) -> Any:
        kind = asked.get("type")
        schema = SocketMessages.get(kind) if isinstance(kind, str) else None
        if schema is None:
            raise errors.InvalidInput.of("type", f"Must be one of: {', '.join(SocketMessages)}.")
        given = endpoint.check(schema, asked)
        work = getattr(self, f"_do_{kind}")
        return work(given)

    def _do_subscribe(self, given: dict[str, Any]) -> Any:
        if given["chatId"] is None:
            self._tell(self.feed.subscribe_inbox())
            return {"chatId": None}
        if len(self.feed.looks_at()) >= MOST_CHATS:
            raise errors.TooManyRequests("Too many chats on one socket.", retryAfter=5)
        self._tell(self.feed.subscribe(given["chatId"], given["after"]))
        return {"chatId": given["chatId"]}

    def _do_unsubscribe(self, given: dict[str, Any]) -> Any:
        self.feed.unsubscribe(access_chat(self.session, given["chatId"])["_id"])
        return {"chatId": given["chatId"]}

    def _do_send(self, given: dict[str, Any]) -> Any:
        limits.count("send", self.session)
        message, _ = messages.send(
            self.session, given["chatId"], given["content"], given["clientMessageId"]
        )
        return MessageOut().dump(message)

    def _do_read(self, given: dict[str, Any]) -> Any:
        messages.mark_read(self.session, given["chatId"], given["seq"])
        return {"chatId": given["chatId"], "seq": given["seq"]}

    def _do_typing(self, given: dict[str, Any]) -> Any:
        streams.typing(self.session, given["chatId"])
        return {"chatId": given["chatId"]}

    def _tell(self, events: Iterator[Event]) -> None:
        for event in self.feed.guarded(events):
            self._send_text(frames.websocket(event, self.session))

    def _send_json(self, data: dict[str, Any]) -> None:
        self._send_text(json.dumps(data, ensure_ascii=False, separators=(",", ":")))

    def _send_text(self, text: str) -> None:
        self._send_raw(TextMessage(data=text))

    def _send_raw(self, event: Any) -> None:
        with self.lock:
            self.link.sendall(self.protocol.send(event))

    def _close(self, code: int, reason: str) -> None:
        self._send_raw(CloseConnection(code, reason))
        raise _Closed


def _parsed(text: str) -> dict[str, Any]:
    try:
        asked = json.loads(text)
    except (ValueError, RecursionError):
        raise errors.BadJson from None
    if not isinstance(asked, dict):
        raise errors.BadJson("A frame is one JSON object.")
    return asked
