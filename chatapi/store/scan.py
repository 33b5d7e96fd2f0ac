"""Reading all of a collection a part at a time, along an index.

A part is one query, a range of an indexed field other than `_id`, so none takes long and no
cursor stays open between two parts, on any server. The field holds times, or ids of MongoDB's,
which begin with the second in which they were made: a part is a stretch of time. It is as long
as about AT_ONCE documents are apart in the part before.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId
from pymongo import DESCENDING
from pymongo.collection import Collection

from chatapi.domain import clock
from chatapi.store.database import Document

AT_ONCE = 1000
# In seconds. A part after a long gap, of which nothing is known, is no longer than the longest.
_FIRST_SPAN, _MAX_SPAN = 300, 90 * 24 * 3600
# What is older, which only wrong clocks make, is one part. It is 1 January 2009.
_BEGINNING = 1_230_768_000


def newest_first(
    collection: Collection[Document], field: str, shown: Document | None = None
) -> Iterator[Document]:
    """Yield the documents by the ids in an indexed field, those of the newest ids first.

    A part is read when its first document is asked for, not before. A document that comes or
    goes meanwhile may be missing; all others are there, each once.
    """
    return _parts(collection, field, shown, _id_of)


def latest_first(
    collection: Collection[Document], field: str, shown: Document | None = None
) -> Iterator[Document]:
    """Yield the documents by the times in an indexed field, the latest first, likewise."""
    return _parts(collection, field, shown, lambda second: datetime.fromtimestamp(second, UTC))


def _parts(
    collection: Collection[Document], field: str, shown: Document | None, value: Any
) -> Iterator[Document]:
    span = _FIRST_SPAN
    start = int(clock.real().timestamp()) - span
    below: Document = {}  # Nothing for the first part: clocks may have been ahead.
    while True:
        if start < _BEGINNING:
            start = 0
        bounds = {"$gte": value(start)} | below
        count = 0
        for row in collection.find({field: bounds}, shown).sort(field, DESCENDING):
            count += 1
            yield row
        if not start:
            return
        below = {"$lt": value(start)}
        span = min(_MAX_SPAN, max(1, int(span * min(2.0, AT_ONCE / max(1, count)))))
        start -= span


def _id_of(second: int) -> ObjectId:
    """Return the first id that can have been made in a second."""
    return ObjectId(second.to_bytes(4, "big") + bytes(8))
