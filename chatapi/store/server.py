"""What differs between the database servers, each with its version and reason.

The product runs on MongoDB and, beside `make run`, on SecantusDB 0.7.0b3, the embedded server. No
other module of `chatapi` names the latter. What the code does differently there is a field of
`Server`, asked by `current().FIELD`; the numbers are in `docs/upstream.md`.

Other code suits SecantusDB 0.7.0b3 and is right on MongoDB as well, so both take the same path.
What that costs on MongoDB was not measured.

- `store.chats` and `store.users` page without `$or`: a filter with `$or` takes no index there.
- `store.chats` puts the time first in the filter: of two fields the first one with an index
  decides there, and the list's order needs that of the time.
- `store.chats` looks a millisecond further back than the last chat of a page: by an index of an
  equal field, the time (downwards) and `_id`, a `$gte` there leaves out what has the very time.
- `store.chats` reads whole documents: to leave a field out copies the rest of the document there.
- `store.scan` reads a collection in ranges of an indexed field: there the whole answer of a find
  is made before its first batch is sent, and a range over `_id` reads the whole collection.
- `store.sessions` unwinds the user that `$lookup` found before it takes out the password's hash:
  a projection leaves nothing out of the documents of an array there.
- `store.chat_terms` stand apart from the chats: with each update of a document more is written
  there for each term that is indexed, and a chat is updated with each message.
- `store.indexes` has no more indexes than the queries need: each adds to each update there, also
  when none of its fields changes. It has no text index: SecantusDB refuses one (code 67).
- `chatapi.http.counters` reads a counter and writes it if it is unchanged: `find_one_and_update`
  reads the whole collection there, and of two upserts by it at once one answers nothing.
- `store.expiry` removes what has expired, for the collections without a TTL index and for all of
  them there: `deploy/secantus_server.py` starts the server without the sweeper that holds its lock.
- `realtime.session_cache` reads its change stream five times a second: a waiting `getMore` is
  answered there after each write to any collection.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pymongo.database import Database

from chatapi.domain import clock
from chatapi.store import database


@dataclass(frozen=True)
class Server:
    """A kind of server: what the code decides by it.

    Each comment says what SecantusDB 0.7.0b3 does, and what is done about it.
    """

    # What people call the server.
    name: str
    # SecantusDB is meant for one machine: `verify` refuses it in production.
    is_embedded: bool
    # SecantusDB says in `hello` that it is a replica set, which it needs for change streams. It
    # is one server with one log all the same, and one sync is enough for the two writes of a send.
    # What MongoDB says in `hello` is believed.
    has_one_log: bool
    # SecantusDB goes through all indexes several times for the filter of an update with more than
    # `_id`, a third of what the update costs. So the version is compared in the update there.
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
    # or for REPORTED_REST where another stream would end the rest.
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
# Measured on 0.7.0b3; any other version takes this path, too.
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

# The database that was asked last, with its answer.
_known: list[tuple[object, Server]] = []


def current() -> Server:
    """Return the kind of server that the process's database is on, asked once for each `bind`.

    Raises PyMongoError when it must be asked and is away.
    """
    bound = database.current()
    if not _known or _known[0][0] is not bound:
        _known[:] = [(bound, _ask(bound))]
    return _known[0][1]


def _ask(bound: object) -> Server:
    if not isinstance(bound, Database):
        return PLAIN  # a stand-in, in memory
    build = bound.client.admin.command("buildInfo")
    return SECANTUS_0_7 if "secantusVersion" in build else PLAIN


def seconds_since_write() -> float | None:
    """Read a document and return how many seconds ago a write was acknowledged, if known.

    The document is what the supervisor of the embedded server writes every few seconds. A MongoDB
    replica set writes to its oplog every 10 s by itself; a standalone MongoDB tells nothing.
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
    """Tell whether the server reports changes: a replica set or a sharded cluster does.

    SecantusDB 0.7.0b3 calls itself a replica set, and has them.
    """
    if not isinstance(bound, Database):
        return False  # a stand-in, in memory
    hello = bound.client.admin.command("hello")
    return "setName" in hello or hello.get("msg") == "isdbgrid"


def _age(at: datetime, now: datetime) -> float:
    return round(max(0.0, (_aware(now) - _aware(at)).total_seconds()), 1)


def _aware(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)
