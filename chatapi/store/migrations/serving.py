"""Whether a process of release 0.1.0 still works on the database.

Two traces are read:

- Its connections. A server lists them, with what their driver says of itself: release 0.1.0 says
  that it is Flask-PyMongo, and every later release says that it is DRIVER. MongoDB lists those of
  the own user; a server that lists none is asked for nothing more. MongoDB was not tried.
- Its heartbeats and ephemeral events: it writes one at least every 3 s while an agent is connected
  to it. Where there are any of the last seconds, this waits to see whether more come.

What both miss: a process that holds no connection at this moment, and one that connects later. The
database refuses their messages (`0001_rename_stored_fields`).
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from pymongo.database import Database
from pymongo.errors import OperationFailure

from chatapi.domain import clock
from chatapi.store.server import DRIVER

OLD_DRIVER = "Flask-PyMongo"
RECENT = timedelta(seconds=60)
WATCH_SECONDS = 8.0
WATCH_INTERVAL = 0.5


def find(database: Database[Any]) -> str | None:
    """Return what shows that release 0.1.0 still works on the database, or None."""
    clients = _clients(database)
    if clients:
        return f"it is connected from {', '.join(clients)}"
    before = _traces(database)
    end = time.monotonic() + WATCH_SECONDS
    while before and time.monotonic() < end:
        time.sleep(WATCH_INTERVAL)
        if _traces(database) - before:
            return "an agent is connected to it"
    return None


def _clients(database: Database[Any]) -> list[str]:
    """Return the addresses of clients that say they are release 0.1.0."""
    bound: object = database
    if not isinstance(bound, Database):
        return []  # a stand-in, in memory
    try:
        answer = bound.client.admin.command({"currentOp": 1, "$all": True, "$ownOps": True})
    except OperationFailure:
        return []
    found = set()
    for each in answer.get("inprog", []):
        driver = str(each.get("clientMetadata", {}).get("driver", {}).get("name", ""))
        if OLD_DRIVER in driver and DRIVER not in driver:
            found.add(str(each.get("client", "an unknown address")))
    return sorted(found)


def _traces(database: Database[Any]) -> set[tuple[str, Any, Any]]:
    """Return the heartbeats and ephemeral events of the last seconds."""
    since = clock.real() - RECENT
    beats = database["presence"].find({"seenAt": {"$gte": since}}, {"seenAt": 1})
    events = database["signals"].find({"at": {"$gte": since}}, {"at": 1})
    return {("presence", row["_id"], row["seenAt"]) for row in beats} | {
        ("signals", row["_id"], row["at"]) for row in events
    }
