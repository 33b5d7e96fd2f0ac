"""What happens after a while: heartbeats, pings, and clients that stand still.

On a server with shorter timeouts than the real one: see `tests.live.fast_timeouts`.
"""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymongo.database import Database

from chatapi.services import accounts, chats, messages
from chatapi.store.database import Document
from deploy import run
from tests.conftest import CLIENT
from tests.live.clients import Client, register, register_agent
from tests.servers import AppServer, DatabaseServer
from tests.streams import EventStream, WebSocket, has_seq

# As `tests.live.fast_timeouts` has them, in seconds.
HEARTBEAT, AGENT_HEARTBEAT = 1.5, 0.5
PING, SILENCE = 1.0, 3.0
AGENT_SILENCE = 1.5
STUCK = 2.0
SLACK = 1.2  # A busy machine may be late; nothing is early.

BIG, LAST = "🙂" * 5000, 300  # more than the kernel keeps for a client that does not read

CLIENT_PROGRAM = """
import contextlib, json, sys
from tests.streams import EventStream, WebSocket
url, kind, chat_id, token = sys.argv[1:]
if kind == "stream":
    client = EventStream(url, f"/api/chat/{chat_id}/events?after=0", token)
else:
    client = WebSocket(url, token)
    client.ask("1", type="subscribe", chatId=chat_id, after=0)
client.next()
print("open", flush=True)
with contextlib.suppress(OSError):  # a ping that is answered too late
    while not client.is_gone:
        client.read(60)
print(json.dumps(client.seqs()))
"""


@pytest.fixture(scope="module")
def shared_server(
    database_server: DatabaseServer, _prepared_database: Database[Document]
) -> Iterator[AppServer]:
    server = AppServer(database_server.uri, env={"RATELIMIT_ENABLED": "false"})
    server._child.command = [*run.web_command()[:-1], "tests.live.fast_timeouts:app"]
    with server:
        server.start()
        yield server


@pytest.fixture
def server(shared_server: AppServer, live_database: Database[Document]) -> AppServer:
    return shared_server


def times_of(count: Callable[[], int], read: Callable[[float], Any], seconds: float) -> list[float]:
    """Read for so long and return when the count grew."""
    begun, seen, found = time.monotonic(), count(), []
    while (passed := time.monotonic() - begun) < seconds:
        read(0.05)
        if count() > seen:
            seen = count()
            found.append(passed)
    return found


@pytest.mark.parametrize(
    ("make", "interval"), [(register, HEARTBEAT), (register_agent, AGENT_HEARTBEAT)]
)
def test_a_quiet_stream_sends_heartbeats(
    server: AppServer, make: Callable[[AppServer], Client], interval: float
) -> None:
    with EventStream(server.url, "/api/events", make(server).token) as events:
        beats = times_of(lambda: events.heartbeats, events.read, 3.5 * interval + SLACK)
    gaps = [after - before for before, after in itertools.pairwise(beats)]
    assert len(beats) >= 3
    assert all(interval - 0.15 < gap < interval + SLACK for gap in gaps), gaps


def test_a_stream_that_has_something_to_say_sends_no_heartbeat(server: AppServer) -> None:
    user = register(server)
    chat_id = user.open_chat()
    with EventStream(server.url, f"/api/chat/{chat_id}/events", user.token) as events:
        for number in range(1, 5):
            events.silent_for(HEARTBEAT / 3, "message")
            user.send(chat_id, f"Number {number}")
            events.until("message", has_seq(number))
        assert events.heartbeats == 0
        assert len(times_of(lambda: events.heartbeats, events.read, HEARTBEAT + SLACK)) >= 1


def test_a_socket_is_pinged_and_whoever_answers_stays(server: AppServer) -> None:
    user = register(server)
    with WebSocket(server.url, user.token) as link:
        pings = times_of(lambda: link.pings, link.read, SILENCE + 1.5)
        gaps = [after - before for before, after in itertools.pairwise(pings)]
        assert len(pings) >= 3
        # At any moment: sockets that came together are not asked together.
        assert pings[0] < PING + SLACK
        assert all(PING - 0.15 < gap < PING + SLACK for gap in gaps), gaps
        assert link.ask("1", type="subscribe", chatId=None).name == "ok"


def test_a_socket_that_stays_silent_is_given_up(server: AppServer) -> None:
    user, other = register(server), register(server)
    with WebSocket(server.url, user.token) as silent, WebSocket(server.url, other.token) as link:
        silent.answers_pings = False
        begun = time.monotonic()
        while not silent.is_gone:
            silent.read(0.1)
            link.read(0)
            assert time.monotonic() - begun < SILENCE + SLACK
        assert time.monotonic() - begun > SILENCE - 0.15
        assert silent.pings >= 2
        assert link.ask("1", type="subscribe", chatId=None).name == "ok"


def test_an_agent_whose_network_vanishes_is_soon_no_longer_there(server: AppServer) -> None:
    user, ana = register(server), register_agent(server)
    chat_id = user.open_chat()
    stream = EventStream(server.url, f"/api/chat/{chat_id}/events", user.token)
    with stream as events, WebSocket(server.url, ana.token) as link:
        link.ask("1", type="subscribe", chatId=chat_id)
        events.until("presence", lambda data: (data["userId"], data["online"]) == (ana.id, True), 5)
        link.answers_pings = False
        begun = time.monotonic()
        while not link.is_gone:
            link.read(0.1)
            assert time.monotonic() - begun < AGENT_SILENCE + SLACK
        events.until(
            "presence", lambda data: (data["userId"], data["online"]) == (ana.id, False), 5
        )


@pytest.mark.parametrize("kind", ["stream", "socket"])
def test_a_client_whose_process_is_stopped_is_cut_off_and_harms_nobody(
    server: AppServer, live_app: object, kind: str
) -> None:
    session, token = accounts.guest("Guest", "guest@example.org", CLIENT)
    chat, _, _ = chats.create(session, "Help")
    chat_id, agent = str(chat["_id"]), register_agent(server)
    path = f"/api/chat/{chat_id}/events?after=0"
    stopped = subprocess.Popen(
        [sys.executable, "-c", CLIENT_PROGRAM, server.url, kind, chat_id, token],
        cwd=run.ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert stopped.stdout is not None
    try:
        assert stopped.stdout.readline() == "open\n"
        with EventStream(server.url, path, agent.token) as witness:
            assert open_streams(agent) == 2
            stopped.send_signal(signal.SIGSTOP)
            for number in range(1, LAST + 1):
                messages.send(session, chat["_id"], BIG)
                witness.until("message", has_seq(number), 2)
            begun = time.monotonic()
            while open_streams(agent) == 2:
                assert time.monotonic() - begun < STUCK + SLACK
                time.sleep(0.1)
            witness.silent_for(0.2, "end")
        stopped.send_signal(signal.SIGCONT)
        rest, _ = stopped.communicate(timeout=5)
        # What it has is the beginning of all, and it knows that it has to come again.
        got = json.loads(rest)
        assert got == list(range(1, len(got) + 1))
        assert len(got) < LAST
    finally:
        stopped.kill()
        stopped.communicate()


def open_streams(agent: Client) -> int:
    """Return how many streams the server has open."""
    return int(agent.call("GET", "/api/admin/realtime")[2]["streams"])
