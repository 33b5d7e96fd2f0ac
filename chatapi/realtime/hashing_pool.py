"""A thread pool for password hashing, with a bounded priority queue.

gevent's own pool also resolves host names, and its queue has no limit.
"""

from __future__ import annotations

import heapq
import itertools
import os
from collections.abc import Callable
from typing import Any, TypeVar

from gevent import Timeout
from gevent.event import AsyncResult
from gevent.monkey import is_module_patched
from gevent.threadpool import ThreadPool

from chatapi.domain import errors

Result = TypeVar("Result")

MAX_WAITING = 32
WAIT_TIMEOUT = 10.0
FIRST, SECOND, LAST = range(3)  # known devices, agents, others


def priority_of(role: str | None, *, is_known_device: bool = False) -> int:
    """Return the priority of hashing a password for an account with this role."""
    return FIRST if is_known_device else SECOND if role == "admin" else LAST


class HashingPool:
    """Runs work in as many threads as there are cores; without gevent, in the caller's thread."""

    def __init__(self, size: int | None = None) -> None:
        self.size = size or len(os.sched_getaffinity(0))
        self._threads: ThreadPool | None = None
        self._running = 0
        self._numbers = itertools.count()
        self._waiting: list[tuple[int, int, AsyncResult[bool]]] = []

    def run(self, priority: int, work: Callable[..., Result], *arguments: Any) -> Result:
        """Return the result of the work. Raises ServiceBusy if the queue is full."""
        if not is_module_patched("socket"):
            return work(*arguments)
        if self._threads is None:
            self._threads = ThreadPool(self.size)
        self._enter(priority)
        try:
            result: Result = self._threads.apply(work, arguments)
            return result
        finally:
            self._leave()

    def _enter(self, priority: int) -> None:
        if self._running < self.size:
            self._running += 1
            return
        if len(self._waiting) >= MAX_WAITING:
            last = max(self._waiting)
            if last[0] <= priority:
                raise errors.ServiceBusy(retryAfter=2)
            # The newest entry of the lowest priority is removed.
            self._forget(last)
            last[2].set(False)
        turn: AsyncResult[bool] = AsyncResult()
        waiting = (priority, next(self._numbers), turn)
        heapq.heappush(self._waiting, waiting)
        try:
            has_turn = turn.get(timeout=WAIT_TIMEOUT)
        except BaseException as error:
            if turn.ready():
                if turn.value:
                    self._leave()
            else:
                self._forget(waiting)
            if isinstance(error, Timeout):
                raise errors.ServiceBusy(retryAfter=2) from None
            raise
        if not has_turn:
            raise errors.ServiceBusy(retryAfter=2)

    def _leave(self) -> None:
        if self._waiting:
            # The slot passes directly to the next entry.
            heapq.heappop(self._waiting)[2].set(True)
        else:
            self._running -= 1

    def _forget(self, waiting: tuple[int, int, AsyncResult[bool]]) -> None:
        self._waiting.remove(waiting)
        heapq.heapify(self._waiting)
