"""What a send asks of the embedded database: one sync, at the second of its two writes."""

from __future__ import annotations

from typing import Any

import pytest
from bson import ObjectId
from flask import Flask
from pymongo import WriteConcern
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, WriteError

from chatapi.services import chats, messages
from chatapi.store import database as store_database
from chatapi.store import durability
from chatapi.store.database import Document
from chatapi.store.disk import StorageFull, free_space
from tests.conftest import MakeSession
from tests.documents import chat_document
from tests.live.wire import Wire


@pytest.fixture
def database(listened_database: Database[Document]) -> Database[Document]:
    """What `app` stands on: a database whose commands are kept."""
    return listened_database


def writes(wire: Wire) -> list[tuple[str, Any]]:
    """Return the name and the write concern of each write that was sent."""
    return [
        (each["name"], each.get("writeConcern"))
        for each in wire.commands
        if each["name"] in {"insert", "update"}
    ]


def test_the_message_is_written_without_a_sync_and_the_chat_with_one(
    live_app: Flask, make_session: MakeSession, wire: Wire
) -> None:
    user = make_session()
    chat, *_ = chats.create(user, "A subject")
    wire.clear()
    messages.send(user, chat["_id"], "Hello", "key")
    assert wire.sent[-2:] == [("insert", "messages"), ("update", "chatrooms")]
    assert writes(wire) == [("insert", {"w": 1, "j": False}), ("update", {"w": 1, "j": True})]
    # The first answer may not have come because the database died: nothing is acknowledged
    # that was only read.
    wire.clear()
    _, created = messages.send(user, chat["_id"], "Hello", "key")
    assert not created
    assert wire.sent[-1] == ("insert", "presence")
    assert writes(wire)[-1] == ("insert", {"w": 1, "j": True})


def test_both_writes_are_given_one_session_of_the_driver(
    live_app: Flask, make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The ids on the wire say nothing: the driver takes the same one again for the next session.
    plain, given = Database.command, list[Any]()

    def noted(self: Any, command: Any, *rest: Any, **options: Any) -> Any:
        if isinstance(command, dict) and {"insert", "update"} & command.keys():
            given.append(options["session"])
        return plain(self, command, *rest, **options)

    monkeypatch.setattr(Database, "command", noted)
    durability._collections.set(durability._Collections())
    user = make_session()
    chat, *_ = chats.create(user, "A subject")
    given.clear()
    messages.send(user, chat["_id"], "Hello", "key")
    assert len(given) == 2
    assert given[0] is given[1] is not None
    assert given[0].has_ended


def test_a_direct_write_says_what_it_did_or_why_it_was_refused(
    live_app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms, key = durability.to_commit("chatrooms"), ObjectId()
    assert isinstance(rooms, durability.DirectCollection)
    chat = chat_document(_id=key, isOpen=False)
    rooms.insert_one(chat)
    with pytest.raises(DuplicateKeyError, match=str(key)):
        rooms.insert_one(chat)
    fields: dict[str, Any] = {"subject": "$lastSeq", "unread": {"user": 7}, "adminId": None}
    assert not rooms.set_fields(key, 2, fields)
    assert not rooms.set_fields(ObjectId(), 1, fields)
    assert rooms.set_fields(key, 1, fields)
    with pytest.raises(WriteError):
        rooms.set_fields(key, 2, {"status": "no status"})
    monkeypatch.setattr(type(free_space.current), "is_low", True)
    with pytest.raises(StorageFull):
        rooms.set_fields(key, 2, {"subject": "c"})
    assert store_database.chatrooms().find_one({"_id": key}) == {**chat, **fields, "version": 2}


def test_the_filter_of_a_plain_server_has_the_version(
    live_app: Flask, make_session: MakeSession
) -> None:
    chat, *_ = chats.create(make_session(), "a")
    database, concern = store_database.current(), WriteConcern(w=1, j=True)
    rooms = durability.DirectCollection(database, "chatrooms", concern, by_id=False)
    assert not rooms.set_fields(chat["_id"], 2, {"subject": "b"})
    assert rooms.set_fields(chat["_id"], 1, {"subject": "b"})
    found = store_database.chatrooms().find_one({"_id": chat["_id"]})
    assert found is not None
    assert (found["subject"], found["version"]) == ("b", 2)
