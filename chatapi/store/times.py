"""Times leave the store with their zone: BSON keeps none, and all of them are UTC.

pymongo's own `tz_aware` calls Python's `utcoffset` for each time it decodes, and a type registry
makes it decode each answer twice. So the client decodes times without a zone, and the collections
say UTC of them here.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from pymongo.collection import Collection
from pymongo.cursor import Cursor

Document = dict[str, Any]


def set_utc(value: Any) -> Any:
    """Say UTC of all times in a document or list, in place, and return it."""
    kind = type(value)
    if kind is dict:
        for name, each in value.items():
            inner = type(each)
            if inner is datetime:
                value[name] = each.replace(tzinfo=UTC)
            elif inner is dict or inner is list:
                set_utc(each)
    elif kind is list:
        for place, each in enumerate(value):
            value[place] = each.replace(tzinfo=UTC) if type(each) is datetime else set_utc(each)
    return value


class UtcCursor(Cursor[Any]):
    """A cursor whose documents have times in UTC."""

    def next(self) -> Any:
        """Return the next document."""
        return set_utc(super().next())

    def __next__(self) -> Any:
        return set_utc(super().next())


class UtcCollection(Collection[Any]):
    """A collection whose documents have times in UTC, by whatever method they are read."""

    def find(self, *args: Any, **options: Any) -> UtcCursor:
        """Return a cursor over the documents that a filter finds."""
        return UtcCursor(self, *args, **options)

    def aggregate(self, *args: Any, **options: Any) -> Iterator[Any]:  # type: ignore[override]
        """Return what a pipeline makes of the documents."""
        return map(set_utc, super().aggregate(*args, **options))

    def distinct(self, *args: Any, **options: Any) -> list[Any]:
        """Return the values that a field has."""
        found: list[Any] = set_utc(super().distinct(*args, **options))
        return found

    def find_one_and_update(self, *args: Any, **options: Any) -> Any:
        """Change a document and return it."""
        return set_utc(super().find_one_and_update(*args, **options))

    def find_one_and_replace(self, *args: Any, **options: Any) -> Any:
        """Replace a document and return it."""
        return set_utc(super().find_one_and_replace(*args, **options))

    def find_one_and_delete(self, *args: Any, **options: Any) -> Any:
        """Delete a document and return it."""
        return set_utc(super().find_one_and_delete(*args, **options))
