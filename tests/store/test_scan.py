"""A whole collection is read in parts, each a closed range of an index."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId
from pymongo.database import Database

from chatapi.domain import clock
from chatapi.store import scan
from chatapi.store.database import Document

DAY = 24 * 3600


class Asked:
    """A collection that notes by what it is asked."""

    def __init__(self, collection: Any) -> None:
        self._collection = collection
        self.filters: list[Document] = []

    def find(self, wanted: Document, *more: Any) -> Any:
        """Note the filter and ask the collection."""
        self.filters.append(wanted)
        return self._collection.find(wanted, *more)


@pytest.fixture
def messages(database: Database[Document]) -> Any:
    """The messages, with what they are asked for."""
    return Asked(database["messages"])


def made(second: float) -> ObjectId:
    """Return an id that was made so many seconds ago."""
    at = int(clock.real().timestamp() - second)
    return ObjectId(at.to_bytes(4, "big") + ObjectId().binary[4:])


def store(database: Database[Document], *ago: float) -> list[ObjectId]:
    ids = [made(each) for each in ago]
    for chat_id in ids:
        database["messages"].insert_one({"chatId": chat_id, "seq": 1, "idempotencyKey": "a"})
    return sorted(ids, reverse=True)


@pytest.mark.parametrize(
    "ago",
    [
        (),
        (0,),
        (
            -30 * DAY,
            -1,
            0,
            0,
            1,
            299,
            300,
            301,
            3600,
            40 * DAY,
            400 * DAY,
            5000 * DAY,
            17_000 * DAY,
        ),
        (2 * DAY, 2 * DAY, 2 * DAY, 2 * DAY + 1, 2 * DAY + 2),
    ],
)
def test_each_is_read_once_the_newest_first(
    database: Database[Document], messages: Any, ago: tuple[float, ...]
) -> None:
    ids = store(database, *ago)
    assert [row["chatId"] for row in scan.newest_first(messages, "chatId")] == ids


def test_a_part_is_a_closed_range_and_is_read_when_it_is_asked_for(
    database: Database[Document], messages: Any
) -> None:
    store(database, 1, 4000, 4001, 90_000)
    rows = scan.newest_first(messages, "chatId", {"chatId": 1})
    assert messages.filters == []
    next(rows)
    assert len(messages.filters) == 1
    next(rows)
    before = len(messages.filters)
    next(rows)
    assert len(messages.filters) == before
    assert len(list(rows)) == 1
    first, *others = messages.filters
    assert list(first["chatId"]) == ["$gte"]
    assert all(sorted(each["chatId"]) == ["$gte", "$lt"] for each in others)
    # What is asked for ends where the part before began, and the last part is everything older.
    for newer, older in zip(messages.filters, others, strict=False):
        assert older["chatId"]["$lt"] == newer["chatId"]["$gte"]
    assert messages.filters[-1]["chatId"]["$gte"] == ObjectId("0" * 24)
    assert len(messages.filters) < 110


def test_a_part_is_as_long_as_the_documents_are_apart(
    database: Database[Document], messages: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "AT_ONCE", 5)
    store(database, *range(0, 1200, 20))
    list(scan.newest_first(messages, "chatId"))
    counts = [database["messages"].count_documents(wanted) for wanted in messages.filters]
    assert sum(counts) == 60
    assert max(counts[1:]) <= 10


def test_documents_are_read_by_their_times_likewise(database: Database[Document]) -> None:
    now = clock.real().replace(microsecond=0)
    times = [now - timedelta(days=days) for days in (-2, 0, 1, 50, 900, 9000)]
    for number, at in enumerate(times):
        database["users"].insert_one({"loginKey": str(number), "createdAt": at})
    found = [row["createdAt"] for row in scan.latest_first(database["users"], "createdAt")]
    assert [at.replace(tzinfo=UTC) for at in found] == times
    assert all(isinstance(at, datetime) for at in found)
