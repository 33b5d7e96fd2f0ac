"""The categories that chats can have, from CHAT_CATEGORIES."""

from __future__ import annotations

from collections.abc import Iterable

from chatapi.domain.runtime import PerApp

_offered: PerApp[tuple[str, ...]] = PerApp(tuple)


def offered() -> tuple[str, ...]:
    """Return the categories that chats of the app can have."""
    return _offered.current


def configure(allowed_categories: Iterable[str]) -> None:
    """Set the categories of the app. The application factory calls it once."""
    _offered.set(tuple(allowed_categories))
