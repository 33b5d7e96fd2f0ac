"""The sessions and users that this process has read: cached while a change stream reports changes.

Every request asks for its session. In a process that follows the change stream of sessions and
users, a session is read once and is valid until the stream reports, within a fifth of a second,
that it ended or that its user has changed. When the stream has been silent for FRESH_SECONDS, or
where the server has none, nothing is cached and each request reads.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from pymongo.errors import PyMongoError

from chatapi.domain import clock
from chatapi.domain.documents import StoredSession, User
from chatapi.domain.runtime import PerApp
from chatapi.realtime.followers import Follower, start_thread
from chatapi.store import changes, chats, sessions, unread
from chatapi.store.cache import change_tracker

FRESH_SECONDS = 2.0
POLL_INTERVAL = 0.2
NO_STREAM_PAUSE = 60.0
MAX_KNOWN = 20_000


class SessionCache:
    """Sessions with their users by session id.

    may_follow -- whether this process may follow the database: one that serves does so for as
    long as it lives; a command reads every time.
    """

    may_follow = False

    def __init__(self) -> None:
        self._known: dict[str, tuple[StoredSession, User]] = {}
        self._of_user: dict[Any, set[str]] = {}  # their session ids, to forget them by
        # The number of invalidations: a row that was read before one is not cached after it.
        self._changes = 0
        self._last_event_at: float | None = None
        self.follower = Follower("sessions", self._follow)
        # The number of connections to the stream: sessions that ended in between were not reported.
        self.generation = 0
        self.on_change: Callable[[object], None] = lambda _: None
        # Called for an ephemeral event, and for a change of a chat by another process.
        self.on_foreign_change: Callable[[], None] = lambda: None

    @property
    def is_fresh(self) -> bool:
        """Return whether the change stream reports every change now."""
        return (
            self._last_event_at is not None
            and time.monotonic() - self._last_event_at < FRESH_SECONDS
        )

    def is_cached(self, session_id: str) -> bool:
        """Return whether the change stream would report the end of this session."""
        return self.is_fresh and session_id in self._known

    def find(self, session_id: str) -> tuple[StoredSession, User] | None:
        """Return a session and its user, or None if there is none."""
        if self.may_follow and not self.follower.is_running:
            self.follower.ensure_running()
        if not self.is_fresh:
            return sessions.with_user(session_id)
        found = self._known.get(session_id)
        # One that has run out may have been prolonged by another process.
        if found is None or found[0]["expiresAt"] <= clock.now():
            before = self._changes
            found = sessions.with_user(session_id)
            if found is not None and before == self._changes:
                if len(self._known) >= MAX_KNOWN:
                    self._known.clear()
                    self._of_user.clear()
                self._known[session_id] = found
                self._of_user.setdefault(found[0]["userId"], set()).add(session_id)
        return found

    def forget(self, key: object) -> None:
        """Forget a session by its id, or all sessions of a user by theirs."""
        self._changes += 1
        for session_id in self._of_user.pop(key, ()):
            self._known.pop(session_id, None)
        found = self._known.pop(key, None) if isinstance(key, str) else None
        if found is not None:
            owner = found[0]["userId"]
            others = self._of_user.get(owner, set())
            others.discard(str(key))
            if not others:
                self._of_user.pop(owner, None)

    def _forget_all(self) -> None:
        self._changes += 1
        self._known.clear()
        self._of_user.clear()

    def _follow(self) -> None:
        """Follow the stream until an error interrupts it; then requests read until it is back."""
        try:
            stream = changes.Stream(watched=changes.ACCESS)
        except changes.ChangeStreamsUnsupported:
            self.follower.stopping.wait(NO_STREAM_PAUSE)
            return
        try:
            self._forget_all()
            self.generation += 1
            change_tracker.current.start()
            self._last_event_at = time.monotonic()
            start_thread("unread total", _count_unread)
            while not self.follower.stopping.is_set():
                self._listen(stream)
                self.follower.succeeded()
        finally:
            self._last_event_at = None
            change_tracker.current.stop()
            stream.close()

    def _listen(self, stream: changes.Stream) -> None:
        started = time.monotonic()
        change = stream.next()
        self._dispatch(change)
        while stream.has_more:
            self._dispatch(stream.next())
        self._last_event_at = time.monotonic()
        change_tracker.current.mark_alive()
        # Each message of any process changes a chat. Asked five times a second, a server has
        # several changes in each answer.
        time.sleep(max(0.0, started + POLL_INTERVAL - self._last_event_at))

    def _dispatch(self, change: changes.Change | None) -> None:
        if change is None:
            return
        if change[0] == "listed":
            if chats.apply_reported_change(change[1]):
                self.on_foreign_change()
            return
        if change[0] == "signalled":
            self.on_foreign_change()
            return
        key: Any = change[1].get("_id")
        if key is None:
            # Not one document but the collection is gone, as in a restore.
            self._forget_all()
            self.generation += 1
        else:
            self.forget(key)
            self.on_change(key)


def _count_unread() -> None:
    """Compute the unread total before the first request needs it: it reads all unread chats."""
    with contextlib.suppress(PyMongoError):  # A request will compute it.
        unread.by_admins.current.get()


session_cache = PerApp(SessionCache)
