"""The pace that a body has to keep, and the count of unfinished requests. Live: tests/live."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from gevent import socket
from gunicorn.http.body import Body as GunicornBody
from gunicorn.http.body import EOFReader, LengthReader
from gunicorn.http.unreader import IterUnreader
from pymongo.database import Database

from chatapi import create_app
from chatapi.domain import errors
from chatapi.domain.networks import SITE_FACTOR, network_of
from chatapi.http.slow_clients import Body, Pace, SlowClients, Unfinished
from chatapi.store.database import Document
from config import TestConfig
from deploy.worker import _has_body

HERE = network_of("192.0.2.1")


class Source:
    """Reads a body of 40 bytes as gunicorn does: waits for as many bytes as are asked for."""

    def __init__(self, link: socket.socket) -> None:
        self.link, self.left, self.failed, self.closes = link, 40, False, False

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < min(size, self.left):
            data += self.link.recv(min(size, self.left) - len(data))
        self.left -= len(data)
        return data

    def close_connection(self) -> None:
        self.closes = True


@pytest.fixture
def links() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def body_at(pace: Pace, link: socket.socket) -> tuple[Body, Source, Unfinished]:
    source, unfinished = Source(link), Unfinished(5)
    return Body(source, link, pace, unfinished, HERE), source, unfinished


def send(link: socket.socket, every: float, count: int = 40) -> None:
    for _ in range(count):
        link.sendall(b"x")
        gevent.sleep(every)


def test_a_body_at_the_pace_is_read_whole(links: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = links
    # The whole takes longer than the seconds of one piece, and each piece a small part of them.
    body, source, unfinished = body_at(Pace(4, 1.0, pause=1.0), ours)
    sender = gevent.spawn(send, theirs, 0.03)
    assert body.readall() == b"x" * 40
    assert not source.failed
    assert not unfinished._counts
    sender.join()


@pytest.mark.parametrize(
    ("pace", "every"),
    [(Pace(40, 0.02), 0.002), (Pace(10, 0.01), 0.002), (Pace(40, 10, pause=0.01), 0.02)],
    ids=["too late", "too slow for a while", "a pause"],
)
def test_a_body_that_does_not_keep_the_pace_ends_its_connection(
    links: tuple[socket.socket, socket.socket], pace: Pace, every: float
) -> None:
    ours, theirs = links
    # A route may set its own before it reads.
    body, source, unfinished = body_at(Pace(1, 0.001), ours)
    body.pace = pace
    sender = gevent.spawn(send, theirs, every)
    begun = time.monotonic()
    with pytest.raises(errors.RequestTimeout):
        body.readall()
    assert time.monotonic() - begun < 0.5
    assert source.failed
    assert source.closes
    assert not unfinished._counts
    assert ours.gettimeout() is None
    sender.kill()


def test_a_body_that_does_not_arrive_in_time_is_answered_408(
    links: tuple[socket.socket, socket.socket], database: Database[Document]
) -> None:
    ours, _ = links
    source = Source(ours)
    app = create_app(TestConfig, database=database, REQUEST_BODY_SECONDS=0.01)
    answer = app.test_client().post(
        "/api/auth/login",
        environ_overrides={
            "gunicorn.socket": ours,
            "wsgi.input": source,
            "CONTENT_LENGTH": "40",
            "CONTENT_TYPE": "application/json",
        },
    )
    assert (answer.status_code, answer.get_json()["code"]) == (408, "request_timeout")
    assert source.failed


def test_a_network_has_so_many_unfinished_requests_and_its_site_more() -> None:
    unfinished = Unfinished(2)
    one = network_of("2001:db8::1")
    unfinished.add(one)
    with unfinished.one(network_of("2001:db8::2")):
        assert unfinished.is_full(one)
        assert not unfinished.is_full(network_of("2001:db8:0:1::1"))
        assert not unfinished.is_full(HERE)
        with pytest.raises(errors.TooManyRequests) as refusal, unfinished.one(one):
            pass
        assert refusal.value.retry_after
    assert not unfinished.is_full(one)
    for number in range(2 * SITE_FACTOR - 1):
        unfinished.add(network_of(f"2001:db8:0:{number:x}::1"))
    assert unfinished.is_full(network_of("2001:db8:0:ffff::1"))


def test_any_number_may_be_unfinished_without_limits() -> None:
    unfinished = Unfinished(None)
    for _ in range(1000):
        unfinished.add(HERE)
    assert not unfinished.is_full(HERE)


def serve(source: object) -> object:
    """Return the body that an application is given for a request with this source."""
    given: list[object] = []

    def app(environ: dict[str, Any], _: object) -> list[bytes]:
        given.append(environ["wsgi.input"])
        return []

    ours, theirs = socket.socketpair()
    with ours, theirs:
        environ = {"gunicorn.socket": ours, "wsgi.input": source, "REMOTE_ADDR": "192.0.2.1"}
        SlowClients(app, Pace(10, 1), 5, Unfinished(5))(environ, None)
    return given[0]


@pytest.mark.parametrize(
    ("sent", "length", "is_whole"), [(b"", 0, True), (b"0123", 4, True), (b"012", 4, False)]
)
def test_a_body_that_came_with_its_headers_needs_no_pace(
    sent: bytes, length: int, is_whole: bool
) -> None:
    unreader = IterUnreader([])
    unreader.unread(sent)
    source = GunicornBody(LengthReader(unreader, length))
    assert _has_body(source) is is_whole
    vars(source)["has_arrived"] = _has_body(source)
    body = serve(source)
    assert body is source if is_whole else isinstance(body, Body)


def test_a_chunked_body_is_read_at_a_pace() -> None:
    assert not _has_body(GunicornBody(EOFReader(IterUnreader([]))))
