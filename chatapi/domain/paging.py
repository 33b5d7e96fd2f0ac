"""Cursors: the end of a page of a list, as an opaque string.

A cursor is a position in an order and gives no access: every page is filtered for the
caller again.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from bson import ObjectId

from chatapi.domain.errors import InvalidInput

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MAX_CURSOR_LENGTH = 64

Row = TypeVar("Row", bound=Mapping[str, Any])


@dataclass(frozen=True)
class Position:
    """The position of a row in a list sorted by a time and then by id, both descending."""

    at: datetime
    id: ObjectId

    def encode(self) -> str:
        """Return the cursor of this position."""
        milliseconds = (self.at - _EPOCH) // timedelta(milliseconds=1)
        raw = milliseconds.to_bytes(8, "big", signed=True) + self.id.binary
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode(cursor: str | None) -> Position | None:
    """Return the position of a cursor; raise InvalidInput on `cursor` if it is invalid."""
    if cursor is None:
        return None
    try:
        if len(cursor) > MAX_CURSOR_LENGTH:
            raise ValueError("too long")
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        if len(raw) != 20:
            raise ValueError("wrong length")
        at = _EPOCH + timedelta(milliseconds=int.from_bytes(raw[:8], "big", signed=True))
    except (ValueError, OverflowError, binascii.Error):
        raise InvalidInput.for_field("cursor", "Not a cursor that this API gave out.") from None
    return Position(at, ObjectId(raw[8:]))


@dataclass(frozen=True)
class Page(Generic[Row]):
    """One page of a list and the cursor of the next one, None on the last."""

    items: list[Row]
    next_cursor: str | None


def page(rows: list[Row], limit: int, time_field: str) -> Page[Row]:
    """Return a page of `limit` + 1 rows that were read, with a cursor if there was one more."""
    if len(rows) <= limit:
        return Page(rows, None)
    last = rows[limit - 1]
    return Page(rows[:limit], Position(last[time_field], last["_id"]).encode())
