"""The reaper of one process: closes streams of ended sessions and slow clients, updates presence.

It runs every few seconds, and immediately when an agent connects or when the change stream reports
a session that ended or a user who changed.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

import structlog
from bson import ObjectId
from pymongo.errors import PyMongoError

from chatapi.domain import clock
from chatapi.domain.documents import Person
from chatapi.domain.log_events import LogEvent
from chatapi.domain.runtime import PerApp
from chatapi.realtime.followers import Follower
from chatapi.realtime.session_cache import session_cache
from chatapi.services.feeds import SESSION_CHECK_INTERVAL, Feed, feed_registry
from chatapi.services.presence import Place, presence_tracker
from chatapi.store import server, sessions

log = structlog.get_logger("chat.streams")

TICK_SECONDS = 3.0
SLOW_SECONDS = 10.0
# Sessions are rechecked in groups, because each recheck is two queries.
RECHECK_INTERVAL = 30.0


class StreamReaper:
    """Checks the feeds in a background thread (under gevent: a greenlet)."""

    def __init__(self) -> None:
        self.follower = Follower("reaper", self._run_once, self._may_end)
        self._wake = threading.Event()
        self._ticked_at = 0.0
        self._checked_all_at = -math.inf
        self._marked: set[object] = set()
        self._generation = 0

    def ensure_running(self) -> None:
        """Start the reaper if it does not run."""
        if not self.follower.is_running:
            self._ticked_at = time.monotonic()
            self.wake()  # The first run is immediate.
            self.follower.ensure_running()

    def wake(self) -> None:
        """Check presence immediately."""
        self._wake.set()

    def mark_for_recheck(self, key: object) -> None:
        """Recheck this session, or this user's sessions, immediately."""
        self._marked.add(key)
        self._wake.set()

    def _run_once(self) -> None:
        self._wake.wait(max(0.0, self._ticked_at + TICK_SECONDS - time.monotonic()))
        self._wake.clear()
        self.tick()
        self.follower.succeeded()
        # Agents who connect together are announced together.
        time.sleep(0.1)

    def _may_end(self) -> bool:
        if len(feed_registry.current) or not presence_tracker.current.is_empty:
            return False
        presence_tracker.current.reset()
        return True

    def tick(self) -> None:
        open_feeds = feed_registry.current.all()
        is_due = time.monotonic() - self._ticked_at >= TICK_SECONDS
        if is_due:
            self._ticked_at = time.monotonic()
            close_slow_consumers(open_feeds, SLOW_SECONDS)
        self._run_safely(self._check_sessions, open_feeds, is_due)
        self._run_safely(
            presence_tracker.current.update,
            _people(open_feeds),
            is_due=is_due,
            has_listeners=bool(open_feeds),
        )

    def _check_sessions(self, open_feeds: list[Feed], is_due: bool) -> None:
        """Check the sessions that the change stream reported and those that have expired.

        Check all sessions periodically, and if there is no fresh change stream.
        """
        marked, self._marked = self._marked, set()
        cache = session_cache.current
        generation = cache.generation
        is_all_stale = is_due and (not cache.is_fresh or generation != self._generation)
        now, moment = clock.now(), time.monotonic()
        is_full_check = is_due and moment - self._checked_all_at >= RECHECK_INTERVAL
        to_recheck = [
            feed
            for feed in open_feeds
            if is_all_stale
            or feed.session.id in marked
            or feed.session.user_id in marked
            or (is_due and feed.session.expires_at <= now)
            or (is_due and feed.checked_at == -math.inf)
            or (is_full_check and moment - feed.checked_at > SESSION_CHECK_INTERVAL)
        ]
        try:
            at_once = server.current().ids_at_once
            for start in range(0, len(to_recheck), at_once):
                close_revoked(to_recheck[start : start + at_once])
        except PyMongoError:
            self._marked |= marked
            raise
        if is_full_check:
            self._checked_all_at = moment
        if is_all_stale:
            self._generation = generation

    def _run_safely(self, work: Callable[..., None], *arguments: Any, **options: Any) -> None:
        try:
            work(*arguments, **options)
        except PyMongoError as error:
            # The tail logs a warning for an unavailable database; one is enough.
            log.info(LogEvent.REAPER_INTERRUPTED, exc_info=error)
        except Exception as error:
            log.exception(LogEvent.REAPER_FAILED, exc_info=error)


def close_revoked(open_feeds: list[Feed]) -> None:
    """Close the feeds whose session has ended, or whose user's role has changed."""
    roles = sessions.live_roles({feed.session.id for feed in open_feeds}, clock.now())
    for feed in open_feeds:
        feed.checked_at = time.monotonic()
        role = roles.get(feed.session.id)
        if role is None:
            feed.listener.close("session_ended", 0)
        elif role != feed.session.role:
            feed.listener.close("forbidden", 1)


def close_slow_consumers(open_feeds: list[Feed], seconds: float) -> None:
    """Close the feeds of clients that have not read pending data for so many seconds."""
    longest_since = time.monotonic() - seconds
    for feed in open_feeds:
        if feed.writing_since is not None and feed.writing_since < longest_since:
            feed.listener.close("too_slow", 0)
            feed.abort()


def _people(open_feeds: list[Feed]) -> dict[Place, Person]:
    """Return the agents who are connected to this process, with each chat that they have open."""
    nowhere: list[ObjectId | None] = [None]
    return {
        (feed.session.user_id, chat_id): {
            "userId": feed.session.user_id,
            "name": feed.session.name,
            "role": feed.session.role,
            "chatId": chat_id,
        }
        for feed in open_feeds
        if feed.is_present and feed.listener.end is None
        for chat_id in feed.chats or nowhere
    }


reaper = PerApp(StreamReaper)
