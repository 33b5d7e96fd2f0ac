"""The tail of one process: follows the database and feeds the hub.

It runs while somebody listens. It resumes by the change stream's token after every
interruption; where the place is lost, it reads every chat that is listened to once more.
Where the server has no change streams it polls each second, a little further back than it
has seen, since the clocks of several hosts never quite agree.
"""

from __future__ import annotations

import random
import threading
import time
from datetime import timedelta
from typing import Any

import structlog
from pymongo.errors import PyMongoError

from chatapi import clock
from chatapi.realtime.hub import Hub, hub
from chatapi.store import changes
from chatapi.store.database import Document

log = structlog.get_logger("chat.tail")

POLL_SECONDS = 1.0
OVERLAP = timedelta(seconds=5)
LONGEST_PAUSE = 5.0
IDLE_SECONDS = 60.0


class Tail:
    """Follows the database in a thread (under gevent: a greenlet) of its own."""

    def __init__(self, target: Hub) -> None:
        self.hub = target
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._following = threading.Event()
        self._stopped = threading.Event()
        self._token: Any = None
        self.mode = "off"
        self.connected = False
        self.last_seen_at = 0.0
        self.lag_ms: float | None = None

    def ensure_running(self, wait: float = 2.0) -> None:
        """Start following if nobody does, and wait until the tail hears of every write.

        Whoever reads the database after this misses nothing in between.
        """
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._stopped.clear()
                self._following.clear()
                self._thread = threading.Thread(target=self._run, name="tail", daemon=True)
                self._thread.start()
        self._following.wait(wait)

    def stop(self) -> None:
        """Stop following; for a process that ends."""
        self._stopped.set()

    def state(self) -> dict[str, Any]:
        """Return how the tail does: mode, whether it is connected, its lag in ms."""
        quiet = time.monotonic() - self.last_seen_at if self.last_seen_at else None
        return {
            "mode": self.mode,
            "connected": self.connected,
            "lagMs": self.lag_ms,
            "secondsSinceLastLook": None if quiet is None else round(quiet, 1),
        }

    def _run(self) -> None:
        failures = 0
        idle_since = time.monotonic()
        while not self._may_end():
            try:
                self._follow(idle_since)
                failures = 0
            except changes.PlaceLost:
                self._token = None
                log.warning("tail_place_lost")
                self._look_at_everything()
            except changes.NoChangeStreams:
                self._poll()
            except Exception as error:
                self.connected = False
                failures += 1
                pause = min(LONGEST_PAUSE, 0.1 * 2**failures) * random.uniform(0.5, 1)  # noqa: S311
                log.warning("tail_interrupted", pause=round(pause, 2), exc_info=error)
                self._stopped.wait(pause)
            idle_since = time.monotonic()

    def _may_end(self) -> bool:
        """Tell whether to end, for good: nobody can join between the look and the end."""
        with self._lock:
            started = self.mode != "off"
            if not self._stopped.is_set() and not (started and self.hub.is_idle()):
                return False
            self.connected, self.mode, self._token, self._thread = False, "off", None, None
            self._following.clear()
            return True

    def _follow(self, idle_since: float) -> None:
        resumed = self._token is not None
        stream = changes.Stream(self._token)
        self.mode, self.connected = "stream", True
        try:
            if not resumed:
                # What changed before the stream began, and after somebody read it.
                self._look_at_chats()
            self._following.set()
            while not self._stopped.is_set():
                change = stream.next()
                self._hand_on(change)
                self._token = stream.token
                if not self.hub.is_idle():
                    idle_since = time.monotonic()
                elif time.monotonic() - idle_since > IDLE_SECONDS:
                    return
        finally:
            stream.close()

    def _poll(self) -> None:
        self.mode, self.connected = "poll", True
        seen_until = clock.now()
        told: dict[Any, int] = {}
        self._following.set()
        idle_since = time.monotonic()
        while not self._stopped.is_set():
            started = clock.now()
            fresh: dict[Any, int] = {}
            for kind, document in changes.since(seen_until - OVERLAP):
                version = document.get("version", 0)
                fresh[document["_id"]] = version
                if told.get(document["_id"]) != version:
                    self._hand_on((kind, document))
            told, seen_until = fresh, started
            self.last_seen_at = time.monotonic()
            if not self.hub.is_idle():
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since > IDLE_SECONDS:
                return
            self._stopped.wait(POLL_SECONDS)

    def _hand_on(self, change: tuple[str, Document] | None) -> None:
        self.last_seen_at = time.monotonic()
        if change is None:
            return
        kind, document = change
        changed_at = document.get("changedAt") or document.get("at")
        if changed_at is not None:
            self.lag_ms = round((clock.now() - changed_at).total_seconds() * 1000, 1)
        if kind == "chat":
            self.hub.changed(document)
        else:
            self.hub.signalled(document)

    def _look_at_chats(self) -> None:
        for chat in changes.chats_now(self.hub.listened_chats()):
            self.hub.changed(chat)

    def _look_at_everything(self) -> None:
        try:
            self._look_at_chats()
        except PyMongoError as error:
            log.warning("tail_interrupted", exc_info=error)
        self.hub.interrupt(retry_after=1)


tail = Tail(hub)
hub.on_first = tail.ensure_running
