"""What whole requests ask of the database: every command is counted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from pymongo.database import Database

from chatapi.domain.enums import Role
from chatapi.realtime.session_cache import session_cache
from chatapi.services import sessions, users
from chatapi.store import unread
from chatapi.store.database import Document
from tests.conftest import CLIENT, PASSWORD, MakeChat
from tests.live.clients import register, register_agent
from tests.live.wire import Wire
from tests.servers import AppServer
from tests.waiting import eventually

# What follows the changes, and what a driver does by itself.
# Whether a restore is unfinished is asked every five seconds at most.
NOW_AND_THEN = ("find", "maintenance")
BACKGROUND = {"getMore", "killCursors", "endSessions", "hello", "ping"}


@pytest.fixture
def database(listened_database: Database[Document]) -> Database[Document]:
    """What `app` stands on: a database whose commands are kept."""
    return listened_database


@pytest.fixture
def followed(live_app: Flask) -> Iterator[None]:
    """The changes are followed, as in a process that serves."""
    session_cache.current.follower.ensure_running()
    eventually(
        lambda: session_cache.current.is_fresh and unread.by_admins.current._cached is not None
    )
    yield
    session_cache.current.follower.stop()


def token_of(role: Role) -> str:
    """Make an account and return a token of it that no request has shown yet."""
    email = f"{role}@example.org"
    user = users.create_user(role, email, PASSWORD, role)
    return sessions.begin_session(user, CLIENT)[1]


@pytest.mark.usefixtures("followed")
def test_the_commands_of_each_request_are_few(
    live_app: Flask, make_chat: MakeChat, wire: Wire
) -> None:
    chat = make_chat(message="Hello")
    path = f"/api/chat/{chat['_id']}"
    client, headers = live_app.test_client(), {"Authorization": f"Bearer {token_of('admin')}"}

    def sent() -> list[tuple[str, Any]]:
        return [each for each in wire.sent if each[0] not in BACKGROUND and each != NOW_AND_THEN]

    def ask(method: str, path: str, status: int, **options: Any) -> Any:
        wire.clear()
        options["headers"] = headers | options.pop("headers", {})
        answer = client.open(path, method=method, **options)
        assert answer.status_code == status, answer.text
        return answer

    # The first request of an application looks whether a restore or a migration is unfinished.
    ask("GET", "/api/auth/me", 401, headers={"Authorization": ""})
    assert sent() == [("find", "migrations")]
    # The first request of a session reads it, with its user.
    ask("GET", "/api/auth/me", 200)
    assert sent() == [("aggregate", "sessions")]
    ask("GET", "/api/auth/me", 200)
    assert sent() == []
    # The first look at a list goes back further and further until the page is full.
    ask("GET", "/api/chat", 200)
    assert set(sent()) == {("find", "chatrooms")}
    assert len(sent()) <= 8
    etag = ask("GET", "/api/chat", 200).headers["ETag"]
    assert sent() == [("find", "chatrooms")]
    ask("GET", "/api/chat", 304, headers={"If-None-Match": etag})
    assert sent() == []
    # Nothing that is remembered decides it here.
    ask("GET", "/api/chat", 304, headers={"If-None-Match": etag, "Cache-Control": "no-cache"})
    assert sent() == [("find", "chatrooms")]
    ask("GET", path, 200)
    assert sent() == [("find", "chatrooms"), ("find", "messages")]
    ask("POST", f"{path}/messages", 201, json={"content": "Good morning"})
    assert sent() == [("insert", "messages"), ("update", "chatrooms")]
    ask("GET", "/api/admin/stats", 200)
    ask("GET", "/api/admin/stats", 200)
    assert not [each for each in sent() if each[1] == "chatrooms"]


def test_a_list_is_as_new_as_the_stream_of_changes_in_every_process(
    live_server: AppServer, other_server: AppServer
) -> None:
    user, agent = register(live_server), register_agent(live_server)
    chat_id = user.open_chat()
    there = type(agent)(other_server, agent.token, agent.id)
    etag = ""
    for number in range(5):
        assert user.send(chat_id, f"Message {number}")[0] == 201
        end = time.monotonic() + 1
        while True:
            status, headers, rows = there.call(
                "GET", "/api/chat", headers={"If-None-Match": etag} if etag else {}
            )
            if status == 200 and rows[0]["messageCount"] == number + 1:
                break
            # Only what was asked for just before the change may still pass for the present.
            assert status == 304 or rows[0]["messageCount"] == number
            assert time.monotonic() < end, f"{status}: the change is not seen in a second"
            time.sleep(0.01)
        etag = headers["etag"]
        # From then on no answer goes back behind it. The unread total, a part of the ETag, may
        # follow a little later.
        for _ in range(5):
            status, _, rows = there.call("GET", "/api/chat", headers={"If-None-Match": etag})
            assert status == 304 or rows[0]["messageCount"] == number + 1
