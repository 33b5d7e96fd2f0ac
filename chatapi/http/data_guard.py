"""Refuse to serve a database that is not ready: half restored, or of an older release.

What is written to a half restored one would be deleted by the next restore, and what is read from
it is not all. In one that lacks a migration this release does not find what the older one stored.
"""

from __future__ import annotations

import time

from flask import Flask
from flask.globals import request_ctx

from chatapi.domain import errors
from chatapi.domain.runtime import PerApp
from chatapi.store import database, maintenance, migrations

# A running process checks again before a write, at most this often, in seconds.
RECHECK_SECONDS = 5.0
RETRY_SECONDS = 30
READING = frozenset({"GET", "HEAD", "OPTIONS"})
# What is served from the database; the other pages are files.
_GUARDED = ("/api/", "/admin", "/readyz")
# Below these, what is answered also while the database is away.
_UNGUARDED = frozenset(
    {
        "user_api.config",
        "openapi.docs",
        "openapi.openapi_json",
        "admin_ui.auth_login",  # looks itself
    }
)


class DataGuard:
    """Caches briefly that no restore is unfinished, and permanently that all is migrated."""

    def __init__(self) -> None:
        self._checked_at: float | None = None
        self._is_migrated = False

    def check(self, *, again: bool) -> None:
        """Raise RestoreUnfinished or MigrationMissing while the database is not ready.

        again -- look again if the last look is RECHECK_SECONDS old.
        """
        now = time.monotonic()
        fresh = self._checked_at is not None and (
            not again or now - self._checked_at < RECHECK_SECONDS
        )
        if fresh:
            return
        self._checked_at = None
        if maintenance.unfinished_restore():
            raise errors.RestoreUnfinished(retryAfter=RETRY_SECONDS)
        if not self._is_migrated:
            if migrations.missing(database.current()):
                raise errors.MigrationMissing(retryAfter=RETRY_SECONDS)
            self._is_migrated = True
        self._checked_at = now


_guard = PerApp(DataGuard)


def init_app(app: Flask) -> None:
    """Check before the app's first request, and periodically before writes."""
    guard = _guard.current

    def refuse_unready_data() -> None:
        asked = request_ctx.request  # once: each look through the proxy costs
        path = asked.path
        if not path.startswith(_GUARDED) or "/static/" in path:
            return
        if asked.endpoint not in _UNGUARDED:
            guard.check(again=asked.method not in READING or path == "/readyz")

    app.before_request(refuse_unready_data)


def check() -> None:
    """Raise RestoreUnfinished or MigrationMissing in a view that is not guarded."""
    _guard.current.check(again=False)
