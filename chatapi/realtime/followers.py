"""Background threads that run as long as the process: no error ends one.

Each repeats its work. An error is logged and counted, and the work starts again after a pause that
grows with consecutive errors. `state` lists all followers.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import structlog
from pymongo.errors import PyMongoError

from chatapi.domain import runtime
from chatapi.domain.log_events import LogEvent
from chatapi.domain.runtime import PerApp

log = structlog.get_logger("chat.followers")

FIRST_PAUSE = 0.1
MAX_PAUSE = 5.0

_started: PerApp[dict[str, Follower]] = PerApp(dict)


def start_thread(name: str, run: Callable[[], None]) -> None:
    """Run something in a thread, under gevent in a greenlet."""
    # It runs in the context of the app, not of the request that started it.
    start = runtime.current().run
    threading.Thread(target=start, args=(run,), name=name, daemon=True).start()


class Follower:
    """Work that a background thread repeats, also after errors.

    work -- called until `may_end` says so; it calls `succeeded` whenever it gets on.
    may_end -- called between two runs, under `lock`, so that a later `ensure_running` starts a new
    thread. By default the thread never ends.
    start -- starts a function in the background.
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
        """Start the thread if it does not run. If that fails, the next call tries again."""
        with self.lock:
            if self.is_running:
                return
            _started.current[self.name] = self
            self.stopping.clear()
            self.is_running = True
            try:
                self._start(self.name, self._run)
            except Exception as error:  # noqa: BLE001 - no thread available: a request must not fail
                self.is_running = False
                self._note(error)

    def stop(self) -> None:
        """Request the thread to end when the work returns; the work may check `stopping`."""
        self.stopping.set()

    def succeeded(self) -> None:
        """Record success, so that the pause after the next error is short."""
        self._in_a_row = 0

    def state(self) -> dict[str, Any]:
        """Return whether it runs, how often it failed, and the last error."""
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
                except Exception as error:  # noqa: BLE001 - a follower continues after any error
                    self._note(error)
                    self._pause()
        except BaseException:
            # The process probably ends. If not, the next `ensure_running` starts a new thread.
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
        # Only the first of consecutive errors is logged as an error. A database error is no bug.
        is_fault = not isinstance(error, PyMongoError)
        level = "info" if self._in_a_row > 1 else "error" if is_fault else "warning"
        # If the log fails, as on a full disk, the work continues.
        with contextlib.suppress(Exception):
            getattr(log, level)(LogEvent.FOLLOWER_FAILED, follower=self.name, exc_info=error)

    def _pause(self) -> None:
        longest = min(MAX_PAUSE, FIRST_PAUSE * 2**self._in_a_row)
        self.stopping.wait(longest * random.uniform(0.5, 1))  # noqa: S311 - jitter, not a secret


def state() -> list[dict[str, Any]]:
    """Return the state of each follower that this process has started."""
    return [follower.state() for _, follower in sorted(_started.current.items())]


def stop_all() -> None:
    """Ask every follower of this app to end."""
    for follower in _started.current.values():
        follower.stop()
