"""Clients that never send their body, or never take their answer, hold no place for long."""

from __future__ import annotations

import json
import select
import socket
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from pymongo.database import Database

from chatapi.store.database import Document
from tests.live.clients import register
from tests.servers import AppServer, DatabaseServer, start_app

SECONDS = 1
MAX_UNFINISHED = 40
CROWD = 120
HEAD = (
    b"POST /api/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    b"Content-Length: 100\r\n\r\n"
)


@pytest.fixture(scope="module")
def fast_timeouts(
    database_server: DatabaseServer, _prepared_database: Database[Document]
) -> Iterator[AppServer]:
    """gunicorn that waits a second for its clients, and for 40 of a network at once."""
    settings = {
        "REQUEST_BODY_SECONDS": str(SECONDS),
        "ANSWER_SECONDS": str(SECONDS),
        "UNFINISHED_PER_ADDRESS": str(MAX_UNFINISHED),
    }
    with start_app(database_server.uri, 1, settings) as server:
        yield server


def connect(server: AppServer, address: str = "127.0.0.1") -> socket.socket:
    """Connect from an address of one's own: each counts as a network."""
    link = socket.create_connection(
        ("127.0.0.1", server.port), timeout=10, source_address=(address, 0)
    )
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link


def rest(link: socket.socket) -> bytes:
    """Return what comes until the server closes; reset is closed too."""
    found = b""
    try:
        while data := link.recv(1_000_000):
            found += data
    except ConnectionResetError:
        pass
    finally:
        link.close()
    return found


def problem(answer: bytes) -> dict[str, object]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"\r\nconnection: close" in head.lower()
    assert b"application/problem+json" in head
    return dict(json.loads(body))


def test_bodies_that_never_arrive_end_and_others_are_served_meanwhile(
    fast_timeouts: AppServer,
) -> None:
    begun = time.monotonic()
    links = []
    for _ in range(CROWD):
        link = connect(fast_timeouts, "127.0.0.2")
        link.sendall(HEAD)
        links.append(link)
    while time.monotonic() < begun + SECONDS:
        asked = time.monotonic()
        assert fast_timeouts.request("GET", "/api/config")[0] == 200
        assert time.monotonic() - asked < 0.5
        time.sleep(0.05)
    answers = [problem(rest(link)) for link in links]
    assert time.monotonic() - begun < SECONDS + 3
    codes = Counter(answer["code"] for answer in answers)
    assert codes == {"request_timeout": MAX_UNFINISHED, "too_many_requests": CROWD - MAX_UNFINISHED}
    # The places are free again, for the same network too.
    link = connect(fast_timeouts, "127.0.0.2")
    link.sendall(b"GET /api/config HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert rest(link).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("kind", [b"Content-Length: 1000", b"Transfer-Encoding: chunked"])
def test_a_body_that_trickles_in_ends_as_one_that_does_not_arrive(
    fast_timeouts: AppServer, kind: bytes
) -> None:
    link = connect(fast_timeouts)
    link.sendall(HEAD.replace(b"Content-Length: 100", kind))
    begun = time.monotonic()
    while not select.select([link], [], [], 0.1)[0]:
        link.sendall(b"1\r\n{\r\n" if b"chunked" in kind else b" ")
        assert time.monotonic() - begun < SECONDS + 2
    answer = problem(rest(link))
    assert (answer["status"], answer["code"]) == (408, "request_timeout")
    assert time.monotonic() - begun >= SECONDS * 0.9


def test_headers_that_trickle_in_end_after_five_seconds(fast_timeouts: AppServer) -> None:
    link = connect(fast_timeouts)
    begun = time.monotonic()
    link.sendall(b"GET /api/config HTTP/1.1\r\nX: ")
    while not select.select([link], [], [], 0.2)[0]:
        link.sendall(b"x")
        assert time.monotonic() - begun < 8
    assert rest(link) == b""
    assert time.monotonic() - begun > 4


def test_connections_that_ask_nothing_are_limited_for_each_network(
    fast_timeouts: AppServer,
) -> None:
    links = [connect(fast_timeouts, "127.0.0.3") for _ in range(MAX_UNFINISHED + 10)]
    time.sleep(0.3)
    answered = select.select(links, [], [], 0)[0]
    assert len(answered) == 10
    assert {problem(rest(link))["code"] for link in answered} == {"too_many_requests"}
    assert fast_timeouts.request("GET", "/healthz")[0] == 200
    for link in links:
        link.close()


def test_an_answer_that_is_not_taken_ends_its_connection(fast_timeouts: AppServer) -> None:
    link = socket.socket()
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    link.settimeout(10)
    link.connect(("127.0.0.1", fast_timeouts.port))
    asked = 100
    link.sendall(b"GET /api/openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * asked)
    time.sleep(SECONDS + 1.5)
    assert rest(link).count(b"HTTP/1.1 200 ") < asked


def test_streams_live_on_when_a_request_and_an_answer_would_have_ended(
    fast_timeouts: AppServer, live_database: Database[Document]
) -> None:
    user = register(fast_timeouts)
    chat_id = user.open_chat()
    link = connect(fast_timeouts)
    head = f"Host: a\r\nAuthorization: Bearer {user.token}\r\n\r\n".encode()
    # The stream comes after an answer on the same connection, whose limit it must not keep.
    link.sendall(b"GET /api/auth/me HTTP/1.1\r\n" + head)
    assert link.recv(65_536).startswith(b"HTTP/1.1 200 ")
    link.sendall(b"GET /api/events HTTP/1.1\r\n" + head)
    seen = link.recv(65_536)
    time.sleep(SECONDS + 1)
    assert user.send(chat_id, "still there")[0] == 201
    while b"still there" not in seen:
        more = link.recv(65_536)
        assert more
        seen += more
    link.close()
