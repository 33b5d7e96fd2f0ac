"""Leases: what one process at a time may do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import mongomock
import pytest
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.results import UpdateResult

from chatapi.domain import clock, errors
from chatapi.store import leases
from chatapi.store.database import Document
from chatapi.store.disk import free_space
from tests.waiting import eventually


@pytest.fixture
def shared() -> Database[Document]:
    """What two processes share."""
    database: Database[Document] = mongomock.MongoClient(tz_aware=True)["shared"]
    return database


@pytest.fixture
def lease(shared: Database[Document]) -> Iterator[leases.Lease]:
    """A lease that this process holds."""
    held = leases.Lease(shared, "one")
    assert held.acquire()
    yield held
    held.release()


def test_a_lease_has_one_owner(shared: Database[Document], lease: leases.Lease) -> None:
    assert not leases.Lease(shared, "one").acquire()
    assert leases.Lease(shared, "one").holder() == lease.owner
    other = leases.Lease(shared, "another")
    assert other.acquire()
    other.release()


def test_a_lease_that_was_released_or_has_ended_has_a_new_owner_and_fence(
    shared: Database[Document],
) -> None:
    with leases.hold(shared, "one"):
        pass
    with leases.hold(shared, "one"):
        row = shared["leases"].find_one({"_id": "one"})
        assert row is not None
        assert row["fence"] == 2
        ended = {"until": clock.real() - timedelta(seconds=1)}
        shared["leases"].update_one({"_id": "one"}, {"$set": ended})
        with leases.hold(shared, "one"):
            row = shared["leases"].find_one({"_id": "one"})
            assert row is not None
            assert row["fence"] == 3


def test_a_lease_is_renewed_while_it_is_held(
    shared: Database[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "RENEW_INTERVAL", 0.005)
    monkeypatch.setattr(leases, "LEASE_TTL", 0.05)
    with leases.hold(shared, "one"):
        first = shared["leases"].find_one({"_id": "one"})
        assert first is not None
        eventually(
            lambda: (shared["leases"].find_one({"_id": "one"}) or {})["until"] > first["until"]
        )


class Guarded:
    """A collection whose writes look at the current app, and fail at first."""

    def __init__(self, collection: Collection[Document], failures: int) -> None:
        self.collection, self.failures = collection, failures

    def update_one(self, *arguments: Any) -> UpdateResult:
        free_space.current.require()
        if self.failures:
            self.failures -= 1
            raise errors.StorageFull
        return self.collection.update_one(*arguments)


def test_a_lease_is_renewed_by_guarded_writes_and_after_errors(
    shared: Database[Document], lease: leases.Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "RENEW_INTERVAL", 0.005)
    lease.release()
    held = leases.Lease(shared, "one")
    assert held.acquire()
    first = shared["leases"].find_one({"_id": "one"})
    assert first is not None
    monkeypatch.setattr(held, "_leases", Guarded(shared["leases"], failures=2))
    eventually(lambda: (shared["leases"].find_one({"_id": "one"}) or {})["until"] > first["until"])
    held.require()
    held.release()


def test_a_lease_that_cannot_be_renewed_is_lost_when_another_may_take_it(
    shared: Database[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "RENEW_INTERVAL", 0.005)
    monkeypatch.setattr(leases, "LEASE_TTL", 0.05)
    held = leases.Lease(shared, "one")
    assert held.acquire()
    held.require()
    monkeypatch.setattr(held, "_leases", Guarded(shared["leases"], failures=1_000_000))
    eventually(lambda: time.monotonic() - held._renewed_at > 0.05)
    with pytest.raises(leases.LeaseLost):
        held.require()
    monkeypatch.setattr(held, "_leases", shared["leases"])
    held.release()


def test_the_owner_of_a_lease_learns_that_another_took_it(
    shared: Database[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "RENEW_INTERVAL", 0.005)
    with leases.hold(shared, "one") as lease:
        lease.require()
        shared["leases"].update_one({"_id": "one"}, {"$set": {"owner": "another"}})

        def is_lost() -> bool:
            try:
                lease.require()
            except leases.LeaseLost:
                return True
            return False

        eventually(is_lost)
