"""WebSockets on a detached connection: the same events as over SSE, plus sending.

wsproto implements the protocol. This module limits the size and rate of frames, uses TCP's
back-pressure, and limits the memory of a slow client to its queue.
"""

from __future__ import annotations

import json
import random
import threading
import time
from typing import Any

import gevent
import structlog
from flask import Flask, current_app, request
from gevent import socket
from wsproto import ConnectionType
from wsproto.connection import Connection as Protocol
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    Pong,
    TextMessage,
)
from wsproto.handshake import H11Handshake
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from chatapi.domain import errors, strict_json
from chatapi.domain.log_events import LogEvent
from chatapi.http import endpoint, identity, limits, problems, quotas
from chatapi.schemas.events import SocketMessages
from chatapi.schemas.messages import MessageOut
from chatapi.services import messages, sessions, typing_indicator
from chatapi.services.access import access_chat
from chatapi.services.feeds import Event, Feed
from chatapi.transport import encoding
from chatapi.transport.connections import ALIVE, Connection, ConnectionClosed

PROTOCOL = "chat.v1"
MAX_FRAME_BYTES = 64 * 1024
MAX_REF_DEPTH = 20
PING_SECONDS, SILENCE_SECONDS = 15.0, 40.0
# Shorter for agents, because their presence is shown.
AGENT_PING_SECONDS, AGENT_SILENCE_SECONDS = 5.0, 12.0
FRAMES_A_SECOND, BURST = 20.0, 60.0
MAX_CHATS = 50
MAX_VIOLATIONS = 10
LINGER_SECONDS, LINGER_BYTES = 1.0, 16 * 1024 * 1024

CLOSE_CODES = {"session_ended": 4401, "forbidden": 4403, "too_slow": 4408, "restarting": 1012}


def is_upgrade_request() -> bool:
    """Return whether the request may be upgraded: HEAD and HTTP/1.0 may not."""
    return (
        request.method == "GET"
        and request.environ.get("SERVER_PROTOCOL") == "HTTP/1.1"
        and request.headers.get("Upgrade", "").lower() == "websocket"
    )


def accept_handshake() -> tuple[bytes, Protocol]:
    """Return the response to the handshake and the open protocol. Raises UpgradeRequired."""
    handshake = H11Handshake(ConnectionType.SERVER)
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers]
    offered = request.headers.get("Sec-WebSocket-Protocol", "")
    chosen = PROTOCOL if PROTOCOL in [part.strip() for part in offered.split(",")] else None
    try:
        handshake.initiate_upgrade_connection(headers, "/api/ws")
        head = handshake.send(AcceptConnection(subprotocol=chosen))
    except (RemoteProtocolError, LocalProtocolError):
        protocol = None
    else:
        protocol = handshake.connection
    if protocol is None:
        raise errors.UpgradeRequired("This is no WebSocket handshake of version 13.", version="13")
    return head, protocol


class WebSocketConnection(Connection):
    """A connection with a WebSocket.

    One greenlet writes the feed's events, another replies to frames. A reply that must keep its
    order among the events is queued in the feed.
    """

    __slots__ = (
        *("_app", "_refilled_at", "_received_at", "_is_pong_due", "_length", "_lock", "_pinged_at"),
        *("_protocol", "_request_id", "_violations", "_text", "_token", "_tokens", "session"),
    )

    def __init__(self, sock: socket.socket, feed: Feed, protocol: Protocol) -> None:
        super().__init__(sock, feed)
        self._protocol, self.session = protocol, feed.session
        # Not the proxy, because it needs the request, which ends.
        self._app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
        self._request_id = problems.request_id()
        self._token = identity.bearer_token(request) or identity.cookie_token(request) or ""
        self._lock = threading.Lock()
        self._text: list[str] = []
        self._length = self._violations = 0
        self._tokens = BURST
        self._is_pong_due = False
        self._refilled_at = self._received_at = time.monotonic()
        # Spread, so that clients that connected together are not pinged together.
        self._pinged_at = self._received_at - random.uniform(0, self._timeouts()[0])  # noqa: S311

    def send_event(self, event: Event) -> None:
        """Write an event; close after the last one."""
        code = str(event.data["code"]) if event.name == "end" else ""
        if event is ALIVE:
            self._is_pong_due = True
            self._send(Ping())
        elif code != "closed":
            self._send(TextMessage(data=encoding.websocket(event, self.session)))
        if code and code != "closed":
            self._send(CloseConnection(CLOSE_CODES.get(code, 1000), code))

    def on_data(self, data: bytes) -> bool:
        """Handle and reply to the client's frames."""
        self._received_at = time.monotonic()
        structlog.contextvars.bind_contextvars(requestId=self._request_id)
        try:
            with self._app.app_context():
                self._protocol.receive_data(data)
                for event in self._protocol.events():
                    self._handle(event)
        except RemoteProtocolError as error:
            if error.event_hint is not None:
                self._send(error.event_hint)
            raise ConnectionClosed from None
        return True

    def on_tick(self, now: float) -> None:
        """Send pings, and close the connection of a client that does not respond."""
        ping, silence = self._timeouts()
        if now - self._received_at >= silence:
            self.feed.abort()
        elif now - self._pinged_at >= ping:
            self._pinged_at = now
            self.write([ALIVE])

    def _timeouts(self) -> tuple[float, float]:
        """Return the ping interval and the timeout of a silent client, in seconds."""
        if self.session.is_admin:
            return AGENT_PING_SECONDS, AGENT_SILENCE_SECONDS
        return PING_SECONDS, SILENCE_SECONDS

    def before_close(self) -> None:
        """Read remaining input, because the kernel would drop the last frame otherwise."""
        self.sock.shutdown(socket.SHUT_WR)
        end, unread = time.monotonic() + LINGER_SECONDS, LINGER_BYTES
        while (left := end - time.monotonic()) > 0 and unread > 0:
            self.sock.settimeout(left)
            data = self.sock.recv(65536)
            if not data:
                break
            unread -= len(data)
            gevent.sleep(0)  # Let other greenlets run while a client keeps sending.

    def _handle(self, event: object) -> None:
        if isinstance(event, CloseConnection):
            self._send(event.response())
            raise ConnectionClosed
        if isinstance(event, Ping):
            self._count_unanswered()
            self._send(event.response())
        elif isinstance(event, BytesMessage):
            self._close_with(1003, "Text frames only.")
        elif isinstance(event, TextMessage):
            self._append_fragment(event)
        elif isinstance(event, Pong):
            if not self._is_pong_due:
                self._count_unanswered()
            self._is_pong_due = False
        else:
            raise ConnectionClosed

    def _append_fragment(self, part: TextMessage) -> None:
        if not part.message_finished and (part.frame_finished or not part.data):
            self._count_unanswered()  # a fragment of a message, or an empty frame
        self._text.append(part.data)
        self._length += len(part.data.encode())
        if self._length > MAX_FRAME_BYTES:
            self._close_with(1009, "The message is over 64 KB.")
        if part.message_finished:
            whole, self._text, self._length = "".join(self._text), [], 0
            self._reply(whole)

    def _reply(self, text: str) -> None:
        ref = None
        try:
            if not self._take_token():
                raise errors.TooManyRequests(retryAfter=1)
            asked = _parsed(text)
            if _depth(asked.get("ref")) > MAX_REF_DEPTH:
                raise errors.InvalidInput.for_field(
                    "ref", f"May be nested {MAX_REF_DEPTH} levels deep."
                )
            ref = asked.get("ref")
            self._execute(asked, ref)
            self._violations = 0
        except (ConnectionClosed, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - an error of one frame must not close the connection
            refusal = problems.from_exception(error)
            if refusal.status >= 500:
                problems.log.error(LogEvent.REQUEST_FAILED, code=refusal.code, exc_info=error)
            body = problems.body_of(refusal) | {"requestId": self._request_id}
            self._send_text(_json("problem", ref, body))
            if isinstance(refusal, (errors.BadJson, errors.TooManyRequests)):
                self._record_violation()

    def _take_token(self) -> bool:
        """Take a token for a frame; return False where the bucket is empty."""
        now = time.monotonic()
        self._tokens = min(BURST, self._tokens + (now - self._refilled_at) * FRAMES_A_SECOND)
        self._refilled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _count_unanswered(self) -> None:
        """Take a token for a frame without a reply; a violation if the bucket is empty."""
        if not self._take_token():
            self._record_violation()

    def _record_violation(self) -> None:
        self._violations += 1
        if self._violations >= MAX_VIOLATIONS:
            self._close_with(1008, "Too many bad frames.")

    def _execute(self, asked: dict[str, Any], ref: Any) -> None:
        kind = asked.get("type")
        limits.count("send" if kind == "send" else "default", limits.key_for(self.session))
        schema = SocketMessages.get(kind) if isinstance(kind, str) else None
        if schema is None:
            raise errors.InvalidInput.for_field(
                "type", f"Must be one of: {', '.join(SocketMessages)}."
            )
        given = endpoint.check(schema, asked)
        self._check_session()
        if kind == "subscribe":
            self._do_subscribe(given, ref)
            return
        work = getattr(self, f"_do_{kind}")
        data = work(given)
        self._send_text(_json("ok", ref, data))

    def _check_session(self) -> None:
        """Check the session as for a request: it may have ended, or its user was renamed."""
        session = sessions.open_session(self._token)
        if session is None:
            self.feed.listener.close("session_ended", 0)
            raise errors.SessionExpired
        if session.role != self.session.role:
            self.feed.listener.close("forbidden", 1)
            raise errors.Forbidden("Your role has changed; connect again.")
        self.session = session

    def _do_subscribe(self, given: dict[str, Any], ref: Any) -> None:
        joined = {str(chat_id) for chat_id in self.feed.chats}
        if given["chatId"] is None:
            opening = self.feed.subscribe_inbox()
        elif len(joined) >= MAX_CHATS and given["chatId"].lower() not in joined:
            raise errors.TooManyRequests("Too many chats on one socket.", retryAfter=5)
        else:
            opening = self.feed.subscribe(given["chatId"], given["after"])
        # Queued in the feed, so that all events after the reply include this chat.
        answer = Event("ok", {"chatId": given["chatId"]})
        answer.frames["ws", self.session.side] = _json("ok", ref, answer.data)
        self.feed.enqueue_opening(answer, opening)

    def _do_unsubscribe(self, given: dict[str, Any]) -> Any:
        self.feed.unsubscribe(access_chat(self.session, given["chatId"])["_id"])
        return {"chatId": given["chatId"]}

    def _do_send(self, given: dict[str, Any]) -> Any:
        with quotas.writing_from(self.feed.network):
            message, _ = messages.send(
                self.session, given["chatId"], given["content"], given["clientMessageId"]
            )
        return MessageOut().dump(message)

    def _do_read(self, given: dict[str, Any]) -> Any:
        messages.mark_read(self.session, given["chatId"], given["seq"])
        return {"chatId": given["chatId"], "seq": given["seq"]}

    def _do_typing(self, given: dict[str, Any]) -> Any:
        typing_indicator.notify(self.session, given["chatId"])
        return {"chatId": given["chatId"]}

    def _send_text(self, text: str) -> None:
        self._send(TextMessage(data=text))

    def _send(self, event: Any) -> None:
        with self._lock:
            try:
                data = self._protocol.send(event)
            except LocalProtocolError:
                raise ConnectionClosed from None  # One side has sent its close frame.
            self.send(data)

    def _close_with(self, code: int, reason: str) -> None:
        self._send(CloseConnection(code, reason))
        raise ConnectionClosed


def _json(event: str, ref: Any, data: Any) -> str:
    # In ASCII, because a client's `ref` may have characters that UTF-8 cannot encode.
    return json.dumps({"event": event, "ref": ref, "data": data}, separators=(",", ":"))


def _parsed(text: str) -> dict[str, Any]:
    try:
        asked = strict_json.decode(text)
    except (ValueError, RecursionError):
        raise errors.BadJson from None
    if not isinstance(asked, dict):
        raise errors.BadJson("A frame is one JSON object.")
    return asked


def _depth(value: Any) -> int:
    """Return how deep a JSON value is nested, or one level more than is allowed."""
    level, depth = [value], 0
    while level and depth <= MAX_REF_DEPTH:
        inner = [each for each in level if isinstance(each, (dict, list))]
        level = [
            part for each in inner for part in (each.values() if isinstance(each, dict) else each)
        ]
        depth += bool(inner)
    return depth
