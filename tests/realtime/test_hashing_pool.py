"""The threads that compute password hashes, and who waits for them."""

from __future__ import annotations

import time
from collections.abc import Callable

import gevent
import pytest

from chatapi.domain import errors
from chatapi.realtime import hashing_pool
from chatapi.realtime.hashing_pool import FIRST, LAST, SECOND, HashingPool


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> HashingPool:
    """A pool of one thread in which gevent is at work."""
    monkeypatch.setattr(hashing_pool, "is_module_patched", lambda _: True)
    monkeypatch.setattr(hashing_pool, "MAX_WAITING", 3)
    return HashingPool(1)


def begin(pool: HashingPool, done: list[str]) -> Callable[[str, int], gevent.Greenlet[..., None]]:
    """Return `sign_in(name, priority)`, which notes who was served, and in which order."""

    def work(name: str) -> None:
        time.sleep(0.002)
        done.append(name)

    def sign_in(name: str, priority: int) -> gevent.Greenlet[..., None]:
        greenlet = gevent.spawn(pool.run, priority, work, name)
        gevent.sleep(0)
        return greenlet

    return sign_in


def test_known_devices_come_first_then_agents_then_others(pool: HashingPool) -> None:
    done: list[str] = []
    sign_in = begin(pool, done)
    everybody = [
        sign_in("running", LAST),
        *(sign_in("other", LAST), sign_in("agent", SECOND), sign_in("known", FIRST)),
    ]
    gevent.joinall(everybody, raise_error=True)
    assert done == ["running", "known", "agent", "other"]
    assert pool._running == 0


def test_beyond_the_queue_the_latest_of_the_least_urgent_is_refused(
    pool: HashingPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sign_in = begin(pool, done)
    waiting = [sign_in(str(number), LAST) for number in range(4)]
    with pytest.raises(errors.ServiceBusy) as refused:
        pool.run(LAST, done.append, "too many")
    assert refused.value.retry_after == 2
    known = sign_in("known", FIRST)
    gevent.joinall([*waiting, known])
    assert done == ["0", "known", "1", "2"]
    assert isinstance(waiting[3].exception, errors.ServiceBusy)
    assert pool._running == 0


def test_nobody_waits_for_ever(pool: HashingPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing_pool, "WAIT_TIMEOUT", 0.001)
    running = gevent.spawn(pool.run, LAST, time.sleep, 0.02)
    gevent.sleep(0)
    with pytest.raises(errors.ServiceBusy):
        pool.run(FIRST, time.sleep, 0)
    running.join()
    assert (pool._running, pool._waiting) == (0, [])


def test_a_failure_gives_the_thread_back(pool: HashingPool) -> None:
    with pytest.raises(ZeroDivisionError):
        pool.run(LAST, lambda: 1 // 0)
    assert pool.run(LAST, lambda: 7) == 7
    assert pool._running == 0
