"""The sum of what agents have not read: remembered for a moment, never wrong in this process."""

from __future__ import annotations

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from bson import ObjectId
from pymongo.database import Database

from chatapi.domain import runtime
from chatapi.domain.documents import PerSide
from chatapi.store import cache, chats, unread
from chatapi.store import database as store
from chatapi.store.database import Document
from tests.documents import chat_document
from tests.recording import recorded


@pytest.fixture(autouse=True)
def _bound(database: Database[Document]) -> None:
    store.bind(database)


@pytest.fixture
def sums(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """One entry for each time that the database was asked for the sum."""
    asked: list[object] = []
    real = unread._sum
    monkeypatch.setattr(unread, "_sum", recorded(asked, real))
    return asked


def add(messages: int) -> ObjectId:
    """Add a chat with so many messages that no agent has read, and return its id."""
    chat_id = ObjectId()
    count = {"user": 0, "admin": messages}
    chats.insert(chat_document(_id=chat_id, unread=count, unreadByAdmin=messages > 0))
    chats.by_id(chat_id)
    return chat_id


def change(chat_id: ObjectId, version: int, messages: int) -> bool:
    count: PerSide = {"user": 0, "admin": messages}
    return chats.replace(chat_id, version, {"unread": count, "unreadByAdmin": messages > 0})


def test_own_writes_are_added_up_without_asking(sums: list[object]) -> None:
    assert unread.by_admins.current.get() == (0, 0)
    one, two = add(3), add(0)
    assert unread.by_admins.current.get() == (1, 3)
    assert change(one, 1, 4)
    assert change(two, 1, 1)
    assert unread.by_admins.current.get() == (2, 5)
    assert change(one, 2, 0)
    assert unread.by_admins.current.get() == (1, 1)
    assert len(sums) == 1


def test_a_write_that_was_not_made_counts_for_nothing() -> None:
    chat_id = add(2)
    assert unread.by_admins.current.get() == (1, 2)
    assert not change(chat_id, 7, 9)
    assert unread.by_admins.current.get() == (1, 2)


def test_a_deleted_chat_counts_no_more() -> None:
    chat_id = add(2)
    assert unread.by_admins.current.get() == (1, 2)
    chats.delete(chat_id)
    assert unread.by_admins.current.get() == (0, 0)


def test_a_chat_this_process_has_not_seen_is_summed_anew(sums: list[object]) -> None:
    chat_id = add(2)
    assert unread.by_admins.current.get() == (1, 2)
    chats._last_seen.current.clear()
    assert change(chat_id, 1, 5)
    assert unread.by_admins.current.get() == (1, 5)
    assert len(sums) == 2


def test_what_others_write_is_seen_when_it_is_told_or_a_second_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chat_id = add(2)
    assert unread.by_admins.current.get() == (1, 2)
    others = {"$set": {"unread.admin": 6, "unreadByAdmin": True}, "$inc": {"version": 1}}
    store.chatrooms().update_one({"_id": chat_id}, others)
    now = store.chatrooms().find_one({"_id": chat_id})
    assert now is not None
    chats.invalidate_if_newer(now)
    assert unread.by_admins.current.get() == (1, 6)
    store.chatrooms().update_one({"_id": chat_id}, others | {"$set": {"unread.admin": 8}})
    assert unread.by_admins.current.get() == (1, 6)
    monkeypatch.setattr(cache.CachedTotal, "TTL", 0)
    assert unread.by_admins.current.get() == (1, 8)


def test_what_this_process_wrote_itself_is_no_news(sums: list[object]) -> None:
    chat_id = add(2)
    assert unread.by_admins.current.get() == (1, 2)
    assert change(chat_id, 1, 3)
    now = store.chatrooms().find_one({"_id": chat_id})
    assert now is not None
    chats.invalidate_if_newer(now)
    assert unread.by_admins.current.get() == (1, 3)
    assert len(sums) == 1


@pytest.mark.parametrize("seen", [True, False])
def test_a_sum_made_during_a_write_is_not_kept(monkeypatch: pytest.MonkeyPatch, seen: bool) -> None:
    """Whether it has seen the write or not, the next one is right."""
    chat_id = add(2)
    real = unread._sum

    def meanwhile(where: Document, number: str) -> unread.Sum:
        if seen:
            assert change(chat_id, 1, 3)
            return real(where, number)
        found = real(where, number)
        assert change(chat_id, 1, 3)
        return found

    monkeypatch.setattr(unread, "_sum", meanwhile)
    unread.by_admins.current.get()
    monkeypatch.setattr(unread, "_sum", real)
    assert unread.by_admins.current.get() == (1, 3)


def test_while_one_sums_the_others_get_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    add(2)
    assert unread.by_admins.current.get() == (1, 2)
    monkeypatch.setattr(cache.CachedTotal, "TTL", 0)
    begun, may_end = threading.Event(), threading.Event()

    def slowly(*_: object) -> unread.Sum:
        begun.set()
        assert may_end.wait(5)
        return 1, 7

    monkeypatch.setattr(unread, "_sum", slowly)
    with ThreadPoolExecutor(initializer=runtime.current().enter) as pool:
        first = pool.submit(unread.by_admins.current.get)
        assert begun.wait(5)
        assert unread.by_admins.current.get() == (1, 2)
        may_end.set()
        assert first.result(5) == (1, 7)


def test_all_who_come_when_nothing_is_known_share_one_sum(
    monkeypatch: pytest.MonkeyPatch, sums: list[object]
) -> None:
    add(2)
    counted = unread._sum

    def slowly(where: Document, number: str) -> unread.Sum:
        time.sleep(0.01)
        return counted(where, number)

    monkeypatch.setattr(unread, "_sum", slowly)
    with ThreadPoolExecutor(initializer=runtime.current().enter) as pool:
        assert set(pool.map(lambda _: unread.by_admins.current.get(), range(8))) == {(1, 2)}
    assert len(sums) == 1


def test_others_writes_are_seen_however_busy_this_process_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    busy, others = add(1), add(1)
    assert unread.by_admins.current.get() == (2, 2)
    monkeypatch.setattr(cache.CachedTotal, "TTL", 0)
    real, version = unread._sum, itertools.count(1)

    def meanwhile(where: Document, number: str) -> unread.Sum:
        assert change(busy, next(version), 1)
        return real(where, number)

    monkeypatch.setattr(unread, "_sum", meanwhile)
    store.chatrooms().update_one({"_id": others}, {"$set": {"unread.admin": 7}})
    assert unread.by_admins.current.get() == (2, 2)
    monkeypatch.setattr(cache.CachedTotal, "MAX_STALE", 0)
    assert unread.by_admins.current.get() == (2, 8)


def test_a_write_that_fails_leaves_nothing_remembered(
    monkeypatch: pytest.MonkeyPatch, sums: list[object]
) -> None:
    add(2)
    assert unread.by_admins.current.get() == (1, 2)
    with pytest.raises(ConnectionError), cache.writing():
        raise ConnectionError
    assert unread.by_admins.current.get() == (1, 2)
    assert len(sums) == 2
