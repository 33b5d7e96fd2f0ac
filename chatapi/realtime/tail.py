"""The tail of one process: follows the database's changes and publishes them through the hub.

It runs while there are listeners. It resumes by the resume token after every interruption. If the
token is lost, it reads every chat with listeners again and closes the inboxes' listeners, whose
clients then fetch their lists. If the server has no change streams, it polls each second, with an
overlap, because the clocks of several hosts differ.
"""

from __future__ import annotations

import contextlib
import enum
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import structlog
from pymongo.errors import PyMongoError

from chatapi.domain import clock
from chatapi.domain.log_events import LogEvent
from chatapi.domain.runtime import PerApp
from chatapi.realtime.followers import Follower
from chatapi.realtime.hub import Hub, hub
from chatapi.store import changes, chats, server, unread
from chatapi.store.cache import change_tracker

log = structlog.get_logger("chat.tail")

POLL_SECONDS = 1.0
OVERLAP = timedelta(seconds=5)
IDLE_SECONDS = 60.0
# See `_rest`. An answer that took less than FULL_WAIT did not come for want of changes.
FOREIGN_TTL = 60.0
WOKEN_PAUSE = 0.7
FULL_WAIT = changes.WAIT_MS / 1000 * 0.8


class TailState(enum.Enum):
    """What a tail does; `mode` names its way to follow the database, as `state` reports it."""

    OFF = enum.auto()  # no listener since the start, or for a while
    STREAMING = enum.auto()
    STREAM_INTERRUPTED = enum.auto()
    POLLING = enum.auto()
    POLLING_INTERRUPTED = enum.auto()  # or not begun

    @property
    def mode(self) -> str:
        """Return off, stream or poll."""
        if self in STREAM_STATES:
            return "stream"
        return "poll" if self in POLL_STATES else "off"

    @property
    def is_connected(self) -> bool:
        return self in {TailState.STREAMING, TailState.POLLING}

    @property
    def interrupted(self) -> TailState:
        """Return the state after an error."""
        after = {
            TailState.STREAMING: TailState.STREAM_INTERRUPTED,
            TailState.POLLING: TailState.POLLING_INTERRUPTED,
        }
        return after.get(self, self)


STREAM_STATES = {TailState.STREAMING, TailState.STREAM_INTERRUPTED}
POLL_STATES = {TailState.POLLING, TailState.POLLING_INTERRUPTED}


class Tail:
    """Follows the database in a thread (under gevent: a greenlet) of its own."""

    def __init__(self, target: Hub) -> None:
        self.hub = target
        self.follower = Follower("tail", self._work, self._may_end)
        self._lock = self.follower.lock
        # Set while every later write will be published.
        self._following = threading.Event()
        # Set to end a pause.
        self._woken = threading.Event()
        self._idle_since = 0.0
        self._foreign_write_at = -FOREIGN_TTL
        self.last_seen_at = 0.0
        self.lag_ms: float | None = None
        self._reset()

    def _reset(self) -> None:
        self._state = TailState.OFF
        self._token: Any = None
        self._polled_until: datetime | None = None
        self._polled: dict[Any, int] = {}
        self._has_gap = False

    def ensure_running(self, wait: float = 2.0) -> None:
        """Start the tail if it does not run, and wait until it receives every write.

        A caller that reads the database after this misses no change. If following starts later, the
        inboxes' clients then fetch again, and chats are read again.
        """
        with self._lock:
            if not self.follower.is_running:
                self._following.clear()
                self._idle_since = time.monotonic()
                self.follower.ensure_running()
        if not self._following.wait(wait):
            with self._lock:
                self._has_gap = self._has_gap or not self._following.is_set()

    def stop(self) -> None:
        """Stop following; for a process that ends."""
        self.follower.stop()
        self._woken.set()

    def wake(self) -> None:
        """End the current pause, because another process may have changed something."""
        self._woken.set()

    def state(self) -> dict[str, Any]:
        """Return the tail's state: mode, whether it is connected, its lag in ms."""
        quiet = time.monotonic() - self.last_seen_at if self.last_seen_at else None
        return {
            "mode": self._state.mode,
            "connected": self._state.is_connected and self.follower.is_running,
            "lagMs": self.lag_ms,
            "secondsSinceLastLook": None if quiet is None else round(quiet, 1),
        }

    def _work(self) -> None:
        """Follow until there is no listener, or until an error that the follower waits after."""
        try:
            try:
                self._follow()
            except changes.ChangeStreamsUnsupported:
                self._poll()
        except Exception as error:
            self._state = self._state.interrupted
            if isinstance(error, changes.ResumeTokenLost):
                _log_safely(log.warning, LogEvent.RESUME_TOKEN_LOST)
            has_place = self._token is not None or self._polled_until is not None
            # A change that cannot be read, such as bad BSON, would fail again after a resume.
            if not has_place or not isinstance(error, PyMongoError):
                self._reset_resume_token()
            raise

    def _reset_resume_token(self) -> None:
        """Drop the resume token. New listeners wait for the next one, others read again."""
        if self._following.is_set():
            self._following.clear()
            self._has_gap = True
        self._token = None

    def _may_end(self) -> bool:
        """Return whether to end: no listener can join between this check and the end."""
        started = self._state is not TailState.OFF
        if not self.follower.stopping.is_set() and not (started and self.hub.is_idle()):
            return False
        self._reset()
        self._following.clear()
        return True

    def _should_continue(self) -> bool:
        """Return whether there is a listener, or was one within IDLE_SECONDS."""
        now = time.monotonic()
        if not self.hub.is_idle():
            self._idle_since = now
        return not self.follower.stopping.is_set() and now - self._idle_since <= IDLE_SECONDS

    def _follow(self) -> None:
        stream = changes.Stream(self._token)
        try:
            if self._token is None:
                # Changes between the last poll and now were not read.
                self._has_gap = self._has_gap or self._polled_until is not None
                self._resync()
            self._token, self._polled_until, self._polled = stream.token, None, {}
            self._state = TailState.STREAMING
            self._mark_following()
            while self._should_continue():
                started = time.monotonic()
                change = stream.next()
                self.follower.succeeded()
                self._dispatch(change)
                self._token = stream.token
                if not stream.has_more:
                    self._pause(started)
        finally:
            stream.close()

    def _pause(self, asked_at: float) -> None:
        """Wait before asking again while only this process writes, if the server wants it.

        What this process writes is delivered without the stream, and each request for more costs
        as much as a read. Where `session_cache` reads changes of others it ends the rest, within
        POLL_INTERVAL; else the first change of another process after a quiet minute is late by the
        shorter rest.
        """
        pause, now = server.current().tail_pause_seconds, time.monotonic()
        if pause and now - asked_at < FULL_WAIT and now - self._foreign_write_at > FOREIGN_TTL:
            self._woken.wait(WOKEN_PAUSE if change_tracker.current.is_fresh else pause)
            self._woken.clear()

    def _resync(self) -> None:
        """Deliver what changed after listeners read it and before the stream was opened."""
        listened, at_once = self.hub.listened_chats(), server.current().ids_at_once
        for start in range(0, len(listened), at_once):
            asked = listened[start : start + at_once]
            found = changes.chats_now(asked)
            for chat in found:
                self.hub.publish_chat(chat)
            for chat_id in set(asked) - {chat["_id"] for chat in found}:
                self.hub.publish_deletion(chat_id)

    def _mark_following(self) -> None:
        """Release the waiting callers; clients that may have missed a change fetch again."""
        # Locked, so that a caller whose wait times out is either interrupted or released.
        with self._lock:
            if self._has_gap:
                self._has_gap = False
                self.hub.interrupt(retry_after=1)
            self._following.set()

    def _poll(self) -> None:
        """Poll for changes each second; after an error it resumes from the last poll."""
        if self._state not in POLL_STATES:
            reason = "The database has no change streams."
            log.warning(LogEvent.CHANGE_STREAMS_UNSUPPORTED, reason=reason)
            self._state = TailState.POLLING_INTERRUPTED
        while self._should_continue():
            started = clock.now()
            if self._polled_until is None:
                self._resync()
                self._polled_until = started
            found: dict[Any, int] = {}
            # The clock may have been ahead at the last poll.
            for kind, document in changes.since(min(self._polled_until, started) - OVERLAP):
                version = document.get("version", 0)
                found[document["_id"]] = version
                if self._polled.get(document["_id"]) != version:
                    self._dispatch((kind, document))
                    self._polled[document["_id"]] = version
            self._polled, self._polled_until = found, started
            self.last_seen_at = time.monotonic()
            self._state = TailState.POLLING
            self.follower.succeeded()
            self._mark_following()
            self.follower.stopping.wait(POLL_SECONDS)

    def _dispatch(self, change: changes.Change | None) -> None:
        self.last_seen_at = time.monotonic()
        if change is None:
            return
        kind, document = change
        try:
            changed_at = document.get("changedAt") or document.get("at")
            if changed_at is not None:
                self.lag_ms = round((clock.real() - changed_at).total_seconds() * 1000, 1)
            if kind == "chat":
                chats.invalidate_if_newer(document)
                # The hub has already published this process's own writes.
                if self.hub.publish_from_stream(document):
                    self._foreign_write_at = self.last_seen_at
                return
            if kind == "signal":
                self.hub.publish_ephemeral(document)
            else:
                unread.by_admins.current.invalidate()
                self.hub.publish_deletion(document["_id"])
        except PyMongoError:
            raise
        except Exception as error:  # noqa: BLE001 - an unreadable change must not stop the others
            _log_safely(
                log.error,
                LogEvent.CHANGE_DELIVERY_FAILED,
                kind=kind,
                id=str(document.get("_id")),
                exc_info=error,
            )


def _log_safely(write: Callable[..., Any], event: str, **facts: Any) -> None:
    """Log an event. If that fails, as on a full disk, the tail continues."""
    with contextlib.suppress(Exception):
        write(event, **facts)


tail = PerApp(lambda: Tail(hub.current))
