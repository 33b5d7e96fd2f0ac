"""How durable the two writes of a send are, by what kind of server takes them.

A message counts only once the chat has been moved onto it. Where one server with one log takes
both writes, the sync of the second carries the first: the message is written without a sync of
its own, and the compare-and-set on its chat with one.

- One log (a standalone MongoDB, SecantusDB): message `j: false`, chat `j: true`.
- Replica set: both `w: majority`, unless MONGO_URI names another `w`. A failover could roll back
  a message that fewer members have, and keep its chat.
- Sharded cluster: as MONGO_URI says; the two live on different shards.

SecantusDB says in `hello` that it is a replica set, which it needs for change streams; what tells
it apart is `secantusVersion` in `buildInfo`. A failover was not tried.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from pymongo import WriteConcern
from pymongo.collection import Collection
from pymongo.database import Database

from chatapi import clock
from chatapi.store.database import Document, current

# A standalone server can be made a member of a replica set while we are connected.
ASK_EVERY = 60.0


class Topology(enum.Enum):
    """What takes the writes."""

    ONE_LOG = "one log"
    REPLICA_SET = "replica set"
    SHARDED = "sharded cluster"


def topology(hello: Mapping[str, Any], build_info: Mapping[str, Any]) -> Topology:
    """Return what the answers to the two commands say."""
    if hello.get("msg") == "isdbgrid":
        return Topology.SHARDED
    if "setName" not in hello or "secantusVersion" in build_info:
        return Topology.ONE_LOG
    return Topology.REPLICA_SET


def write_concern(kind: Topology, named: WriteConcern, *, commits: bool) -> WriteConcern:
    """Return the write concern of a message's insert, or of the write that commits it.

    named -- MONGO_URI's.
    """
    if kind is Topology.ONE_LOG:
        return WriteConcern(w=1, j=commits)
    if kind is Topology.REPLICA_SET and "w" not in named.document:
        return WriteConcern(w="majority", **named.document)
    return named


class _Collections:
    """The collections of the process's database with the write concerns of a send."""

    def __init__(self) -> None:
        self._database: object = None
        self._kind: Topology | None = None
        self._asked_at = 0.0
        self._known: dict[tuple[str, bool], Collection[Document]] = {}

    def get(self, name: str, *, commits: bool) -> Collection[Document]:
        """Return a collection. Raises PyMongoError when the server must be asked and is away."""
        database = current()
        if database is not self._database:
            self._database, self._kind = database, None
            self._known.clear()
        if self._kind is None or time.monotonic() - self._asked_at > ASK_EVERY:
            self._ask(database)
        found = self._known.get((name, commits))
        if found is None:
            found = database[name]
            if isinstance(database, Database) and self._kind is not None:
                concern = write_concern(self._kind, database.write_concern, commits=commits)
                found = found.with_options(write_concern=concern)
            self._known[name, commits] = found
        return found

    def _ask(self, database: Database[Document]) -> None:
        kind = Topology.SHARDED  # A stand-in, in memory, takes no write concern.
        if isinstance(database, Database):
            admin = database.client.admin
            kind = topology(admin.command("hello"), admin.command("buildInfo"))
        if kind is not self._kind:
            self._known.clear()
        self._kind, self._asked_at = kind, time.monotonic()


_collections = _Collections()


def before_commit(name: str) -> Collection[Document]:
    """Return a collection for a write that only the next one makes count."""
    return _collections.get(name, commits=False)


def to_commit(name: str) -> Collection[Document]:
    """Return a collection for a write that is durable, with all before it, when it returns."""
    return _collections.get(name, commits=True)


def wait_for_others() -> None:
    """Return when what was read before is durable, whoever wrote it.

    A write may be read before it is synced, and be lost again. The sync of a later one carries
    it; an update that changes nothing would not be synced, hence a document that expires.
    """
    expires = clock.real() + timedelta(seconds=60)
    to_commit("presence").insert_one({"expiresAt": expires})
