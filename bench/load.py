"""Requests over keep-alive connections, and what they cost the servers."""

from __future__ import annotations

import http.client
import json
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

TICKS = os.sysconf("SC_CLK_TCK")
# As browsers and phones ask: they all take compressed answers.
ALWAYS = {"Content-Type": "application/json", "Accept-Encoding": "gzip, deflate, br"}
Request = tuple[str, str, object, dict[str, str]]  # method, path, JSON body, headers


@dataclass(frozen=True)
class Cost:
    """What one request cost: CPU of the app and of the database, and time on the wall, in ms.

    `rounds` holds the app's CPU of each round that it was measured in.
    """

    app: float
    database: float
    median: float
    p99: float
    requests: int
    rounds: tuple[float, ...]

    @classmethod
    def of(cls, rounds: Sequence[Cost]) -> Cost:
        """Return the cost over several rounds: of each figure the median."""
        return cls(
            app=statistics.median(each.app for each in rounds),
            database=statistics.median(each.database for each in rounds),
            median=statistics.median(each.median for each in rounds),
            p99=statistics.median(each.p99 for each in rounds),
            requests=sum(each.requests for each in rounds),
            rounds=tuple(each.app for each in rounds),
        )

    def ratio(self, base: Cost) -> float:
        """Return how many times as much as `base` it cost, each round against the same one."""
        return statistics.median(
            mine / other for mine, other in zip(self.rounds, base.rounds, strict=True)
        )


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the user and system time that processes have used so far."""
    total = 0.0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / TICKS
    return total


def measure(
    url: str,
    make: Callable[[int], Request],
    count: int,
    app_pids: Iterable[int],
    database_pid: int,
    connections: int = 8,
    warmup: int = 50,
) -> Cost:
    """Send `count` requests over some connections and return the cost of one.

    make -- gives the request of a running number. Raises RuntimeError on any answer
    of 400 or above, and when a poll with nothing new is answered in full.
    """
    pids = list(app_pids)
    _run(url, make, range(-warmup, 0), min(connections, max(1, warmup)))
    before = cpu_seconds(pids), cpu_seconds([database_pid])
    taken = _run(url, make, range(count), connections)
    after = cpu_seconds(pids), cpu_seconds([database_pid])
    ordered = sorted(taken)
    app = (after[0] - before[0]) / count * 1000
    return Cost(
        app=app,
        database=(after[1] - before[1]) / count * 1000,
        median=statistics.median(ordered) * 1000,
        p99=ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] * 1000,
        requests=count,
        rounds=(app,),
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
