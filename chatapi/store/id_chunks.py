"""Queries by many ids, in chunks."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

from bson import ObjectId
from pymongo.collection import Collection

from chatapi.store import server
from chatapi.store.database import Document, Row


def chunked(ids: Iterable[ObjectId]) -> Iterator[list[ObjectId]]:
    """Yield the ids in chunks of the size that the server takes in one `$in`."""
    left = iter(ids)
    while part := list(itertools.islice(left, server.current().ids_at_once)):
        yield part


def aggregate_by_ids(
    collection: Collection[Row], ids: Iterable[ObjectId], stages: Sequence[Document]
) -> Iterator[Row]:
    """Yield the results of an aggregation over the documents with these ids, in no order."""
    for part in chunked(ids):
        yield from collection.aggregate([{"$match": {"_id": {"$in": part}}}, *stages])
