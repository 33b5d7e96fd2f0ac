"""Connections on a pair of sockets: what is written and read, and when a connection is closed."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator

import gevent
import pytest
from flask import Flask
from flask.testing import FlaskClient
from gevent import socket
from gevent.event import Event as Signal

from chatapi.realtime import followers
from chatapi.realtime.hub import hub
from chatapi.services import feeds, messages
from chatapi.services.feeds import Event, Feed
from chatapi.transport import connections, event_stream
from chatapi.transport.connections import Connection, ConnectionClosed
from tests.conftest import MakeChat, MakeSession, SignIn

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class PlainConnection(Connection):
    """Writes the names of events; what it hears takes as long as the test wants."""

    __slots__ = ("answered", "heard")

    def __init__(self, sock: socket.socket, feed: Feed) -> None:
        super().__init__(sock, feed)
        self.heard: list[bytes] = []
        self.answered = Signal()
        self.answered.set()

    def send_event(self, event: Event) -> None:
        self.send(f"{event.name}\n".encode())

    def on_data(self, data: bytes) -> bool:
        self.heard.append(data)
        self.answered.wait()
        if data == b"bye":
            raise ConnectionClosed
        if data == b"fail":
            raise ValueError("A mistake of ours.")
        return True

    def on_tick(self, now: float) -> None:
        """Nothing is due."""


@pytest.fixture(autouse=True)
def by_hand(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Neither tail nor reaper, and no connection is left behind."""
    monkeypatch.setattr(hub.current, "on_join", lambda: None)
    monkeypatch.setattr(feeds.feed_registry.current, "on_open", lambda: None)
    monkeypatch.setattr(connections, "TICK_SECONDS", 0.01)
    yield
    for feed in feeds.feed_registry.current.all():
        feed.listener.close("closed", 0)
    gevent.sleep(0.02)
    assert not len(connections.connections.current)
    assert not len(feeds.feed_registry.current)
    assert hub.current.is_idle()


@pytest.fixture
def feed(make_session: MakeSession) -> Feed:
    return Feed(make_session(), "192.0.2.1")


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The server's end of a connection and the client's."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(2)
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.fixture
def tcp_ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The server's end of a TCP connection and the client's, which keeps little unread."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        theirs = socket.socket()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        theirs.settimeout(2)
        theirs.connect(door.getsockname())
        ours, _ = door.accept()
    yield ours, theirs
    ours.close()
    theirs.close()


def carried(ends: tuple[socket.socket, socket.socket], feed: Feed) -> PlainConnection:
    """Return a connection that has begun, as the server leaves it."""
    ours, theirs = ends
    connection = PlainConnection(ours, feed)
    connection.start(b"head\n", [Event("first", {})])
    ours.close()
    gevent.sleep(0.01)
    assert theirs.recv(100) == b"head\nfirst\n"
    return connection


def is_open(feed: Feed) -> bool:
    gevent.sleep(0.02)
    return feed in feeds.feed_registry.current.all()


def test_connections_are_looked_at_in_parts_and_all_within_a_pulse(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "TICK_SECONDS", 0.4)
    looked: list[tuple[int, float]] = []

    class Waiting:
        def on_tick(self, now: float) -> None:
            looked.append((id(self), now))

    watched, waiting = connections.ConnectionRegistry(), [Waiting() for _ in range(200)]
    for each in waiting:
        watched.add(each)  # type: ignore[arg-type]
    while len(looked) < 200:
        gevent.sleep(0.01)
    for each in waiting:
        watched.remove(each)  # type: ignore[arg-type]
    gevent.sleep(0.5)
    assert len({connection for connection, _ in looked[:200]}) == 200
    times = [at for _, at in looked]
    # One after the other; a part that is late does not delay those after it.
    gaps = sorted(times[number + 10] - times[number] for number in range(0, 190, 10))
    assert gaps[len(gaps) // 2] > 0.01


def test_connections_that_take_long_to_look_at_do_not_delay_the_next_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "TICK_SECONDS", 0.05)
    pauses: list[float] = []
    rounds: list[float] = []
    sleep = gevent.sleep

    def counted(seconds: float = 0) -> None:
        pauses.append(seconds)
        sleep(seconds)

    class Slow:
        def on_tick(self, now: float) -> None:
            rounds.append(now)
            time.sleep(0.02)

    watched, waiting = connections.ConnectionRegistry(), [Slow() for _ in range(20)]
    monkeypatch.setattr(gevent, "sleep", counted)
    for each in waiting:
        watched.add(each)  # type: ignore[arg-type]
    while len(rounds) < 60:
        sleep(0.01)
    for each in waiting:
        watched.remove(each)  # type: ignore[arg-type]
    sleep(0.1)
    # A round takes 0.4 s instead of 0.05: after its first part no other one is waited for.
    assert len(pauses) >= 60
    assert sum(pause > 0 for pause in pauses) <= 2 * len(pauses) / 20 + 1


def test_a_connection_that_cannot_be_looked_at_is_ended_and_the_others_are_looked_at(
    ends: tuple[socket.socket, socket.socket], feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[float] = []

    class Good:
        def on_tick(self, now: float) -> None:
            looked.append(now)

    def fail(_: float) -> None:
        raise ValueError("A mistake of ours.")

    monkeypatch.setattr(PlainConnection, "on_tick", lambda _, now: fail(now))
    carried(ends, feed)
    good = Good()
    connections.connections.current.add(good)  # type: ignore[arg-type]
    gevent.sleep(0.05)
    seen = len(looked)
    gevent.sleep(0.05)
    connections.connections.current.remove(good)  # type: ignore[arg-type]
    assert len(looked) > seen > 0
    assert not is_open(feed)


def test_the_pulse_goes_on_after_an_error_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followers, "FIRST_PAUSE", 0.001)
    looked: list[float] = []
    watched = connections.ConnectionRegistry()

    class Waiting:
        def on_tick(self, now: float) -> None:
            looked.append(now)

    waiting = Waiting()
    with monkeypatch.context() as patched:
        patched.setattr(watched, "_tick", lambda _: 1 / 0)
        watched.add(waiting)  # type: ignore[arg-type]
        while not watched.ticker.failures:
            gevent.sleep(0.01)
    while not looked:
        gevent.sleep(0.01)
    watched.remove(waiting)  # type: ignore[arg-type]
    assert watched.ticker.state()["lastError"] == "ZeroDivisionError"


def test_a_connection_that_waits_has_no_greenlet(
    ends: tuple[socket.socket, socket.socket], feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawn, spawned = gevent.spawn, []
    monkeypatch.setattr(gevent, "spawn", lambda *given: spawned.append(spawn(*given)))
    carried(ends, feed)
    feed.enqueue(Event("second", {}))
    ends[1].sendall(b"hello")
    assert ends[1].recv(100) == b"second\n"
    assert is_open(feed)
    _, *workers = spawned  # The first is the pulse, which all connections share.
    assert len(workers) == 3  # one for the opening, one to write and one to read
    assert all(each.dead for each in workers)


def test_what_comes_while_the_client_does_not_read_is_written_later_and_in_order(
    ends: tuple[socket.socket, socket.socket], feed: Feed
) -> None:
    carried(ends, feed)
    big = "x" * 1_000_000
    feed.enqueue(Event(big, {}))
    gevent.sleep(0.02)
    assert feed.writing_since is not None
    for name in ("second", "third"):
        feed.enqueue(Event(name, {}))
    got = b""
    while not got.endswith(b"third\n"):
        got += ends[1].recv(65536)
    assert got == f"{big}\nsecond\nthird\n".encode()
    assert feed.writing_since is None


def test_a_client_that_reads_slowly_is_seen_to_go_on(
    tcp_ends: tuple[socket.socket, socket.socket], feed: Feed
) -> None:
    carried(tcp_ends, feed)
    big = "x" * 4_000_000
    feed.enqueue(Event(big, {}))
    got, waits = 0, []
    while got < len(big):
        gevent.sleep(0.01)
        if feed.writing_since is not None:
            waits.append(time.monotonic() - feed.writing_since)
        got += len(tcp_ends[1].recv(32768))
    # What the kernel keeps for the client would by itself last for as long as the whole.
    assert len(waits) > 50
    assert max(waits) < 0.5


def test_a_client_that_reads_nothing_holds_no_request(
    ends: tuple[socket.socket, socket.socket], feed: Feed
) -> None:
    with gevent.Timeout(1):
        PlainConnection(ends[0], feed).start(b"head\n", [Event("x" * 4_000_000, {})])
    ends[0].close()
    assert is_open(feed)
    assert feed.writing_since is not None
    ends[1].close()
    assert not is_open(feed)


def test_a_client_that_reads_nothing_is_seen_to_stand_still(
    tcp_ends: tuple[socket.socket, socket.socket], feed: Feed
) -> None:
    carried(tcp_ends, feed)
    feed.enqueue(Event("x" * 4_000_000, {}))
    gevent.sleep(0.1)
    since = feed.writing_since
    gevent.sleep(0.1)
    assert feed.writing_since == since is not None


def test_a_sign_of_life_does_not_wait_for_the_end_of_a_long_catch_up(
    ends: tuple[socket.socket, socket.socket], feed: Feed
) -> None:
    connection = carried(ends, feed)
    connection.write(Event("x" * 500_000, {}) for _ in range(4))
    gevent.sleep(0.01)
    for _ in range(3):
        connection.write([connections.ALIVE])  # Once is enough, however often it was due.
    feed.enqueue(Event("live", {}))
    got = b""
    while not got.endswith(b"live\n"):
        got += ends[1].recv(65536)
    names = [name[:5] for name in got.split()]
    assert names == [b"xxxxx", b"alive", b"xxxxx", b"xxxxx", b"xxxxx", b"live"]


def test_a_client_that_goes_is_noticed_at_once(
    ends: tuple[socket.socket, socket.socket], feed: Feed
) -> None:
    carried(ends, feed)
    assert is_open(feed)
    ends[1].close()
    assert not is_open(feed)


def test_a_client_that_goes_in_the_middle_of_a_write_is_noticed(
    ends: tuple[socket.socket, socket.socket], feed: Feed
) -> None:
    carried(ends, feed)
    feed.enqueue(Event("x" * 1_000_000, {}))
    assert is_open(feed)
    ends[1].close()
    assert not is_open(feed)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Only Linux has it.")
def test_the_kernel_gives_up_a_client_whose_network_is_gone(
    tcp_ends: tuple[socket.socket, socket.socket], feed: Feed
) -> None:
    connection = carried(tcp_ends, feed)
    given = connection.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    assert given == 10_000
    # It ends the connection only because there is always something to acknowledge.
    assert event_stream.AGENT_HEARTBEAT_SECONDS <= event_stream.HEARTBEAT_SECONDS <= 15


def test_the_last_event_is_written_and_then_the_connection_ends(
    ends: tuple[socket.socket, socket.socket], feed: Feed
) -> None:
    carried(ends, feed)
    feed.listener.close("restarting", 1)
    assert ends[1].recv(100) == b"end\n"
    assert ends[1].recv(100) == b""
    assert not is_open(feed)


def test_a_feed_that_ended_before_it_was_carried_ends_the_connection(
    ends: tuple[socket.socket, socket.socket], feed: Feed
) -> None:
    feed.listener.close("restarting", 1)
    PlainConnection(ends[0], feed).start(b"head\n", feed.until_end(()))
    ends[0].close()
    gevent.sleep(0.01)
    assert ends[1].recv(100) == b"head\nend\n"
    assert not is_open(feed)


@pytest.mark.parametrize("word", [b"bye", b"fail"])
def test_what_is_heard_may_end_the_connection(
    ends: tuple[socket.socket, socket.socket], feed: Feed, word: bytes
) -> None:
    connection = carried(ends, feed)
    ends[1].sendall(b"hello")
    assert is_open(feed)
    ends[1].sendall(word)
    assert not is_open(feed)
    assert connection.heard == [b"hello", word]


def test_a_connection_is_closed_only_when_what_was_heard_is_done(
    ends: tuple[socket.socket, socket.socket],
    feed: Feed,
    make_chat: MakeChat,
) -> None:
    connection = carried(ends, feed)
    connection.answered.clear()
    ends[1].sendall(b"join a chat")
    assert is_open(feed)
    feed.listener.close("session_ended", 0)
    assert ends[1].recv(100) == b"end\n"
    # It may still subscribe to something, which somebody has to undo.
    assert is_open(feed)
    feed.subscribe(make_chat(feed.session)["_id"])
    connection.answered.set()
    assert not is_open(feed)
    assert hub.current.is_idle()


def test_an_event_stream_without_a_connection_to_take_over(
    client: FlaskClient,
    sign_in: SignIn,
    make_chat: MakeChat,
    make_session: MakeSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_stream, "AGENT_HEARTBEAT_SECONDS", 0.01)
    agent = sign_in("admin")
    chat = make_chat(make_session(), message="Hello")
    path = f"/api/chat/{chat['_id']}/events"
    response = client.get(f"{path}?after=0", headers=agent)
    assert response.headers["Content-Type"].startswith("text/event-stream")
    parts = response.iter_encoded()
    assert next(parts) == event_stream.RETRY
    assert next(parts).startswith(b"event: chat\n")
    assert next(parts).startswith(b"event: message\nid: 1\n")
    assert next(parts) == next(parts) == event_stream.HEARTBEAT
    # What this process writes arrives without the tail.
    messages.send(make_session("admin"), chat["_id"], "Two")
    assert next(parts).startswith(b"event: message\nid: 2\n")
    assert len(feeds.feed_registry.current) == 1
    response.close()
    assert not len(feeds.feed_registry.current)
    with client.head(path, headers=agent) as head:
        assert (head.status_code, head.data) == (200, b"")
    assert not len(feeds.feed_registry.current)


def test_who_talks_on_an_event_stream_is_still_missed_when_gone(
    ends: tuple[socket.socket, socket.socket], make_session: MakeSession
) -> None:
    feed = Feed(make_session(), "192.0.2.1")
    list(feed.subscribe_inbox())
    event_stream._EventConnection(ends[0], feed).start(b"head\n", ())
    ends[0].close()
    for _ in range(3):
        ends[1].sendall(b"hello")
        assert is_open(feed)
    ends[1].close()
    assert not is_open(feed)


def test_who_talks_too_much_on_an_event_stream_is_sent_away(
    ends: tuple[socket.socket, socket.socket], make_session: MakeSession
) -> None:
    feed = Feed(make_session(), "192.0.2.1")
    list(feed.subscribe_inbox())
    event_stream._EventConnection(ends[0], feed).start(b"head\n", ())
    ends[0].close()
    ends[1].sendall(b"x" * event_stream.MAX_RECEIVED_BYTES)
    assert is_open(feed)
    ends[1].sendall(b"x")
    assert not is_open(feed)


def _fail(*_: object) -> None:
    raise OSError(errno.EMFILE, "Too many open files")


STREAMS = [
    ("/api/events", {}),
    ("/api/ws", UPGRADE),
]


@pytest.mark.parametrize(("path", "headers"), STREAMS)
def test_a_connection_that_cannot_be_taken_over_leaves_no_feed(
    client: FlaskClient,
    sign_in: SignIn,
    ends: tuple[socket.socket, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    headers: dict[str, str],
) -> None:
    agent = sign_in("admin")
    monkeypatch.setattr(socket.socket, "dup", _fail)
    with pytest.raises(OSError, match="Too many open files"):
        client.get(path, headers=agent | headers, environ_overrides={"gunicorn.socket": ends[0]})
    assert not len(feeds.feed_registry.current)


@pytest.mark.parametrize(("path", "headers"), [*STREAMS, ("/api/events", None)])
def test_an_answer_that_fails_before_it_is_written_leaves_no_feed(
    app: Flask,
    client: FlaskClient,
    sign_in: SignIn,
    ends: tuple[socket.socket, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    headers: dict[str, str] | None,
) -> None:
    agent = sign_in("admin")
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.after_request_funcs.setdefault(None, []).append(_fail)
    taken = {} if headers is None else {"gunicorn.socket": ends[0]}
    opened: list[Feed] = []
    monkeypatch.setattr(
        feeds.feed_registry.current,
        "on_open",
        lambda: opened.extend(feeds.feed_registry.current.all()),
    )
    answer = client.get(path, headers=agent | (headers or {}), environ_overrides=taken)
    assert answer.status_code == 500
    assert len(opened) == 1
    assert not len(feeds.feed_registry.current)


def test_a_connection_that_cannot_begin_leaves_neither_feed_nor_descriptor(
    ends: tuple[socket.socket, socket.socket], feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PlainConnection, "_readable", property(_fail))
    with pytest.raises(OSError, match="Too many open files"):
        PlainConnection(ends[0], feed).start(b"head\n", ())
    ends[0].close()
    assert ends[1].recv(100) == b""
    assert not len(feeds.feed_registry.current)


def test_a_message_and_its_chat_go_to_an_event_stream_in_one_write(
    ends: tuple[socket.socket, socket.socket],
    make_session: MakeSession,
    make_chat: MakeChat,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    user = make_session()
    chat = make_chat(user)
    ours, theirs = ends
    feed = Feed(user, "192.0.2.1")
    connection = event_stream._EventConnection(ours, feed)
    connection.start(b"head\n", feed.subscribe(chat["_id"]))
    gevent.sleep(0.02)
    assert b"event: chat" in theirs.recv(65_536)
    write, written = Connection.send, list[bytes]()

    def counted(self: Connection, data: bytes) -> None:
        written.append(data)
        write(self, data)

    monkeypatch.setattr(Connection, "send", counted)
    messages.send(user, chat["_id"], "Hello")
    gevent.sleep(0.02)
    assert [data.count(b"event: ") for data in written] == [2]
    received = theirs.recv(65_536)
    assert received == written[0]
    assert received.index(b"event: message") < received.index(b"event: chat")


def test_a_long_catch_up_is_written_in_parts(
    ends: tuple[socket.socket, socket.socket],
    make_session: MakeSession,
    make_chat: MakeChat,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    user = make_session()
    chat = make_chat(user)
    for number in range(9):
        messages.send(user, chat["_id"], f"{number}" * 4000)
    ours, theirs = ends
    sizes: list[int] = []
    write = Connection.send

    def counted(self: Connection, data: bytes) -> None:
        sizes.append(len(data))
        write(self, data)

    monkeypatch.setattr(Connection, "send", counted)
    feed = Feed(user, "192.0.2.1")
    event_stream._EventConnection(ours, feed).start(b"head\n", feed.subscribe(chat["_id"], after=0))
    received = b""
    while received.count(b"event: message") < 9 or not received.endswith(b"\n\n"):
        received += theirs.recv(65_536)
    assert len(sizes) > 2
    assert max(sizes) < 2 * event_stream.BUFFER_BYTES
