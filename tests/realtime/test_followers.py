"""Followers: whatever one meets, it goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from flask import Flask
from pymongo.errors import OperationFailure, PyMongoError

from chatapi.realtime import followers
from chatapi.realtime.followers import Follower
from chatapi.realtime.session_cache import SessionCache
from chatapi.store import changes
from chatapi.store.database import Document
from chatapi.transport import streams
from chatapi.transport.reaper import StreamReaper
from tests.waiting import eventually


class Log:
    """Notes the levels that something was logged at."""

    def __init__(self) -> None:
        self.levels: list[str] = []

    def __getattr__(self, level: str) -> Callable[..., None]:
        return lambda *_, **__: self.levels.append(level)


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    """No waiting, and a log that is quick."""
    found = Log()
    monkeypatch.setattr(followers, "log", found)
    monkeypatch.setattr(followers, "FIRST_PAUSE", 0.0001)
    monkeypatch.setattr(followers, "MAX_PAUSE", 0.001)
    return found


def a_cycle() -> Exception:
    """An error that is its own cause, as `raise error from error` makes it."""
    error = OperationFailure("The server refuses.", 1)
    error.__cause__ = error
    return error


@pytest.mark.parametrize(
    "error", [KeyError("version"), RecursionError(), MemoryError(), a_cycle()], ids=repr
)
def test_an_error_of_the_work_is_counted_and_the_work_goes_on(error: Exception, log: Log) -> None:
    calls: list[int] = []

    def work() -> None:
        calls.append(1)
        if len(calls) < 3:
            raise error

    follower = Follower("some work", work, lambda: len(calls) >= 4)
    follower.ensure_running()
    eventually(lambda: not follower.is_running)
    assert len(calls) == 4
    state = follower.state()
    assert (state["failures"], state["lastError"]) == (2, type(error).__name__)
    assert follower.state() in followers.state()
    # The second in a row says nothing new.
    assert log.levels == ["warning" if isinstance(error, PyMongoError) else "error", "info"]


def test_the_pause_grows_while_errors_follow_each_other_and_is_short_again_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(followers, "FIRST_PAUSE", 1.0)
    monkeypatch.setattr(followers, "MAX_PAUSE", 100.0)
    waited: list[float] = []
    follower = Follower("some work", lambda: None, lambda: len(waited) > 5)

    def work() -> None:
        if len(waited) == 5:
            follower.succeeded()
        raise ValueError

    monkeypatch.setattr(follower, "_work", work)
    monkeypatch.setattr(follower.stopping, "wait", waited.append)
    follower.ensure_running()
    eventually(lambda: not follower.is_running)
    assert all(
        2**number <= pause * 2 <= 2 * 2**number for number, pause in enumerate(waited[:5], 1)
    ), waited
    assert waited[5] <= 2


def test_a_question_for_the_end_that_fails_is_asked_again() -> None:
    asked: list[int] = []

    def may_end() -> bool:
        asked.append(1)
        if len(asked) < 3:
            raise ValueError
        return True

    follower = Follower("some work", lambda: None, may_end)
    follower.ensure_running()
    eventually(lambda: not follower.is_running)
    assert len(asked) == 3


def test_a_log_that_fails_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def __getattr__(self, _: str) -> object:
            raise OSError("No space left on device")

    monkeypatch.setattr(followers, "log", Full())
    calls: list[int] = []

    def work() -> None:
        calls.append(1)
        raise ValueError

    follower = Follower("some work", work, lambda: len(calls) > 1)
    follower.ensure_running()
    eventually(lambda: not follower.is_running)
    assert len(calls) == 2


def test_where_no_thread_can_be_had_the_next_call_tries_again() -> None:
    done = threading.Event()
    tries: list[int] = []

    def start(name: str, run: Callable[[], None]) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise RuntimeError("can't start new thread")
        followers.start_thread(name, run)

    follower = Follower("some work", done.set, done.is_set, start)
    follower.ensure_running()
    assert not follower.is_running
    follower.ensure_running()
    assert done.wait(3)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_the_process_ends_can_be_started_again() -> None:
    ends: list[type[BaseException] | None] = [SystemExit, None]
    done = threading.Event()

    def work() -> None:
        end = ends.pop(0)
        if end is not None:
            raise end
        done.set()

    follower = Follower("work that ends", work, done.is_set)
    follower.ensure_running()
    # Its exception is reported as this test's, and not as the next one's.
    eventually(lambda: "work that ends" not in {each.name for each in threading.enumerate()})
    assert not follower.is_running
    follower.ensure_running()
    assert done.wait(3)


# --- each of ours; the tail is in test_tail.py, the ticker of connections in tests/transport


def test_the_sessions_follower_survives_an_error_that_is_its_own_cause(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivered: list[object] = []

    class Stream:
        has_more = False

        def __init__(self, watched: Document) -> None:
            assert watched is changes.ACCESS

        def next(self) -> changes.Change | None:
            if not delivered:
                delivered.append("failed")
                raise a_cycle()
            return "access", {"_id": "a session"}

        def close(self) -> None:
            if len(delivered) == 1:
                raise RecursionError

    monkeypatch.setattr(changes, "Stream", Stream)
    known = SessionCache()
    known.on_change = delivered.append
    known.follower.ensure_running()
    eventually(lambda: "a session" in delivered)
    assert known.is_fresh
    assert known.follower.failures
    known.follower.stop()
    eventually(lambda: not known.follower.is_running)


def test_the_sessions_follower_survives_whoever_hears_of_a_change(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[object] = []

    class Stream:
        has_more = False

        def __init__(self, watched: Document) -> None:
            pass

        def next(self) -> changes.Change | None:
            return "access", {"_id": len(heard)}

        def close(self) -> None:
            pass

    def hear(key: object) -> None:
        heard.append(key)
        if len(heard) == 1:
            raise KeyError("a mistake of ours")

    monkeypatch.setattr(changes, "Stream", Stream)
    known = SessionCache()
    known.on_change = hear
    known.follower.ensure_running()
    eventually(lambda: len(heard) > 1)
    known.follower.stop()
    eventually(lambda: not known.follower.is_running)
    assert known.follower.state()["lastError"] == "KeyError"


def test_the_reaper_survives_whatever_fails_in_a_look(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    reaping = StreamReaper()

    def care() -> None:
        looks.append(1)
        reaping.wake()
        raise a_cycle()

    monkeypatch.setattr(reaping, "tick", care)
    monkeypatch.setattr(reaping.follower, "_may_end", lambda: len(looks) > 2)
    reaping.ensure_running()
    eventually(lambda: not reaping.follower.is_running)
    assert len(looks) == 3


def test_the_state_of_real_time_names_each_follower(app: Flask) -> None:
    Follower("some work", lambda: None, lambda: True).ensure_running()
    eventually(lambda: not followers._started.current["some work"].is_running)
    assert streams.state()["followers"] == followers.state()
    names = [each["name"] for each in streams.state()["followers"]]
    assert "some work" in names
    assert names == sorted(names)
