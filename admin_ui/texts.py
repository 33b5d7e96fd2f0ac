"""The formatting of names, times and days as text, without HTML."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterable
from datetime import UTC, date, datetime, tzinfo
from itertools import groupby
from typing import Any
from urllib.parse import quote

from flask import request

ZONE_COOKIE = "chat_zone"
HUES = 8
FORMS = {
    "clock": "%H:%M",
    "date": "%-d %b %Y",
    "day": "%-d %B %Y",
    "long": "%-d %b %Y, %H:%M UTC",
    "short": "%-d %b",
}


def initials(name: str) -> str:
    """Return the initials of a name: one or two letters."""
    words = [word for word in name.split() if word[0].isalnum()] or name.split() or ["?"]
    chosen = words[:1] if len(words) == 1 else [words[0], words[-1]]
    return "".join(word[0] for word in chosen).upper()


def mailto(email: str) -> str:
    """Return the mailto URL of an e-mail address (RFC 6068).

    All characters are quoted, so that none can add a header to the mail.
    """
    local, _, domain = email.rpartition("@")
    return f"mailto:{quote(local, safe='')}@{quote(domain, safe='')}"


def label(word: str) -> str:
    """Return the label of a status, priority or category."""
    return word.replace("_", " ").replace("-", " ").capitalize()


def zip_labels(words: Iterable[str]) -> list[tuple[str, str]]:
    """Return each value with its label, for the options of a select."""
    return [(word, label(word)) for word in words]


def with_stored(words: Iterable[str], stored: Iterable[str]) -> list[tuple[str, str]]:
    """Return the options of a select, including stored values that are no longer offered."""
    offered = list(words)
    gone = sorted(set(stored) - set(offered))
    return zip_labels(offered) + [(word, f"{label(word)} (no longer offered)") for word in gone]


def hue(key: object) -> int:
    """Return the index of a user's avatar colour, which never changes."""
    return int(str(key)[-2:], 16) % HUES


def stamp(at: datetime, form: str = "long") -> str:
    """Return a time as text, until the page's script replaces it in the reader's time zone.

    form -- a key of FORMS; about as wide as what the script writes, so that nothing moves.
    """
    return at.astimezone(UTC).strftime(FORMS[form])


def zone() -> tzinfo:
    """Return the reader's time zone, which the page's script keeps in a cookie."""
    try:
        return zoneinfo.ZoneInfo(request.cookies.get(ZONE_COOKIE, "UTC"))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def days(messages: Iterable[dict[str, Any]]) -> list[tuple[date, list[dict[str, Any]]]]:
    """Return messages grouped by day in the reader's time zone."""
    here = zone()

    def day(message: dict[str, Any]) -> date:
        at: datetime = message["timestamp"]
        return at.astimezone(here).date()

    return [(key, list(group)) for key, group in groupby(messages, day)]
