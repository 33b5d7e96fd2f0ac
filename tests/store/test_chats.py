"""The queries of lists, and the compare-and-set behind every change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from bson import ObjectId
from pymongo.database import Database

from chatapi.domain.documents import Chat
from chatapi.domain.paging import Position
from chatapi.store import chats, server
from chatapi.store import database as store
from chatapi.store.chats import Filter
from chatapi.store.database import Document, Duplicate
from chatapi.store.server import PLAIN, SECANTUS_0_7, Server
from tests.documents import chat_document
from tests.recording import recorded

ID = ObjectId()
AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _bound(database: Database[Document]) -> None:
    store.bind(database)


def document(user_id: ObjectId, *, is_open: bool) -> Chat:
    return chat_document(userId=user_id, isOpen=is_open)


@pytest.mark.parametrize(
    ("wanted", "query"),
    [
        (Filter(), {}),
        (Filter(user_id=ID), {"userId": ID}),
        (Filter(statuses=("active",)), {"status": "active"}),
        (Filter(statuses=("active", "closed")), {"status": {"$in": ["active", "closed"]}}),
        (Filter(admin_id=ID), {"adminId": ID}),
        (Filter(unassigned=True), {"adminId": None}),
        (Filter(unread_by_admin=False), {"unreadByAdmin": False}),
        (Filter(unread_by_user=True), {"unread.user": {"$gt": 0}}),
        (Filter(unread_by_user=False), {"unread.user": 0}),
        (
            Filter(priorities=("low",), categories=("billing", "other")),
            {"priority": "low", "category": {"$in": ["billing", "other"]}},
        ),
    ],
)
def test_a_filter_asks_for_what_it_names(wanted: Filter, query: Document) -> None:
    assert chats.query(wanted) == query


def listed_at(*seconds: float) -> list[ObjectId]:
    """Add a chat with a last message so many seconds before AT for each; return their ids."""
    rows = [document(ObjectId(), is_open=False) for _ in seconds]
    for row, ago in zip(rows, seconds, strict=True):
        chats.insert(row | {"lastMessageAt": AT - timedelta(seconds=ago)})
    return [row["_id"] for row in rows]


def pages(wanted: Filter, limit: int) -> list[ObjectId]:
    """Return the ids of all chats of a list, read page by page."""
    found: list[Chat] = []
    after = None
    while True:
        page = chats.newest(wanted, limit, after)
        found += page
        if len(page) < limit:
            return [row["_id"] for row in found]
        after = Position(page[-1]["lastMessageAt"], page[-1]["_id"])


@pytest.mark.parametrize("kind", [PLAIN, SECANTUS_0_7], ids=lambda kind: kind.name)
@pytest.mark.parametrize("limit", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("round_", ["first", "again"])
def test_pages_hold_every_chat_once_however_far_their_times_are_apart(
    limit: int, round_: str, kind: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "current", lambda: kind)
    day = 24 * 3600
    seconds = [0, 1, 2, 2, 2, 2, 2, 2, 2, 3, 4000, 4001, day, 40 * day, 400 * day, 9000 * day]
    ids = listed_at(*seconds)
    order = sorted(zip(seconds, ids, strict=True), key=lambda each: (-each[0], each[1]))
    wanted = [chat_id for _, chat_id in reversed(order)]
    assert pages(Filter(), limit) == wanted
    if round_ == "again":
        assert pages(Filter(), limit) == wanted


def test_a_page_that_was_read_is_one_question_the_next_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "current", lambda: SECANTUS_0_7)
    listed_at(*range(0, 40_000, 1000))
    asked: list[object] = []
    real = chats._page
    monkeypatch.setattr(chats, "_page", recorded(asked, real))
    for limit in (10, 40, 50):
        chats.newest(Filter(), limit)
        asked.clear()
        assert len(chats.newest(Filter(), limit)) == min(limit, 40)
        assert len(asked) == 1


def test_where_the_server_stops_at_the_limit_each_page_is_one_question_from_the_first_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listed_at(*range(0, 40_000, 1000))
    asked: list[object] = []
    real = chats._page
    monkeypatch.setattr(chats, "_page", recorded(asked, real))
    for limit in (10, 40, 50):
        asked.clear()
        assert len(chats.newest(Filter(), limit)) == min(limit, 40)
        assert asked == [(Filter(), limit, None, None)]
    assert chats._page_ends.current == {}


@pytest.mark.parametrize("kind", [PLAIN, SECANTUS_0_7], ids=lambda kind: kind.name)
def test_a_page_finds_the_chats_that_a_filter_has_far_back(
    kind: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "current", lambda: kind)
    listed_at(*range(100))
    old = document(ObjectId(), is_open=False) | {"priority": "urgent"}
    chats.insert(old | {"lastMessageAt": AT - timedelta(days=300)})
    for _ in range(2):
        found = chats.newest(Filter(priorities=("urgent",), statuses=("closed", "archived")), 2)
        assert [row["_id"] for row in found] == []
        found = chats.newest(Filter(priorities=("urgent",)), 2)
        assert [row["_id"] for row in found] == [old["_id"]]
    new = document(ObjectId(), is_open=False) | {"priority": "urgent", "lastMessageAt": AT}
    chats.insert(new)
    found = chats.newest(Filter(priorities=("urgent",)), 2)
    assert [row["_id"] for row in found] == [new["_id"], old["_id"]]


def test_a_change_of_the_version_read_is_made_and_counted() -> None:
    chat = document(ObjectId(), is_open=True)
    chats.insert(chat)
    assert chats.replace(chat["_id"], 1, {"status": "closed"})
    found = chats.by_id(chat["_id"])
    assert found is not None
    assert (found["status"], found["version"]) == ("closed", 2)


def test_a_change_of_an_older_version_is_not_made() -> None:
    chat = document(ObjectId(), is_open=True)
    chats.insert(chat)
    for version in (0, 2):
        assert not chats.replace(chat["_id"], version, {"status": "closed"})
    assert not chats.replace(ObjectId(), 1, {"status": "closed"})
    found = chats.by_id(chat["_id"])
    assert found is not None
    assert (found["status"], found["version"]) == ("active", 1)


def test_a_user_has_one_open_chat_and_any_number_of_closed_ones() -> None:
    user_id = ObjectId()
    for _ in range(3):
        chats.insert(document(user_id, is_open=False))
    first = document(user_id, is_open=True)
    chats.insert(first)
    with pytest.raises(Duplicate):
        chats.insert(document(user_id, is_open=True))
    chats.insert(document(ObjectId(), is_open=True))
    assert chats.open_chat_of(user_id) is not None


def test_opening_a_second_chat_is_refused_and_leaves_it_as_it_was() -> None:
    user_id = ObjectId()
    closed = document(user_id, is_open=False)
    chats.insert(closed)
    chats.insert(document(user_id, is_open=True))
    with pytest.raises(Duplicate):
        chats.replace(closed["_id"], 1, {"isOpen": True})
    found = chats.by_id(closed["_id"])
    assert found is not None
    assert (found["isOpen"], found["version"]) == (False, 1)


def test_a_process_remembers_a_chat_as_its_own_change_left_it() -> None:
    chat = document(ObjectId(), is_open=True)
    chats.insert(chat)
    read = chats.by_id(chat["_id"])
    assert read is not None
    assert chats.last_seen(chat["_id"]) == read
    assert chats.replace(chat["_id"], 1, {"status": "closed"})
    known, found = chats.last_seen(chat["_id"]), chats.by_id(chat["_id"])
    assert known is not None
    assert found is not None
    assert (
        (known["status"], known["version"]) == (found["status"], found["version"]) == ("closed", 2)
    )


def test_a_process_forgets_a_chat_when_somebody_else_changed_it() -> None:
    chat = document(ObjectId(), is_open=True)
    chats.insert(chat)
    chats.by_id(chat["_id"])
    store.chatrooms().update_one({"_id": chat["_id"]}, {"$inc": {"version": 1}})
    assert not chats.replace(chat["_id"], 1, {"status": "closed"})
    assert chats.last_seen(chat["_id"]) is None


def test_a_process_does_not_mix_what_it_remembers_with_a_change_of_something_newer() -> None:
    chat = document(ObjectId(), is_open=True)
    chats.insert(chat)
    chats.by_id(chat["_id"])
    store.chatrooms().update_one(
        {"_id": chat["_id"]}, {"$set": {"userName": "New"}, "$inc": {"version": 1}}
    )
    assert chats.replace(chat["_id"], 2, {"status": "closed"})
    known = chats.last_seen(chat["_id"])
    assert known is None or known["userName"] == "New"


def test_a_page_is_the_newest_whatever_was_read_before() -> None:
    made = [document(ObjectId(), is_open=True) | {"status": "active"} for _ in range(6)]
    for number, chat in enumerate(made):
        chats.insert(chat | {"lastMessageAt": AT + timedelta(hours=number)})
    wanted = Filter(statuses=("active",))

    def page() -> list[int]:
        ids = [chat["_id"] for chat in made]
        return [ids.index(row["_id"]) for row in chats.newest(wanted, 3)]

    assert page() == [5, 4, 3]
    # Chats leave the filter, move up, come in from behind, and a clock jumps back.
    chats.replace(made[5]["_id"], 1, {"status": "closed"})
    assert page() == [4, 3, 2]
    chats.replace(made[0]["_id"], 1, {"lastMessageAt": AT + timedelta(hours=9)})
    assert page() == [0, 4, 3]
    chats.replace(made[4]["_id"], 1, {"lastMessageAt": AT - timedelta(hours=9)})
    assert page() == [0, 3, 2]
    for chat in (made[0], made[3]):
        chats.delete(chat["_id"])
    assert page() == [2, 1, 4]
    assert page() == [2, 1, 4]
