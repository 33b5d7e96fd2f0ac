"""Threads that go on for as long as a process lives: no error ends one.

Each runs its work again and again. An error is logged and counted, and the work starts again
after a pause that grows while errors follow each other. `state` lists them all.
"""

from __future__ import annotations

import contextlib
import contextvars
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import structlog
from pymongo.errors import PyMongoError

from chatapi.domain.log_events import LogEvent

log = structlog.get_logger("chat.followers")

FIRST_PAUSE = 0.1
MAX_PAUSE = 5.0

_started: dict[str, Follower] = {}


def start_thread(name: str, run: Callable[[], None]) -> None:
    """Run something in a thread, under gevent in a greenlet."""
    # A context of its own: this is not a part of the request that started it.
    context = contextvars.Context()
    threading.Thread(target=context.run, args=(run,), name=name, daemon=True).start()


class Follower:
    """Work that a thread of its own repeats, whatever error it ends with.

    work -- called until `may_end` says so; it calls `succeeded` whenever it gets on.
    may_end -- asked between two calls, under `lock`, so that whoever calls `ensure_running`
    afterwards starts a new thread. Without it the work goes on for ever.
    start -- runs a function beside the caller.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], None],
        may_end: Callable[[], bool] = lambda: False,
        start: Callable[[str, Callable[[], None]], None] = start_thread,
    ) -> None:
        self.name = name
        self.lock = threading.RLock()
        self.stopping = threading.Event()
        self.is_running = False
        self.failures = 0  # since the process started
        self._in_a_row = 0
        self._last_error = ""
        self._failed_at = 0.0
        self._work, self._may_end, self._start = work, may_end, start

    def ensure_running(self) -> None:
        """Start the thread if there is none. Where that fails, the next call tries again."""
        with self.lock:
            if self.is_running:
                return
            _started[self.name] = self
            self.stopping.clear()
            self.is_running = True
            try:
                self._start(self.name, self._run)
            except Exception as error:  # noqa: BLE001 - no thread to be had: a request must go on
                self.is_running = False
                self._note(error)

    def stop(self) -> None:
        """Ask the thread to end, as soon as the work returns; it may look at `stopping`."""
        self.stopping.set()

    def succeeded(self) -> None:
        """Note that the work gets on: the pause after the next error is short again."""
        self._in_a_row = 0

    def state(self) -> dict[str, Any]:
        """Return how it does: whether it runs, how often it failed, and why the last time."""
        since = time.monotonic() - self._failed_at if self.failures else None
        return {
            "name": self.name,
            "running": self.is_running,
            "failures": self.failures,
            "lastError": self._last_error or None,
            "secondsSinceLastFailure": None if since is None else round(since, 1),
        }

    def _run(self) -> None:
        try:
            while True:
                try:
                    if self._has_ended():
                        return
                    self._work()
                except Exception as error:  # noqa: BLE001 - the very purpose: it goes on
                    self._note(error)
                    self._pause()
        except BaseException:
            # The process ends, or so it seems: who needs the thread again starts another.
            self.is_running = False
            raise

    def _has_ended(self) -> bool:
        with self.lock:
            if self._may_end() or self.stopping.is_set():
                self.is_running = False
            return not self.is_running

    def _note(self, error: Exception) -> None:
        self.failures += 1
        self._in_a_row = min(self._in_a_row + 1, 10)
        self._last_error, self._failed_at = type(error).__name__, time.monotonic()
        # The first in a row says it all. A database that is away is nobody's mistake.
        is_fault = not isinstance(error, PyMongoError)
        level = "info" if self._in_a_row > 1 else "error" if is_fault else "warning"
        # Where the log fails, as on a full disk, the work goes on all the same.
        with contextlib.suppress(Exception):
            getattr(log, level)(LogEvent.FOLLOWER_FAILED, follower=self.name, exc_info=error)

    def _pause(self) -> None:
        longest = min(MAX_PAUSE, FIRST_PAUSE * 2**self._in_a_row)
        self.stopping.wait(longest * random.uniform(0.5, 1))  # noqa: S311 - jitter, not a secret


def state() -> list[dict[str, Any]]:
    """Return how each follower of this process does that was ever started."""
    return [follower.state() for _, follower in sorted(_started.items())]
