"""Set the time zone of stored times: BSON has none, and all times are UTC.

pymongo's own `tz_aware` calls Python's `utcoffset` for each decoded time, and a type registry makes
pymongo decode each response twice. So the client decodes times without a zone, and these
collections set UTC.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from pymongo.collection import Collection
from pymongo.cursor import Cursor

Document = dict[str, Any]


def set_utc(value: Any) -> Any:
    """Set UTC on all times in a document or list, in place, and return it."""
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
    """A collection whose documents have times in UTC, with every method that reads."""

    def find(self, *args: Any, **options: Any) -> UtcCursor:
        """Return a cursor over the documents of a filter."""
        return UtcCursor(self, *args, **options)

    def aggregate(self, *args: Any, **options: Any) -> Iterator[Any]:  # type: ignore[override]
        """Return the results of an aggregation pipeline."""
        return map(set_utc, super().aggregate(*args, **options))

    def distinct(self, *args: Any, **options: Any) -> list[Any]:
        """Return the distinct values of a field."""
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
