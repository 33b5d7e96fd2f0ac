"""What a send asks of the embedded database: one sync, at the second of its two writes."""

from __future__ import annotations

from typing import Any

import pytest
from bson import ObjectId
from flask import Flask
from pymongo import MongoClient, WriteConcern
from pymongo.errors import DuplicateKeyError, WriteError
from pymongo.monitoring import CommandListener, CommandStartedEvent

from chatapi.services import chats, messages
from chatapi.store import database as store_database
from chatapi.store import durability
from chatapi.store.disk import StorageFull, free_space
from tests.conftest import MakeSession
from tests.servers import DatabaseServer


class Writes(CommandListener):
    """Notes the collection and the write concern of each write."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, Any]] = []
        self.sessions: list[Any] = []

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name in {"insert", "update"}:
            collection = event.command[event.command_name]
            self.seen.append((event.command_name, collection, event.command.get("writeConcern")))
            self.sessions.append(event.command["lsid"])

    def succeeded(self, event: object) -> None:
        """Nothing to note."""

    failed = succeeded  # type: ignore[assignment]


def test_the_message_is_written_without_a_sync_and_the_chat_with_one(
    live_app: Flask,
    make_session: MakeSession,
    database_server: DatabaseServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    user = make_session()
    chat, *_ = chats.create(user, "A subject")
    writes = Writes()
    with MongoClient[dict[str, Any]](database_server.uri, event_listeners=[writes]) as client:
        name = store_database.current().name
        monkeypatch.setattr(store_database, "_bound", [client[name]])
        monkeypatch.setattr(store_database, "_collections", {})
        messages.send(user, chat["_id"], "Hello", "key")
        assert writes.seen == [
            ("insert", "messages", {"w": 1, "j": False}),
            ("update", "chatrooms", {"w": 1, "j": True}),
        ]
        assert writes.sessions[0] == writes.sessions[1]
        # The first answer may not have come because the database died: nothing is acknowledged
        # that was only read.
        writes.seen.clear()
        _, created = messages.send(user, chat["_id"], "Hello", "key")
        assert not created
        assert writes.seen[-1] == ("insert", "presence", {"w": 1, "j": True})


def test_a_direct_write_says_what_it_did_or_why_it_was_refused(
    live_app: Flask, make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms, key = durability.to_commit("chatrooms"), ObjectId()
    assert isinstance(rooms, durability.DirectCollection)
    chat, *_ = chats.create(make_session(), "a")
    chat = (store_database.chatrooms().find_one({"_id": chat["_id"]}) or {}) | {"_id": key}
    chat |= {"version": 1, "isOpen": False}
    rooms.insert_one(chat)
    with pytest.raises(DuplicateKeyError, match=str(key)):
        rooms.insert_one(chat)
    fields: dict[str, Any] = {"subject": "$lastSeq", "unread": {"user": 7}, "adminId": None}
    assert not rooms.set_fields(key, 2, fields)
    assert not rooms.set_fields(ObjectId(), 1, fields)
    assert rooms.set_fields(key, 1, fields)
    with pytest.raises(WriteError):
        rooms.set_fields(key, 2, {"status": "no status"})
    monkeypatch.setattr(type(free_space), "is_low", True)
    with pytest.raises(StorageFull):
        rooms.set_fields(key, 2, {"subject": "c"})
    assert store_database.chatrooms().find_one({"_id": key}) == chat | fields | {"version": 2}


def test_the_filter_of_a_plain_server_has_the_version(
    live_app: Flask, make_session: MakeSession
) -> None:
    chat, *_ = chats.create(make_session(), "a")
    database, concern = store_database.current(), WriteConcern(w=1, j=True)
    rooms = durability.DirectCollection(database, "chatrooms", concern, by_id=False)
    assert not rooms.set_fields(chat["_id"], 2, {"subject": "b"})
    assert rooms.set_fields(chat["_id"], 1, {"subject": "b"})
    found = store_database.chatrooms().find_one({"_id": chat["_id"]}) or {}
    assert (found["subject"], found["version"]) == ("b", 2)
