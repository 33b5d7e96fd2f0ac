"""The write concerns of the two writes of a send, by the kind of server.

A message is committed by the update of its chat. Where one server with one log takes both writes,
the sync of the second includes the first: the message is written without a sync of its own, and the
compare-and-set on its chat with one.

- One log (a standalone MongoDB, the embedded server): message `j: false`, chat `j: true`.
- Replica set: both `w: majority`, unless MONGO_URI names another `w`. A failover could roll back
  a message that fewer members have, and keep its chat.
- Sharded cluster: as MONGO_URI says; the two live on different shards.

The embedded server has one log, although it calls itself a replica set (`store.server`). A failover
was not tried.

With one log the driver has no other member to retry a write on, so both go out as plain commands
(`DirectCollection`) in one session of the driver, which costs less CPU than its general methods.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

from bson import ObjectId
from pymongo import WriteConcern
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, WriteConcernError, WriteError

from chatapi.domain import clock
from chatapi.domain.runtime import PerApp
from chatapi.store import server
from chatapi.store.database import DUPLICATE_KEY, Document, current
from chatapi.store.disk import free_space
from chatapi.store.server import Server

# A standalone server can become a member of a replica set while the process is connected.
ASK_INTERVAL = 60.0


class Topology(enum.Enum):
    """The kind of server that takes the writes."""

    ONE_LOG = "one log"
    REPLICA_SET = "replica set"
    SHARDED = "sharded cluster"


def topology(hello: Mapping[str, Any], kind: Server) -> Topology:
    """Return the topology from the response to `hello` on this kind of server."""
    if hello.get("msg") == "isdbgrid":
        return Topology.SHARDED
    if "setName" not in hello or kind.has_one_log:
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


_session: ContextVar[ClientSession | None] = ContextVar("session", default=None)


class DirectCollection:
    """Writes of single documents as plain commands; the driver does not repeat them.

    by_id -- find a document by its `_id` alone, and compare the version in the update itself.
    """

    def __init__(
        self, database: Database[Document], name: str, concern: WriteConcern, *, by_id: bool
    ) -> None:
        self.name = name
        self.write_concern = concern
        self._command = database.command
        self._concern = concern.document
        self._by_id = by_id

    def insert_one(self, document: Mapping[str, Any]) -> None:
        """Insert a document that has an `_id`. Raises DuplicateKeyError, PyMongoError."""
        self._write({"insert": self.name, "documents": [document]})

    def set_fields(self, key: ObjectId, version: int, fields: Mapping[str, Any]) -> bool:
        """Set fields and increment the version if it is this one; return whether it was.

        Raises DuplicateKeyError, PyMongoError.
        """
        if self._by_id:
            changed = {
                "$mergeObjects": ["$$ROOT", {"$literal": {**fields, "version": version + 1}}]
            }
            now = {"$cond": [{"$eq": ["$version", version]}, changed, "$$ROOT"]}
            update = {"q": {"_id": key}, "u": [{"$replaceWith": now}]}
        else:
            update = {"q": {"_id": key, "version": version}, "u": _setting(fields)}
        return bool(self._write({"update": self.name, "updates": [update]})["nModified"])

    def _write(self, command: Document) -> Document:
        free_space.current.require()
        command["writeConcern"] = self._concern
        answer = self._command(command, session=_session.get())
        if answer.get("writeErrors"):
            (failed,) = answer["writeErrors"]  # of one document
            kind = DuplicateKeyError if failed["code"] == DUPLICATE_KEY else WriteError
            raise kind(failed["errmsg"], failed["code"], failed)
        if "writeConcernError" in answer:
            failed = answer["writeConcernError"]
            raise WriteConcernError(failed.get("errmsg", ""), failed.get("code"), failed)
        return answer


class DriverCollection:
    """Writes of single documents by the driver's methods, which retry if MONGO_URI says so."""

    def __init__(self, collection: Collection[Any]) -> None:
        self.write_concern = collection.write_concern
        self._collection = collection

    def insert_one(self, document: Mapping[str, Any]) -> None:
        """Insert a document. Raises DuplicateKeyError, PyMongoError."""
        self._collection.insert_one(document)

    def set_fields(self, key: ObjectId, version: int, fields: Mapping[str, Any]) -> bool:
        """Set fields and increment the version if it is this one; return whether it was.

        Raises DuplicateKeyError, PyMongoError.
        """
        where = {"_id": key, "version": version}
        return self._collection.update_one(where, _setting(fields)).matched_count > 0


def _setting(fields: Mapping[str, Any]) -> Document:
    return {"$set": fields, "$inc": {"version": 1}}


@contextmanager
def session() -> Iterator[None]:
    """Let the direct writes of the block share a session of the driver.

    Raises PyMongoError when the server must be asked and is away.
    """
    if not isinstance(before_commit("messages"), DirectCollection):
        yield
        return
    with current().client.start_session(causal_consistency=False) as made:
        token = _session.set(made)
        try:
            yield
        finally:
            _session.reset(token)


class _Collections:
    """The collections of the app's database with the write concerns of a send."""

    def __init__(self) -> None:
        self._database: object = None
        self._kind: Topology | None = None
        self._asked_at = 0.0
        self._known: dict[tuple[str, bool], DirectCollection | DriverCollection] = {}

    def get(self, name: str, *, commits: bool) -> DirectCollection | DriverCollection:
        """Return a collection. Raises PyMongoError when the server must be asked and is away."""
        database = current()
        if database is not self._database:
            self._database, self._kind = database, None
            self._known.clear()
        if self._kind is None or time.monotonic() - self._asked_at > ASK_INTERVAL:
            self._ask(database)
        found = self._known.get((name, commits))
        if found is None:
            found = self._known[name, commits] = self._make(database, name, commits=commits)
        return found

    def _make(
        self, database: Database[Document], name: str, *, commits: bool
    ) -> DirectCollection | DriverCollection:
        if not isinstance(database, Database) or self._kind is None:
            return DriverCollection(database[name])
        concern = write_concern(self._kind, database.write_concern, commits=commits)
        if self._kind is Topology.ONE_LOG:
            by_id = server.current().updates_by_id_alone
            return DirectCollection(database, name, concern, by_id=by_id)
        return DriverCollection(database[name].with_options(write_concern=concern))

    def _ask(self, database: Database[Document]) -> None:
        kind = Topology.SHARDED  # A stand-in, in memory, takes no write concern.
        if isinstance(database, Database):
            kind = topology(database.client.admin.command("hello"), server.current())
        if kind is not self._kind:
            self._known.clear()
        self._kind, self._asked_at = kind, time.monotonic()


_collections = PerApp(_Collections)


def before_commit(name: str) -> DirectCollection | DriverCollection:
    """Return a collection for a write that the next write commits."""
    return _collections.current.get(name, commits=False)


def to_commit(name: str) -> DirectCollection | DriverCollection:
    """Return a collection whose write is durable, with all earlier writes, when it returns."""
    return _collections.current.get(name, commits=True)


def wait_for_others() -> None:
    """Wait until writes that were read before are durable, also those of other processes.

    A write can be read before it is synced, and then be lost. The sync of a later write includes
    it. An update that changes nothing would not be synced, so this inserts a document that expires.
    """
    expires = clock.real() + timedelta(seconds=60)
    to_commit("presence").insert_one({"_id": ObjectId(), "expiresAt": expires})
