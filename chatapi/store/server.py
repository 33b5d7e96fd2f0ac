"""What differs between the servers the product runs on, each with its version and reason.

MongoDB takes the plain path everywhere. SecantusDB 0.7.0b3 is the embedded server; how it is
started, without its sweeper and with a login, is in `deploy/embedded.py`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pymongo.database import Database

from chatapi import clock
from chatapi.store.database import current

# SecantusDB 0.7.0b3 calls its replica set so; MongoDB's is called what its operator chose.
SECANTUS_SET = "secantus"


def seconds_since_write() -> float | None:
    """Read a document and return how many seconds ago a write was acknowledged, if known.

    SecantusDB 0.7.0b3 gives the present time as `lastWriteDate`, so the document that the
    supervisor writes every few seconds tells it there. A MongoDB replica set writes to its
    oplog every 10 s by itself; a standalone MongoDB tells nothing. Raises PyMongoError.
    """
    if not isinstance(current(), Database):
        return None  # a stand-in, in memory
    probe = current()["probes"].find_one({"_id": "write"})
    if probe is not None:
        return _age(probe["at"], clock.real())
    hello: dict[str, Any] = current().client.admin.command("hello")
    if hello.get("setName") in {None, SECANTUS_SET} or "lastWrite" not in hello:
        return None
    return _age(hello["lastWrite"]["lastWriteDate"], hello["localTime"])


def has_change_streams(database: object) -> bool:
    """Tell whether the server reports changes: a replica set or a sharded cluster does.

    SecantusDB 0.7.0b3 calls itself a replica set, and has them.
    """
    if not isinstance(database, Database):
        return False  # a stand-in, in memory
    hello = database.client.admin.command("hello")
    return "setName" in hello or hello.get("msg") == "isdbgrid"


def _age(at: datetime, now: datetime) -> float:
    return round(max(0.0, (_aware(now) - _aware(at)).total_seconds()), 1)


def _aware(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)
