"""What gunicorn refuses itself: problem documents, as everywhere."""

from __future__ import annotations

import json
import socket
from urllib.parse import urlsplit

import pytest

from tests.servers import AppServer


def exchange(server: AppServer, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes on a new connection and return status, headers and body of the answer."""
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(first.split()[1]), headers, body[: int(headers["content-length"])]


LOGIN = b"POST /api/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /api/chat HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", 431),
        (b"GET /api/chat HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n", 400),
        (b"GET /" + b"x" * 4_200 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /api/chat HTTP/9.9\r\nHost: a\r\n\r\n", 400),
        (LOGIN + b"Content-Length: -5\r\n\r\n", 400),
        (LOGIN + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", 400),
        (LOGIN + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}XX0\r\n\r\n", 400),
        (LOGIN + b"Transfer-Encoding: nonsense\r\n\r\n", 501),
    ],
    ids=["header", "colon", "address", "line", "version", "length", "chunk", "end", "coding"],
)
def test_what_the_server_cannot_read_is_a_problem_document(
    live_server: AppServer, sent: bytes, status: int
) -> None:
    found, headers, body = exchange(live_server, sent)
    assert found == status
    assert headers["content-type"] == "application/problem+json"
    problem = json.loads(body)
    assert problem["status"] == status
    assert problem["code"] == ("bad_request" if status < 500 else "internal")
    assert len(problem["requestId"]) == 32


@pytest.mark.parametrize(
    "line", [b"GET /healthz HTTP/1.0", b"GET http://a/healthz HTTP/1.1", b"OPTIONS * HTTP/1.1"]
)
def test_other_forms_of_a_request_are_answered(live_server: AppServer, line: bytes) -> None:
    status, _, _ = exchange(live_server, line + b"\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert status < 500
