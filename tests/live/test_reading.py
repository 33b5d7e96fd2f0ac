"""What reading costs and brings: commands are counted on the wire, documents looked through."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from flask import Flask
from pymongo.database import Database

from chatapi import create_app
from chatapi.domain import clock
from chatapi.domain.documents import Chat
from chatapi.domain.enums import PRIORITIES
from chatapi.realtime.hub import Hub, Listener, hub
from chatapi.realtime.session_cache import SessionCache
from chatapi.realtime.tail import Tail
from chatapi.services import access, accounts, chat_lists, chats, messages, stats
from chatapi.services.sessions import open_session
from chatapi.services.users import create_user
from chatapi.store import cache, changes, document_cache, presence, sessions, unread, users
from chatapi.store import chats as stored_chats
from chatapi.store import database as store
from chatapi.store.cache import change_tracker
from chatapi.store.database import Document
from chatapi.store.server import SECANTUS_0_7
from config import TestConfig
from tests.conftest import CLIENT, PASSWORD, MakeChat, MakeSession
from tests.live.wire import Wire
from tests.servers import DatabaseServer
from tests.waiting import eventually


@pytest.fixture
def database(listened_database: Database[Document]) -> Database[Document]:
    """What `app` stands on: a database whose commands are kept."""
    return listened_database


@pytest.mark.parametrize("known", [False, True])
def test_a_list_is_one_find_of_whole_documents(
    make_session: MakeSession,
    make_chat: MakeChat,
    wire: Wire,
    monkeypatch: pytest.MonkeyPatch,
    known: bool,
) -> None:
    agent = make_session("admin")
    for _ in range(3):
        make_chat()
    monkeypatch.setattr(cache.CachedTotal, "TTL", 60)
    etag = chat_lists.list_chats(agent, chat_lists.ChatFilters()).etag
    wire.clear()
    page = chat_lists.list_chats(
        agent,
        chat_lists.ChatFilters(),
        has_etag=lambda own: known and own == etag,
        allow_cached=False,
    )
    assert (page.is_unchanged, len(page.items)) == (known, 0 if known else 3)
    assert wire.sent == [("find", "chatrooms")]
    assert "projection" not in wire.commands[0]


def test_a_list_that_is_read_again_decodes_what_has_changed(
    make_session: MakeSession, make_chat: MakeChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = make_session("admin")
    made = [make_chat() for _ in range(3)]
    chat_lists.list_chats(agent, chat_lists.ChatFilters())
    decode, raws = bson.decode, list[bytes]()

    def counted(raw: bytes, *options: Any) -> Any:
        raws.append(raw)
        return decode(raw, *options)

    monkeypatch.setattr(bson, "decode", counted)
    first = chat_lists.list_chats(agent, chat_lists.ChatFilters()).items
    assert raws == []
    first[0]["subject"] = "changed by the caller"
    chats.update(agent, made[1]["_id"], priority="urgent")
    again = chat_lists.list_chats(agent, chat_lists.ChatFilters()).items
    assert len(raws) == 1
    assert [item["subject"] for item in again] == [chat["subject"] for chat in reversed(made)]
    assert [item["priority"] for item in again] == ["medium", "urgent", "medium"]
    assert {item["createdAt"].tzinfo for item in again} == {UTC}


def test_what_is_kept_of_lists_is_bounded(
    make_session: MakeSession, make_chat: MakeChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = make_session("admin")
    made = [make_chat()["_id"] for _ in range(5)]
    monkeypatch.setattr(document_cache, "MAX_CACHED", 2)
    for _ in range(2):
        items = chat_lists.list_chats(agent, chat_lists.ChatFilters()).items
        assert [item["_id"] for item in items] == made[::-1]
        assert len(document_cache._cached.current) <= 2


@pytest.fixture
def follower(app: Flask) -> Iterator[SessionCache]:
    """What follows the database, as in a process that serves."""
    follower = SessionCache()
    follower.may_follow = True
    follower.find("no such session")
    eventually(lambda: follower.is_fresh and unread.by_admins.current._cached is not None)
    yield follower
    follower.follower.stop()


def test_the_unread_total_is_asked_for_before_a_request_needs_it(
    make_session: MakeSession, make_chat: MakeChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_chat(message="Hello")
    agent, follower = make_session("admin"), SessionCache()
    try:
        follower.follower.ensure_running()
        eventually(lambda: follower.is_fresh and unread.by_admins.current._cached is not None)
        monkeypatch.setattr(
            unread.by_admins.current, "_compute", lambda: pytest.fail("asked again")
        )
        assert chat_lists.list_chats(agent, chat_lists.ChatFilters()).unread_messages == 1
    finally:
        follower.follower.stop()


def asked(wire: Wire) -> list[tuple[str, str]]:
    """Return what was sent for requests, without what follows the changes."""
    return [each for each in wire.sent if each[1] == "chatrooms" and each[0] != "getMore"]


def test_an_unchanged_list_and_the_counts_ask_nothing_while_changes_are_followed(
    make_session: MakeSession,
    make_chat: MakeChat,
    wire: Wire,
    database: Database[Document],
    follower: SessionCache,
) -> None:
    agent, chat = make_session("admin"), make_chat(message="Hello")
    before = stats.counts(agent, ["general"])

    def etag() -> str:
        return chat_lists.list_chats(agent, chat_lists.ChatFilters(), has_etag=lambda _: True).etag

    # What this process has written comes back to it as its own, and changes nothing.
    eventually(lambda: not change_tracker.current.awaits_own_write)
    first = etag()
    wire.clear()
    assert etag() == first
    assert stats.counts(agent, ["general"]) == before
    assert asked(wire) == []
    # Asked for certainty, it looks.
    chat_lists.list_chats(
        agent, chat_lists.ChatFilters(), has_etag=lambda _: True, allow_cached=False
    )
    assert asked(wire) == [("find", "chatrooms")]
    # The own write is seen at once, another process's a moment later.
    chats.update(agent, chat["_id"], priority="urgent")
    second = etag()
    assert second != first
    assert stats.counts(agent, ["general"])["priority"]["urgent"] == 1
    database["chatrooms"].update_one(
        {"_id": chat["_id"]}, {"$set": {"priority": "low"}, "$inc": {"version": 1}}
    )
    eventually(lambda: etag() != second)
    eventually(lambda: stats.counts(agent, ["general"])["priority"]["low"] == 1)
    assert stats.counts(agent, ["general"])["priority"]["urgent"] == 0


def test_numbers_that_are_remembered_equal_those_counted_again(
    make_session: MakeSession,
    make_chat: MakeChat,
    database: Database[Document],
    follower: SessionCache,
) -> None:
    chance, agent = random.Random(7), make_session("admin")
    owners = [make_session() for _ in range(6)]
    open_chats = {owner.user_id: make_chat(owner, message="Hello") for owner in owners}
    categories = ["general", "billing"]
    for step in range(120):
        stats.counts(agent, categories)  # remembered, or counted where that is not possible
        owner = chance.choice(owners)
        chat = open_chats[owner.user_id]
        match chance.randrange(6):
            case 0:
                messages.send(owner, chat["_id"], f"Message {step}")
            case 1:
                messages.mark_read(agent, chat["_id"], 1)
            case 2:
                chats.update(agent, chat["_id"], priority=chance.choice(PRIORITIES))
            case 3:
                chats.update(agent, chat["_id"], admin_id=str(agent.user_id))
            case 4:
                chats.update(agent, chat["_id"], status=chance.choice(["closed", "archived"]))
                open_chats[owner.user_id] = make_chat(owner, category="billing", message="More")
            case _:  # another process
                database["chatrooms"].update_one(
                    {"_id": chat["_id"]},
                    {"$set": {"category": chance.choice(categories)}, "$inc": {"version": 1}},
                )
                stored_chats._last_seen.current.pop(chat["_id"], None)
    eventually(lambda: not change_tracker.current.awaits_own_write)
    time.sleep(0.5)
    known = stats.counts(agent, categories)
    cache.invalidate_all()
    assert stats.counts(agent, categories) == known


@pytest.mark.parametrize("listened", [False, True], ids=["no listener", "one listener"])
def test_a_send_is_two_commands_whether_or_not_somebody_listens(
    make_session: MakeSession,
    make_chat: MakeChat,
    wire: Wire,
    monkeypatch: pytest.MonkeyPatch,
    listened: bool,
) -> None:
    own = Hub()
    hub.set(own)
    user, listener = make_session(), Listener()
    chat = make_chat(user)
    messages.send(user, chat["_id"], "The first reads the chat")
    if listened:
        own.join_chat(chat["_id"], listener)
        own.newest_state(access.access_chat(user, chat["_id"]))
    wire.clear()
    for number in range(5):
        messages.send(user, chat["_id"], f"Number {number}")
    assert wire.sent == [("insert", "messages"), ("update", "chatrooms")] * 5
    heard = [listener.get(0) for _ in range(10 * listened)]
    assert [event.name for event in heard if event] == ["message", "chat"] * 5 * listened
    assert listener.backlog == 0


def test_a_tail_beside_its_own_process_writes_asks_five_times_a_second(
    make_session: MakeSession,
    make_chat: MakeChat,
    wire: Wire,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = Hub()
    hub.set(own)
    follower, listener = Tail(own), Listener()
    own.on_join = follower.ensure_running
    user = make_session()
    chat = make_chat(user)
    own.join_chat(chat["_id"], listener)
    own.newest_state(access.access_chat(user, chat["_id"]))
    try:
        wire.clear()
        started = time.monotonic()
        for number in range(20):
            messages.send(user, chat["_id"], f"Number {number}")
            time.sleep(0.1)
        taken = time.monotonic() - started
    finally:
        follower.stop()
    names = [name for name, _ in wire.sent]
    # Each question that is answered at once is followed by a rest; the first may be under way.
    assert 1 <= names.count("getMore") <= taken / SECANTUS_0_7.tail_pause_seconds + 1
    assert names.count("insert") == names.count("update") == 20
    # Nothing that was told is read again.
    assert ("find", "messages") not in wire.sent


def change_elsewhere(chat: Chat) -> None:
    """Change a chat as another process does: nothing is expected here."""
    change = {"$set": {"priority": "urgent", "changedAt": clock.real()}, "$inc": {"version": 1}}
    store.chatrooms().update_one({"_id": chat["_id"]}, change)


def type_elsewhere(chat: Chat) -> None:
    """Send a signal as another process does."""
    presence.emit("typing", chatId=chat["_id"], userId=chat["userId"], senderId=bson.ObjectId())


@pytest.mark.parametrize(("act", "name"), [(change_elsewhere, "chat"), (type_elsewhere, "typing")])
def test_another_process_ends_the_rest_of_a_tail(
    make_session: MakeSession,
    make_chat: MakeChat,
    monkeypatch: pytest.MonkeyPatch,
    act: Callable[[Chat], None],
    name: str,
) -> None:
    own, stream = Hub(), SessionCache()
    hub.set(own)
    monkeypatch.setattr("chatapi.realtime.tail.WOKEN_PAUSE", 30.0)
    tail, listener = Tail(own), Listener()
    own.on_join, stream.on_foreign_change = tail.ensure_running, tail.wake
    stream.may_follow = True
    stream.find("no such session")
    eventually(lambda: change_tracker.current.is_fresh)
    user = make_session()
    chat = make_chat(user)
    own.join_chat(chat["_id"], listener)
    own.newest_state(access.access_chat(user, chat["_id"]))
    try:
        for number in range(5):
            messages.send(user, chat["_id"], f"Number {number}")
            time.sleep(0.1)
        while listener.get(0):
            pass
        started = time.monotonic()
        act(chat)
        event = listener.get(10)
        assert event is not None
        assert event.name == name
        assert time.monotonic() - started < 2  # The rest would be 30 s.
    finally:
        tail.stop()
        stream.follower.stop()


def test_no_session_carries_the_hash_of_a_password(make_session: MakeSession) -> None:
    create_user("Ana", "ana@example.org", PASSWORD)
    _, token = accounts.login("ana@example.org", PASSWORD, CLIENT)
    opened = open_session(token)
    assert opened is not None
    user = users.by_id(opened.user_id)
    assert user is not None
    kept = sessions.with_user(opened.id)
    assert kept is not None
    for each in (dataclasses.asdict(opened), *kept):
        assert "passwordHash" not in str(each)
        assert user["passwordHash"] not in str(each)
    assert kept[1]["_id"] == opened.user_id


def test_no_time_leaves_the_store_without_its_zone(
    make_session: MakeSession, make_chat: MakeChat, database_server: DatabaseServer
) -> None:
    # A client of the product's own.
    own = create_app(TestConfig, MONGO_URI=database_server.uri)
    with own.extensions["chat"].active():
        agent = make_session("admin")
        stream = changes.Stream()
        chat = make_chat(message="Hello")
        delivered = None
        while delivered is None:
            delivered = stream.next()
        stream.close()
        found = [
            delivered[1],
            *stored_chats.newest(stored_chats.Filter(), 5),
            *messages.page(stored_chats.newest(stored_chats.Filter(), 1)[0]),
            *sessions.of_user(agent.user_id),
            *(sessions.with_user(agent.id) or ()),
            store.users().find_one({"_id": agent.user_id}),
        ]
        store.current().client.close()
    times = [time for document in found for time in times_in(document)]
    assert len(times) > 10
    assert all(time.utcoffset() is not None for time in times)
    assert chat["createdAt"] in times


def times_in(value: object) -> Iterator[datetime]:
    if isinstance(value, datetime):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from times_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from times_in(each)
