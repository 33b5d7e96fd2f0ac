"""A cache of decoded chats by their bytes, for lists.

A list that is read again contains mostly the same documents, which are then not decoded again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import bson
from pymongo.collection import Collection

from chatapi.domain.documents import Chat
from chatapi.domain.runtime import PerApp
from chatapi.store.database import Document
from chatapi.store.times import set_utc

MAX_CACHED = 1000  # 6.1 MB, measured with documents of 842 bytes

_cached: PerApp[dict[bytes, Chat]] = PerApp(dict)


def find(
    collection: Collection[Chat],
    where: Document,
    order: Sequence[tuple[str, int]],
    limit: int,
) -> list[Chat]:
    """Return the documents of a filter, in order. They are shared: change only a copy."""
    stored: object = collection
    if not isinstance(stored, Collection):
        # A stand-in, in memory.
        return list(collection.find(where).sort(order).limit(limit))
    options, cached = collection.codec_options, _cached.current
    found: list[Chat] = []
    cursor = collection.find_raw_batches(where, sort=order, limit=limit, batch_size=limit)
    for batch in cursor:
        for raw in _documents_in(batch):
            document = cached.get(raw)
            if document is None:
                if len(cached) >= MAX_CACHED:
                    cached.clear()
                document = cached[raw] = set_utc(bson.decode(raw, options))
            found.append(document)
    return found


def _documents_in(batch: Any) -> Iterator[bytes]:
    """Yield the documents of a batch: each starts with its length in bytes."""
    start = 0
    while start < len(batch):
        end = start + int.from_bytes(batch[start : start + 4], "little")
        yield batch[start:end]
        start = end
