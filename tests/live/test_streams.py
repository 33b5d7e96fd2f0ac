"""Event streams and long-polls, over two gunicorns on one database."""

from __future__ import annotations

import random
import socket
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from bson import ObjectId
from pymongo.database import Database

from chatapi.services import accounts, chats, messages
from chatapi.store.database import Document
from tests.conftest import CLIENT, PASSWORD
from tests.live.clients import Client, at_once, register, register_agent
from tests.servers import AppServer, DatabaseServer, start_app
from tests.streams import ConnectionClosed, EventStream, Refused, Stream, WebSocket, has_seq
from tests.waiting import eventually

ENDS_WITHIN = 5.0  # seconds, from the loss of a right to the end of the stream


def on(server: AppServer, who: Client) -> Client:
    """Return the same person, talking to another server."""
    return Client(server, who.token, who.id)


def stream(
    server: AppServer, who: Client, chat_id: str, after: int | None = None, **options: Any
) -> EventStream:
    """Open a chat's stream."""
    query = "" if after is None else f"?after={after}"
    return EventStream(server.url, f"/api/chat/{chat_id}/events{query}", who.token, **options)


def inbox(server: AppServer, who: Client) -> EventStream:
    """Open the caller's inbox."""
    return EventStream(server.url, "/api/events", who.token)


def history(who: Client, chat_id: str) -> list[Document]:
    """Return the whole history of a chat, as the API gives it page by page."""
    found: list[Document] = []
    while True:
        after = found[-1]["seq"] if found else 0
        _, _, page = who.call("GET", f"/api/chat/{chat_id}/messages?after={after}&limit=200")
        found += page
        if not page:
            return found


def open_streams(agent: Client) -> int:
    """Return how many streams the agent's server has open."""
    status, _, state = agent.call("GET", "/api/admin/realtime")
    assert status == 200, state
    return int(state["streams"])


# What a stream begins with


@pytest.mark.parametrize(
    ("query", "last_id", "expected"),
    [
        ("", None, []),
        ("?after=0", None, [1, 2, 3, 4]),
        ("?after=3", None, [4]),
        ("", 2, [3, 4]),
        # A browser that connects again sends both: the header is newer.
        ("?after=0", 3, [4]),
        ("", 4, []),
        # Of a time before the data was restored: the next message must come all the same.
        ("?after=1000", None, []),
    ],
)
def test_a_stream_begins_with_the_chat_and_the_messages_after_a_place(
    live_server: AppServer, query: str, last_id: int | None, expected: list[int]
) -> None:
    user = register(live_server)
    chat_id = user.open_chat()
    for number in range(1, 5):
        user.send(chat_id, f"Number {number}")
    path = f"/api/chat/{chat_id}/events{query}"
    with EventStream(live_server.url, path, user.token, last_event_id=last_id) as events:
        assert events.headers["content-type"].startswith("text/event-stream")
        assert events.headers["cache-control"] == "no-store"
        first = events.next()
        assert (first.name, first.data["lastSeq"], first.id) == ("chat", 4, None)
        assert "messages" not in first.data
        assert events.retry == 2000
        user.send(chat_id, "Number 5")
        events.until("message", lambda data: data["seq"] == 5)
        assert events.seqs() == [*expected, 5]
        assert [each.id for each in events.events if each.name == "message"] == [
            str(seq) for seq in events.seqs()
        ]


def test_a_stream_of_a_long_chat_catches_up_page_by_page(
    live_server: AppServer, live_app: object, make_chat: Callable[..., Document]
) -> None:
    session, token = accounts.guest("Guest", "guest@example.org", CLIENT)
    chat = make_chat(session)
    for number in range(225):
        messages.send(session, chat["_id"], f"Number {number}")
    with EventStream(live_server.url, f"/api/chat/{chat['_id']}/events?after=20", token) as events:
        events.until("message", lambda data: data["seq"] == 225)
        assert events.seqs() == list(range(21, 226))


@pytest.mark.parametrize("last_id", ["x", "-1", "1e3", "9" * 30])
def test_a_last_event_id_that_is_no_seq_is_refused(live_server: AppServer, last_id: str) -> None:
    user = register(live_server)
    path = f"/api/chat/{user.open_chat()}/events"
    with pytest.raises(Refused) as refused:
        EventStream(live_server.url, path, user.token, headers={"Last-Event-ID": last_id})
    assert refused.value.status == 422
    assert "Last-Event-ID" in refused.value.body["fields"]


def test_an_event_is_the_object_that_a_get_gives(
    live_server: AppServer, other_server: AppServer
) -> None:
    user, agent = register(live_server), register_agent(other_server)
    chat_id = user.open_chat()
    with stream(other_server, agent, chat_id) as events, inbox(live_server, user) as own:
        events.next()
        user.send(chat_id, "Olá, ça va? 🙂")
        message = events.until("message").data
        assert message == history(user, chat_id)[0]
        assert events.until("chat").data["unreadCount"] == 1
        # The user's own view of the same chat: nothing of theirs is unread to them.
        mine = own.until("chat").data
        assert mine["unreadCount"] == 0
        assert mine == user.call("GET", "/api/chat")[2][0]


def test_reading_deleting_and_closing_are_told_on_every_server(
    live_server: AppServer, other_server: AppServer
) -> None:
    user, agent = register(live_server), register_agent(other_server)
    chat_id = user.open_chat()
    user.send(chat_id, "One")
    with stream(live_server, user, chat_id) as events, inbox(live_server, user) as own:
        agent.call("POST", f"/api/chat/{chat_id}/read", {"seq": 1})
        read = events.until("read").data
        assert read == {"chatId": chat_id, "readerRole": "admin", "seq": 1}
        agent.call("DELETE", f"/api/chat/{chat_id}/messages/1")
        assert events.until("deleted").data == {"chatId": chat_id, "seq": 1}
        agent.patch(chat_id, status="closed")
        events.until("chat", lambda chat: chat["status"] == "closed")
        agent.call("DELETE", f"/api/chat/{chat_id}")
        assert events.until("deleted").data == {"chatId": chat_id, "seq": None}
        assert events.to_the_end().data["code"] == "forbidden"
        own.until("deleted", lambda data: data["seq"] is None)


def test_who_has_read_while_a_client_was_away_is_told_when_it_returns(
    live_server: AppServer,
) -> None:
    user, agent = register(live_server), register_agent(live_server)
    chat_id = user.open_chat()
    user.send(chat_id, "One")
    agent.call("POST", f"/api/chat/{chat_id}/read", {"seq": 1})
    with stream(live_server, user, chat_id, last_event_id=1) as events:
        assert events.until("read").data["seq"] == 1


def test_a_head_request_opens_no_stream(live_server: AppServer) -> None:
    agent = register_agent(live_server)
    before = open_streams(agent)
    with EventStream(live_server.url, "/api/events", agent.token, method="HEAD") as answer:
        assert answer.status == 200
    eventually(lambda: open_streams(agent) <= before)


def test_an_agents_stream_sends_a_heartbeat_every_five_seconds(live_server: AppServer) -> None:
    agent = register_agent(live_server)
    with inbox(live_server, agent) as events:
        begun = time.monotonic()
        while events.heartbeats < 1 and time.monotonic() < begun + 14:
            events.read(1)
        assert 4.5 < time.monotonic() - begun < 14


# Who hears what


def test_an_inbox_holds_what_its_owner_may_see(
    live_server: AppServer, other_server: AppServer
) -> None:
    ana, ben, agent = register(live_server), register(other_server), register_agent(live_server)
    with (
        inbox(live_server, ana) as anas,
        inbox(other_server, ben) as bens,
        inbox(other_server, agent) as all_chats,
    ):
        chat_id = ana.open_chat()
        ana.send(chat_id, "For nobody else")
        ana.call("POST", f"/api/chat/{chat_id}/typing")
        seen = lambda chat: chat["_id"] == chat_id and chat["lastSeq"] == 1  # noqa: E731
        assert all_chats.until("chat", seen).data["unreadCount"] == 1
        all_chats.until("typing")
        assert anas.until("chat", seen).data["unreadCount"] == 0
        agent.call("DELETE", f"/api/chat/{chat_id}")
        anas.until("deleted")
        bens.silent_for(0.5)
        assert {each.name for each in anas.events} <= {"chat", "deleted"}


@pytest.mark.parametrize(
    "path", ["/api/chat/{}/events", "/api/events", "/api/chat/{}/messages?after=9&wait=9"]
)
def test_a_stream_is_refused_as_a_get_is(live_server: AppServer, path: str) -> None:
    user, stranger = register(live_server), register(live_server)
    chat_id = user.open_chat()
    address = path.format(chat_id)
    gone = register(live_server)
    gone.call("POST", "/api/auth/logout")
    for token, code in [
        (None, "not_signed_in"),
        ("nonsense", "session_expired"),
        (gone.token, "session_expired"),
    ]:
        with pytest.raises(Refused) as refused:
            EventStream(live_server.url, address, token)
        assert (refused.value.status, refused.value.body["code"]) == (401, code)
    if "{}" in path:
        for wanted, status in [(chat_id, 403), ("0" * 24, 404), ("x", 404)]:
            with pytest.raises(Refused) as refused:
                EventStream(live_server.url, path.format(wanted), stranger.token)
            assert refused.value.status == status


def test_a_cookie_opens_a_stream(live_server: AppServer) -> None:
    # What the cookie holds is the session's token.
    cookie = {"Cookie": f"chat_session={register(live_server).token}"}
    with EventStream(live_server.url, "/api/events", headers=cookie) as events:
        assert events.status == 200


def test_an_account_may_have_so_many_streams(live_server: AppServer) -> None:
    user, other, agent = register(live_server), register(live_server), register_agent(live_server)
    before = open_streams(agent)
    streams = [inbox(live_server, user) for _ in range(30)]
    try:
        with pytest.raises(Refused) as refused:
            inbox(live_server, user)
        assert refused.value.status == 429
        assert refused.value.body["retryAfter"] == 5
        with inbox(live_server, other) as events:
            assert events.status == 200
    finally:
        for each in streams:
            each.drop()
    eventually(lambda: open_streams(agent) <= before)
    with inbox(live_server, user) as events:
        assert events.status == 200


def test_an_address_may_have_so_many_streams_of_whatever_accounts(
    live_database: Database[Document], database_server: DatabaseServer
) -> None:
    env = {"RATELIMIT_ENABLED": "false", "STREAMS_PER_ADDRESS": "3", "TRUSTED_PROXIES": "1"}

    def opened(server: AppServer, address: str) -> EventStream:
        # The first value is the client's own word, the last the proxy's.
        headers = {"X-Forwarded-For": f"203.0.113.{time.monotonic_ns() % 250}, {address}"}
        return EventStream(server.url, "/api/events", register(server).token, headers=headers)

    with start_app(database_server.uri, env=env) as server:
        streams = [opened(server, "198.51.100.1") for _ in range(3)]
        with pytest.raises(Refused) as refused:
            opened(server, "198.51.100.1")
        assert (refused.value.status, refused.value.body["retryAfter"]) == (429, 5)
        streams.append(opened(server, "198.51.100.2"))
        for each in streams:
            each.drop()


# A right that ends


def _logout(who: Client, _: Client) -> None:
    who.call("POST", "/api/auth/logout")


def _revoke(who: Client, _: Client) -> None:
    (row,) = [each for each in who.call("GET", "/api/auth/sessions")[2] if each["current"]]
    who.call("DELETE", f"/api/auth/sessions/{row['_id']}")


def _disable(who: Client, agent: Client) -> None:
    assert agent.call("PATCH", f"/api/admin/users/{who.id}", {"disabled": True})[0] == 200


def _make_agent(who: Client, agent: Client) -> None:
    assert agent.call("PATCH", f"/api/admin/users/{who.id}", {"role": "admin"})[0] == 200


def _change_password_elsewhere(who: Client, _: Client) -> None:
    email = who.call("GET", "/api/auth/me")[2]["email"]
    login = {"email": email, "password": PASSWORD}
    token = who.server.request("POST", "/api/auth/login", json=login)[2]["token"]
    change = {"current": PASSWORD, "new": "another password altogether"}
    answer = who.server.request("POST", "/api/auth/password", token, change)
    assert answer[0] == 204


def test_a_stream_ends_with_the_right_to_it(
    live_server: AppServer, other_server: AppServer
) -> None:
    ends: dict[Callable[[Client, Client], None], str] = {
        _logout: "session_ended",
        _revoke: "session_ended",
        _disable: "session_ended",
        _change_password_elsewhere: "session_ended",
        _make_agent: "forbidden",
    }
    agent, witness = register_agent(live_server), register(live_server)
    users = {act: register(live_server) for act in ends}
    opened: list[tuple[Stream, str]] = []
    with inbox(live_server, witness) as unharmed:
        for act, code in ends.items():
            user = users[act]
            chat_id = user.open_chat()
            link = WebSocket(other_server.url, user.token)
            link.ask("1", type="subscribe", chatId=chat_id)
            opened += [(each, code) for each in (stream(other_server, user, chat_id), link)]
            opened.append((inbox(live_server, user), code))
        for act, user in users.items():
            act(user, agent)
        begun = time.monotonic()
        for each, code in opened:
            end = each.to_the_end(ENDS_WITHIN)
            assert (end.name, end.data["code"]) == ("end", code)
            if isinstance(each, WebSocket):
                assert each.close_code == {"session_ended": 4401, "forbidden": 4403}[code]
            each.drop()
        assert time.monotonic() - begun < ENDS_WITHIN
        unharmed.silent_for(0.2)


def test_a_stream_ends_when_its_session_runs_out(
    live_server: AppServer, live_database: Database[Document]
) -> None:
    user = register(live_server)
    soon = {"$set": {"expiresAt": datetime.now(UTC) + timedelta(seconds=2)}}
    assert live_database["sessions"].update_one({"userId": ObjectId(user.id)}, soon).modified_count
    with inbox(live_server, user) as events:
        assert events.to_the_end(2 + ENDS_WITHIN).data["code"] == "session_ended"


def test_an_agent_who_is_none_any_more_hears_no_more_of_others_chats(
    live_server: AppServer, other_server: AppServer
) -> None:
    user, agent, boss = (make(live_server) for make in (register, register_agent, register_agent))
    chat_id = user.open_chat()
    with inbox(other_server, agent) as events, stream(other_server, agent, chat_id) as chat:
        boss.call("PATCH", f"/api/admin/users/{agent.id}", {"role": "user"})
        assert events.to_the_end(ENDS_WITHIN).data["code"] == "forbidden"
        assert chat.to_the_end(ENDS_WITHIN).data["code"] == "forbidden"
    with pytest.raises(Refused) as refused:
        stream(other_server, agent, chat_id)
    assert refused.value.status == 403


# Long-polls


def test_a_long_poll_answers_as_soon_as_there_is_a_message(
    live_server: AppServer, other_server: AppServer
) -> None:
    user, agent = register(live_server), register_agent(other_server)
    chat_id = user.open_chat()
    path = f"/api/chat/{chat_id}/messages?after=0&wait=20"
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(agent.call, "GET", path)
        time.sleep(0.5)
        assert not answer.done()
        sent = time.monotonic()
        user.send(chat_id, "At last")
        status, headers, found = answer.result(timeout=10)
        assert time.monotonic() - sent < 1.5
    assert (status, [each["content"] for each in found]) == (200, ["At last"])
    # What comes next is not answered by what was there before.
    _, _, again = agent.call("GET", f"/api/chat/{chat_id}/messages?after=0&wait=20")
    assert again == found
    status, _, _ = agent.call(
        "GET", f"/api/chat/{chat_id}/messages", headers={"If-None-Match": headers["etag"]}
    )
    assert status == 304


def test_a_long_poll_answers_with_nothing_when_its_time_is_up(live_server: AppServer) -> None:
    user = register(live_server)
    chat_id = user.open_chat()
    begun = time.monotonic()
    status, _, found = user.call("GET", f"/api/chat/{chat_id}/messages?after=0&wait=1")
    assert (status, found) == (200, [])
    assert 0.9 < time.monotonic() - begun < 3


def test_a_long_poll_ends_with_the_session(live_server: AppServer) -> None:
    user = register(live_server)
    chat_id = user.open_chat()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(user.call, "GET", f"/api/chat/{chat_id}/messages?after=0&wait=20")
        time.sleep(0.3)
        user.call("POST", "/api/auth/logout")
        assert answer.result(timeout=ENDS_WITHIN)[0] == 401


# Clients that go, and clients that do not read


def test_nothing_is_left_of_clients_that_are_gone(
    live_database: Database[Document], database_server: DatabaseServer
) -> None:
    env = {"RATELIMIT_ENABLED": "false", "STREAMS_PER_ACCOUNT": "600", "STREAMS_PER_ADDRESS": "600"}
    with start_app(database_server.uri, env=env) as server:
        agent = register_agent(server)
        user = register(server)
        chat_id = user.open_chat()
        for _ in range(2):
            streams: list[Stream] = [stream(server, user, chat_id) for _ in range(200)]
            streams += [inbox(server, agent) for _ in range(50)]
            eventually(lambda: open_streams(agent) == 250, 5)
            for each in streams:
                each.drop()
            eventually(lambda: open_streams(agent) == 0, 6)


def test_a_client_that_stops_reading_is_cut_off_and_catches_up(
    live_server: AppServer, live_app: object
) -> None:
    session, token = accounts.guest("Guest", "guest@example.org", CLIENT)
    chat, _, _ = chats.create(session, "Help")
    chat_id = str(chat["_id"])
    user = Client(live_server, token, str(session.user_id))
    agent = register_agent(live_server)
    before = open_streams(agent)
    asleep, awake = stream(live_server, user, chat_id), stream(live_server, user, chat_id)
    asleep.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    with asleep, awake:
        big = "🙂" * 5000
        for number in range(1, 301):
            messages.send(session, chat["_id"], big)
            awake.until("message", has_seq(number))
        # One of the two is gone; the other one never noticed.
        eventually(lambda: open_streams(agent) <= before + 1, 20)
        awake.silent_for(0.2, "end")
        asleep.socket.settimeout(5)
        try:
            while not asleep.is_gone:
                asleep.read(5)
        except (ConnectionClosed, OSError, ValueError):
            pass
        last = max(asleep.seqs(), default=0)
        assert asleep.seqs() == list(range(1, last + 1))
        assert last < 300
        with stream(live_server, user, chat_id, last_event_id=last) as again:
            again.until("message", lambda data: data["seq"] == 300)
            assert again.seqs() == list(range(last + 1, 301))


# Whatever happens


@pytest.mark.long
def test_whoever_comes_and_goes_has_the_whole_history_in_the_end(
    live_server: AppServer, other_server: AppServer
) -> None:
    servers = [live_server, other_server]
    user, agent = register(live_server), register_agent(live_server)
    chat_id = user.open_chat()
    end = time.monotonic() + 8
    total = threading.Event()
    result: dict[str, int] = {}

    def send(seed: int) -> list[int]:
        dice = random.Random(seed)
        while time.monotonic() < end:
            who = on(dice.choice(servers), dice.choice([user, agent]))
            status, _, answer = who.send(chat_id, f"From {seed}", key=uuid.uuid4().hex)
            assert status == 201, answer
            time.sleep(dice.uniform(0, 0.06))
        return []

    def follow(seed: int) -> list[int]:
        dice = random.Random(1000 + seed)
        got: list[int] = []
        while True:
            who = on(dice.choice(servers), dice.choice([user, agent]))
            last = got[-1] if got else 0
            client: Stream
            if dice.random() < 0.5:
                client = stream(who.server, who, chat_id, last_event_id=last)
            else:
                client = link = WebSocket(who.server.url, who.token)
                link.say(type="subscribe", chatId=chat_id, after=last)
                if dice.random() < 0.3:
                    link.say(type="subscribe", chatId=None)
            with client:
                until = time.monotonic() + dice.uniform(0, 1.2)
                while time.monotonic() < until or total.is_set():
                    client.read(0.1)
                    if total.is_set() and [*got, *client.seqs()][-1:] == [result["last"]]:
                        break
                got += client.seqs()
            if total.is_set() and got and got[-1] == result["last"]:
                return got

    def end_of_sending() -> list[int]:
        time.sleep(max(0.0, end - time.monotonic()) + 0.5)
        result["last"] = history(user, chat_id)[-1]["seq"]
        total.set()
        return []

    work: list[Callable[[], list[int]]] = [partial(send, n) for n in range(3)]
    follows: list[Callable[[], list[int]]] = [partial(follow, n) for n in range(8)]
    found = at_once([*work, end_of_sending, *follows])[4:]
    expected = [each["seq"] for each in history(user, chat_id)]
    assert expected == list(range(1, len(expected) + 1))
    assert len(expected) > 50
    for got in found:
        assert got == expected
