"""Who is there and who types: over two gunicorns, and when clients and servers vanish."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from pymongo.database import Database

from chatapi.store.database import Document
from deploy import run
from tests.live.clients import Client, register, register_agent
from tests.servers import AppServer, DatabaseServer, start_app
from tests.streams import EventStream, WebSocket

GONE_WITHIN = 8.0  # seconds: noticed by the reaper, written, and read by the other process
GONE_WITH_THE_SERVER_WITHIN = 14.0

CLIENT_PROGRAM = """
import sys
from tests.streams import EventStream
events = EventStream(sys.argv[1], sys.argv[2], sys.argv[3])
print("open", flush=True)
while True:
    events.read(60)
"""


def chat_stream(server: AppServer, who: Client, chat_id: str) -> EventStream:
    """Open a chat's stream."""
    return EventStream(server.url, f"/api/chat/{chat_id}/events", who.token)


def is_of(who: Client, online: bool, chat_id: str | None = None) -> Callable[[Any], bool]:
    """Return a check of a presence event's data."""
    return lambda data: (
        (data["userId"], data["online"], data["chatId"]) == (who.id, online, chat_id)
    )


def hears_nothing_of(events: EventStream, who: Client, seconds: float) -> None:
    """Check that for so long nothing is said of somebody's presence."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        events.read(left)
        news, events.seen = events.events[events.seen :], len(events.events)
        heard = [each for each in news if each.name == "presence" and each.data["userId"] == who.id]
        assert not heard, heard


def test_two_agents_in_a_chat_see_each_other_come_and_go(
    live_server: AppServer, other_server: AppServer
) -> None:
    user, ana, ben = (
        register(live_server),
        register_agent(live_server),
        register_agent(other_server),
    )
    chat_id = user.open_chat()
    with chat_stream(live_server, ana, chat_id) as anas:
        with chat_stream(other_server, ben, chat_id) as bens:
            begun = time.monotonic()
            seen = anas.until("presence", is_of(ben, True, chat_id))
            assert seen.data == {
                "userId": ben.id,
                "name": "Agent",
                "role": "admin",
                "online": True,
                "chatId": chat_id,
            }
            bens.until("presence", is_of(ana, True, chat_id))
            assert time.monotonic() - begun < 2
        anas.until("presence", is_of(ben, False), GONE_WITHIN)


def test_who_is_there_already_is_told_at_once(
    live_server: AppServer, other_server: AppServer
) -> None:
    user, ana, ben = (
        register(live_server),
        register_agent(live_server),
        register_agent(other_server),
    )
    chat_id = user.open_chat()
    with chat_stream(live_server, ana, chat_id), chat_stream(live_server, user, chat_id) as users:
        users.until("presence", is_of(ana, True, chat_id))
        with (
            chat_stream(other_server, user, chat_id) as again,
            EventStream(other_server.url, "/api/events", ben.token) as inbox,
        ):
            again.until("presence", is_of(ana, True, chat_id), 1)
            inbox.until("presence", is_of(ana, True, chat_id), 1)


def test_an_inbox_tells_which_chat_an_agent_looks_at(
    live_server: AppServer, other_server: AppServer
) -> None:
    first, second = register(live_server).open_chat(), register(live_server).open_chat()
    ana, ben = register_agent(live_server), register_agent(other_server)
    with EventStream(other_server.url, "/api/events", ben.token) as inbox:
        with WebSocket(live_server.url, ana.token) as link:
            inbox.until("presence", is_of(ana, True))
            link.ask("1", type="subscribe", chatId=first)
            inbox.until("presence", is_of(ana, True, first))
            link.ask("2", type="subscribe", chatId=second)
            inbox.until("presence", is_of(ana, True, second))
            link.ask("3", type="unsubscribe", chatId=second)
            # Ana is in the first one still.
            inbox.until("presence", is_of(ana, True, first), GONE_WITHIN)
        inbox.until("presence", is_of(ana, False), GONE_WITHIN)


def test_a_page_that_is_loaded_again_is_not_missed(
    live_server: AppServer, other_server: AppServer
) -> None:
    ana, ben = register_agent(live_server), register_agent(other_server)
    with EventStream(other_server.url, "/api/events", ben.token) as bens:
        anas = EventStream(live_server.url, "/api/events", ana.token)
        bens.until("presence", is_of(ana, True))
        for _ in range(5):
            anas.drop()
            anas = EventStream(live_server.url, "/api/events", ana.token)
        hears_nothing_of(bens, ana, 3.5)
        anas.drop()
        bens.until("presence", is_of(ana, False), GONE_WITHIN)


def test_users_and_long_polls_have_no_presence(live_server: AppServer) -> None:
    user, ana, ben = register(live_server), register_agent(live_server), register_agent(live_server)
    chat_id = user.open_chat()
    with EventStream(live_server.url, "/api/events", ben.token) as inbox:
        inbox.until("presence", is_of(ben, True))
        with chat_stream(live_server, user, chat_id):
            ana.call("GET", f"/api/chat/{chat_id}/messages?after=0&wait=1")
            for who in (user, ana):
                hears_nothing_of(inbox, who, 0.5)


@pytest.mark.long
def test_a_client_that_is_killed_is_gone_within_seconds(
    live_server: AppServer, other_server: AppServer
) -> None:
    user, ana = register(live_server), register_agent(live_server)
    chat_id = user.open_chat()
    with chat_stream(other_server, user, chat_id) as events:
        arguments = [live_server.url, f"/api/chat/{chat_id}/events", ana.token]
        client = subprocess.Popen(
            [sys.executable, "-c", CLIENT_PROGRAM, *arguments],
            cwd=run.ROOT,
            stdout=subprocess.PIPE,
        )
        try:
            events.until("presence", is_of(ana, True, chat_id), 20)
        finally:
            client.kill()
            client.communicate()
        events.until("presence", is_of(ana, False), GONE_WITHIN)


@pytest.mark.long
def test_who_was_on_a_server_that_is_killed_is_gone_within_seconds(
    live_server: AppServer, database_server: DatabaseServer
) -> None:
    user, ana = register(live_server), register_agent(live_server)
    chat_id = user.open_chat()
    with (
        chat_stream(live_server, user, chat_id) as events,
        start_app(database_server.uri, env={"RATELIMIT_ENABLED": "false"}) as doomed,
        chat_stream(doomed, ana, chat_id),
    ):
        events.until("presence", is_of(ana, True, chat_id))
        doomed.kill()
        events.until("presence", is_of(ana, False), GONE_WITH_THE_SERVER_WITHIN)


def test_typing_is_told_to_the_others_on_every_server(
    live_server: AppServer, other_server: AppServer, live_database: Database[Document]
) -> None:
    user, agent = register(live_server), register_agent(other_server)
    chat_id = user.open_chat()
    with (
        chat_stream(live_server, user, chat_id) as users,
        chat_stream(other_server, agent, chat_id) as agents,
        WebSocket(live_server.url, user.token) as link,
        EventStream(other_server.url, "/api/events", agent.token) as inbox,
    ):
        link.ask("1", type="subscribe", chatId=chat_id)
        assert user.call("POST", f"/api/chat/{chat_id}/typing")[0] == 204
        expected = {
            "chatId": chat_id,
            "senderId": user.id,
            "senderName": "User",
            "senderRole": "user",
        }
        assert agents.until("typing").data == expected
        assert inbox.until("typing").data == expected
        # Whoever types knows it, in all their windows.
        users.silent_for(0.4, "typing")
        link.silent_for(0.1, "typing")
    # Nothing of it is in the chat, and what carried it goes by itself.
    assert "typing" not in str(live_database["chatrooms"].find_one())
    (signal,) = live_database["ephemeralEvents"].find({"kind": "typing"})
    assert (signal["expiresAt"] - signal["at"]).total_seconds() <= 60
    assert "expiry" in live_database["ephemeralEvents"].index_information()


@pytest.mark.parametrize(("status", "answer"), [("active", 204), ("closed", 409)])
def test_typing_is_refused_where_nothing_can_be_sent(
    live_server: AppServer, status: str, answer: int
) -> None:
    user, agent, stranger = (make(live_server) for make in (register, register_agent, register))
    chat_id = user.open_chat()
    agent.patch(chat_id, status=status)
    assert user.call("POST", f"/api/chat/{chat_id}/typing")[0] == answer
    assert stranger.call("POST", f"/api/chat/{chat_id}/typing")[0] == 403
