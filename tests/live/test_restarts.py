"""Servers that are stopped, reloaded and replaced while clients listen, wait and send."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial

import pytest

from tests.live.clients import CUT_OFF, Answer, Client, register, register_agent
from tests.servers import AppServer, DatabaseServer, start_app
from tests.streams import ConnectionClosed, EventStream, Refused, Stream, WebSocket

pytestmark = pytest.mark.long

ENV = {"RATELIMIT_ENABLED": "false"}
# gunicorn's graceful_timeout is 10 s; the streams must not use it up.
STOPS_WITHIN = 6.0


def chat_stream(server: AppServer, who: Client, chat_id: str, after: int = 0) -> EventStream:
    """Open a chat's stream."""
    return EventStream(server.url, f"/api/chat/{chat_id}/events?after={after}", who.token)


def _stop(server: AppServer) -> None:
    os.kill(server.pid, signal.SIGTERM)


def _reload(server: AppServer) -> None:
    server.reload()


@pytest.mark.parametrize("act", [_stop, _reload])
def test_clients_are_told_and_the_worker_goes_soon(
    own_database: DatabaseServer, act: Callable[[AppServer], None]
) -> None:
    with start_app(own_database.uri, env=ENV) as server:
        user, agent = register(server), register_agent(server)
        chat_id = user.open_chat()
        old = server.worker_pids()
        streams: list[Stream] = [
            *(chat_stream(server, user, chat_id) for _ in range(20)),
            EventStream(server.url, "/api/events", agent.token),
            WebSocket(server.url, agent.token),
            WebSocket(server.url, user.token),
        ]
        with ThreadPoolExecutor(1) as pool:
            poll: Future[Answer] = pool.submit(
                user.call, "GET", f"/api/chat/{chat_id}/messages?after=0&wait=25"
            )
            time.sleep(0.5)
            begun = time.monotonic()
            act(server)
            waits = set()
            for each in streams:
                end = each.to_the_end(3)
                assert (end.name, end.data["code"]) == ("end", "restarting")
                assert 0 < end.data["retryAfter"] <= 3
                waits.add(end.data["retryAfter"])
                if isinstance(each, WebSocket):
                    assert each.close_code == 1012
                each.drop()
            # They do not all come back in one moment.
            assert len(waits) > 10
            closed = time.monotonic() - begun
            assert poll.result(5)[::2] == (200, [])
        while set(old) & set(server.worker_pids()):
            assert time.monotonic() - begun < STOPS_WITHIN
            time.sleep(0.05)
        print(f"closed after {closed:.1f} s, gone after {time.monotonic() - begun:.1f} s")
        if act is _reload:
            with chat_stream(server, user, chat_id) as events:
                assert events.next().name == "chat"
        log = server.log.read_text()
        for word in ("Traceback", "Worker graceful timeout", "error", "ERROR"):
            assert word not in log, log


def test_clients_that_do_not_read_hold_no_worker(own_server: AppServer) -> None:
    user = register(own_server)
    chat_id = user.open_chat()
    for _ in range(300):
        user.send(chat_id, "🙂" * 5000)
    with contextlib.ExitStack() as opened:
        for _ in range(3):
            client = opened.enter_context(socket.socket())
            # Before it connects, so that the kernel takes little for it.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", own_server.port))
            client.sendall(
                f"GET /api/chat/{chat_id}/events?after=0 HTTP/1.1\r\n"
                f"Host: x\r\nAuthorization: Bearer {user.token}\r\n\r\n".encode()
            )
        time.sleep(1)
        begun = time.monotonic()
        old = own_server.worker_pids()
        own_server.reload()
        while set(old) & set(own_server.worker_pids()):
            assert time.monotonic() - begun < STOPS_WITHIN
            time.sleep(0.05)
    assert "graceful timeout" not in own_server.log.read_text()


def test_a_stream_that_comes_while_the_door_closes_is_sent_on(own_server: AppServer) -> None:
    user = register(own_server)
    chat_id = user.open_chat()
    with chat_stream(own_server, user, chat_id) as events:
        own_server.reload()
        events.until("end")
    # Old and new workers share the door for a moment; no stream may hang at the old one.
    with contextlib.ExitStack() as opened:
        streams = []
        end = time.monotonic() + 2
        while time.monotonic() < end:
            streams.append(opened.enter_context(chat_stream(own_server, user, chat_id)))
            time.sleep(0.1)
        time.sleep(1)
        for each in streams:
            if not each.is_gone:
                each.read(0)
            names = [event.name for event in each.events]
            assert names in (["chat"], ["chat", "end"], ["end"])
    assert "graceful timeout" not in own_server.log.read_text()


def test_a_rolling_restart_loses_and_doubles_nothing(  # noqa: C901 - one story
    own_database: DatabaseServer,
) -> None:
    with start_app(own_database.uri, env=ENV) as one, start_app(own_database.uri, env=ENV) as two:
        servers = [one, two]
        user, agent = register(one), register_agent(one)
        chat_id = user.open_chat()
        enough, done = threading.Event(), threading.Event()
        acknowledged: dict[str, int] = {}

        def anywhere(who: Client, turn: int) -> Client:
            """Return the client at one of the servers, as a balancer does."""
            return Client(servers[turn % 2], who.token, who.id)

        def attempt(who: Client, turns: Iterator[int], key: str) -> Answer:
            return anywhere(who, next(turns)).send(chat_id, key, key)

        def send(who: Client, name: str) -> None:
            turns = itertools.count()
            while not enough.is_set():
                key = f"{name}-{next(turns)}"
                (status, _, message), _ = who.insist(partial(attempt, who, turns, key), 60)
                assert status in {200, 201}, message
                acknowledged[key] = message["seq"]
                time.sleep(0.02)

        def follow(who: Client, kind: str) -> list[int]:
            got: list[int] = []
            for turn in itertools.count():
                if done.is_set() and got and got[-1] == max(acknowledged.values()):
                    return got
                here = anywhere(who, turn)
                try:
                    if kind == "stream":
                        client: Stream = chat_stream(
                            here.server, here, chat_id, got[-1] if got else 0
                        )
                    else:
                        client = WebSocket(here.server.url, here.token)
                        client.say(type="subscribe", chatId=chat_id, after=got[-1] if got else 0)
                except (*CUT_OFF, Refused, ConnectionClosed):
                    time.sleep(0.1)
                    continue
                with client:
                    while not client.is_gone:
                        client.read(0.3)
                        if done.is_set() and client.seqs()[-1:] == [max(acknowledged.values())]:
                            break
                    got += client.seqs()
            raise AssertionError

        with ThreadPoolExecutor(8) as pool:
            sending = [pool.submit(send, user, "user"), pool.submit(send, agent, "agent")]
            following = [
                pool.submit(follow, who, kind)
                for who in (user, agent)
                for kind in ("stream", "socket")
            ]
            try:
                time.sleep(1)
                for server in servers:
                    server.stop()
                    server.start()
                one.reload()
                time.sleep(2.5)
            finally:
                enough.set()
                wait(sending, 60)
                done.set()
            for each in sending:
                each.result()
            last = max(acknowledged.values())
            assert last > 50
            assert len(set(acknowledged.values())) == len(acknowledged) == last
            for found in following:
                assert found.result(30) == list(range(1, last + 1))


def test_a_client_that_sleeps_for_a_while_has_everything_when_it_wakes(
    own_server: AppServer,
) -> None:
    user, agent = register(own_server), register_agent(own_server)
    chat_id = user.open_chat()
    with chat_stream(own_server, agent, chat_id) as asleep:
        asleep.next()
        # A closed laptop reads nothing and closes nothing; the server may end the stream.
        for number in range(1, 61):
            user.send(chat_id, f"Number {number}")
        time.sleep(6)
        got = []
        with contextlib.suppress(ConnectionClosed):
            asleep.until("message", lambda data: data["seq"] == 60, 3)
        got = asleep.seqs()
        assert got == list(range(1, len(got) + 1))
    with chat_stream(own_server, agent, chat_id, after=len(got)) as again:
        user.send(chat_id, "Number 61")
        again.until("message", lambda data: data["seq"] == 61)
        assert got + again.seqs() == list(range(1, 62))
