"""What has expired is removed, a few documents at a time, while others are written."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import AutoReconnect

from chatapi.domain import clock
from chatapi.store import database as store
from chatapi.store import expiry, presence, sessions
from chatapi.store.database import Document
from tests.documents import session_document


@pytest.fixture
def things(database: Database[Document]) -> Collection[Document]:
    """A collection without an index that would remove what has expired."""
    return database["things"]


def fill(things: Collection[Document], expired: int, valid: int) -> None:
    now = clock.now()
    for count, seconds in ((expired, -1), (valid, 60)):
        for _ in range(count):
            things.insert_one({"expiresAt": now + timedelta(seconds=seconds)})


def test_what_has_expired_goes_and_the_rest_stays(things: Collection[Document]) -> None:
    fill(things, expired=3, valid=2)
    things.insert_one({"without": "a time"})
    expiry.purge_expired(things)
    assert things.count_documents({}) == 3


def test_it_is_looked_for_every_few_seconds(
    things: Collection[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    expiry.purge_expired(things)
    fill(things, expired=1, valid=0)
    expiry.purge_expired(things)
    assert things.count_documents({}) == 1
    monkeypatch.setattr(expiry, "PURGE_INTERVAL", 0)
    expiry._next_purges.current.clear()
    expiry.purge_expired(things)
    assert things.count_documents({}) == 0
    fill(things, expired=1, valid=0)
    expiry.purge_expired(things)
    assert things.count_documents({}) == 0


def test_no_write_waits_for_many(
    things: Collection[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "PURGE_BATCH", 2)
    fill(things, expired=5, valid=0)
    for left in (3, 1, 0):
        expiry.purge_expired(things)
        assert things.count_documents({}) == left


def test_what_was_prolonged_this_moment_stays(
    things: Collection[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(things, expired=1, valid=0)
    delete_many = type(things).delete_many

    def prolonged(collection: Any, where: Document) -> Any:
        later = {"$set": {"expiresAt": clock.now() + timedelta(seconds=60)}}
        collection.update_many({}, later)
        return delete_many(collection, where)

    monkeypatch.setattr(type(things), "delete_many", prolonged)
    expiry.purge_expired(things)
    assert things.count_documents({}) == 1


WRITES = {
    "sessions": lambda: sessions.insert(session_document(_id="new")),
    "ephemeralEvents": lambda: presence.emit("presence"),
    "presence": lambda: presence.heartbeat("new", []),
}


@pytest.mark.parametrize("name", WRITES)
def test_whoever_writes_what_expires_sweeps(database: Database[Document], name: str) -> None:
    store.bind(database)
    database[name].drop_indexes()  # The stand-in would remove it by itself.
    past = clock.now() - timedelta(seconds=1)
    database[name].insert_one({"_id": "old", "expiresAt": past})
    WRITES[name]()
    left = [row["_id"] for row in database[name].find()]
    assert len(left) == 1
    assert left != ["old"]


def test_a_sweep_that_fails_fails_no_write(
    database: Database[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise AutoReconnect

    store.bind(database)
    with monkeypatch.context() as patch:
        patch.setattr(type(database["sessions"]), "find", away)
        sessions.insert(session_document(_id="new"))
    assert database["sessions"].count_documents({}) == 1
