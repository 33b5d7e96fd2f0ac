"""What a send asks of the embedded database: one sync, at the second of its two writes."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from pymongo import MongoClient
from pymongo.monitoring import CommandListener, CommandStartedEvent

from chatapi.services import chats, messages
from chatapi.store import database as store_database
from tests.conftest import MakeSession
from tests.servers import DatabaseServer


class Writes(CommandListener):
    """Notes the collection and the write concern of each write."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, Any]] = []

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name in {"insert", "update"}:
            collection = event.command[event.command_name]
            self.seen.append((event.command_name, collection, event.command.get("writeConcern")))

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
        # The first answer may not have come because the database died: nothing is acknowledged
        # that was only read.
        writes.seen.clear()
        _, created = messages.send(user, chat["_id"], "Hello", "key")
        assert not created
        assert writes.seen[-1] == ("insert", "presence", {"w": 1, "j": True})
