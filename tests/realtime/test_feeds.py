"""Feeds on a hub that the test drives: no gap, no double, in order, whatever comes when."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import pytest
from flask import Flask
from pymongo.database import Database

from chatapi.domain import errors
from chatapi.domain.documents import Chat
from chatapi.domain.networks import SITE_FACTOR
from chatapi.realtime.hub import hub
from chatapi.services import chats, feeds, messages
from chatapi.services.feeds import Event, Feed
from chatapi.store import chats as stored_chats
from chatapi.store import database as store_database
from chatapi.store.database import Document
from chatapi.transport import encoding, streams
from tests.conftest import MakeChat, MakeSession


@pytest.fixture(autouse=True)
def by_hand(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Neither tail nor reaper: the test tells the hub itself."""
    monkeypatch.setattr(hub.current, "on_join", lambda: None)
    monkeypatch.setattr(feeds.feed_registry.current, "on_open", lambda: None)
    yield
    for feed in feeds.feed_registry.current.all():
        feed.close()
    assert hub.current.is_idle()
    assert not feeds.feed_registry.current._counts


def tell(chat: Chat) -> None:
    """Do as the tail does when a chat has changed."""
    now = stored_chats.by_id(chat["_id"])
    assert now is not None
    hub.current.publish_chat(now)


def drain(feed: Feed) -> list[Event]:
    """Return all events that are there."""
    found: list[Event] = []
    while not feed.is_finished:
        before = feed.listener.backlog
        if not before and feed.listener.end is None:
            break
        found += feed.next(0)
    return found


def seqs(events: list[Event]) -> list[int]:
    return [event.seq for event in events if event.seq is not None]


@pytest.mark.parametrize("seed", range(40))
def test_every_message_comes_once_and_in_order(
    make_chat: MakeChat, make_session: MakeSession, seed: int
) -> None:
    dice = random.Random(seed)
    user = make_session()
    chat = make_chat(user)
    others = [Feed(user, "192.0.2.1") for _ in range(2)]
    for _ in range(dice.randrange(5)):
        messages.send(user, chat["_id"], "Before")
    feed = Feed(user, "192.0.2.2")
    opening = feed.until_end(feed.subscribe(chat["_id"], after=0))
    got: list[Event] = []
    for _ in range(30):
        action = dice.randrange(6)
        if action <= 1:
            messages.send(user, chat["_id"], "Hello")
        elif action <= 3:
            tell(chat)  # perhaps of several at once, perhaps of none
        elif action == 4:
            got += itertools.islice(opening, 2)
        else:
            list(others[dice.randrange(2)].subscribe(chat["_id"]))
    got += opening
    tell(chat)
    got += drain(feed)
    last = chats.get(user, chat["_id"])[0]["lastSeq"]
    assert seqs(got) == list(range(1, last + 1))
    assert got[0].name == "chat"
    versions = [event.data["version"] for event in got if event.name == "chat"]
    assert versions == sorted(set(versions))


def test_a_subscription_among_others_is_opened_in_its_turn(
    make_chat: MakeChat, make_session: MakeSession
) -> None:
    user = make_session()
    chat = make_chat(user)
    feed = Feed(user, "192.0.2.1")
    opening = feed.subscribe(chat["_id"], after=0)
    messages.send(user, chat["_id"], "Hello")
    tell(chat)  # It comes before the opening, and must not overtake it.
    feed.enqueue_opening(Event("ok", {}), opening)
    got = drain(feed)
    assert [event.name for event in got] == ["ok", "chat", "message"]


def test_a_feed_ends_in_the_middle_of_a_long_opening(
    make_chat: MakeChat, make_session: MakeSession
) -> None:
    user = make_session()
    chat = make_chat(user)
    for _ in range(5):
        messages.send(user, chat["_id"], "Hello")
    feed = Feed(user, "192.0.2.1")
    events = feed.until_end(feed.subscribe(chat["_id"], after=0))
    assert [next(events).name, next(events).name] == ["chat", "message"]
    feed.listener.close("session_ended", 0)
    assert [event.name for event in events] == ["end"]
    assert feed.is_finished


def test_after_unsubscribing_nothing_more_is_told(
    make_chat: MakeChat, make_session: MakeSession
) -> None:
    user = make_session()
    chat = make_chat(user)
    feed = Feed(user, "192.0.2.1")
    list(feed.until_end(feed.subscribe(chat["_id"])))
    messages.send(user, chat["_id"], "Hello")
    tell(chat)
    feed.unsubscribe(chat["_id"])
    assert drain(feed) == []
    assert not feed.is_subscribed


@pytest.mark.parametrize("listens", ["chat", "inbox"])
def test_the_text_of_a_deleted_message_does_not_reach_a_client_that_reads_late(
    database: Database[Document], make_chat: MakeChat, make_session: MakeSession, listens: str
) -> None:
    user, agent = make_session(), make_session("admin")
    chat = make_chat(user)
    feed = Feed(agent, "192.0.2.1")
    with feed:
        list(feed.subscribe(chat["_id"]) if listens == "chat" else feed.subscribe_inbox())
        for text in ("Stays", "My password is ...", "Stays, too"):
            messages.send(user, chat["_id"], text)
            tell(chat)
        encoded = [encoding.sse(event, agent) for event in feed.listener._events]
        assert any(b"password" in each for each in encoded)
        messages.delete(agent, chat["_id"], 2)
        tell(chat)
        for signal in store_database.ephemeral_events().find({"kind": "deleted"}):
            hub.current.publish_ephemeral(signal)
        got = drain(feed)
        delivered = b"".join(encoding.sse(event, agent) for event in got)
        assert b"password" not in delivered
        assert b"Stays, too" in delivered
        if listens == "chat":
            assert seqs(got) == [1, 2, 3]
            shown = [encoding.data_of(each, agent) for each in got if each.seq == 2]
            assert [each["content"] for each in shown] == [messages.TOMBSTONE]
            assert shown[0]["deletedAt"]


def test_a_chat_deleted_while_it_is_opened_is_told_as_deleted(
    make_chat: MakeChat, make_session: MakeSession
) -> None:
    user, agent = make_session(), make_session("admin")
    chat = make_chat(user)
    feed = Feed(user, "192.0.2.1")
    opening = feed.subscribe(chat["_id"])
    chats.delete(agent, chat["_id"])
    assert [event.name for event in feed.until_end(opening)] == ["deleted"]
    assert not feed.is_subscribed


def test_nobody_is_let_into_a_strange_chat(make_chat: MakeChat, make_session: MakeSession) -> None:
    chat = make_chat()
    feed = Feed(make_session(), "192.0.2.1")
    with pytest.raises(errors.NotYourChat):
        feed.subscribe(chat["_id"])
    with pytest.raises(errors.ChatNotFound):
        feed.subscribe("x")
    assert hub.current.is_idle()


def test_accounts_addresses_and_processes_have_caps(make_session: MakeSession) -> None:
    feeds.stream_limits.set(feeds.StreamLimits(account=2, address=3, process=5))
    ana, ben = make_session(), make_session()
    opened = [Feed(ana, "192.0.2.3"), Feed(ana, "192.0.2.4")]
    with pytest.raises(errors.TooManyRequests):
        Feed(ana, "192.0.2.5")
    opened += [Feed(ben, "192.0.2.4"), Feed(make_session(), "192.0.2.4")]
    with pytest.raises(errors.TooManyRequests):
        Feed(ben, "192.0.2.4")
    assert len(feeds.feed_registry.current) == 4
    opened[0].close()
    opened[0].close()
    Feed(ana, "192.0.2.3")
    Feed(ben, "192.0.2.3")
    with pytest.raises(errors.TooManyRequests):
        Feed(make_session(), "192.0.2.5")


def test_the_addresses_of_one_network_share_its_streams(make_session: MakeSession) -> None:
    feeds.stream_limits.set(feeds.StreamLimits(account=9, address=2, process=99))
    for number in range(2):
        Feed(make_session(), f"2001:db8:0:1::{number:x}")
    with pytest.raises(errors.TooManyRequests):
        Feed(make_session(), "2001:db8:0:1:ffff::")
    # The next /64 has streams of its own, until the /48 around both has too many.
    Feed(make_session(), "2001:db8:0:2::1").close()
    for number in range(2, 2 + 2 * SITE_FACTOR - 2):
        Feed(make_session(), f"2001:db8:0:{number:x}::1")
    with pytest.raises(errors.TooManyRequests):
        Feed(make_session(), "2001:db8:0:ffff::1")
    Feed(make_session(), "2001:db8:1:ffff::1")
    for feed in feeds.feed_registry.current.all():
        feed.close()
    assert not feeds.feed_registry.current._counts


def test_a_feed_that_nobody_can_look_after_is_not_counted(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(feeds.feed_registry.current, "on_open", fail)
    with pytest.raises(RuntimeError):
        Feed(make_session(), "192.0.2.1")
    assert not len(feeds.feed_registry.current)


def test_a_process_that_ends_sends_newcomers_on(app: Flask, make_session: MakeSession) -> None:
    early = Feed(make_session(), "192.0.2.1")
    streams.close_all(app)
    late = Feed(make_session(), "192.0.2.1")
    for feed in (early, late):
        (end,) = feed.next(0)
        assert end.data["code"] == "restarting"
        assert feed.is_finished


def test_an_event_is_encoded_once_for_each_side(
    make_chat: MakeChat, make_session: MakeSession
) -> None:
    user, agents = make_session(), [make_session("admin"), make_session("admin")]
    chat = make_chat(user, message="Hello")
    event = Event("chat", chat)
    first, second = (encoding.sse(event, agent) for agent in agents)
    assert first is second
    assert b'"unreadCount":1' in first
    assert b'"unreadCount":0' in encoding.sse(event, user)
    assert "unreadCount" in encoding.websocket(event, user)
    assert len(event.frames) == 3
