"""The process's database and its collections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC
from typing import Any, TypeVar

from bson import CodecOptions, ObjectId
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, PyMongoError

from chatapi.domain.documents import (
    Chat,
    ChatTerms,
    Deletion,
    EphemeralEvent,
    Heartbeat,
    Message,
    PasswordLink,
    StoredSession,
    User,
)
from chatapi.domain.runtime import PerApp

Document = dict[str, Any]
DatabaseError = PyMongoError  # every failure of the database, for modules without pymongo
Row = TypeVar("Row", bound=Mapping[str, Any])  # what is in a collection


# For documents that are not decoded by the collections; those get UTC from `times.set_utc`.
AWARE: CodecOptions[Document] = CodecOptions(tz_aware=True, tzinfo=UTC)

DUPLICATE_KEY = 11000  # the error code of a unique index


def _unbound() -> Database[Document]:
    raise RuntimeError("This app has no database yet: see `bind`.")


_database = PerApp(_unbound)
_collections: PerApp[dict[str, Collection[Any]]] = PerApp(dict)


class Duplicate(Exception):
    """A write violates a unique index; `index` is the server's message."""

    def __init__(self, index: str) -> None:
        self.index = index
        super().__init__(index)


def client_timeouts(timeout_ms: int) -> dict[str, int | bool]:
    """Return the timeouts of a client, so that calls fail in time if the database is unavailable.

    A call fails after `timeout_ms` if the server cannot be reached, and after twice as long if the
    server does not respond. The client does not retry, which would double the time; the caller gets
    503 and retries.
    """
    return {
        "serverSelectionTimeoutMS": timeout_ms,
        "connectTimeoutMS": timeout_ms,
        "waitQueueTimeoutMS": timeout_ms,
        "socketTimeoutMS": 2 * timeout_ms,
        "retryReads": False,
    }


def bind(database: Database[Document]) -> None:
    """Make this the app's database. The application factory calls it once."""
    _database.set(database)
    _collections.current.clear()


def current() -> Database[Document]:
    """Return the app's database."""
    return _database.current


def ping() -> None:
    """Ping the database. Raises PyMongoError if it is not available."""
    current().command("ping")


def _collection(name: str) -> Collection[Any]:
    # Cached, because creating one costs a tenth of a write.
    known = _collections.current
    found = known.get(name)
    if found is None:
        found = known[name] = current()[name]
    return found


def users() -> Collection[User]:
    return _collection("users")


def sessions() -> Collection[StoredSession]:
    return _collection("sessions")


def chatrooms() -> Collection[Chat]:
    return _collection("chatrooms")


def chat_terms() -> Collection[ChatTerms]:
    return _collection("chat_terms")


def messages() -> Collection[Message]:
    return _collection("messages")


def ephemeral_events() -> Collection[EphemeralEvent]:
    return _collection("ephemeralEvents")


def presence() -> Collection[Heartbeat]:
    return _collection("presence")


def deletions() -> Collection[Deletion]:
    return _collection("deletions")


def password_links() -> Collection[PasswordLink]:
    return _collection("passwordLinks")


def unassignments() -> Collection[Document]:
    return _collection("unassignments")


def upgrades() -> Collection[Document]:
    return _collection("upgrades")


def forms() -> Collection[Document]:
    return _collection("forms")


def aggregate(collection: Collection[Any], stages: Sequence[Document]) -> Iterator[Document]:
    """Yield what an aggregation makes of a collection: documents of another form."""
    yield from collection.aggregate(list(stages))


@contextmanager
def translate_duplicate_key() -> Iterator[None]:
    """Raise Duplicate where the block violates a unique index."""
    try:
        yield
    except DuplicateKeyError as error:
        raise Duplicate(str(error)) from error


def object_id(text: object) -> ObjectId | None:
    """Return the ObjectId that a text represents, or None if it is no ObjectId."""
    if isinstance(text, ObjectId):
        return text
    if isinstance(text, str) and len(text) == 24 and ObjectId.is_valid(text):
        return ObjectId(text)
    return None
