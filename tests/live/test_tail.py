"""The tail on databases that lose its place, have no change streams, stop or are killed."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from bson import ObjectId
from pymongo import MongoClient

from chatapi.domain import clock
from tests.live.clients import Client, register, register_agent
from tests.servers import AppServer, DatabaseServer, start_app
from tests.streams import ConnectionClosed, EventStream, WebSocket

ENV = {"RATELIMIT_ENABLED": "false"}


def bare_command(server: DatabaseServer, *options: str) -> list[str]:
    """Return how the database's own command line starts it, which has more options than ours."""
    settings = server.directory.parent / "empty.toml"
    settings.touch()
    return [
        *(sys.executable, "-P", "-m", "secantus", "--host", "127.0.0.1", "--log-level", "WARNING"),
        *("--port", str(server.port), "--storage-path", str(server.directory)),
        *("--config", str(settings), *options),
    ]


@pytest.fixture
def standalone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """A database server without change streams."""
    server = DatabaseServer(tmp_path_factory.mktemp("standalone") / "db")
    server._child.command = bare_command(server, "--standalone")
    with server:
        server.start()
        yield server


@pytest.fixture
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """A database server that keeps the last hundred changes only."""
    server = DatabaseServer(tmp_path_factory.mktemp("forgetful") / "db")
    options = ("--oplog-max-entries", "100", "--oplog-retention-seconds", "1")
    server._child.command = bare_command(server, *options)
    with server:
        server.start()
        yield server


def chat_stream(server: AppServer, who: Client, chat_id: str, after: int = 0) -> EventStream:
    """Open a chat's stream."""
    return EventStream(server.url, f"/api/chat/{chat_id}/events?after={after}", who.token)


def state(agent: Client) -> dict[str, Any]:
    """Return what the agent's server says of its tail."""
    status, _, answer = agent.call("GET", "/api/admin/realtime")
    assert status == 200, answer
    return dict(answer)


def test_the_state_of_the_tail_is_for_agents(live_server: AppServer) -> None:
    user, agent = register(live_server), register_agent(live_server)
    assert user.call("GET", "/api/admin/realtime")[0] == 403
    assert live_server.request("GET", "/api/admin/realtime")[0] == 401
    chat_id = user.open_chat()
    with chat_stream(live_server, user, chat_id) as events:
        user.send(chat_id, "Hello")
        events.until("message")
        # What this process wrote it tells at once, and the tail hears of it a little later.
        end = time.monotonic() + 5
        while (now := state(agent))["lagMs"] is None:
            assert time.monotonic() < end, "the tail heard nothing"
            time.sleep(0.05)
        assert (now["mode"], now["connected"]) == ("stream", True)
        assert now["streams"] >= 1
        assert now["lagMs"] < 1000
        assert now["secondsSinceLastLook"] < 2
        assert now["longestQueue"] < 100


@pytest.mark.long
def test_without_change_streams_the_tail_polls(standalone: DatabaseServer) -> None:
    with (
        start_app(standalone.uri, env=ENV) as one,
        start_app(standalone.uri, env=ENV) as two,
    ):
        user, agent = register(one), register_agent(two)
        chat_id = user.open_chat()
        with (
            chat_stream(two, agent, chat_id) as events,
            WebSocket(one.url, user.token) as link,
            EventStream(two.url, "/api/events", agent.token) as inbox,
        ):
            link.ask("1", type="subscribe", chatId=chat_id, after=0)
            assert state(agent)["mode"] == "poll"
            for number in range(1, 31):
                user.send(chat_id, f"Number {number}")
                time.sleep(0.05)
            agent.call("POST", f"/api/chat/{chat_id}/typing")
            for each in (events, link):
                each.until("message", lambda data: data["seq"] == 30, 3)
                assert each.seqs() == list(range(1, 31))
            link.until("typing", timeout=3)
            # A poll looks back over what it has told already, and tells it once.
            time.sleep(2.5)
            events.read(0)
            versions = [each.data["lastSeq"] for each in events.events if each.name == "chat"]
            assert len(versions) == len(set(versions))
            assert sum(each.name == "typing" for each in link.events) == 1
            inbox.until("chat", lambda chat: chat["lastSeq"] == 30)
            # Nobody tells of sessions that end: they are looked at all the time.
            user.call("POST", "/api/auth/logout")
            assert link.to_the_end(5).data["code"] == "session_ended"


@pytest.mark.long
def test_a_poll_goes_on_where_an_outage_cut_it_off(standalone: DatabaseServer) -> None:
    with start_app(standalone.uri, env=ENV) as server:
        user, agent = register(server), register_agent(server)
        chat_id = user.open_chat()
        with EventStream(server.url, "/api/events", agent.token) as inbox:
            inbox.silent_for(1.2, "end")
            (worker,) = server.worker_pids()
            os.kill(worker, signal.SIGSTOP)
            try:
                standalone.stop()
                standalone.start()
                _change_directly(standalone, chat_id, 1)
            finally:
                os.kill(worker, signal.SIGCONT)
            inbox.until("chat", lambda chat: chat["subject"] == "Changed 0", 15)


def _change_directly(database: DatabaseServer, chat_id: str, times: int) -> None:
    """Change a chat as another host would, without this one's help."""
    client: MongoClient[dict[str, Any]] = MongoClient(database.uri)
    with client:
        chats = client.get_default_database()["chatrooms"]
        for number in range(times):
            change = {"subject": f"Changed {number}", "changedAt": clock.now()}
            where = {"_id": ObjectId(chat_id)}
            chats.update_one(where, {"$set": change, "$inc": {"version": 1}})


def _crowd_out_the_oplog(database: DatabaseServer) -> None:
    client: MongoClient[dict[str, Any]] = MongoClient(database.uri)
    with client:
        for _ in range(4):
            client.get_default_database()["junk"].insert_many([{} for _ in range(1000)])
            time.sleep(0.6)


@pytest.mark.long
@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_streams_outlive_a_restart_of_the_database(
    own_database: DatabaseServer, own_server: AppServer, kill: bool
) -> None:
    user, agent = register(own_server), register_agent(own_server)
    chat_id = user.open_chat()
    stop = threading.Event()
    sent: list[int] = []

    def send() -> None:
        while not stop.is_set():
            key = f"key-{len(sent)}"
            (_, _, message), _ = user.insist(partial(user.send, chat_id, "Hello", key), 60)
            sent.append(message["seq"])
            time.sleep(0.02)

    got: list[int] = []

    def follow() -> None:
        """Do as a browser does: connect again with the last id."""
        while not (stop.is_set() and got and got[-1] == sent[-1]):
            last = got[-1] if got else 0
            try:
                with chat_stream(own_server, agent, chat_id, last) as events:
                    while not events.is_gone:
                        events.read(0.2)
                        got.extend(events.seqs()[len(got) - last :])
                        if stop.is_set() and got and got[-1] == sent[-1]:
                            return
            except Exception:  # noqa: BLE001 - refused while the database was away
                time.sleep(0.2)

    with (
        ThreadPoolExecutor(2) as pool,
        EventStream(own_server.url, "/api/events", agent.token) as inbox,
    ):
        sending, following = pool.submit(send), pool.submit(follow)
        try:
            time.sleep(1)
            (own_database.kill if kill else own_database.stop)()
            own_database.start()
            before = len(sent)
            end = time.monotonic() + 20
            while len(sent) < before + 20:
                assert time.monotonic() < end, "the database came back and nothing was sent"
                time.sleep(0.05)
        finally:
            stop.set()
        sending.result(30)
        following.result(30)
        assert got == list(range(1, len(got) + 1))
        assert set(sent) <= set(got)
        # Whoever heard nothing of the last one was told to fetch again.
        try:
            while not inbox.events or inbox.events[-1].data.get("lastSeq") != got[-1]:
                assert inbox.read(5), "deaf"
        except ConnectionClosed:
            assert inbox.events[-1].data["code"] == "restarting"
    assert state(agent)["mode"] == "stream"


@pytest.mark.long
def test_changes_made_while_the_database_was_away_are_told_in_order(
    own_database: DatabaseServer, own_server: AppServer
) -> None:
    user, agent = register(own_server), register_agent(own_server)
    chat_id = user.open_chat()
    with EventStream(own_server.url, "/api/events", agent.token) as inbox:
        user.send(chat_id, "One")
        inbox.until("chat", lambda chat: chat["lastSeq"] == 1)
        (worker,) = own_server.worker_pids()
        os.kill(worker, signal.SIGSTOP)
        try:
            own_database.stop()
            own_database.start()
            _change_directly(own_database, chat_id, 3)
        finally:
            os.kill(worker, signal.SIGCONT)
        # By the token: nobody is sent away.
        inbox.until("chat", lambda chat: chat["subject"] == "Changed 2", 15)
        assert "end" not in [each.name for each in inbox.events]


@pytest.mark.long
def test_where_the_place_is_lost_chats_are_read_again_and_inboxes_fetch(
    forgetful: DatabaseServer,
) -> None:
    with start_app(forgetful.uri, env=ENV) as server, start_app(forgetful.uri, env=ENV) as other:
        user, agent = register(server), register_agent(server)
        chat_id = user.open_chat()
        with (
            chat_stream(server, agent, chat_id) as events,
            EventStream(server.url, "/api/events", agent.token) as inbox,
        ):
            user.send(chat_id, "One")
            events.until("message")
            inbox.until("chat", lambda chat: chat["lastSeq"] == 1)
            (worker,) = server.worker_pids()
            os.kill(worker, signal.SIGSTOP)
            try:
                forgetful.stop()
                forgetful.start()
                elsewhere = Client(other, user.token, user.id)
                for number in range(2, 12):
                    elsewhere.insist(partial(elsewhere.send, chat_id, f"Number {number}"))
                _change_directly(forgetful, chat_id, 1)
                _crowd_out_the_oplog(forgetful)
            finally:
                os.kill(worker, signal.SIGCONT)
            events.until("chat", lambda chat: chat["subject"] == "Changed 0", 15)
            assert events.seqs() == list(range(1, 12))
            end = inbox.to_the_end()
            assert end.data["code"] == "restarting"
            user.send(chat_id, "And on it goes")
            events.until("message", lambda data: data["seq"] == 12)
        assert "resume_token_lost" in server.log.read_text()
