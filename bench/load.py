"""Requests over keep-alive connections, and what they cost the servers."""

from __future__ import annotations

import http.client
import json
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

# As browsers and phones ask: they all take compressed answers.
ALWAYS = {"Content-Type": "application/json", "Accept-Encoding": "gzip, deflate, br"}
Request = tuple[str, str, object, dict[str, str]]  # method, path, JSON body, headers


@dataclass(frozen=True)
class Round:
    """One round: CPU of the app and of the database for one request, and each one's time, in ms."""

    app: float
    database: float
    times: list[float]


class Cost:
    """What one request cost, over some rounds: CPU is the median of theirs. All in ms."""

    def __init__(self, rounds: Sequence[Round]) -> None:
        self.rounds = [each.app for each in rounds]
        self.app = statistics.median(self.rounds)
        self.database = statistics.median(each.database for each in rounds)
        times = sorted(time for each in rounds for time in each.times)
        self.requests = len(times)
        self.median = statistics.median(times)
        self.p99 = times[min(len(times) - 1, int(len(times) * 0.99))]

    def ratio(self, base: Cost) -> float:
        """Return how many times as much as `base` it cost, each round against the same one."""
        return statistics.median(
            mine / other for mine, other in zip(self.rounds, base.rounds, strict=True)
        )


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the CPU time that processes have used so far, in seconds."""
    # The id of a process's clock, as clock_getcpuclockid(3) makes it.
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in pids)


def measure(
    url: str,
    make: Callable[[int], Request],
    count: int,
    app_pids: Iterable[int],
    database_pids: Iterable[int],
    connections: int = 8,
    warmup: int = 50,
) -> Round:
    """Send `count` requests over some connections and return what one cost.

    make -- gives the request of a running number. Raises RuntimeError on any answer
    of 400 or above, and when a poll with nothing new is answered in full.
    """
    pids, database = list(app_pids), list(database_pids)
    _run(url, make, range(-warmup, 0), min(connections, max(1, warmup)))
    before = cpu_seconds(pids), cpu_seconds(database)
    taken = _run(url, make, range(count), connections)
    after = cpu_seconds(pids), cpu_seconds(database)
    return Round(
        app=(after[0] - before[0]) / count * 1000,
        database=(after[1] - before[1]) / count * 1000,
        times=[seconds * 1000 for seconds in taken],
    )


def _run(url: str, make: Callable[[int], Request], numbers: range, connections: int) -> list[float]:
    taken: list[float] = []
    failures: list[str] = []
    waiting = iter(numbers)
    lock = threading.Lock()

    def work() -> None:
        link = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
        while not failures:
            with lock:
                number = next(waiting, None)
            if number is None:
                break
            method, path, body, headers = make(number)
            data = None if body is None else json.dumps(body)
            started = time.perf_counter()
            link.request(method, path, data, ALWAYS | headers)
            answer = link.getresponse()
            text = answer.read()
            taken.append(time.perf_counter() - started)
            if answer.status >= 400 or (answer.status == 304) != ("If-None-Match" in headers):
                failures.append(f"{method} {path}: {answer.status} {text[:300]!r}")
        link.close()

    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(failures[0])
    return taken
