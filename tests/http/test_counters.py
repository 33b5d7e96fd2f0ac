"""Counters in a worker's memory. Those in the database are tested in tests/live/test_limits.py."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from limits import parse
from limits.storage import SCHEMES  # type: ignore[attr-defined] # it names no exports

from chatapi.http.counters import ALL_NETWORKS, Counters, DatabaseCounters, WorkerMemory

TEN = parse("10 per hour")


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def memory(clock: Clock) -> WorkerMemory:
    memory = WorkerMemory()
    memory.monotonic = clock
    memory.next_sweep = clock.now + memory.SWEEP_SECONDS
    return memory


def test_a_window_begins_with_its_first_use_and_ends_after_its_length(
    memory: WorkerMemory, clock: Clock
) -> None:
    counters = Counters(memory)
    assert [counters.add(TEN, "a") for _ in range(3)] == [1, 2, 3]
    assert counters.count(TEN, "a") == 3
    clock.now += 3599
    assert counters.add(TEN, "a") == 4
    assert counters.seconds_left(TEN, "a") == 1
    clock.now += 1
    assert counters.count(TEN, "a") == 0
    assert counters.add(TEN, "a") == 1


def test_counting_down_takes_a_use_back_and_leaves_the_window(
    memory: WorkerMemory, clock: Clock
) -> None:
    counters = Counters(memory)
    counters.add(TEN, "a", amount=5)
    clock.now += 3000
    assert counters.add(TEN, "a", amount=-5) == 0
    assert counters.add(TEN, "a") == 1
    assert counters.seconds_left(TEN, "a") == 600


def test_a_clock_that_jumps_moves_no_window(
    memory: WorkerMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    counters = Counters(memory)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + timedelta(days=31).total_seconds())
    counters.add(TEN, "a")
    assert counters.seconds_left(TEN, "a") <= 3600
    monkeypatch.setattr(time, "time", real)
    assert counters.seconds_left(TEN, "a") <= 3600
    assert counters.count(TEN, "a") == 1


def test_memory_is_bounded_and_the_windows_that_end_soonest_go(
    memory: WorkerMemory, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WorkerMemory, "MAX_COUNTERS", 20)
    counters = Counters(memory)
    for number in range(100):
        clock.now += 0.01
        counters.add(TEN, str(number))
    assert len(memory.storage) <= 20 >= len(memory.locks)
    assert counters.count(TEN, "99") == 1
    assert counters.count(TEN, "0") == 0


def test_networks_that_fill_the_memory_do_not_reset_what_all_networks_share(
    memory: WorkerMemory, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WorkerMemory, "MAX_COUNTERS", 20)
    counters = Counters(memory)
    counters.add(TEN, "guests_total", ALL_NETWORKS, amount=7)
    for number in range(100):
        clock.now += 0.01
        counters.add(TEN, "guest", f"address:192.0.2.{number}")
    assert counters.count(TEN, "guests_total", ALL_NETWORKS) == 7
    assert len(memory.storage) <= 20
    clock.now += 3600
    assert counters.add(TEN, "guests_total", ALL_NETWORKS) == 1


def test_counters_whose_windows_are_over_are_dropped(memory: WorkerMemory, clock: Clock) -> None:
    counters = Counters(memory)
    counters.add(parse("10 per second"), "short")
    counters.add(TEN, "long")
    clock.now += memory.SWEEP_SECONDS
    counters.add(TEN, "other")
    assert len(memory.storage) == 2


def test_every_storage_whose_windows_follow_our_clock_is_ours() -> None:
    assert [SCHEMES[scheme] for scheme in ("worker", "memory")] == [WorkerMemory] * 2
    assert [SCHEMES[scheme] for scheme in ("mongodb", "mongodb+srv")] == [DatabaseCounters] * 2
