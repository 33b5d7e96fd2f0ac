"""By which words chats are found, apart from the chats themselves."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId
from pymongo.database import Database

from chatapi.cli import consistency
from chatapi.domain import clock
from chatapi.domain.paging import Position
from chatapi.services import search
from chatapi.store import chat_terms, chats, maintenance, search_terms
from chatapi.store import database as store
from chatapi.store.chats import Filter
from chatapi.store.database import Document, Duplicate
from tests.documents import chat_document
from tests.services.conftest import Killed, die

AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _bound(database: Database[Document]) -> None:
    store.bind(database)


@pytest.fixture(params=["few", "many"])
def _found_so(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the page from what was found, or from the newest chats."""
    if request.param == "many":
        monkeypatch.setattr(chats, "MAX_SORTED", 0)


def add(words: str, minute: int = 0, user_id: ObjectId | None = None, **more: Any) -> ObjectId:
    """Add a chat that is found by these words."""
    chat_id = ObjectId()
    fields = {
        "userId": user_id or ObjectId(),
        "isOpen": False,
        "status": "closed",
        "lastMessageAt": AT + timedelta(minutes=minute),
    }
    chat = chat_document(_id=chat_id, **fields | more)
    chats.insert(chat, search.terms([words]))
    return chat_id


def searched(query: str, limit: int = 50, after: Position | None = None, **more: Any) -> list[Any]:
    wanted = Filter(terms=tuple(search.query_terms(query)), **more)
    found = chats.newest(wanted, limit, after)
    return [chat["_id"] for chat in found]


@pytest.mark.usefixtures("_found_so")
def test_a_search_finds_the_chats_with_all_its_words_the_latest_first() -> None:
    old, new = add("late parcel", 1), add("parcel lost, late", 2)
    add("a parcel", 3)
    add("late", 4)
    assert searched("parcel late") == [new, old]
    assert searched("l par") == [new, old]
    assert searched("parcels") == []


@pytest.mark.usefixtures("_found_so")
def test_a_search_is_narrowed_by_the_other_filters() -> None:
    mine = ObjectId()
    active = add("parcel", 1, mine, status="active")
    closed = add("parcel", 2, mine)
    others = add("parcel", 3)
    assert searched("parcel") == [others, closed, active]
    assert searched("parcel", statuses=("active", "pending")) == [active]
    assert searched("parcel", user_id=mine) == [closed, active]
    assert searched("parcel", user_id=mine, statuses=("active",)) == [active]
    assert searched("parcel", user_id=ObjectId()) == []


@pytest.mark.usefixtures("_found_so")
def test_the_pages_of_a_search_hold_every_chat_once() -> None:
    made = [add("parcel", minute // 3) for minute in range(10)]
    add("invoice", 1)
    seen: list[ObjectId] = []
    after = None
    while page := searched("parcel", 4, after):
        seen += page
        last = chats.by_id(page[-1])
        assert last is not None
        after = Position(last["lastMessageAt"], last["_id"])
    assert sorted(seen) == sorted(made)
    assert len(seen) == 10


def test_a_chat_that_is_refused_or_deleted_leaves_no_terms(database: Database[Document]) -> None:
    owner = ObjectId()
    kept = add("parcel", user_id=owner, isOpen=True)
    with pytest.raises(Duplicate):
        add("parcel", user_id=owner, isOpen=True)
    assert database["chat_terms"].distinct("_id") == [kept]
    assert chats.delete(kept)
    assert database["chat_terms"].count_documents({}) == 0


def test_a_renamed_owner_is_found_by_both_names() -> None:
    owner = ObjectId()
    chat_id = add("parcel ana", user_id=owner, userName="Ana")
    add("parcel ana")
    chats.rename_user(owner, {"userName": "Zoe"}, search.terms(["Zoe"]))
    assert searched("zoe") == [chat_id]
    assert searched("ana parcel zoe") == [chat_id]


def test_every_chat_is_found_again_that_nothing_found(database: Database[Document]) -> None:
    fields: dict[str, Any] = {
        "subject": "Parcel",
        "userName": "Ana",
        "userEmail": "ana@mail.example",
    }
    bare, found = add("", **fields), add("called otherwise", **fields)
    database["chat_terms"].delete_one({"_id": bare})
    assert consistency.add_missing_terms() == 1
    assert searched("parcel ana mail") == [bare]
    assert searched("otherwise") == [found]
    assert consistency.add_missing_terms() == 0


def stored(database: Database[Document], chat_id: ObjectId) -> set[str]:
    row = database["chat_terms"].find_one({"_id": chat_id})
    assert row is not None
    assert len(row["terms"]) == len(set(row["terms"]))
    return set(row["terms"])


def as_of_0_1_0(database: Database[Document], subject: str, *terms: str) -> ObjectId:
    """Add a chat with the terms that release 0.1.0 made of its subject, or some of them."""
    fields: dict[str, Any] = {
        "subject": subject,
        "userName": "Ana",
        "userEmail": "ana@mail.example",
    }
    chat_id = add("ana mail example", **fields)
    where = {"_id": chat_id}
    database["chat_terms"].update_one(where, {"$addToSet": {"terms": {"$each": terms}}})
    return chat_id


def test_chats_and_people_of_an_earlier_form_are_found(database: Database[Document]) -> None:
    thai = as_of_0_1_0(database, "วิทยุ", "ว", "ท", "ทย", "ย")
    polish = as_of_0_1_0(database, "Łódź", "ł", "ło", "łod", "łodz")
    renamed = as_of_0_1_0(database, "Parcel", "z", "zo", "zoe")
    person = {"_id": ObjectId(), "name": "Łukasz", "email": "l@mail.example", "searchTerms": ["ł"]}
    database["users"].insert_one(person | {"createdAt": AT})
    assert searched("วิทยุ") == searched("Łódź") == []
    consistency.recompute_terms()
    assert searched("วิทยุ") == [thai]
    assert searched("Łódź") == searched("lodz") == [polish]
    assert not any(term.startswith("ł") for term in stored(database, polish))
    assert searched("zoe") == [renamed]
    (row,) = database["users"].find({"searchTerms": "lukasz"})
    assert row["_id"] == person["_id"]


def test_remaking_terms_goes_on_where_it_was_killed(
    database: Database[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_terms, "_BATCH", 2)
    chat_ids = {as_of_0_1_0(database, "Łódź") for _ in range(5)}
    change = search_terms.change_chat_terms
    changed: list[search_terms.Change] = []

    def killed_at_the_second(changes: Iterable[search_terms.Change]) -> None:
        if changed:
            raise Killed
        changed.extend(changes)
        change(changed)

    with monkeypatch.context() as patch:
        patch.setattr(search_terms, "change_chat_terms", killed_at_the_second)
        with pytest.raises(Killed):
            consistency.recompute_terms()
    assert len(searched("lodz")) == 2
    assert search_terms.format_version() == 1
    consistency.recompute_terms()
    assert set(searched("lodz")) == chat_ids
    assert search_terms.format_version() == search.FORM


def test_terms_are_remade_once(
    database: Database[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    as_of_0_1_0(database, "Łódź")
    consistency.recompute_terms()
    monkeypatch.setattr(search_terms, "chat_batches", die)
    consistency.recompute_terms()


def test_the_index_of_an_earlier_form_is_dropped_by_whoever_comes_first(
    database: Database[Document],
) -> None:
    assert not maintenance.has_legacy_search_index()
    database["chatrooms"].create_index("searchTerms", name="search")
    assert maintenance.has_legacy_search_index()
    for _ in range(2):
        maintenance.drop_legacy_search_index()
        assert not maintenance.has_legacy_search_index()


def test_terms_of_no_chat_are_removed_when_nobody_can_be_about_to_open_it(
    database: Database[Document],
) -> None:
    there = add("parcel")
    old = ObjectId.from_datetime(clock.now() - timedelta(hours=2))
    opening = ObjectId()
    for chat_id in (old, opening):
        chat_terms.upsert(chat_document(_id=chat_id), ["parcel"])
    assert searched("parcel") == [there]
    maintenance.delete_orphaned_terms(clock.now() - timedelta(hours=1))
    assert set(database["chat_terms"].distinct("_id")) == {there, opening}
