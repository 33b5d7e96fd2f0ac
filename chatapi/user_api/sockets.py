"""The WebSocket /api/ws: the same events and catch-up as over SSE, plus sending.

wsproto speaks the protocol; the loop around it is ours, so that frames are bounded, a
flood meets TCP's own back-pressure, and a slow client costs no more than its queue.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
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
from chatapi.services import accounts, messages, streams
from chatapi.services.access import access_chat
from chatapi.services.streams import Event, Feed
from chatapi.user_api import blueprint, frames

PROTOCOL = "chat.v1"
LONGEST_FRAME = 64 * 1024
PING_SECONDS = 15.0
SILENCE_SECONDS = 40.0
FRAMES_A_SECOND, BURST = 20.0, 60.0
MOST_CHATS = 50
MOST_STRIKES = 10
LINGER_SECONDS = 1.0

CLOSE_CODES = {"session_ended": 4401, "forbidden": 4403, "too_slow": 4408, "restarting": 1012}


def websocket() -> Response:
    """Open a WebSocket. Authenticate as everywhere; a browser's page of another origin
    offers the subprotocols "chat.v1" and "bearer.TOKEN"."""
    session = identity.required()
    identity.check_origin()
    # gunicorn's own: other servers hand out no connection.
    link = request.environ.get("gunicorn.socket")
    if link is None or request.headers.get("Upgrade", "").lower() != "websocket":
        raise errors.UpgradeRequired
    protocol = _agree()
    with Feed(session, request.remote_addr or "", link) as feed:
        _Socket(link, protocol, feed).serve()
    return _Served(status=101)


def _agree() -> WSConnection:
    """Return the connection's protocol, ready to be accepted. Raises UpgradeRequired."""
    protocol = WSConnection(ConnectionType.SERVER)
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers]
    try:
        protocol.initiate_upgrade_connection(headers, "/api/ws")
    except RemoteProtocolError:
        raise errors.UpgradeRequired(
            "This is no WebSocket handshake of version 13.", version="13"
        ) from None
    return protocol


limited_websocket = limits.limited(websocket)
limited_websocket.contract = endpoint.Contract(  # type: ignore[attr-defined]
    "session",
    None,
    None,
    {101: None},
    [errors.UpgradeRequired, errors.TooManyRequests],
    {},
    "default",
)
blueprint.add_url_rule("/ws", "websocket", limited_websocket, methods=["GET"], websocket=True)
# Without an upgrade werkzeug needs a rule of its own, to be told what is missing.
blueprint.add_url_rule("/ws", "websocket", limited_websocket, methods=["GET"])


class _Served(Response):
    """What a view returns when its socket is spent."""

    def __call__(self, *_: object) -> Any:
        # gunicorn's word for a connection that needs no answer any more.
        raise StopIteration


class _Closed(Exception):
    """The client has gone, or is to go: nothing more to read."""


class _Socket:
    """One connection: this greenlet reads and answers, another sends the feed's events.

    All that the feed yields goes through that one, so that nothing overtakes anything.
    """

    def __init__(self, link: socket.socket, protocol: WSConnection, feed: Feed) -> None:
        self.link, self.protocol, self.feed, self.session = link, protocol, feed, feed.session
        self.token = identity.bearer_token(request) or identity.cookie_token(request) or ""
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.text: list[str] = []
        self.length = 0
        self.tokens, self.counted_at = BURST, time.monotonic()
        self.strikes = 0

    def serve(self) -> None:
        """Speak until either side has had enough."""
        self.link.settimeout(SILENCE_SECONDS)
        writer = threading.Thread(target=self._write, name="socket", daemon=True)
        try:
            self._accept()
            writer.start()
            self._read()
        except (_Closed, OSError, LocalProtocolError, RemoteProtocolError):
            pass
        except Exception as error:  # noqa: BLE001 - no HTTP answer can be given any more
            problem.log.error("socket_failed", exc_info=error)
        finally:
            self.over.set()
            self.feed.listener.close("closed", 0)
            self._linger()
            if writer.ident is not None:
                writer.join(LINGER_SECONDS)

    def _accept(self) -> None:
        offered = request.headers.get("Sec-WebSocket-Protocol", "")
        chosen = PROTOCOL if PROTOCOL in [part.strip() for part in offered.split(",")] else None
        for _ in self.protocol.events():
            self._send_raw(AcceptConnection(subprotocol=chosen))

    def _read(self) -> None:
        while data := self.link.recv(4096):
            self.protocol.receive_data(data)
            try:
                for event in self.protocol.events():
                    self._handle(event)
            except RemoteProtocolError as error:
                if error.event_hint is not None:
                    self._send_raw(error.event_hint)
                raise

    def _linger(self) -> None:
        """Let the client read our last frame: unread input would make the kernel drop it."""
        with contextlib.suppress(OSError):
            self.link.shutdown(socket.SHUT_WR)
            end = time.monotonic() + LINGER_SECONDS
            while (left := end - time.monotonic()) > 0:
                self.link.settimeout(left)
                if not self.link.recv(65536):
                    break

    def _write(self) -> None:
        """Send what the feed has, and a ping now and then."""
        pinged_at = time.monotonic()
        try:
            while not self.feed.is_finished:
                for event in self.feed.next(max(0.0, pinged_at + PING_SECONDS - time.monotonic())):
                    self._send_event(event)
                if time.monotonic() - pinged_at >= PING_SECONDS:
                    pinged_at = time.monotonic()
                    self._send_raw(Ping())
        except (OSError, LocalProtocolError):
            pass
        except Exception as error:  # noqa: BLE001 - it ends this client's connection only
            problem.log.error("socket_failed", exc_info=error)
        # The client may answer the closing; if it does not, whoever reads here is let go.
        if not self.over.wait(LINGER_SECONDS):
            self.feed.cut()

    def _send_event(self, event: Event) -> None:
        if event.name == "end":
            code = str(event.data["code"])
            if code == "closed":
                return
            self._send_text(frames.websocket(event, self.session))
            self._send_raw(CloseConnection(CLOSE_CODES.get(code, 1000), code))
        else:
            self._send_text(frames.websocket(event, self.session))

    def _handle(self, event: object) -> None:
        if isinstance(event, CloseConnection):
            self._send_raw(event.response())
            raise _Closed
        if isinstance(event, Ping):
            self._spend()
            self._send_raw(event.response())
        elif isinstance(event, BytesMessage):
            self._close(1003, "Text frames only.")
        elif isinstance(event, TextMessage):
            self._collect(event)
        elif not isinstance(event, Pong):
            raise _Closed

    def _collect(self, part: TextMessage) -> None:
        if part.frame_finished and not part.message_finished:
            self._spend()  # one of many that make a message
        self.text.append(part.data)
        self.length += len(part.data.encode())
        if self.length > LONGEST_FRAME:
            self._close(1009, "The message is over 64 KB.")
        if part.message_finished:
            whole, self.text, self.length = "".join(self.text), [], 0
            self._answer(whole)

    def _answer(self, text: str) -> None:
        ref = None
        try:
            if not self._may_go_on():
                raise errors.TooManyRequests(retryAfter=1)
            asked = _parsed(text)
            ref = asked.get("ref")
            self._do(asked, ref)
            self.strikes = 0
        except (_Closed, OSError, LocalProtocolError):
            raise
        except Exception as error:  # noqa: BLE001 - one frame's failure is that frame's alone
            refusal = problem.from_exception(error)
            if refusal.status >= 500:
                problem.log.error("request_failed", code=refusal.code, exc_info=error)
            self._send_text(_json("problem", ref, problem.body_of(refusal)))
            if isinstance(refusal, (errors.BadJson, errors.TooManyRequests)):
                self._strike()

    def _may_go_on(self) -> bool:
        """Count a frame; tell whether there were not too many in the last seconds."""
        now = time.monotonic()
        self.tokens = min(BURST, self.tokens + (now - self.counted_at) * FRAMES_A_SECOND)
        self.counted_at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def _spend(self) -> None:
        """Count a frame that gets no answer of ours."""
        if not self._may_go_on():
            self._strike()

    def _strike(self) -> None:
        self.strikes += 1
        if self.strikes >= MOST_STRIKES:
            self._close(1008, "Too many bad frames.")

    def _do(self, asked: dict[str, Any], ref: Any) -> None:
        kind = asked.get("type")
        schema = SocketMessages.get(kind) if isinstance(kind, str) else None
        if schema is None:
            raise errors.InvalidInput.of("type", f"Must be one of: {', '.join(SocketMessages)}.")
        given = endpoint.check(schema, asked)
        self._admit()
        if kind == "subscribe":
            self._do_subscribe(given, ref)
            return
        work = getattr(self, f"_do_{kind}")
        data = work(given)
        self._send_text(_json("ok", ref, data))

    def _admit(self) -> None:
        """Look at the session as a request does: it may be over, or its user renamed."""
        session = accounts.open_session(self.token)
        if session is None:
            self.feed.listener.close("session_ended", 0)
            raise errors.SessionExpired
        if session.role != self.session.role:
            self.feed.listener.close("forbidden", 1)
            raise errors.Forbidden("Your role has changed; connect again.")
        self.session = session

    def _do_subscribe(self, given: dict[str, Any], ref: Any) -> None:
        if given["chatId"] is None:
            opening = self.feed.subscribe_inbox()
        elif len(self.feed.chats) >= MOST_CHATS:
            raise errors.TooManyRequests("Too many chats on one socket.", retryAfter=5)
        else:
            opening = self.feed.subscribe(given["chatId"], given["after"])
        # Answered in the feed's order: all that comes after the answer is of this chat, too.
        answer = Event("ok", {"chatId": given["chatId"]})
        answer.frames["ws", self.session.side] = _json("ok", ref, answer.data)
        self.feed.start(answer, opening)

    def _do_unsubscribe(self, given: dict[str, Any]) -> Any:
        self.feed.unsubscribe(access_chat(self.session, given["chatId"])["_id"])
        return {"chatId": given["chatId"]}

    def _do_send(self, given: dict[str, Any]) -> Any:
        limits.count("send", limits.of(self.session))
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

    def _send_text(self, text: str) -> None:
        self._send_raw(TextMessage(data=text))

    def _send_raw(self, event: Any) -> None:
        with self.lock, self.feed.writing():
            self.link.sendall(self.protocol.send(event))

    def _close(self, code: int, reason: str) -> None:
        self._send_raw(CloseConnection(code, reason))
        raise _Closed


def _json(event: str, ref: Any, data: Any) -> str:
    # In ASCII: a client's `ref` may hold what cannot be written as UTF-8.
    return json.dumps({"event": event, "ref": ref, "data": data}, separators=(",", ":"))


def _parsed(text: str) -> dict[str, Any]:
    try:
        asked = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise errors.BadJson from None
    if not isinstance(asked, dict):
        raise errors.BadJson("A frame is one JSON object.")
    return asked


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON.")
