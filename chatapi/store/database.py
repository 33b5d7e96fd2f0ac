"""The database that this process talks to, and what its answers are called here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from typing import Any

from bson import CodecOptions, ObjectId
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

Document = dict[str, Any]


# For what is decoded elsewhere than by the collections, whose times `times.set_utc` sets.
AWARE: CodecOptions[Document] = CodecOptions(tz_aware=True, tzinfo=UTC)

DUPLICATE_KEY = 11000  # the code with which a unique index refuses

_bound: list[Database[Document]] = []
_collections: dict[str, Collection[Document]] = {}


class Duplicate(Exception):
    """A unique index refused a write; `index` is what the server said of it."""

    def __init__(self, index: str) -> None:
        self.index = index
        super().__init__(index)


def client_timeouts(timeout_ms: int) -> dict[str, int | bool]:
    """Return the options of a client whose calls end in time when the database is away.

    After so many milliseconds where it cannot be reached, and after twice as many where it
    takes a call and does not answer. It does not try again by itself: a call would last as
    long once more, and who asks is told to.
    """
    return {
        "serverSelectionTimeoutMS": timeout_ms,
        "connectTimeoutMS": timeout_ms,
        "waitQueueTimeoutMS": timeout_ms,
        "socketTimeoutMS": 2 * timeout_ms,
        "retryReads": False,
    }


def bind(database: Database[Document]) -> None:
    """Make this the process's database. The application factory calls it once."""
    _bound[:] = [database]
    _collections.clear()


def current() -> Database[Document]:
    """Return the process's database."""
    return _bound[0]


def ping() -> None:
    """Ask the database whether it is there. Raises PyMongoError when it is not."""
    current().command("ping")


def _collection(name: str) -> Collection[Document]:
    # Kept: to make one costs a tenth of what a write costs.
    found = _collections.get(name)
    if found is None:
        found = _collections[name] = current()[name]
    return found


def users() -> Collection[Document]:
    return _collection("users")


def sessions() -> Collection[Document]:
    return _collection("sessions")


def chatrooms() -> Collection[Document]:
    return _collection("chatrooms")


def chat_terms() -> Collection[Document]:
    return _collection("chat_terms")


def messages() -> Collection[Document]:
    return _collection("messages")


def signals() -> Collection[Document]:
    return _collection("signals")


def presence() -> Collection[Document]:
    return _collection("presence")


def deletions() -> Collection[Document]:
    return _collection("deletions")


def password_links() -> Collection[Document]:
    return _collection("passwordLinks")


def unassignments() -> Collection[Document]:
    return _collection("unassignments")


def upgrades() -> Collection[Document]:
    return _collection("upgrades")


def forms() -> Collection[Document]:
    return _collection("forms")


@contextmanager
def translate_duplicate_key() -> Iterator[None]:
    """Let a unique index's refusal leave the block as Duplicate."""
    try:
        yield
    except DuplicateKeyError as error:
        raise Duplicate(str(error)) from error


def object_id(text: object) -> ObjectId | None:
    """Return the id that a text stands for, or None if it is none."""
    if isinstance(text, ObjectId):
        return text
    if isinstance(text, str) and len(text) == 24 and ObjectId.is_valid(text):
        return ObjectId(text)
    return None
