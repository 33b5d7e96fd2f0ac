"""The reaper: whose feeds it ends, and whose sessions it looks at."""

from __future__ import annotations

import functools
import math
import random
import socket
import time
from collections.abc import Iterator

import pytest
from flask import Flask

from chatapi.realtime.session_cache import session_cache
from chatapi.services import feeds
from chatapi.services.feeds import Feed
from chatapi.services.sessions import Session
from chatapi.store import server
from chatapi.store.server import PLAIN, SECANTUS_0_7, Server
from chatapi.transport import connections, reaper
from chatapi.transport.reaper import StreamReaper
from tests.conftest import MakeSession


@pytest.fixture(autouse=True)
def by_hand(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The test is the reaper."""
    monkeypatch.setattr(feeds.feed_registry.current, "on_open", lambda: None)
    yield
    for feed in feeds.feed_registry.current.all():
        feed.close()


def test_clients_that_do_not_read_are_cut_off(make_session: MakeSession) -> None:
    ends = [socket.socketpair() for _ in range(3)]
    everybody = [Feed(make_session(), "192.0.2.1") for _ in ends]
    for feed, (ours, _) in zip(everybody, ends, strict=True):
        feed.abort = functools.partial(connections._shut_down, ours)
    _, stuck, busy = everybody
    stuck.writing_since = time.monotonic() - reaper.SLOW_SECONDS - 1
    busy.writing_since = time.monotonic()
    reaper.close_slow_consumers(everybody, reaper.SLOW_SECONDS)
    codes = [feed.listener.end.data["code"] if feed.listener.end else None for feed in everybody]
    assert codes == [None, "too_slow", None]
    assert ends[1][1].recv(1) == b""
    for pair in ends:
        for each in pair:
            each.close()


def test_a_session_is_looked_at_when_the_database_tells_of_it(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_cache.current, "_last_event_at", math.inf)
    looked: list[Session] = []
    monkeypatch.setattr(
        reaper, "close_revoked", lambda some: looked.extend(one.session for one in some)
    )
    opened = [Feed(make_session(), "192.0.2.1") for _ in range(5)]
    for feed in opened:
        feed.checked_at = time.monotonic()
    reaping = StreamReaper()
    reaping._generation = session_cache.current.generation
    reaping._check_sessions(opened, True)
    assert looked == []
    opened[0].checked_at -= feeds.SESSION_CHECK_INTERVAL + 1
    reaping._check_sessions(opened, True)
    assert looked == []  # Those of half a minute are looked at together.
    reaping._checked_all_at -= reaper.RECHECK_INTERVAL
    reaping._check_sessions(opened, True)
    assert looked == [opened[0].session]
    opened[0].checked_at = time.monotonic()
    looked.clear()
    reaping.mark_for_recheck(opened[1].session.id)
    reaping.mark_for_recheck(opened[3].session.user_id)
    reaping._check_sessions(opened, False)
    assert looked == [opened[1].session, opened[3].session]
    # Without a change stream nobody tells of any.
    monkeypatch.setattr(session_cache.current, "_last_event_at", None)
    looked.clear()
    reaping._check_sessions(opened, True)
    assert len(looked) == 5


def test_a_session_that_ended_just_before_its_feed_came_is_looked_at_soon(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_cache.current, "_last_event_at", math.inf)
    known, forgotten = make_session(), make_session()
    monkeypatch.setattr(session_cache.current, "_known", {known.id: ({}, {})})
    looked: list[Session] = []
    monkeypatch.setattr(
        reaper, "close_revoked", lambda some: looked.extend(one.session for one in some)
    )
    reaping = StreamReaper()
    reaping._generation = session_cache.current.generation
    monkeypatch.setattr(random, "uniform", lambda low, _: low)
    reaping._check_sessions([Feed(known, "192.0.2.1"), Feed(forgotten, "192.0.2.1")], True)
    assert looked == [forgotten]


@pytest.mark.parametrize(("kind", "looks"), [(PLAIN, [60]), (SECANTUS_0_7, [50, 10])])
def test_as_many_sessions_are_looked_at_together_as_the_server_takes(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch, kind: Server, looks: list[int]
) -> None:
    monkeypatch.setattr(server, "current", lambda: kind)
    looked: list[int] = []
    monkeypatch.setattr(reaper, "close_revoked", lambda some: looked.append(len(some)))
    feed = Feed(make_session(), "192.0.2.1")
    StreamReaper()._check_sessions([feed] * 60, True)
    assert looked == looks
