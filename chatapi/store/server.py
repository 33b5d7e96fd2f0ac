"""The differences between the database servers, each with its version and reason.

The product runs on MongoDB and, with `make run`, on SecantusDB 0.7.0b3, the embedded server. No
other module of `chatapi` names the latter. Each difference in behaviour is a field of `Server`,
read as `current().FIELD`; `docs/upstream.md` has the measurements.

Other code suits SecantusDB 0.7.0b3 and is correct on MongoDB as well, so both use it. Its cost on
MongoDB was not measured.

- `store.chats` and `store.users` page without `$or`: SecantusDB uses no index for a filter with
  `$or`.
- `store.chats` puts the time first in the filter: SecantusDB uses the index of the first field that
  has one, and the order of a list needs the index of the time.
- `store.chats` reads a millisecond further back than the last chat of a page: with an index of an
  equality field, the time (descending) and `_id`, SecantusDB treats `$gte` as `$gt`.
- `store.chats` reads whole documents: SecantusDB copies the rest of a document to exclude a field.
- `store.scan` reads a collection in ranges of an indexed field: SecantusDB computes the whole
  result of a find before it sends the first batch, and reads the whole collection for a range over
  `_id`.
- `store.sessions` unwinds the user of a `$lookup` before it excludes the password's hash:
  SecantusDB excludes no field of documents in an array.
- `store.chat_terms` is separate from the chats: SecantusDB writes more with each update the more
  index entries a document has, and a chat is updated with each message.
- `store.indexes` has only the indexes that queries need: SecantusDB writes more for each index,
  also if none of its fields changes. It has no text index: SecantusDB rejects one (code 67).
- `chatapi.http.counters` reads a counter and writes it if it is unchanged: in SecantusDB
  `find_one_and_update` reads the whole collection, and one of two concurrent upserts returns None.
- `store.expiry` deletes expired documents, in collections without a TTL index and, on SecantusDB,
  in all: `deploy/secantus_server.py` starts the server without its TTL sweeper, which holds the
  lock.
- `realtime.session_cache` reads its change stream five times a second: SecantusDB responds to a
  waiting `getMore` after each write to any collection.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pymongo.database import Database

from chatapi.domain import clock
from chatapi.domain.runtime import PerApp
from chatapi.store import database

# What our connections say they are, beside the driver's own name.
DRIVER = "livechat"


@dataclass(frozen=True)
class Server:
    """The properties of a kind of server.

    Each comment says what SecantusDB 0.7.0b3 does, and how the product handles it.
    """

    # The server's name.
    name: str
    # SecantusDB is meant for one machine: `doctor` fails in production.
    is_embedded: bool
    # SecantusDB reports in `hello` that it is a replica set, which it needs for change streams. It
    # is one server with one log, so one sync is enough for the two writes of a send.
    has_one_log: bool
    # SecantusDB reads all indexes several times for the filter of an update with more than `_id`,
    # a third of the update's cost. So the version is compared in the update itself.
    updates_by_id_alone: bool
    # SecantusDB says in `hello` that its last write was now, whenever it was: it is not believed.
    tells_last_write: bool
    # SecantusDB reads a whole range of an index before it cuts it at the limit. So a page of a list
    # is looked for in a short range first, and further back until it is full.
    stops_at_limit: bool
    # SecantusDB takes quadratic time for the ids of an `$in`: 3,200 take 17.7 s of its CPU in one
    # command and 0.4 s in parts of 50. For MongoDB they are as many as make a small command.
    ids_at_once: int
    # SecantusDB answers a waiting `getMore` of a change stream after each write to any collection,
    # mostly with nothing. While no other process writes, the tail rests between two: for so long,
    # or for WOKEN_PAUSE where another stream would end the rest.
    tail_pause_seconds: float


# MongoDB, and mongomock, which stands in for it in tests.
PLAIN = Server(
    name="MongoDB",
    is_embedded=False,
    has_one_log=False,
    updates_by_id_alone=False,
    tells_last_write=True,
    stops_at_limit=True,
    ids_at_once=1000,
    tail_pause_seconds=0.0,
)
# Measured on 0.7.0b3; other versions are treated the same.
SECANTUS_0_7 = Server(
    name="SecantusDB",
    is_embedded=True,
    has_one_log=True,
    updates_by_id_alone=True,
    tells_last_write=False,
    stops_at_limit=False,
    ids_at_once=50,
    tail_pause_seconds=0.2,
)

# The bound database with its kind of server.
_known: PerApp[list[tuple[object, Server]]] = PerApp(list)


def current() -> Server:
    """Return the kind of the process's database server, which is queried once for each `bind`.

    Raises PyMongoError if the query fails.
    """
    bound = database.current()
    known = _known.current
    if not known or known[0][0] is not bound:
        known[:] = [(bound, _ask(bound))]
    return known[0][1]


def _ask(bound: object) -> Server:
    if not isinstance(bound, Database):
        return PLAIN  # a stand-in, in memory
    build = bound.client.admin.command("buildInfo")
    return SECANTUS_0_7 if "secantusVersion" in build else PLAIN


def seconds_since_write() -> float | None:
    """Read a document and return how many seconds ago a write was acknowledged, if known.

    The supervisor of the embedded server writes the document every few seconds. A MongoDB
    replica set writes to its oplog every 10 s by itself; a standalone MongoDB reports nothing.
    Raises PyMongoError.
    """
    bound: object = database.current()
    if not isinstance(bound, Database):
        return None  # a stand-in, in memory
    probe = bound["probes"].find_one({"_id": "write"})
    if probe is not None:
        return _age(probe["at"], clock.real())
    if not current().tells_last_write:
        return None
    hello: dict[str, Any] = bound.client.admin.command("hello")
    if "setName" not in hello or "lastWrite" not in hello:
        return None
    return _age(hello["lastWrite"]["lastWriteDate"], hello["localTime"])


def has_change_streams(bound: object) -> bool:
    """Return whether the server has change streams: a replica set or a sharded cluster has.

    SecantusDB 0.7.0b3 reports that it is a replica set, and has them.
    """
    if not isinstance(bound, Database):
        return False  # a stand-in, in memory
    hello = bound.client.admin.command("hello")
    return "setName" in hello or hello.get("msg") == "isdbgrid"


def _age(at: datetime, now: datetime) -> float:
    return round(max(0.0, (_aware(now) - _aware(at)).total_seconds()), 1)


def _aware(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)
