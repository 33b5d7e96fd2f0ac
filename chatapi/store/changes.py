"""Changes in the database, from its change stream, or by polling where it has none.

The write of a chat is the event, so no write can be without its event. `signals` holds ephemeral
events: typing, presence, and the deletion of messages and chats.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NoReturn

from bson import ObjectId
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError

from chatapi.domain.documents import Chat
from chatapi.store.database import Document, chatrooms, current, ephemeral_events
from chatapi.store.times import set_utc

# With these codes a server reports that it has no change streams, or none for this user.
NO_STREAMS = frozenset({40573, 40324, 115, 59, 20, 13, 303})
# With these codes a server reports that it no longer has the position of a resume token.
TOO_OLD = frozenset({280, 286, 260})
WAIT_MS = 500

# ("chat", the chat), ("signal", the signal), ("removed", the `_id` of a deleted chat),
# ("access", the `_id` of a session that is gone or of a user who has changed; {} for all),
# ("listed", the event itself: a chat has changed, and which fields of LISTED), or
# ("signalled", {}): there is a signal, not shown
Change = tuple[str, Any]

CHATS: Document = {
    "$or": [
        {
            "ns.coll": "chatrooms",
            "operationType": {"$in": ["insert", "update", "replace", "delete"]},
        },
        {"ns.coll": "ephemeralEvents", "operationType": "insert"},
    ]
}
ACCESS: Document = {
    "$or": [
        {"ns.coll": "sessions", "operationType": {"$in": ["delete", "drop", "rename"]}},
        {
            "ns.coll": "users",
            "operationType": {"$in": ["update", "replace", "delete", "drop", "rename"]},
        },
        {
            "ns.coll": "chatrooms",
            "operationType": {"$in": ["insert", "update", "replace", "delete", "drop", "rename"]},
        },
        {"ns.coll": "ephemeralEvents", "operationType": "insert"},
    ]
}
# The fields that cached totals need of a changed chat. The stream does not read the document.
LISTED = ("version", "status", "priority", "category", "adminId")
_SHORT: Document = {
    "_id": 1,
    "operationType": 1,
    "ns": 1,
    "documentKey": 1,
    **{f"updateDescription.updatedFields.{name}": 1 for name in LISTED},
}


class ChangeStreamsUnsupported(Exception):
    """The server has no change streams; poll instead."""


class ResumeTokenLost(Exception):
    """Changes since the last resume token are lost; the follower must read everything."""


class Stream:
    """A change stream that starts now or after a resume token.

    watched -- which changes: CHATS or ACCESS.
    Raises ChangeStreamsUnsupported, ResumeTokenLost, and PyMongoError while the database is away.
    """

    def __init__(self, token: Any = None, watched: Document = CHATS) -> None:
        database = current()
        if not isinstance(database, Database):
            raise ChangeStreamsUnsupported  # a stand-in, in memory
        try:
            shown = [] if watched is CHATS else [{"$project": _SHORT}]
            self._cursor = database.watch(
                [{"$match": watched}, *shown],
                full_document="updateLookup" if watched is CHATS else None,
                resume_after=token,
                max_await_time_ms=WAIT_MS,
            )
        except OperationFailure as error:
            _raise_named(error)
        self._is_short = watched is not CHATS
        self.token = self._cursor.resume_token or token

    def next(self) -> Change | None:
        """Return the next change, or None when WAIT_MS brought none.

        Raises ResumeTokenLost, and PyMongoError while the database is away.
        """
        try:
            event = self._cursor.try_next()
        except OperationFailure as error:
            _raise_named(error)
        if not self._cursor.alive:
            raise PyMongoError("The change stream has ended.")
        self.token = self._cursor.resume_token
        if event is None:
            return None
        if "fullDocument" in event:
            set_utc(event["fullDocument"])
        if event["ns"]["coll"] in {"sessions", "users"}:
            return "access", event.get("documentKey", {})
        if self._is_short:
            is_signal = event["ns"]["coll"] == "ephemeralEvents"
            return ("signalled", {}) if is_signal else ("listed", event)
        if event["operationType"] == "delete":
            return "removed", event["documentKey"]
        if event.get("fullDocument") is None:
            return None  # It was deleted since; that comes next.
        kind = "chat" if event["ns"]["coll"] == "chatrooms" else "signal"
        return kind, event["fullDocument"]

    @property
    def has_more(self) -> bool:
        """Return whether `next` has a change in its buffer, so that it sends no request."""
        # The driver has no public method for this.
        return bool(self._cursor._cursor._has_next())  # noqa: SLF001

    def close(self) -> None:
        """Close the cursor."""
        with contextlib.suppress(PyMongoError):
            self._cursor.close()


def _raise_named(error: OperationFailure) -> NoReturn:
    """Raise ResumeTokenLost or ChangeStreamsUnsupported where the code says so, else the error."""
    if error.code in TOO_OLD or error.has_error_label("NonResumableChangeStreamError"):
        raise ResumeTokenLost from error
    if error.code in NO_STREAMS:
        raise ChangeStreamsUnsupported from error
    raise error


def since(at: datetime) -> Iterator[Change]:
    """Yield chats changed and ephemeral events sent since a time, for polling."""
    for chat in chatrooms().find({"changedAt": {"$gte": at}}):
        yield "chat", chat
    for signal in ephemeral_events().find({"at": {"$gte": at}}):
        yield "signal", signal


def chats_now(chat_ids: list[ObjectId]) -> list[Chat]:
    """Return the current state of some chats."""
    return list(chatrooms().find({"_id": {"$in": chat_ids}}))
