"""Read a whole collection in batches, along an index.

A batch is one query: a range of an indexed field other than `_id`. So no query takes long, and no
cursor stays open between two batches, on any server. The field holds times or ObjectIds, which
start with the second of their creation, so a batch is a time span. Its length is estimated from the
previous batch, for about AT_ONCE documents.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId
from pymongo import DESCENDING
from pymongo.collection import Collection

from chatapi.domain import clock
from chatapi.store.database import Document, Row

AT_ONCE = 1000
# In seconds. A batch after a long gap is limited to the longest span.
_FIRST_SPAN, _MAX_SPAN = 300, 90 * 24 * 3600
# 1 January 2009. Older documents come from wrong clocks only, and are one batch.
_BEGINNING = 1_230_768_000


def newest_first(
    collection: Collection[Row], field: str, shown: Document | None = None
) -> Iterator[Row]:
    """Yield the documents by the ids in an indexed field, those of the newest ids first.

    Each batch is read lazily. A document that is inserted or deleted meanwhile may be missing; all
    others are yielded exactly once.
    """
    return _batches(collection, field, shown, _id_of)


def latest_first(
    collection: Collection[Row], field: str, shown: Document | None = None
) -> Iterator[Row]:
    """Yield the documents by the times in an indexed field, the latest first, as above."""
    return _batches(collection, field, shown, lambda second: datetime.fromtimestamp(second, UTC))


def _batches(
    collection: Collection[Row], field: str, shown: Document | None, value: Any
) -> Iterator[Row]:
    span = _FIRST_SPAN
    start = int(clock.real().timestamp()) - span
    below: Document = {}  # The first batch has no upper bound: clocks may have been ahead.
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
    """Return the smallest id that can have been created in a second."""
    return ObjectId(second.to_bytes(4, "big") + bytes(8))
