"""Which kind of server is asked for what; the embedded one itself is in tests/live."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import AutoReconnect

from chatapi.store import database as store
from chatapi.store import id_chunks, server
from chatapi.store.database import Document
from chatapi.store.server import PLAIN, SECANTUS_0_7, Server

ROOT = Path(__file__).parent.parent.parent
NOW = datetime(2026, 1, 1, tzinfo=UTC)
MONGODB: Document = {"version": "8.0.4"}
SECANTUS: Document = {"version": "8.2.11", "secantusVersion": "0.7.0b3"}
# What both say, if a MongoDB's operator has called the replica set so.
HELLO: Document = {
    "setName": "secantus",
    "localTime": NOW,
    "lastWrite": {"lastWriteDate": NOW - timedelta(seconds=4)},
}
Answer = Callable[[Document], list[str]]


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Iterator[Answer]:
    """`remote(build_info)` binds a server that is not there and returns what it is asked."""
    client: MongoClient[Document] = MongoClient(connect=False)

    def bind(build_info: Document) -> list[str]:
        asked: list[str] = []

        def command(_: object, name: str) -> Any:
            asked.append(name)
            return {"hello": HELLO, "buildInfo": build_info}[name]

        monkeypatch.setattr(Database, "command", command)
        store.bind(client["livechat"])
        return asked

    yield bind
    client.close()


@pytest.mark.parametrize(("build_info", "kind"), [(MONGODB, PLAIN), (SECANTUS, SECANTUS_0_7)])
def test_the_server_says_once_what_it_is(
    remote: Answer, build_info: Document, kind: Server
) -> None:
    asked = remote(build_info)
    assert [server.current() for _ in range(3)] == [kind] * 3
    assert asked == ["buildInfo"]


def test_each_database_that_is_bound_is_asked(remote: Answer, database: Database[Document]) -> None:
    remote(SECANTUS)
    assert server.current() is SECANTUS_0_7
    remote(MONGODB)
    assert server.current() is PLAIN
    remote(SECANTUS)
    assert server.current() is SECANTUS_0_7
    store.bind(database)
    assert server.current() is PLAIN


def test_a_stand_in_takes_the_path_of_mongodb(
    database: Database[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database.client.admin, "command", pytest.fail)
    store.bind(database)
    assert server.current() is PLAIN


def test_a_server_that_was_away_is_asked_again(
    remote: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise AutoReconnect("away")

    with monkeypatch.context() as outage:
        remote(MONGODB)
        outage.setattr(Database, "command", away)
        for _ in range(2):
            with pytest.raises(AutoReconnect):
                server.current()
    remote(SECANTUS)
    assert server.current() is SECANTUS_0_7


def test_mongodb_takes_the_plain_path() -> None:
    """No pause, no search for a page; parts only so that a command stays small."""
    assert PLAIN.stops_at_limit
    assert PLAIN.tells_last_write
    assert not PLAIN.tail_pause_seconds
    assert not PLAIN.has_one_log
    assert not PLAIN.updates_by_id_alone
    assert PLAIN.ids_at_once >= 1000


@pytest.mark.parametrize(("kind", "sizes"), [(PLAIN, [120]), (SECANTUS_0_7, [50, 50, 20])])
def test_ids_are_asked_for_in_parts_of_which_none_is_left_out(
    database: Database[Document], monkeypatch: pytest.MonkeyPatch, kind: Server, sizes: list[int]
) -> None:
    monkeypatch.setattr(server, "current", lambda: kind)
    ids = [ObjectId() for _ in range(120)]
    assert [len(part) for part in id_chunks.chunked(ids)] == sizes
    database["things"].insert_many([{"_id": each} for each in ids])
    found = id_chunks.aggregate_by_ids(database["things"], ids, [{"$project": {"_id": 1}}])
    assert {row["_id"] for row in found} == set(ids)
    assert list(id_chunks.chunked([])) == []


@pytest.mark.parametrize(("build_info", "seconds"), [(MONGODB, 4.0), (SECANTUS, None)])
def test_only_mongodb_is_believed_when_its_last_write_was(
    remote: Answer, monkeypatch: pytest.MonkeyPatch, build_info: Document, seconds: float | None
) -> None:
    monkeypatch.setattr("pymongo.collection.Collection.find_one", lambda *_: None)
    remote(build_info)
    assert server.seconds_since_write() == seconds


def test_one_module_of_the_product_names_the_embedded_server() -> None:
    paths = [ROOT / "config.py", ROOT / "wsgi.py"]
    for package in ("chatapi", "admin_ui", "chat_ui"):
        paths += (ROOT / package).rglob("*.py")
    naming = {str(path.relative_to(ROOT)) for path in paths if "secantus" in _text(path)}
    # Others ask it: SECANTUS_0_7, too, is chosen there alone.
    assert naming == {"chatapi/store/server.py"}


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8").lower()
