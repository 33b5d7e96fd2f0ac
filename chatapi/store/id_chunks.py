"""Many ids in a query, a few at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

from bson import ObjectId
from pymongo.collection import Collection

from chatapi.store import server
from chatapi.store.database import Document


def chunked(ids: Iterable[ObjectId]) -> Iterator[list[ObjectId]]:
    """Yield as many ids at a time as one `$in` of the server's may have."""
    left = iter(ids)
    while part := list(itertools.islice(left, server.current().ids_at_once)):
        yield part


def aggregate_by_ids(
    collection: Collection[Document], ids: Iterable[ObjectId], stages: Sequence[Document]
) -> Iterator[Document]:
    """Yield what an aggregation makes of the documents with these ids, in no order."""
    for part in chunked(ids):
        yield from collection.aggregate([{"$match": {"_id": {"$in": part}}}, *stages])
