"""The tail on a scripted change stream: it never goes deaf and never skips."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from bson import ObjectId
from bson.errors import InvalidBSON
from pymongo.errors import AutoReconnect

from chatapi.domain import clock
from chatapi.domain.documents import EphemeralEvent, Message
from chatapi.realtime import followers
from chatapi.realtime import tail as tail_module
from chatapi.realtime.hub import Hub, Listener
from chatapi.realtime.tail import Tail
from chatapi.store import cache, changes, server
from chatapi.store.changes import Change, ChangeStreamsUnsupported, ResumeTokenLost
from chatapi.store.database import Document
from tests.waiting import eventually


class Script:
    """What the database does next: each step is a change, None, or an error to raise."""

    def __init__(self) -> None:
        self.steps: list[Change | Exception | None] = []
        self.opening: list[Exception] = []
        self.tokens: list[object] = []
        self.polls: list[list[Change] | Exception] = []
        self.polled_since: list[Any] = []
        self.now: list[Document] = []
        self.read = 0
        self.has_more = False

    def stream(self, token: object = None) -> Any:
        """Stand in for changes.Stream."""
        self.tokens.append(token)
        if self.opening:
            raise self.opening.pop(0)
        script = self

        class Stream:
            token = f"token {len(script.tokens)}"

            @property
            def has_more(self) -> bool:
                return script.has_more

            def next(self) -> Change | None:
                if not script.steps:
                    time.sleep(0.005)
                    return None
                step = script.steps.pop(0)
                if isinstance(step, Exception):
                    raise step
                script.read += 1
                self.token = f"after {script.read}"
                return step

            def close(self) -> None:
                pass

        return Stream()

    def since(self, at: object) -> Iterator[Change]:
        """Stand in for changes.since."""
        self.polled_since.append(at)
        step = self.polls.pop(0) if self.polls else []
        if isinstance(step, Exception):
            raise step
        yield from step


class RecordingHub(Hub):
    """A hub that notes what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.delivered: list[Any] = []

    def publish_chat(self, chat: Any, _: Message | None = None) -> bool:
        if chat.get("poison"):
            raise KeyError("version")
        self.delivered.append(chat["n"])
        return not chat.get("own")

    def publish_ephemeral(self, signal: EphemeralEvent) -> None:
        self.delivered.append(signal["kind"])


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    found = Script()
    monkeypatch.setattr(changes, "Stream", found.stream)
    monkeypatch.setattr(changes, "since", found.since)
    monkeypatch.setattr(changes, "chats_now", lambda _: found.now)
    monkeypatch.setattr(tail_module, "POLL_SECONDS", 0.005)
    monkeypatch.setattr(server, "current", lambda: server.PLAIN)
    monkeypatch.setattr(followers, "MAX_PAUSE", 0.01)
    return found


@pytest.fixture
def hub() -> RecordingHub:
    found = RecordingHub()
    found.join_inbox(None, Listener())
    return found


@pytest.fixture
def tail(hub: RecordingHub, script: Script) -> Iterator[Tail]:
    found = Tail(hub)
    yield found
    found.stop()
    eventually(lambda: not _lives(found))


def _lives(tail: Tail) -> bool:
    return tail.follower.is_running


def chat(number: int) -> Change:
    return "chat", {"_id": ObjectId(), "n": number, "version": 1}


def test_it_resumes_by_token_after_every_failure(
    tail: Tail, hub: RecordingHub, script: Script
) -> None:
    script.steps = [chat(1), AutoReconnect("gone"), chat(2), AutoReconnect("again"), chat(3)]
    tail.ensure_running()
    eventually(lambda: hub.delivered == [1, 2, 3])
    assert script.tokens == [None, "after 1", "after 2"]
    assert not next(iter(hub.inbox)).end


def test_where_the_place_is_lost_it_begins_anew_and_then_interrupts(
    tail: Tail, hub: RecordingHub, script: Script
) -> None:
    (inbox,) = hub.inbox
    script.now = [{"_id": ObjectId(), "n": "now", "version": 1}]
    hub.join_chat(ObjectId(), Listener())
    script.steps = [chat(1), ResumeTokenLost()]
    script.opening = []
    tail.ensure_running()
    eventually(lambda: inbox.end is not None)
    assert script.tokens == [None, None]
    # Read again at both beginnings.
    assert hub.delivered == ["now", 1, "now"]


@pytest.mark.parametrize(("kind", "sizes"), [(server.PLAIN, [60]), (server.SECANTUS_0_7, [50, 10])])
def test_as_many_chats_are_read_again_together_as_the_server_takes(
    tail: Tail,
    hub: RecordingHub,
    script: Script,
    monkeypatch: pytest.MonkeyPatch,
    kind: server.Server,
    sizes: list[int],
) -> None:
    monkeypatch.setattr(server, "current", lambda: kind)
    asked: list[int] = []

    def now(ids: list[ObjectId]) -> list[Document]:
        asked.append(len(ids))
        return script.now

    monkeypatch.setattr(changes, "chats_now", now)
    for _ in range(60):
        hub.join_chat(ObjectId(), Listener())
    tail.ensure_running()
    eventually(lambda: sum(asked) == 60)
    assert asked == sizes


def test_who_joins_after_a_place_was_lost_waits_for_the_new_beginning(
    tail: Tail, script: Script
) -> None:
    tail.ensure_running()
    script.opening = [AutoReconnect("still away")] * 3
    script.steps = [ResumeTokenLost()]
    eventually(lambda: len(script.tokens) >= 2)
    tail.ensure_running()
    assert script.opening == []


def test_a_document_nobody_can_read_does_not_stop_the_others(
    tail: Tail, hub: RecordingHub, script: Script
) -> None:
    script.steps = [chat(1), ("chat", {"_id": 1, "poison": True}), chat(2)]
    tail.ensure_running()
    eventually(lambda: hub.delivered == [1, 2])
    assert script.tokens == [None]


def test_what_cannot_be_decoded_is_passed_over_and_everybody_reads_again(
    tail: Tail, hub: RecordingHub, script: Script
) -> None:
    """To go on at the same place would meet the same bytes for ever."""
    (inbox,) = hub.inbox
    script.steps = [chat(1), InvalidBSON("not valid"), chat(2)]
    tail.ensure_running()
    eventually(lambda: hub.delivered == [1, 2])
    assert script.tokens == [None, None]
    assert inbox.end is not None
    assert tail.follower.state()["lastError"] == "InvalidBSON"


def own(number: int) -> Change:
    return "chat", {"_id": ObjectId(), "n": number, "version": 1, "own": True}


def test_on_mongodb_it_asks_again_at_once(tail: Tail, script: Script) -> None:
    rests: list[float] = []
    tail._woken.wait = rests.append  # type: ignore[method-assign, assignment]
    script.steps = [own(number) if number % 2 else None for number in range(20)]
    tail.ensure_running()
    eventually(lambda: len(script.steps) == 0)
    assert rests == []


def test_it_asks_less_often_while_only_this_process_writes(
    tail: Tail, hub: RecordingHub, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded = dataclasses.replace(server.SECANTUS_0_7, tail_pause_seconds=0.03)
    monkeypatch.setattr(server, "current", lambda: embedded)
    started = time.monotonic()
    script.steps = [own(1), None, own(2), None]
    tail.ensure_running()
    eventually(lambda: len(script.steps) == 0)
    assert time.monotonic() - started > 3 * 0.03
    # What has come already is not waited for.
    script.has_more = True
    started = time.monotonic()
    script.steps = [own(number) for number in range(50)]
    eventually(lambda: len(script.steps) == 0)
    assert time.monotonic() - started < 50 * 0.03
    # Another process writes: for some time each change counts.
    script.has_more = False
    script.steps = [chat(100)]
    eventually(lambda: 100 in hub.delivered)
    started = time.monotonic()
    script.steps = [own(number) for number in range(50)]
    eventually(lambda: len(script.steps) == 0)
    assert time.monotonic() - started < 50 * 0.03


def test_it_rests_longer_while_it_would_be_woken(
    tail: Tail, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded = dataclasses.replace(server.SECANTUS_0_7, tail_pause_seconds=0.01)
    monkeypatch.setattr(server, "current", lambda: embedded)
    monkeypatch.setattr(cache.ChangeTracker, "is_fresh", True)
    monkeypatch.setattr(tail_module, "WOKEN_PAUSE", 30)
    script.steps = [own(1), own(2), own(3)]
    tail.ensure_running()
    eventually(lambda: len(script.steps) == 2)
    time.sleep(0.1)
    assert len(script.steps) == 2
    tail.wake()
    eventually(lambda: len(script.steps) == 1)
    time.sleep(0.1)
    assert len(script.steps) == 1


def test_a_poll_tells_each_version_once(tail: Tail, hub: RecordingHub, script: Script) -> None:
    script.opening = [ChangeStreamsUnsupported()]
    first, second = chat(1), chat(2)
    script.polls = [[first], [first, second], [first, second], [second]]
    tail.ensure_running()
    eventually(lambda: len(script.polled_since) > 5)
    assert hub.delivered == [1, 2]
    assert tail.state()["mode"] == "poll"


def test_a_poll_that_fails_goes_on_from_where_it_was(
    tail: Tail, hub: RecordingHub, script: Script
) -> None:
    script.opening = [ChangeStreamsUnsupported(), AutoReconnect("away"), ChangeStreamsUnsupported()]
    script.polls = [[], [], AutoReconnect("away"), [chat(1)]]
    tail.ensure_running()
    eventually(lambda: hub.delivered == [1])
    # Further back than the last poll that succeeded, however long the outage was.
    failed, after = script.polled_since[2:4]
    assert after == failed
    assert _lives(tail)
    assert clock.now() - after < timedelta(seconds=60)


def test_a_poll_under_a_clock_that_was_set_back_looks_from_the_present_on(
    tail: Tail, hub: RecordingHub, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    script.opening = [ChangeStreamsUnsupported()]
    present, ahead = clock.now(), clock.now() + timedelta(days=31)
    monkeypatch.setattr(clock, "now", lambda: ahead if len(script.polled_since) < 2 else present)
    tail.ensure_running()
    eventually(lambda: len(script.polled_since) > 3)
    assert script.polled_since[1] == ahead - tail_module.OVERLAP
    assert script.polled_since[3] == present - tail_module.OVERLAP


def test_it_ends_when_nobody_listens_and_begins_again(
    tail: Tail, hub: RecordingHub, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_module, "IDLE_SECONDS", 0.0)
    (inbox,) = hub.inbox
    tail.ensure_running()
    hub.leave_inbox(None, inbox)
    eventually(lambda: not _lives(tail))
    assert tail.state()["mode"] == "off"
    hub.join_inbox(None, inbox)
    script.steps = [chat(1)]
    tail.ensure_running()
    eventually(lambda: hub.delivered == [1])


def test_whoever_joins_while_it_ends_is_heard(
    hub: RecordingHub, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_module, "IDLE_SECONDS", 0.0)
    tail = Tail(hub)
    hub.on_join = tail.ensure_running
    (first,) = hub.inbox
    hub.leave_inbox(None, first)

    def is_last(number: int) -> bool:
        return hub.delivered[-1:] == [number]

    for number in range(200):
        listener = Listener()
        hub.join_inbox(None, listener)
        script.steps.append(chat(number))
        eventually(partial(is_last, number))
        hub.leave_inbox(None, listener)
    tail.stop()
    assert hub.delivered == list(range(200))
    assert threading.active_count() < 20


@pytest.mark.parametrize("last", [[], [ChangeStreamsUnsupported()]], ids=["stream", "poll"])
def test_an_inbox_that_could_not_wait_for_the_beginning_fetches_again(
    tail: Tail, hub: RecordingHub, script: Script, last: list[Exception]
) -> None:
    (inbox,) = hub.inbox
    script.opening = [*(AutoReconnect("away") for _ in range(4)), *last]
    tail.ensure_running(wait=0.01)
    assert not inbox.has_more
    eventually(lambda: inbox.has_more)
    end = inbox.get(0)
    assert end is not None
    assert end.data["code"] == "restarting"
    # Whoever comes now hears of everything, and once is enough.
    again = Listener()
    hub.join_inbox(None, again)
    tail.ensure_running()
    script.opening = [*last]
    script.steps = [AutoReconnect("gone"), chat(1)]
    script.polls = [AutoReconnect("gone"), [chat(1)]]
    eventually(lambda: hub.delivered == [1])
    assert again.end is None


def test_a_chat_that_was_deleted_while_the_place_was_lost_is_told(
    tail: Tail, hub: RecordingHub, script: Script
) -> None:
    (_, kept), (_, gone) = chat(1), chat(2)
    there, away = Listener(), Listener()
    hub.join_chat(kept["_id"], there)
    hub.join_chat(gone["_id"], away)
    script.now = [kept, gone]
    tail.ensure_running()
    assert hub.delivered == [1, 2]
    assert not away.has_more
    script.now = [kept]
    script.steps = [ResumeTokenLost()]
    eventually(lambda: away.has_more)
    event = away.get(0)
    assert event is not None
    assert (event.name, event.data["chatId"]) == ("deleted", gone["_id"])
    assert not there.has_more


class BrokenLog:
    """A log on a full disk."""

    def __getattr__(self, _: str) -> Any:
        def write(*_: object, **__: object) -> None:
            raise OSError("No space left on device")

        return write


def test_a_log_that_fails_does_not_make_it_deaf(
    tail: Tail, hub: RecordingHub, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_module, "log", BrokenLog())
    poison: Change = ("chat", {"_id": 1, "poison": True})
    script.steps = [chat(1), AutoReconnect("gone"), poison, ResumeTokenLost(), chat(2)]
    tail.ensure_running()
    eventually(lambda: hub.delivered == [1, 2])
    assert script.tokens == [None, "after 1", None]
    assert tail.state()["connected"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_it_is_not_connected_once_its_thread_is_dead(
    tail: Tail, hub: RecordingHub, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(_: object) -> None:
        raise SystemExit

    tail.ensure_running()
    assert tail.state()["connected"]
    with monkeypatch.context() as patched:
        patched.setattr(tail, "_dispatch", die)
        eventually(lambda: not _lives(tail))
        assert not tail.state()["connected"]
    # Who comes next revives it, at the place where it was.
    script.steps = [chat(1)]
    tail.ensure_running()
    eventually(lambda: hub.delivered == [1])
    assert tail.state()["connected"]
