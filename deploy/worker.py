"""gunicorn's gevent worker: problem documents like all others, and a limit of what waits.

A request that gunicorn cannot read, such as one with headers that are too large, never reaches
the application. gunicorn answers those with a page of HTML, and lets one client have all the
connections that wait for a request. `chatapi.http.slow_clients` does the rest.
"""

import http
import json
import socket
import uuid
from typing import Any, cast

from gunicorn.http.body import LengthReader
from gunicorn.workers.ggevent import GeventWorker

RETRY_SECONDS = 10


class _CapturedResponse:
    """Stands in for a socket and keeps what is written."""

    def __init__(self) -> None:
        self.data = b""

    def gettimeout(self) -> float:
        """Say that it never blocks."""
        return 0.0

    def sendall(self, data: bytes) -> None:
        """Keep the bytes."""
        self.data += data


class Worker(GeventWorker):
    """Responds with application/problem+json to requests that never reach the application.

    A connection counts for its network until its first request is complete; behind a proxy,
    whose own limits hold there, they all come from the proxy and are not counted.
    """

    def load_wsgi(self) -> None:
        """Load the application, and take its count of unfinished requests."""
        super().load_wsgi()
        # Here the standard library is patched.
        from chatapi.domain.networks import network_in  # noqa: PLC0415
        from chatapi.http.slow_clients import waited_for  # noqa: PLC0415

        app: Any = self.wsgi  # Flask is not imported here.
        with app.extensions["chat"].active():
            self.unfinished = waited_for.current
        self.is_behind_proxy = bool(app.config["TRUSTED_PROXIES"])
        self.network_in = network_in
        self.arriving: dict[Any, Any] = {}

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve a connection, unless its network has too many unfinished requests."""
        if self.is_behind_proxy:
            super().handle(listener, client, addr)
            return
        network = self.network_in({"REMOTE_ADDR": addr[0] if isinstance(addr, tuple) else ""})
        if self.unfinished.is_full(network):
            self._refuse(client)
            return
        self.unfinished.add(network)
        self.arriving[client] = network
        try:
            super().handle(listener, client, addr)
        finally:
            self._request_arrived(client)

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> bool:
        """Serve a request, and close the connection of a client that does not read the response."""
        self._request_arrived(sock)
        req.body.close_connection = req.force_close
        req.body.has_arrived = _has_body(req.body)
        try:
            return super().handle_request(listener_name, req, sock, addr)
        except TimeoutError:
            self.log.debug("Closed a connection: the client did not take its answer.")
            raise StopIteration from None

    def _request_arrived(self, client: Any) -> None:
        network = self.arriving.pop(client, None)
        if network is not None:
            self.unfinished.remove(network)

    def _refuse(self, client: Any) -> None:
        try:
            client.settimeout(0)
            client.send(_problem(http.HTTPStatus.TOO_MANY_REQUESTS, uuid.uuid4().hex))
            client.recv(65_536)  # What is closed unread would take the answer with it.
        except OSError:
            self.log.debug("A connection over the limit was closed.")
        finally:
            client.close()

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Respond to a malformed request with gunicorn's status."""
        written = _CapturedResponse()
        super().handle_error(req, cast("socket.socket", written), addr, exc)
        try:
            status = http.HTTPStatus(int(written.data.split(b" ", 2)[1]))
            request_id = uuid.uuid4().hex
            client.sendall(_problem(status, request_id))
        except (OSError, ValueError, IndexError):
            self.log.debug("The client left before its request was refused.")
        else:
            self.log.info("Answered %d, requestId %s", status, request_id)


def _has_body(body: Any) -> bool:
    """Return whether the whole body of a request arrived with its headers."""
    reader = body.reader
    if not isinstance(reader, LengthReader):
        return False
    return bool(reader.unreader.buf.tell() >= reader.length)


def _problem(status: http.HTTPStatus, request_id: str) -> bytes:
    code = "bad_request" if status < 500 else "internal"
    detail = f"The server could not read the request: {status.phrase}."
    more: dict[str, int] = {}
    lines: tuple[str, ...] = ()
    if status == http.HTTPStatus.TOO_MANY_REQUESTS:
        code, detail = (
            "too_many_requests",
            "That was too much at once. Wait a little and try again.",
        )
        more, lines = {"retryAfter": RETRY_SECONDS}, (f"Retry-After: {RETRY_SECONDS}",)
    body = {
        "type": f"/api/docs#{code}",
        "title": status.phrase,
        "status": int(status),
        "detail": detail,
        "error": detail,
        "code": code,
        "requestId": request_id,
        **more,
    }
    text = json.dumps(body) + "\n"
    head = (
        f"HTTP/1.1 {status:d} {status.phrase}",
        "Connection: close",
        "Content-Type: application/problem+json",
        f"Content-Length: {len(text)}",
        "X-Content-Type-Options: nosniff",
        "Cache-Control: no-store",
        f"X-Request-Id: {request_id}",
        *lines,
    )
    return ("\r\n".join(head) + "\r\n\r\n" + text).encode()
