"""With too little free space every write is refused before it reaches the server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError, ServerSelectionTimeoutError
from pymongo.write_concern import WriteConcern

from chatapi.domain import errors
from chatapi.http import problems
from chatapi.store import disk
from chatapi.store.database import Document
from chatapi.store.disk import StorageFull, guarded
from config import disk_reserve

MEGABYTE = 1024 * 1024


@pytest.fixture
def database() -> Iterator[Database[Document]]:
    """A guarded database on a server that is not there: what is not refused times out."""
    with MongoClient[Document]("mongodb://127.0.0.1:9/x", serverSelectionTimeoutMS=1) as client:
        yield guarded(client["x"])


@pytest.fixture(autouse=True)
def space(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SimpleNamespace]:
    """A file system of which a test says how much is free; the reserve is 8 MB."""
    usage = SimpleNamespace(free=100 * MEGABYTE, total=1000 * MEGABYTE)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    monkeypatch.setattr(disk, "CHECK_SECONDS", 0)
    disk.free_space.current.watch(tmp_path, 8 * MEGABYTE)
    yield usage
    disk.free_space.current.watch(None, 0)


def writing_methods() -> set[str]:
    kinds = ("insert", "update", "replace", "delete", "find_one_and", "bulk_write")
    found = {name for name in vars(Collection) if name.startswith(kinds)}
    return found - {"update_search_index"}  # of Atlas


def test_every_writing_method_of_a_collection_is_guarded() -> None:
    assert writing_methods() == {*disk.WRITES, *disk.DELETES}


@pytest.mark.parametrize("name", sorted({*disk.WRITES, *disk.DELETES}))
@pytest.mark.parametrize("options", [{}, {"write_concern": WriteConcern(w=1)}])
def test_no_write_leaves_a_full_disk(
    database: Database[Document], space: SimpleNamespace, name: str, options: dict[str, Any]
) -> None:
    space.free = MEGABYTE
    for collection in (
        database["chats"].with_options(**options),
        database.get_collection("chats", **options),
        database.with_options(**options).chats,
    ):
        with pytest.raises(StorageFull):
            getattr(collection, name)({}, {})


@pytest.mark.parametrize("name", disk.DELETES)
def test_deleting_goes_on_until_half_of_the_reserve_is_used(
    database: Database[Document], space: SimpleNamespace, name: str
) -> None:
    space.free = 5 * MEGABYTE
    with pytest.raises(ServerSelectionTimeoutError):
        getattr(database["chats"], name)({})
    space.free = 3 * MEGABYTE
    with pytest.raises(StorageFull):
        getattr(database["chats"], name)({})


def test_reading_a_full_disk_and_writing_with_room_again_reach_the_server(
    database: Database[Document], space: SimpleNamespace
) -> None:
    space.free = 0
    with pytest.raises(ServerSelectionTimeoutError):
        database["chats"].find_one({})
    with pytest.raises(StorageFull):
        database["chats"].insert_one({})
    space.free = 9 * MEGABYTE
    with pytest.raises(ServerSelectionTimeoutError):
        database["chats"].insert_one({})


def test_a_database_elsewhere_is_never_refused_for_this_disk(
    database: Database[Document], space: SimpleNamespace
) -> None:
    space.free = 0
    disk.free_space.current.watch(None, 0)
    with pytest.raises(ServerSelectionTimeoutError):
        database["chats"].insert_one({})


def test_the_reserve_is_at_most_a_quarter_of_the_file_system(
    space: SimpleNamespace, tmp_path: Path
) -> None:
    assert disk_reserve(tmp_path, 128) == 128 * MEGABYTE
    space.total = 44 * MEGABYTE
    assert disk_reserve(tmp_path, 128) == 11 * MEGABYTE


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (StorageFull("full"), "storage_full"),
        (OperationFailure("OutOfDiskSpace", 14031), "storage_full"),
        # What SecantusDB answers to everything after its engine has panicked.
        (OperationFailure("internal server error", 1), "database_unavailable"),
        (OperationFailure("not authorized", 13), "database_unavailable"),
        (OperationFailure("Authentication failed.", 18), "database_unavailable"),
        (OperationFailure("Server returned an invalid signature."), "database_unavailable"),
    ],
)
def test_a_failing_server_is_503_and_says_when_to_come_back(
    failure: PyMongoError, code: str
) -> None:
    found = problems.from_exception(failure)

    assert (found.status, found.code) == (503, code)
    assert found.retry_after


def test_a_mistake_of_ours_stays_500() -> None:
    assert type(problems.from_exception(OperationFailure("bad query", 2))) is errors.ChatError
