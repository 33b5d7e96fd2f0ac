"""What `store.server` and `store.indexes` say of the embedded server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pymongo import ASCENDING, DESCENDING, TEXT
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import OperationFailure

from chatapi.store import maintenance, server
from chatapi.store.database import Document
from tests.live.plans import scans


@pytest.fixture
def things(live_database: Database[Document]) -> Iterator[Collection[Document]]:
    """A collection of these tests alone."""
    yield live_database["things"]
    live_database.drop_collection("things")


@pytest.mark.usefixtures("live_app")
def test_the_embedded_server_is_recognised() -> None:
    assert server.current() is server.SECANTUS_0_7
    found = maintenance.server()
    assert (found["name"], found["embedded"], found["form"]) == (
        "SecantusDB",
        True,
        "replica set",
    )


def test_a_partial_index_answers_only_queries_that_imply_its_filter(
    live_database: Database[Document], things: Collection[Document]
) -> None:
    things.create_index("owner", partialFilterExpression={"isOpen": True})
    things.insert_many([{"owner": n, "isOpen": n % 2 == 0} for n in range(100)])
    for where in ({"owner": 4, "isOpen": True}, {"isOpen": True, "owner": {"$in": [4, 6]}}):
        assert not scans(live_database, "things", where, {})
    assert scans(live_database, "things", {"owner": 4}, {})
    assert scans(live_database, "things", {"owner": 4, "isOpen": False}, {})


def test_a_text_index_is_refused(things: Collection[Document]) -> None:
    with pytest.raises(OperationFailure) as refusal:
        things.create_index([("content", TEXT)])
    assert refusal.value.code == 67


@pytest.mark.parametrize(("direction", "lost"), [(DESCENDING, "$gte"), (ASCENDING, "$lte")])
def test_an_index_that_goes_on_behind_a_range_loses_one_inclusive_bound(
    things: Collection[Document], direction: int, lost: str
) -> None:
    things.insert_many([{"state": "open", "at": number} for number in range(20)])

    def at_the_bound(operator: str) -> int:
        return len(list(things.find({"at": {operator: 10}, "state": "open"})))

    things.create_index([("state", ASCENDING), ("at", direction)])
    assert (at_the_bound("$gte"), at_the_bound("$lte")) == (10, 11)
    things.drop_indexes()
    things.create_index([("state", ASCENDING), ("at", direction), ("_id", direction)])
    found = {operator: at_the_bound(operator) for operator in ("$gte", "$lte")}
    assert found == {"$gte": 10, "$lte": 11} | {lost: {"$gte": 9, "$lte": 10}[lost]}
