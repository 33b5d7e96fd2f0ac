"""The commands read along indexes, and whole collections only where a list here says why.

Every command that they send is taken from the wire and explained by the server.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from click.testing import Result
from pymongo.database import Database

from chatapi import create_app
from chatapi.cli import demo_plan
from chatapi.cli.doctor import database as database_checks
from chatapi.domain import clock
from chatapi.services import chats, messages, users
from chatapi.store import indexes, maintenance, scan
from chatapi.store.database import Document
from config import TestConfig
from tests.conftest import MakeChat, MakeSession
from tests.live.plans import NO_FILTER, asked, scans
from tests.live.wire import Wire
from tests.servers import AppServer

# Commands that look at no document of a collection.
OF_NO_DOCUMENT = NO_FILTER | {
    *("buildInfo", "serverStatus", "explain", "collMod", "create", "drop", "dropIndexes"),
    *("createIndexes", "listCollections", "listIndexes", "saslStart", "saslContinue"),
}
RANGES = {"$gt", "$gte", "$lt", "$lte"}
CUT_OFF = "holds only what a crash cut off"
COPIED = "a backup holds every document"
SHOWN = "counted for a number that is shown; no document is decoded"
EMPTY = "asked once whether it is empty"
COUNTED = "asked once whether it is empty, and once how many documents were restored"
# (command, collection): why it reads the whole collection.
FULL_READS = {
    **{
        (command, name): CUT_OFF
        for command in ("init-db", "init-db --delete-orphans")
        for name in ("deletions", "unassignments", "upgrades")
    },
    **{("backup", name): COPIED for name in ("chatrooms", "chat_terms", "users", "forms")},
    ("backup", "migrations"): COPIED,
    **{("backup", name): COPIED for name in ("deletions", "unassignments", "upgrades")},
    ("backup", "messages"): SHOWN,  # They are read by their chats.
    ("doctor", "chatrooms"): SHOWN,
    **{
        ("restore", name): COUNTED
        for name in ("chatrooms", "chat_terms", "users", "messages", "forms", "deletions")
    },
    ("restore", "migrations"): COUNTED,
    ("restore", "sessions"): EMPTY,
    ("restore", "passwordLinks"): EMPTY,
}


@pytest.fixture
def database(listened_database: Database[Document]) -> Iterator[Database[Document]]:
    """What `app` stands on: a database whose commands are kept."""
    yield listened_database
    listened_database.client.drop_database("restored")


def made(ago: timedelta) -> ObjectId:
    """Return an id that was made so long ago."""
    second = int((clock.real() - ago).timestamp())
    return ObjectId(second.to_bytes(4, "big") + ObjectId().binary[4:])


def add_message(database: Database[Document], ago: timedelta, chat_id: ObjectId) -> ObjectId:
    there = database["messages"].find_one()
    assert there is not None
    copy_id = made(ago)
    copy = there | {"_id": copy_id, "chatId": chat_id, "idempotencyKey": str(ObjectId())}
    database["messages"].insert_one(copy)
    return copy_id


class Commands:
    """Runs commands and notes which collections each has read whole."""

    def __init__(self, database: Database[Document], wire: Wire, settings: dict[str, Any]) -> None:
        self.database, self.wire, self.settings = database, wire, settings
        self.full_reads: set[tuple[str, str]] = set()
        self.id_ranges: list[tuple[str, str, Document]] = []
        self._seen: set[str] = set()

    def run(self, name: str, *more: object, database: Database[Document] | None = None) -> Result:
        """Run a command and look at all that it has sent."""
        target = self.database if database is None else database
        self.wire.clear()
        app = create_app(TestConfig, database=target, **self.settings)
        arguments = [*name.split(), *map(str, more)]
        result = app.test_cli_runner().invoke(args=arguments)
        sent = list(self.wire.commands)
        assert sent, result.output
        for command in sent:
            if command["name"] not in OF_NO_DOCUMENT:
                for collection, wanted in asked(command):
                    self._judge(name, target, collection, wanted, command.get("sort", {}))
        return result

    def _judge(
        self,
        name: str,
        database: Database[Document],
        collection: str,
        wanted: Document,
        sort: Document,
    ) -> None:
        of_id = wanted.get("_id")
        if isinstance(of_id, dict) and not RANGES.isdisjoint(of_id):
            self.id_ranges.append((name, collection, wanted))
        shape = f"{name} {collection} {sorted(wanted)} {sort}"
        if shape not in self._seen:
            self._seen.add(shape)
            # Without a filter an order or a limit saves the embedded database nothing.
            if not wanted or scans(database, collection, wanted, sort):
                self.full_reads.add((name, collection))


@pytest.mark.long
def test_commands_read_whole_collections_only_where_it_says_why(
    database: Database[Document],
    live_database: Database[Document],
    wire: Wire,
    make_session: MakeSession,
    make_chat: MakeChat,
    live_server: AppServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(demo_plan, "CLOSED_CHATS", 4)
    monkeypatch.setattr(demo_plan, "OPEN_CHATS", 4)
    monkeypatch.setattr(demo_plan, "LONG_CHAT_MESSAGES", 8)
    monkeypatch.setattr(database_checks, "MAX_COMPARED", 2)
    settings = {
        "DATA_DIR": str(tmp_path / "var"),
        "PUBLIC_URL": live_server.url,
        "MONGO_URI": live_server.environment["MONGO_URI"],
    }
    commands = Commands(database, wire, settings)

    def done(name: str, *more: object, **options: Any) -> str:
        result = commands.run(name, *more, **options)
        assert result.exit_code == 0, result.output
        return result.output

    agent = make_session("admin")
    open_chats = [make_chat(message="Hello") for _ in range(4)]
    for chat in open_chats:
        messages.send(agent, chat["_id"], "Good day")
        chats.update(agent, chat["_id"], admin_id=str(agent.user_id))
    unfound, going, gone = (make_chat(message="Hello")["_id"] for _ in range(3))
    # What crashes leave.
    live_database["chat_terms"].delete_one({"_id": unfound})
    live_database["chatrooms"].delete_one({"_id": gone})
    live_database["messages"].delete_many({"chatId": gone})
    lost = add_message(live_database, timedelta(hours=2), made(timedelta(hours=2)))
    old = made(timedelta(hours=2))
    live_database["chat_terms"].insert_one({"_id": old, "userId": old, "terms": ["x"]})
    live_database["deletions"].insert_many(
        [{"_id": going}, {"_id": ObjectId(), "chatId": open_chats[0]["_id"], "seq": 1}]
    )
    live_database["users"].update_one({"_id": agent.user_id}, {"$set": {"disabled": True}})
    live_database["unassignments"].insert_one({"_id": agent.user_id})
    live_database["upgrades"].insert_one({"_id": open_chats[0]["userId"]})
    live_database["forms"].delete_many({})

    said = done("init-db")
    assert "Finished 2 deletions" in said
    assert "Unassigned 4 open chats" in said
    assert "Finished 1 upgrades" in said
    assert "Removed 1 messages" in done("init-db --delete-orphans")
    assert live_database["messages"].find_one({"_id": lost}) is None
    assert live_database["chat_terms"].find_one({"_id": old}) is None
    assert live_database["chat_terms"].find_one({"_id": unfound})
    done("create-admin", "new@example.org", "--password", "a long password of theirs")
    done("set-password", "new@example.org", "--password", "another long password")
    conversation = {
        "id": "one",
        "subject": "Parcel",
        "messages": [{"role": role, "text": role} for role in ("user", "admin", "user")],
    }
    (tmp_path / "file.jsonl").write_text(json.dumps(conversation))
    done("import-conversations", tmp_path / "file.jsonl")
    done("import-conversations", tmp_path / "file.jsonl", "--verify")
    done("seed-demo")
    done("temporary-accounts make")
    done("temporary-accounts remove")
    done("backup", tmp_path / "copy")
    restored = database.client["restored"]
    indexes.ensure(restored)
    done("restore", tmp_path / "copy", database=restored)
    # Its verdict is of the settings, too; the queries are the same.
    assert "agree with their histories" in commands.run("doctor").output
    assert users.find("new@example.org")
    assert commands.id_ranges == []
    assert commands.full_reads == set(FULL_READS)


def test_a_full_read_and_a_range_of_ids_are_recognised(
    database: Database[Document], wire: Wire, make_chat: MakeChat
) -> None:
    make_chat(message="Hello")
    commands = Commands(database, wire, {})
    for wanted in ({}, {"userEmail": "x"}, {"_id": {"$gte": ObjectId()}}):
        commands.full_reads.clear()
        commands._judge("command", database, "chatrooms", wanted, {})
        assert commands.full_reads == {("command", "chatrooms")}
    assert commands.id_ranges == [("command", "chatrooms", wanted)]
    commands.full_reads.clear()
    commands._judge("command", database, "chatrooms", {"userId": ObjectId()}, {})
    assert commands.full_reads == set()


def test_messages_are_looked_through_by_their_chats_the_newest_first(
    database: Database[Document],
    live_database: Database[Document],
    wire: Wire,
    make_chat: MakeChat,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scan, "AT_ONCE", 10)
    make_chat(message="Hello")
    chat_ids = [made(timedelta(hours=hours)) for hours in range(2, 82)]
    for number, chat_id in enumerate(chat_ids):
        # The last message of an old chat may be the latest of all.
        add_message(live_database, timedelta(hours=2 + 80 - number), chat_id)
    before = clock.now() - timedelta(hours=1)
    wire.clear()
    newest = [chat_id for _, chat_id in maintenance.message_chat_ids(before, 15)]
    assert newest == chat_ids[:15]
    read = [each["filter"] for each in wire.commands if each["name"] == "find"]
    assert 1 < len(read) < 25
    # What a find matches is what the embedded database has in memory for it.
    counts = [live_database["messages"].count_documents(each) for each in read]
    assert sum(counts) < 40
    everything = [chat_id for _, chat_id in maintenance.message_chat_ids(before)]
    assert everything == chat_ids
    finds = [each for each in wire.commands if each["name"] == "find"]
    assert all(list(each["filter"]) == ["chatId"] for each in finds)
    assert not any(scans(live_database, "messages", each["filter"], {}) for each in finds)
    assert max(live_database["messages"].count_documents(each["filter"]) for each in finds) <= 20
