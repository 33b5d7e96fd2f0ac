"""gunicorn's gevent worker, whose own refusals are problem documents like all others.

A request that gunicorn cannot read, such as one with headers that are too large, never reaches
the application. gunicorn answers those with a page of HTML.
"""

import http
import json
import uuid
from typing import Any

from gunicorn.workers.ggevent import GeventWorker


class _Written:
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
    """Answers with application/problem+json what the application never sees."""

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer a request that could not be read. gunicorn decides on the status."""
        written = _Written()
        super().handle_error(req, written, addr, exc)
        try:
            status = http.HTTPStatus(int(written.data.split(b" ", 2)[1]))
            request_id = uuid.uuid4().hex
            client.sendall(_problem(status, request_id))
        except (OSError, ValueError, IndexError):
            self.log.debug("The client left before its request was refused.")
        else:
            self.log.info("Answered %d, requestId %s", status, request_id)


def _problem(status: http.HTTPStatus, request_id: str) -> bytes:
    code = "bad_request" if status < 500 else "internal"
    detail = f"The server could not read the request: {status.phrase}."
    body = {
        "type": f"/api/docs#{code}",
        "title": status.phrase,
        "status": int(status),
        "detail": detail,
        "error": detail,
        "code": code,
        "requestId": request_id,
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
    )
    return ("\r\n".join(head) + "\r\n\r\n" + text).encode()
