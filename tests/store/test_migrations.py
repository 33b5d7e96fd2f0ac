"""Migrations, on a database in memory; `tests/live/test_migrations.py` has a real one."""

from __future__ import annotations

import mongomock
import pytest
from bson import ObjectId
from pymongo.database import Database

from chatapi.domain import clock
from chatapi.store import leases, migrations
from chatapi.store.database import Document

CHAT, USER = ObjectId(), ObjectId()
AT = clock.now()


@pytest.fixture
def old() -> Database[Document]:
    """A chat with two messages as release 0.1.0 stored them."""
    database: Database[Document] = mongomock.MongoClient(tz_aware=True)["old"]
    database["chatrooms"].insert_one(
        {"_id": CHAT, "userId": USER, "createKey": "a", "burying": [{"seq": 1, "at": AT}]}
    )
    message = {"chatId": CHAT, "senderId": USER}
    database["messages"].insert_many(
        [
            message | {"seq": 1, "sendKey": "client:a"},
            message | {"seq": 2, "sendKey": "own:b", "also": {"status": "closed"}},
        ]
    )
    keys = [("chatId", 1), ("senderId", 1), ("sendKey", 1)]
    database["messages"].create_index(keys, unique=True, name="send_once")
    return database


def test_the_fields_of_release_0_1_0_are_renamed(old: Database[Document]) -> None:
    assert migrations.run(old) == migrations.names()
    first, second = old["messages"].find({}, {"_id": 0}).sort("seq")
    assert first == {"chatId": CHAT, "senderId": USER, "seq": 1, "idempotencyKey": "client:a"}
    assert second["idempotencyKey"] == "own:b"
    assert second["chatChanges"] == {"status": "closed"}
    assert not second.keys() & {"sendKey", "also"}
    assert old["chatrooms"].find_one({}) == {
        "_id": CHAT,
        "userId": USER,
        "idempotencyKey": "a",
        "pendingRedactions": [{"seq": 1, "at": AT}],
    }
    assert "send_once" not in old["messages"].index_information()
    assert old["messages"].index_information()["idempotency"]["unique"]


def test_what_ran_is_recorded_and_does_not_run_again(old: Database[Document]) -> None:
    assert migrations.missing(old) == migrations.names()
    migrations.run(old)
    assert migrations.missing(old) == []
    steps: list[str] = []
    assert migrations.run(old, steps.append) == []
    assert steps == []


def test_a_new_database_has_nothing_to_migrate() -> None:
    new: Database[Document] = mongomock.MongoClient(tz_aware=True)["new"]
    steps: list[str] = []
    assert migrations.run(new, steps.append) == migrations.names()
    assert steps == []
    assert set(new.list_collection_names()) == {"leases", "migrations"}
    lease = leases.Lease(new, migrations.LEASE)
    assert lease.acquire(), "It was not given back."
    lease.release()
