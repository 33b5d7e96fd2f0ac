"""The write concern of a send's two writes, by what kind of server takes them."""

from __future__ import annotations

from typing import Any

import pytest
from bson import ObjectId
from pymongo import MongoClient, WriteConcern

from chatapi.store import database, durability
from chatapi.store.durability import Topology
from chatapi.store.server import PLAIN, SECANTUS_0_7, Server

STANDALONE = {"isWritablePrimary": True, "maxWireVersion": 25}
REPLICA_SET = {**STANDALONE, "setName": "rs0", "hosts": ["a:27017", "b:27017", "c:27017"]}
SHARDED = {**STANDALONE, "msg": "isdbgrid"}
EMBEDDED = {**STANDALONE, "setName": "secantus", "hosts": ["127.0.0.1:20076"]}
MONGODB = {"version": "8.0.4"}
SECANTUS = {"version": "8.2.11", "secantusVersion": "0.7.0b3"}
KEY = ObjectId()
UNNAMED = WriteConcern()


@pytest.mark.parametrize(
    ("hello", "server", "kind"),
    [
        (STANDALONE, PLAIN, Topology.ONE_LOG),
        (EMBEDDED, SECANTUS_0_7, Topology.ONE_LOG),
        # One with the embedded server's name may get more members.
        (EMBEDDED, PLAIN, Topology.REPLICA_SET),
        (REPLICA_SET, PLAIN, Topology.REPLICA_SET),
        (SHARDED, PLAIN, Topology.SHARDED),
    ],
)
def test_the_topology_is_told_by_the_server(
    hello: dict[str, Any], server: Server, kind: Topology
) -> None:
    assert durability.topology(hello, server) is kind


@pytest.mark.parametrize(
    ("kind", "named", "insert", "commit"),
    [
        (Topology.ONE_LOG, UNNAMED, {"w": 1, "j": False}, {"w": 1, "j": True}),
        (Topology.ONE_LOG, WriteConcern(w=1, j=True), {"w": 1, "j": False}, {"w": 1, "j": True}),
        (Topology.REPLICA_SET, UNNAMED, {"w": "majority"}, {"w": "majority"}),
        (Topology.REPLICA_SET, WriteConcern(w="majority"), {"w": "majority"}, {"w": "majority"}),
        (
            Topology.REPLICA_SET,
            WriteConcern(j=True),
            {"w": "majority", "j": True},
            {"w": "majority", "j": True},
        ),
        (Topology.REPLICA_SET, WriteConcern(w=3), {"w": 3}, {"w": 3}),
        (Topology.SHARDED, UNNAMED, {}, {}),
        (Topology.SHARDED, WriteConcern(w="majority"), {"w": "majority"}, {"w": "majority"}),
    ],
)
def test_only_a_server_with_one_log_writes_the_message_without_a_sync(
    kind: Topology, named: WriteConcern, insert: dict[str, Any], commit: dict[str, Any]
) -> None:
    assert durability.write_concern(kind, named, commits=False).document == insert
    assert durability.write_concern(kind, named, commits=True).document == commit


def test_the_server_is_asked_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    client: MongoClient[dict[str, Any]] = MongoClient(connect=False)
    asked: list[str] = []
    answers: dict[str, Any] = {"hello": STANDALONE, "buildInfo": MONGODB}

    def command(_: object, name: str) -> Any:
        asked.append(name)
        return answers[name]

    monkeypatch.setattr("pymongo.database.Database.command", command)
    database.bind(client["livechat"])
    found = durability._Collections()
    for _ in range(3):
        assert found.get("messages", commits=False).write_concern.document["j"] is False
        assert found.get("chatrooms", commits=True).write_concern.document["j"] is True
    assert asked == ["hello", "buildInfo"]
    # It was made a replica set.
    answers["hello"] = REPLICA_SET
    found._asked_at -= durability.ASK_INTERVAL + 1
    assert found.get("messages", commits=False).write_concern.document == {"w": "majority"}
    assert asked == ["hello", "buildInfo", "hello"]
    client.close()


@pytest.mark.parametrize(
    ("hello", "build_info", "where"),
    [(STANDALONE, MONGODB, {"_id": KEY, "version": 3}), (EMBEDDED, SECANTUS, {"_id": KEY})],
)
def test_the_version_is_in_the_filter_of_an_update_where_that_is_no_dearer(
    monkeypatch: pytest.MonkeyPatch,
    hello: dict[str, Any],
    build_info: dict[str, Any],
    where: dict[str, Any],
) -> None:
    client: MongoClient[dict[str, Any]] = MongoClient(connect=False)
    updates: list[Any] = []

    def command(_: object, asked: Any, **__: object) -> Any:
        if isinstance(asked, str):
            return {"hello": hello, "buildInfo": build_info}[asked]
        updates.extend(asked["updates"])
        return {"nModified": 1}

    monkeypatch.setattr("pymongo.database.Database.command", command)
    database.bind(client["livechat"])
    assert durability._Collections().get("chatrooms", commits=True).set_fields(KEY, 3, {"a": 1})
    assert [update["q"] for update in updates] == [where]
    client.close()
