"""No request scans a collection, indexes are what they are declared to be, validators refuse.

Every command that the app sends while each of its routes is asked, with each filter, is taken
from the wire and explained by the server. The embedded database answers a filter of several
fields by the index of one of them, but its `explain` says so only for each field alone (and
never under `$or`), so that is how it is asked.
"""

from __future__ import annotations

import functools
import itertools
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pymongo
import pytest
from bson import ObjectId
from flask import Flask
from flask.testing import FlaskClient
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import WriteError

from chatapi.domain import errors
from chatapi.domain.networks import Network
from chatapi.http.counters import database_counters
from chatapi.http.login_limits import LoginAttempts
from chatapi.services import accounts, chat_lists, chats, messages, sessions, users
from chatapi.store import changes, indexes, presence
from chatapi.store import chats as stored_chats
from chatapi.store import sessions as stored_sessions
from chatapi.store.database import Document
from tests.conftest import CLIENT, PASSWORD
from tests.live.clients import at_once
from tests.live.plans import asked, scans
from tests.live.wire import Wire
from tests.servers import AppServer, DatabaseServer

# Routes that read no data, or whose reads `test_streams_…` and the API's routes cover.
NOT_ASKED = {
    "user_api.websocket": "does over frames what the routes do",
    "user_api.chat_events": "never ends; its reads are explained one by one",
    "user_api.inbox_events": "never ends; its reads are explained one by one",
    "user_api.config": "reads nothing",
}
NO_DATA = re.compile(r"(\.static|\.versioned|^openapi\.|^chat_ui\.|^health\.)")
WRONG_ID = "0" * 24


@pytest.fixture
def database(listened_database: Database[Document]) -> Database[Document]:
    """What `app` stands on: a database whose commands are kept."""
    return listened_database


def sorts_without_an_index(command: Document) -> bool:
    """Tell whether a page of a list is in no order that an index gives.

    An index gives it when, behind leading fields that the filter sets to one value, its keys
    go on as the sort does; a server then stops after the page.
    """
    sort = list(command.get("sort", {}).items())
    if command["name"] != "find" or not sort:
        return False
    fixed = {n for n, v in command.get("filter", {}).items() if not isinstance(v, dict)}
    for model in indexes.INDEXES[command["find"]]:
        keys = list(model.document["key"].items())
        while keys and keys[0][0] in fixed:
            keys.pop(0)
        for direction in (1, -1):
            if [(n, d * direction) for n, d in keys[: len(sort)]] == sort:
                return False
    return True


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


class Drive:
    """Asks the app's routes, as an agent unless said otherwise, and notes which it reached."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.client: FlaskClient = app.test_client()
        agent = users.create_admin("Agent", "agent@example.org", PASSWORD)
        self.agent, self.token = accounts.login("agent@example.org", PASSWORD, CLIENT)
        users.create_admin("Other", "other@example.org", PASSWORD)
        self.agent_id = agent["_id"]
        self.reached: set[str] = set()
        self._numbers = itertools.count(1)

    def user(self) -> tuple[sessions.Session, str]:
        """Register somebody."""
        return accounts.register("User", f"user{next(self._numbers)}@example.org", PASSWORD, CLIENT)

    def ask(
        self, method: str, path: str, token: str | None = None, ok: bool = True, **options: Any
    ) -> Any:
        """Send a request and return its JSON, if it is."""
        endpoint, _ = self.app.url_map.bind("localhost").match(path.partition("?")[0], method)
        self.reached.add(str(endpoint))
        headers = bearer(token or self.token) | options.pop("headers", {})
        answer = self.client.open(path, method=method, headers=headers, **options)
        assert answer.status_code < (400 if ok else 500), (
            method,
            path,
            answer.get_data(as_text=True),
        )
        return answer.get_json(silent=True)


@pytest.fixture
def drive(app: Flask) -> Drive:
    """The app on the database, with chats in it."""
    drive = Drive(app)
    for number in range(12):
        session, _ = drive.user()
        chat, _, _ = chats.create(session, f"Subject {number}", message="Hello")
        if number % 2:
            chats.update(drive.agent, chat["_id"], status="closed", admin_id=str(drive.agent_id))
    return drive


def ask_everything(drive: Drive) -> None:
    """Ask every route of the API and of the console that touches data, with every filter."""
    ask = drive.ask
    session, token = drive.user()
    chat_id = ask(
        "POST",
        "/api/chat",
        token,
        json={"subject": "Help", "message": "Hi", "clientMessageId": "a"},
    )["_id"]
    for body in (
        {"subject": "Help", "message": "Hi", "clientMessageId": "a"},
        {"subject": "Other"},
    ):
        ask("POST", "/api/chat", token, ok=False, json=body)
    for who in (token, drive.token):
        key = {"content": "Hello", "clientMessageId": "key"}
        for body in ({"content": "Hello"}, key, key):
            ask("POST", f"/api/chat/{chat_id}/messages", who, json=body)
        ask("POST", f"/api/chat/{chat_id}/read", who, json={"seq": 2})
        ask("POST", f"/api/chat/{chat_id}/typing", who)
        for query in ("", "?messages=2", "?messages=0"):
            ask("GET", f"/api/chat/{chat_id}{query}", who)
        for query in ("", "?before=3", "?after=1", "?after=1&before=4&limit=1"):
            ask("GET", f"/api/chat/{chat_id}/messages{query}", who)
    patches: list[Document] = [
        {"message": "One", "clientMessageId": "b", "read": True, "priority": "high"},
        {"adminId": str(drive.agent_id), "category": "billing"},
        {"adminId": None},
        {"status": "closed"},
        {"status": "active", "message": "Two"},
    ]
    for body in patches:
        ask("PATCH", f"/api/chat/{chat_id}", json=body)
    ask("POST", f"/api/chat/{chat_id}/solved", token)
    ask("DELETE", f"/api/chat/{chat_id}/messages/1")
    ask_for_lists(drive, token)
    ask("GET", "/api/admin/stats")
    ask("GET", "/api/admin/realtime")
    ask("POST", "/api/admin/chats/bulk", json={"ids": [chat_id, WRONG_ID], "priority": "low"})
    ask("PATCH", f"/api/admin/users/{session.user_id}", json={"name": "New Name"})
    ask_about_accounts(drive)
    ask_the_console(drive, chat_id, str(session.user_id))
    ask("DELETE", f"/api/chat/{chat_id}")
    ask("PATCH", f"/api/admin/users/{session.user_id}", json={"disabled": True})
    other = users.find("other@example.org")
    assert other is not None
    ask("PATCH", f"/api/admin/users/{other['_id']}", json={"role": "user"})


def ask_for_lists(drive: Drive, token: str) -> None:
    ask = drive.ask
    narrowings = [
        "", "status=active", "status=active&status=pending", "priority=high",
        "priority=high&priority=low", "category=billing", "category=billing&category=other",
        "assigned=me", "assigned=none", f"assigned={drive.agent_id}", "unread=true", "unread=false",
        "q=help", "q=help user", "q=!", "limit=3",
        "status=active&priority=high&category=billing&assigned=none&unread=true&q=help",
    ]  # fmt: skip
    for who in (drive.token, token):
        cursor = chat_lists.list_chats(drive.agent, chat_lists.ChatFilters(), 3).next_cursor
        for query in narrowings:
            for page in ("", f"&cursor={cursor}"):
                ask("GET", f"/api/chat?{query}{page}", who)
                if who == drive.token:
                    ask("GET", f"/admin/chats?{query}{page}", headers={"HX-Request": "true"})
                    ask("GET", f"/admin/chats?{query}{page}")
    cursor = users.list_users(drive.agent, limit=3).next_cursor
    for query in (
        "",
        "role=admin",
        "disabled=true",
        "q=user",
        "q=user example",
        "role=user&disabled=false&q=u",
    ):
        for page in ("", f"&cursor={cursor}"):
            ask("GET", f"/api/admin/users?{query}{page}")
            ask("GET", f"/admin/users?{query}{page}")


def ask_about_accounts(drive: Drive) -> None:
    ask = drive.ask
    who: Document = {"name": "Ana", "email": "ana@example.org", "password": PASSWORD}
    ask("POST", "/api/auth/register", json=who)
    ask("POST", "/api/auth/register", ok=False, json=who)
    del who["name"]
    token = ask("POST", "/api/auth/login", json=who)["token"]
    ask("POST", "/api/auth/login", ok=False, json=who | {"password": "wrong"})
    guest = ask("POST", "/api/auth/guest", json={"name": "Gus", "email": "gus@example.org"})
    ask("POST", "/api/auth/upgrade", guest["token"], json={"password": PASSWORD})
    ask("GET", "/api/auth/me", token)
    ask("GET", "/api/auth/csrf", token)
    listed = ask("GET", "/api/auth/sessions", token)
    other = next(row["_id"] for row in listed if not row["current"])
    ask("DELETE", f"/api/auth/sessions/{other}", token)
    ask("POST", "/api/auth/password", token, json={"current": PASSWORD, "new": "another password"})
    ask("POST", "/api/auth/logout", token)
    token = ask("POST", "/api/auth/login", json=who | {"password": "another password"})["token"]
    ask("DELETE", "/api/auth/sessions", token)
    ana = users.find("ana@example.org")
    assert ana is not None
    url = ask("POST", f"/api/admin/users/{ana['_id']}/password-link")["url"]
    ask("GET", url.partition("localhost")[2])
    body = {"token": url.partition("token=")[2], "password": "a third password"}
    ask("POST", "/api/auth/password/link", json=body)
    ask("POST", "/api/auth/password/link", ok=False, json=body)
    # Needs a CSRF token; the API's route does the same reads.
    ask("POST", "/admin/set-password", ok=False, data=body)


def ask_the_console(drive: Drive, chat_id: str, user_id: str) -> None:
    ask = drive.ask
    for path in ("/admin", "/admin/", "/admin/login"):
        ask("GET", path)
    here = f"/admin/chats/{chat_id}"
    for query in ("", "?first=1&new=0"):
        ask("GET", here + query)
        ask("GET", here + query, headers={"HX-Request": "true"})
    ask("GET", f"{here}/messages?before=3")
    ask("GET", f"{here}/messages/2/delete")
    ask("POST", f"{here}/messages/2/delete")
    ask("POST", f"{here}/messages", data={"message": "Hello", "clientMessageId": "c"})
    ask("POST", f"{here}/read", data={"seq": "2"})
    ask("POST", here, data={"adminId": "me"})
    agent = str(drive.agent_id)
    undo = {"ids": [chat_id], "name": "adminId", "after": agent, "before": [""]}
    ask("POST", "/admin/chats/undo", data=undo)
    ask("POST", "/admin/chats/bulk", data={"ids": [chat_id], "priority": "low"})
    ask("GET", f"/admin/users/{user_id}")
    ask("GET", f"/admin/users/{user_id}/confirm?disabled=true")
    ask("POST", f"/admin/users/{user_id}", data={"name": "Newer Name"})
    ask("GET", f"/admin/users/{user_id}/password-link")
    ask("POST", f"/admin/users/{user_id}/password-link")
    ask("GET", f"{here}/delete")
    session, _ = drive.user()
    chat, _, _ = chats.create(session, "To be deleted", message="Hello")
    ask("POST", f"/admin/chats/{chat['_id']}/delete")
    # Signing in and out of the console needs a CSRF token; the API's routes do the same reads.
    ask("POST", "/admin/login", ok=False, data={"email": "x@example.org", "password": "x"})
    ask("POST", "/admin/logout", ok=False)


def test_no_request_scans_a_collection(
    drive: Drive, wire: Wire, live_database: Database[Document]
) -> None:
    wire.clear()
    ask_everything(drive)
    commands = list(wire.commands)
    assert len(commands) > 300
    seen: set[str] = set()
    found = []
    for command in commands:
        for collection, wanted in asked(command):
            sort = command.get("sort", {}) if command["name"] == "find" else {}
            values = wanted if collection == "chatrooms" else sorted(wanted)
            shape = f"{collection} {values} {sort}"
            if shape not in seen and scans(live_database, collection, wanted, sort):
                found.append(f"{command['name']} {collection} {wanted}")
            seen.add(shape)
        if sorts_without_an_index(command):
            found.append(f"sort of {command['find']} {command['filter']} {command['sort']}")
    assert found == []


def test_every_route_is_asked(drive: Drive) -> None:
    ask_everything(drive)
    routes = {rule.endpoint for rule in drive.app.url_map.iter_rules()}
    forgotten = {name for name in routes - drive.reached if not NO_DATA.search(name)}
    assert forgotten == set(NOT_ASKED)


def test_streams_and_the_start_scan_nothing_either(
    drive: Drive, wire: Wire, live_database: Database[Document]
) -> None:
    chat_id = stored_chats.newest(stored_chats.Filter(), 1)[0]["_id"]
    # Made where the tail polls, because the server has no change streams.
    live_database["chatrooms"].create_indexes([indexes.POLLED])
    wire.clear()
    list(changes.since(datetime.now(UTC) - timedelta(seconds=5)))
    changes.chats_now([chat_id, ObjectId()])
    presence.heartbeat("process", [])
    presence.online_since(datetime.now(UTC))
    presence.clear("process")
    stored_sessions.of_user(drive.agent_id)
    stored_sessions.live_roles({drive.agent.id, "gone"}, datetime.now(UTC))
    messages.page(chats.get(drive.agent, chat_id)[0], after=0)
    assert len(wire.commands) >= 8
    found = [
        (collection, wanted)
        for command in wire.commands
        for collection, wanted in asked(command)
        if scans(live_database, collection, wanted, {})
    ]
    live_database["chatrooms"].drop_index("changes")
    assert found == []


def test_a_scan_is_recognised(live_database: Database[Document]) -> None:
    assert scans(live_database, "chatrooms", {"userEmail": "x"}, {})
    assert scans(live_database, "messages", {"senderId": ObjectId()}, {})
    assert scans(live_database, "messages", {"seq": 1, "content": "x"}, {})
    assert not scans(live_database, "messages", {"chatId": ObjectId(), "seq": 1, "x": 1}, {})
    by_name: Document = {"name": "find", "find": "users", "filter": {}, "sort": {"name": 1}}
    assert sorts_without_an_index(by_name)
    assert not sorts_without_an_index(by_name | {"sort": {"createdAt": -1, "_id": -1}})
    assert not sorts_without_an_index(by_name | {"sort": {"createdAt": 1, "_id": 1}})


def test_paging_where_many_chats_have_one_time_scans_nothing(
    drive: Drive,
    wire: Wire,
    live_database: Database[Document],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stored_chats, "MAX_SORTED", 0)
    monkeypatch.setattr(stored_chats, "SCAN_BATCH", 2)
    at = datetime.now(UTC).replace(microsecond=0)
    live_database["chatrooms"].update_many({}, {"$set": {"lastMessageAt": at}})
    live_database["chatrooms"].update_one({}, {"$set": {"lastMessageAt": at - timedelta(days=9)}})
    wire.clear()
    narrowed: Document
    for narrowed, count in (
        ({}, 12),
        ({"q": "subject"}, 12),
        ({"status": ["closed"]}, 6),
        ({"status": ["closed", "active"]}, 12),
    ):
        seen: set[ObjectId] = set()
        cursor = None
        for _ in range(count // 2):
            page = chat_lists.list_chats(drive.agent, chat_lists.ChatFilters(**narrowed), 2, cursor)
            seen |= {chat["_id"] for chat in page.items}
            cursor = page.next_cursor
        assert (len(seen), cursor) == (count, None)
    # The place stands in the middle of its time: ids are compared, behind the time.
    assert any("_id" in each["filter"] for each in wire.commands if each["name"] == "find")
    found = [
        (collection, wanted)
        for command in wire.commands
        for collection, wanted in asked(command)
        if scans(live_database, collection, wanted, command.get("sort", {}))
    ]
    assert found == []


def test_counting_sign_in_attempts_scans_nothing(
    drive: Drive,
    wire: Wire,
    live_database: Database[Document],
    database_server: DatabaseServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clients: list[MongoClient[Document]] = []

    def listened(*args: Any, **kwargs: Any) -> MongoClient[Document]:
        client: MongoClient[Document] = MongoClient(*args, **kwargs, event_listeners=[wire])
        clients.append(client)
        return client

    monkeypatch.setattr(pymongo, "MongoClient", listened)
    drive.app.config |= {
        "RATELIMIT_ENABLED": True,
        "MONGO_URI": database_server.uri,
        "DATABASE_NAME": live_database.name,
    }
    attempts = LoginAttempts(functools.partial(database_counters, drive.app.config))
    wire.clear()
    with drive.app.test_request_context():
        for _ in range(8):
            with (
                suppress(errors.TooManyAttempts),
                attempts.sign_in("ana@example.org", Network("192.0.2.1"), None),
            ):
                pass
        with (
            pytest.raises(errors.WrongCredentials),
            attempts.sign_in("ana@example.org", Network("192.0.2.1"), None),
        ):
            raise errors.WrongCredentials
    for client in clients:
        client.close()
    assert {command["name"] for command in wire.commands} >= {"find", "insert", "update"}
    found = [
        (collection, wanted)
        for command in wire.commands
        if command["name"] != "createIndexes"
        for collection, wanted in asked(command)
        if scans(live_database, collection, wanted, {})
    ]
    assert found == []


# What is declared and what exists


def test_the_indexes_that_exist_are_those_declared(live_database: Database[Document]) -> None:
    options = ("unique", "partialFilterExpression", "expireAfterSeconds")
    for name, models in indexes.INDEXES.items():
        exist = {
            index["name"]: (
                dict(index["key"]),
                {o: index[o] for o in options if index.get(o) or index.get(o) == 0},
            )
            for index in live_database[name].list_indexes()
            if index["name"] != "_id_"
        }
        declared = {
            model.document["name"]: (
                dict(model.document["key"]),
                {o: model.document[o] for o in options if o in model.document},
            )
            for model in models
        }
        assert exist == declared, name


@pytest.mark.parametrize(
    "keys", [{"userId": 1, "createdAt": -1}, {"adminId": 1, "createdAt": -1}, {"status": 1}]
)
def test_the_indexes_that_the_customer_names_exist(
    live_database: Database[Document], keys: dict[str, int]
) -> None:
    existing = [list(index["key"].items()) for index in live_database["chatrooms"].list_indexes()]
    assert list(keys.items()) in existing


def test_preparing_the_database_again_and_at_once_changes_nothing(
    live_database: Database[Document], live_server: AppServer
) -> None:
    live_database["deletions"].insert_one({"_id": ObjectId()})

    def state() -> dict[str, list[Document]]:
        names = sorted(indexes.INDEXES)
        return {name: [dict(each) for each in live_database[name].list_indexes()] for name in names}

    before = state()
    at_once([lambda: live_server._flask("init-db")] * 2)
    live_server._flask("init-db")
    assert state() == before
    assert live_database["deletions"].count_documents({}) == 0


def test_a_database_prepared_by_several_at_once_is_whole(
    database_server: DatabaseServer,
) -> None:
    client: MongoClient[Document] = MongoClient(database_server.uri, tz_aware=True)
    with client:
        fresh = client["prepared_at_once"]
        at_once([lambda: indexes.ensure(fresh)] * 4)
        for name, models in indexes.INDEXES.items():
            exist = {index["name"] for index in fresh[name].list_indexes()} - {"_id_"}
            assert exist == {model.document["name"] for model in models}
        with pytest.raises(WriteError):
            fresh["messages"].insert_one({"seq": 0})
        client.drop_database("prepared_at_once")


@pytest.mark.parametrize(
    ("collection", "wrong"),
    [
        ("users", {"role": "root"}),
        ("users", {"disabled": "no"}),
        ("users", {"loginKey": 5}),
        ("sessions", {"userId": "me"}),
        ("sessions", {"expiresAt": "tomorrow"}),
        ("chatrooms", {"status": "open"}),
        ("chatrooms", {"priority": "highest"}),
        ("chatrooms", {"lastSeq": -1}),
        ("chatrooms", {"isOpen": 1}),
        ("chatrooms", {"subject": {"$gt": ""}}),
        ("messages", {"seq": 0}),
        ("messages", {"seq": 1.5}),
        ("messages", {"content": None}),
        ("messages", {"senderRole": "bot"}),
        ("messages", {"timestamp": 0}),
    ],
)
def test_a_validator_refuses_what_the_product_never_writes(
    drive: Drive, live_database: Database[Document], collection: str, wrong: Document
) -> None:
    there = live_database[collection].find_one()
    assert there is not None
    before = live_database[collection].count_documents({})
    # Unique values of its own, so that nothing but the validator can object.
    unique = {"_id": ObjectId(), "loginKey": "new", "userId": ObjectId(), "chatId": ObjectId()}
    fresh = there | {name: value for name, value in unique.items() if name in there}
    live_database[collection].insert_one(fresh)
    bad = fresh | {name: value for name, value in unique.items() if name == "_id"}
    bad |= {
        "_id": ObjectId(),
        "loginKey": "newer",
        "userId": ObjectId(),
        "chatId": ObjectId(),
    } | wrong
    with pytest.raises(WriteError) as refusal:
        live_database[collection].insert_one(bad)
    assert refusal.value.code == 121
    with pytest.raises(WriteError):
        live_database[collection].update_one({"_id": fresh["_id"]}, {"$set": wrong})
    with pytest.raises(WriteError):
        live_database[collection].insert_one({"_id": ObjectId()})
    assert live_database[collection].count_documents({}) == before + 1
