"""Two applications in one process share no state: no person, event, cache, count or setting."""

from __future__ import annotations

import importlib
import pkgutil
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import mongomock
import pytest
from flask import Flask
from flask.testing import FlaskClient
from pymongo import MongoClient

import admin_ui
import chat_ui
import chatapi
from chatapi import create_app
from chatapi.domain import errors, runtime
from chatapi.domain.runtime import PerApp, Runtime
from chatapi.realtime import followers
from chatapi.realtime.session_cache import session_cache
from chatapi.schemas import categories
from chatapi.services import accounts, feeds, passwords, sessions, users
from chatapi.services.feeds import Feed
from chatapi.services.presence import presence_tracker
from chatapi.services.sessions import Session
from chatapi.store import indexes, migrations
from chatapi.store.cache import change_tracker
from chatapi.store.database import Document
from chatapi.transport import streams
from config import TestConfig
from tests.conftest import CLIENT, PASSWORD
from tests.waiting import eventually

OURS = {
    "CHAT_CATEGORIES": ("parcels", "returns"),
    "MIN_AGENT_PASSWORD_LENGTH": 9,
    "SESSION_ABSOLUTE_SECONDS": 7200,
    "MAX_SESSIONS_PER_USER": 2,
    "STREAMS_PER_ACCOUNT": 1,
    "PASSWORD_TIME_COST": 2,
    "LOG_LEVEL": "ERROR",
    "RATELIMIT_ENABLED": True,
    "LIMIT_SEND": "2 per minute",
    "LIMIT_LOGIN_ACCOUNT": "2 per minute",
    "LIMIT_UNKNOWN_TOKENS": "2 per minute",
}
THEIRS = OURS | {
    "CHAT_CATEGORIES": ("general", "billing"),
    "MIN_AGENT_PASSWORD_LENGTH": 40,
    "SESSION_ABSOLUTE_SECONDS": 3600,
    "MAX_SESSIONS_PER_USER": 3,
    "STREAMS_PER_ACCOUNT": 2,
    "PASSWORD_TIME_COST": 1,
    "LOG_LEVEL": "INFO",
    "LIMIT_SEND": "3 per minute",
    "LIMIT_LOGIN_ACCOUNT": "3 per minute",
    "LIMIT_UNKNOWN_TOKENS": "3 per minute",
}


class Side:
    """One of the two applications, with its database."""

    def __init__(self, settings: dict[str, Any]) -> None:
        mongo: MongoClient[Document] = mongomock.MongoClient(tz_aware=True)
        self.database = mongo["test"]
        with Runtime().active():
            migrations.run(self.database)
        indexes.ensure(self.database, validators=False)
        self.app: Flask = create_app(TestConfig, database=self.database, **settings)
        self.client: FlaskClient = self.app.test_client()

    def active(self) -> AbstractContextManager[None]:
        """Make the application the current one in the block."""
        own: runtime.Runtime = self.app.extensions["chat"]
        return own.active()

    def sign_up(self, name: str = "Ana") -> tuple[Session, str]:
        with self.active():
            return accounts.register(name, f"{name}@example.org".lower(), PASSWORD, CLIENT)

    def ask(self, token: str, path: str, body: Any = None, etag: str = "") -> tuple[int, Any]:
        """GET, or POST a body; return the status and what came."""
        headers = {"Authorization": f"Bearer {token}", "If-None-Match": etag}
        method = "GET" if body is None else "POST"
        answer = self.client.open(f"/api{path}", method=method, json=body, headers=headers)
        return answer.status_code, answer.json if answer.data else None

    def open_chat(self, token: str, subject: str = "Help") -> str:
        status, chat = self.ask(token, "/chat", {"subject": subject})
        assert status == 201, chat
        return str(chat["_id"])

    def send(self, token: str, chat_id: str, text: str) -> int:
        return self.ask(token, f"/chat/{chat_id}/messages", {"content": text})[0]

    def pretend_that_the_change_stream_is_fresh(self) -> None:
        with self.active():
            session_cache.current._last_event_at = float("inf")
            change_tracker.current._last_response_at = float("inf")


@pytest.fixture
def sides() -> Iterator[tuple[Side, Side]]:
    """Two applications with databases and settings of their own."""
    both = Side(OURS), Side(THEIRS)
    yield both
    for side in both:
        streams.stop(side.app)


def copy_of(one: Side, other: Side) -> None:
    """Let the other's database hold the same documents: what is cached has the same keys."""
    for name in one.database.list_collection_names():
        other.database[name].delete_many({})
        if rows := list(one.database[name].find()):
            other.database[name].insert_many(rows)


def test_each_app_has_its_own_settings(sides: tuple[Side, Side]) -> None:
    found: list[dict[str, Any]] = []
    for side in (*sides, *sides):  # Alternately: the later app has not replaced the first's.
        user, token = side.sign_up(f"Person{len(found)}")
        body = {"subject": "Help", "category": "parcels"}
        with side.active():
            user_row = users.find(user.email)
            assert user_row is not None
            last = [sessions.begin_session(user_row, CLIENT)[0] for _ in range(4)][-1]
            lifetime = (last.expires_at - last.created_at).total_seconds()
            agent_length = 0
            for length in (9, 40):
                try:
                    email = f"agent{length}-{len(found)}@example.org"
                    users.create_admin("An Agent", email, "q7" * (length // 2) + "w")
                    agent_length = agent_length or length
                except errors.InvalidInput:
                    continue
            found.append(
                {
                    "categories": categories.offered(),
                    "agent": agent_length,
                    "cost": f"t={passwords.make('some password').split('t=')[1][0]}",
                    "sessions": len(sessions.list_sessions(last)),
                    "lifetime": round(lifetime),
                    "streams": feeds.stream_limits.current.account,
                }
            )
        _, config = side.ask("", "/config")
        assert tuple(config["categories"]) == side.app.config["CHAT_CATEGORIES"]
        _, token = _log_in(side, user.email)
        assert side.ask(token, "/chat", body)[0] == (201 if side is sides[0] else 422)
    ours, theirs = found[:2]
    assert found[2:] == [ours, theirs]
    assert ours == {
        "categories": ("parcels", "returns"),
        "agent": 9,
        "cost": "t=2",
        "sessions": 2,
        "lifetime": 7200,
        "streams": 1,
    }
    assert theirs == {
        "categories": ("general", "billing"),
        "agent": 40,
        "cost": "t=1",
        "sessions": 3,
        "lifetime": 3600,
        "streams": 2,
    }


def _log_in(side: Side, email: str) -> tuple[Session, str]:
    with side.active():
        return accounts.login(email, PASSWORD, CLIENT)


def test_an_app_logs_at_its_own_level(
    sides: tuple[Side, Side], capsys: pytest.CaptureFixture[str]
) -> None:
    quiet, talkative = sides
    for side, lines in ((quiet, 0), (talkative, 1), (quiet, 0)):
        side.client.get("/api/config")
        assert capsys.readouterr().out.count("request_finished") == lines


def test_people_sessions_and_chats_of_one_app_are_unknown_in_the_other(
    sides: tuple[Side, Side],
) -> None:
    one, two = sides
    (ana, token), (twin, other_token) = one.sign_up(), two.sign_up()  # The e-mail is free in each.
    assert ana.user_id != twin.user_id
    chat_id = one.open_chat(token)
    assert two.ask(token, "/auth/me")[0] == 401
    assert two.ask(other_token, f"/chat/{chat_id}")[0] == 404
    assert two.ask(other_token, "/chat") == (200, [])
    assert [row["_id"] for row in one.ask(token, "/chat")[1]] == [chat_id]
    assert two.database["chatrooms"].count_documents({}) == 0


def test_nothing_that_is_cached_in_one_app_is_shown_by_the_other(sides: tuple[Side, Side]) -> None:
    one, two = sides
    _, token = one.sign_up()
    chat_id = one.open_chat(token, "Of the first")
    assert one.send(token, chat_id, "Hello") == 201
    with one.active():
        agent = users.create_admin("Agent", "agent@example.org", PASSWORD)
        _, agent_token = sessions.begin_session(agent, CLIENT)
    copy_of(one, two)
    # As another program would: the ids, versions and times stay the same.
    two.database["chatrooms"].update_many({}, {"$set": {"subject": "Of the second"}})
    two.database["users"].update_many({"role": "user"}, {"$set": {"name": "Second Ana"}})
    for side in sides:
        side.pretend_that_the_change_stream_is_fresh()
    subjects = {one: "Of the first", two: "Of the second"}
    for side in (one, two, one, two):
        name = side.ask(token, "/auth/me")[1]["name"]
        assert name == ("Ana" if side is one else "Second Ana")
        assert [row["subject"] for row in side.ask(token, "/chat")[1]] == [subjects[side]]
        assert side.ask(token, f"/chat/{chat_id}")[1]["subject"] == subjects[side]
    # The counts are cached, and only the writer's move.
    for side in sides:
        assert side.ask(agent_token, "/admin/stats")[1]["unreadMessages"] == 1
    assert two.send(token, chat_id, "One more") == 201
    unread = [side.ask(agent_token, "/admin/stats")[1]["unreadMessages"] for side in sides]
    assert unread == [1, 2]
    # That a user types was announced in the one app only.
    for side in sides:
        assert side.ask(token, f"/chat/{chat_id}/typing", {})[0] == 204
        assert side.database["ephemeralEvents"].count_documents({"kind": "typing"}) == 1
    # A cached page with the same ETag is still the one of its app.
    pages = [side.ask(token, "/chat")[1][0]["lastSeq"] for side in sides]
    assert pages == [1, 2]


def test_limits_and_attempts_of_one_app_are_not_spent_in_the_other(
    sides: tuple[Side, Side],
) -> None:
    one, two = sides
    _, token = one.sign_up()
    chat_id = one.open_chat(token)
    copy_of(one, two)  # So that both count for the same account.

    def statuses(act: Callable[[Side], int]) -> list[list[int]]:
        return [[act(side) for _ in range(4)] for side in sides]

    assert statuses(lambda side: side.send(token, chat_id, "Hello")) == [
        [201, 201, 429, 429],
        [201, 201, 201, 429],
    ]
    wrong = {"email": "ana@example.org", "password": "not the password"}
    assert statuses(lambda side: side.ask("", "/auth/login", wrong)[0]) == [
        [401, 401, 429, 429],
        [401, 401, 401, 429],
    ]
    made_up = iter(range(100))
    assert statuses(lambda side: side.ask(f"made-up-{next(made_up)}", "/auth/me")[0]) == [
        [401, 401, 429, 429],
        [401, 401, 401, 429],
    ]


def test_a_listener_of_one_app_gets_no_event_of_the_other(sides: tuple[Side, Side]) -> None:
    one, two = sides
    ana, token = one.sign_up()
    chat_id = one.open_chat(token)
    copy_of(one, two)
    opened = []
    for side in sides:
        with side.active():
            feed = Feed(ana, "192.0.2.1")
            list(feed.until_end(feed.subscribe(chat_id)))
            opened.append(feed)
    for side, text in ((one, "To the first"), (two, "To the second"), (one, "To the first again")):
        assert side.send(token, chat_id, text) == 201
    got = []
    for side, feed in zip(sides, opened, strict=True):
        with side.active():
            # The limit of streams is each app's own, too.
            with pytest.raises(errors.TooManyRequests):
                [Feed(ana, "192.0.2.1") for _ in range(2)]
            events = []
            while feed.listener.has_more:
                events += list(feed.next(0))
            got.append([each.data["message"]["content"] for each in events if each.seq])
    assert got == [["To the first", "To the first again"], ["To the second"]]


def test_two_apps_work_at_once_in_threads(sides: tuple[Side, Side]) -> None:
    one, _ = sides
    _, token = one.sign_up()
    chat_id = one.open_chat(token)
    copy_of(one, sides[1])
    start = threading.Barrier(len(sides))
    for side in sides:
        side.pretend_that_the_change_stream_is_fresh()
        side.app.config["RATELIMIT_ENABLED"] = False

    def work(side: Side) -> list[str]:
        start.wait(timeout=10)
        wanted = []
        for number in range(10):
            wanted.append(f"{id(side)} {number}")
            assert side.send(token, chat_id, wanted[-1]) == 201
            listed = side.ask(token, "/chat")[1]
            assert [row["lastMessage"]["content"] for row in listed] == [wanted[-1]]
        _, page = side.ask(token, f"/chat/{chat_id}/messages")
        assert [row["content"] for row in page] == wanted
        return wanted

    with ThreadPoolExecutor(2) as pool:
        written = [text for texts in pool.map(work, sides) for text in texts]
    assert len(set(written)) == 20


def test_an_app_that_stops_leaves_the_other_running(sides: tuple[Side, Side]) -> None:
    one, two = sides
    ana, token = one.sign_up()
    chat_id = one.open_chat(token)
    copy_of(one, two)
    opened = {}
    for side in sides:
        with side.active():
            opened[side] = Feed(ana, "192.0.2.1")
            list(opened[side].until_end(opened[side].subscribe(chat_id)))
            running = {each["name"] for each in followers.state() if each["running"]}
            assert {"tail", "reaper"} <= running
    streams.stop(one.app)
    with one.active():
        (end,) = opened[one].next(0)
        assert end.data["code"] == "restarting"
        eventually(lambda: not any(each["running"] for each in followers.state()))
    assert two.send(token, chat_id, "Still here") == 201
    with two.active():
        assert {each["name"] for each in followers.state() if each["running"]} >= {"tail", "reaper"}
        eventually(lambda: any(each.name == "message" for each in opened[two].next(0.1)))
        assert opened[two].listener.end is None
    # Each says who is connected under a name of its own, also on a database that both use.
    names = []
    for side in sides:
        with side.active():
            names.append(presence_tracker.current.process)
    assert names[0] != names[1]


def test_what_is_called_outside_an_app_says_so() -> None:
    def outside() -> None:
        with pytest.raises(RuntimeError, match="No app is current"):
            assert users.find("ana@example.org")

    thread = threading.Thread(target=outside)
    thread.start()
    thread.join()


def module_values() -> dict[tuple[str, str], Any]:
    """Return what each module of the product holds: its containers, and the state of its objects.

    What belongs to an app is a PerApp, and the same before and after.
    """
    found: dict[tuple[str, str], Any] = {}
    for package in (chatapi, admin_ui, chat_ui):
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(info.name)
            for name, value in vars(module).items():
                ours = type(value).__module__.partition(".")[0] in {"chatapi", "admin_ui"}
                if isinstance(value, (dict, list, set)) and not name.startswith("__"):
                    found[info.name, name] = repr(value)
                elif ours and not isinstance(value, PerApp) and hasattr(value, "__dict__"):
                    found[info.name, name] = repr({k: repr(v) for k, v in vars(value).items()})
    return found


def values_of_apps() -> dict[tuple[str, str], Any]:
    """Return the current app's value of each PerApp of the product."""
    return {
        (name, key): value.current
        for name, module in sorted(sys.modules.items())
        if name.startswith("chatapi.")
        for key, value in vars(module).items()
        if isinstance(value, PerApp)
    }


def test_no_object_that_can_change_belongs_to_two_apps(sides: tuple[Side, Side]) -> None:
    one, two = sides
    with one.active():
        ours = values_of_apps()
    with two.active():
        theirs = values_of_apps()
    assert len(ours) > 30
    constant = (int, tuple, timedelta)
    shared = {name for name in ours if ours[name] is theirs[name]}
    assert {name for name in shared if not isinstance(ours[name], constant)} == set()


def test_no_module_keeps_what_an_app_does(sides: tuple[Side, Side]) -> None:
    one, two = sides
    two.client.get("/api/config")
    before = module_values()
    assert len(before) > 50
    _, token = one.sign_up()
    chat_id = one.open_chat(token)
    one.send(token, chat_id, "Hello")
    one.ask(token, "/chat")
    one.ask(token, f"/chat/{chat_id}/typing", {})
    one.client.get(f"/api/chat/{chat_id}/events", headers={"Authorization": f"Bearer {token}"})
    one.client.get("/api/openapi.json")
    one.client.get("/admin/login")
    after = module_values()
    assert {key for key in before if before[key] != after.get(key)} == set()
