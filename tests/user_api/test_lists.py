"""The list of chats: who sees what, filters, search, pages, the unread total."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
import time_machine
from bson import ObjectId

from chatapi.http.endpoint import json_text
from chatapi.schemas import categories
from tests.conftest import MakeUser
from tests.user_api.callers import Caller, MakeCaller, refused

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [chat["_id"] for chat in answer.json]


def walk(person: Caller, path: str) -> list[str]:
    """Return the ids of all pages, following the Link headers."""
    found: list[str] = []
    for _ in range(50):
        answer = person.get(path)
        found += ids(answer)
        if "Link" not in answer.headers:
            assert "X-Next-Cursor" not in answer.headers
            return found
        address, _, relation = answer.headers["Link"].partition("; ")
        assert relation == 'rel="next"'
        path = address.strip("<>")
        assert f"cursor={answer.headers['X-Next-Cursor']}" in path
    raise AssertionError("The pages do not end.")


def test_agents_see_all_chats_and_the_others_their_own(
    user: Caller, other: Caller, guest: Caller, admin: Caller
) -> None:
    chats = [person.open_chat(message="Hello")["_id"] for person in (user, other, guest)]
    assert sorted(ids(admin.get("/api/chat"))) == sorted(chats)
    for person, chat in zip((user, other, guest), chats, strict=True):
        assert ids(person.get("/api/chat")) == [chat]


def test_a_list_is_an_array_without_messages(user: Caller) -> None:
    chat = user.open_chat(message="Hello")
    (row,) = user.get("/api/chat").json
    del chat["messages"]
    assert row == chat


def test_the_latest_message_comes_first(user: Caller, other: Caller, admin: Caller) -> None:
    with time_machine.travel(NOON, tick=False):
        first, second = user.open_chat(), other.open_chat()
    assert ids(admin.get("/api/chat")) == [second["_id"], first["_id"]]
    admin.say(first)
    assert ids(admin.get("/api/chat")) == [first["_id"], second["_id"]]
    admin.patch(f"/api/chat/{second['_id']}", {"priority": "urgent"})
    assert ids(admin.get("/api/chat")) == [first["_id"], second["_id"]]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_pages_hold_every_chat_exactly_once_also_those_of_the_same_time(
    limit: int, make_caller: MakeCaller, admin: Caller
) -> None:
    with time_machine.travel(NOON, tick=False):
        chats = [make_caller("guest").open_chat()["_id"] for _ in range(7)]
    found = walk(admin, f"/api/chat?limit={limit}")
    assert found == sorted(chats, reverse=True)


def test_pages_hold_every_chat_that_stays_exactly_once_while_new_messages_come(
    make_caller: MakeCaller, admin: Caller
) -> None:
    chats = []
    for minute in range(9):
        with time_machine.travel(NOON + timedelta(minutes=minute), tick=False):
            chats.append(make_caller("guest").open_chat())
    newest_first = [chat["_id"] for chat in reversed(chats)]
    found: list[str] = []
    path = "/api/chat?limit=2"
    for page in count():
        answer = admin.get(path)
        found += ids(answer)
        if "X-Next-Cursor" not in answer.headers:
            break
        path = f"/api/chat?limit=2&cursor={answer.headers['X-Next-Cursor']}"
        # A chat of a page already seen moves to the front, and a new one comes.
        admin.say(chats[8 - page])
        make_caller("guest").open_chat()
    assert found == newest_first


def test_the_next_page_keeps_the_filters(make_caller: MakeCaller, admin: Caller) -> None:
    for number in range(6):
        priority = "high" if number % 2 else "low"
        make_caller("guest").open_chat(subject="Café order", priority=priority)
    path = "/api/chat?limit=1&priority=high&priority=urgent&q=caf%C3%A9&status=active"
    assert len(walk(admin, path)) == 3
    link = admin.get(path).headers["Link"]
    assert "priority=high&priority=urgent&q=caf%C3%A9&status=active&cursor=" in link


def test_a_cursor_of_one_user_shows_another_only_their_own(
    user: Caller, other: Caller, make_caller: MakeCaller, admin: Caller
) -> None:
    mine = user.open_chat()["_id"]
    for _ in range(3):
        make_caller("guest").open_chat()
    cursor = admin.get("/api/chat?limit=1").headers["X-Next-Cursor"]
    assert ids(user.get(f"/api/chat?cursor={cursor}")) == [mine]
    assert ids(other.get(f"/api/chat?cursor={cursor}")) == []


@pytest.mark.parametrize(
    "query",
    ["cursor=", "cursor=x", "cursor=AAAA", "cursor=%00", "cursor=é", "limit=0", "limit=101",
     "limit=x", "limit=-1", "limit=", "status=open", "status=", "priority=1", "category=none",
     "unread=maybe", "unread=", "assigned=x", "assigned=", "q=%00", "q=" + "x" * 201,
     "limit=1&limit=2", "q=a&q=b", "messages=1", "status[$ne]=active", "$where=1",
     "cursor=" + "A" * 5000],
)  # fmt: skip
def test_a_query_that_makes_no_sense_is_refused(query: str, user: Caller, admin: Caller) -> None:
    field = query.split("=", maxsplit=1)[0]
    for person in (user, admin):
        body = refused(person.get(f"/api/chat?{query}"), 422, "validation_failed")
        assert any(name.split(".")[0] == field for name in body["fields"]), body["fields"]


def test_every_cursor_of_the_right_form_is_answered(admin: Caller) -> None:
    for start in ("A", "f", "g", "_", "-"):
        answer = admin.get(f"/api/chat?cursor={start}{'w' * 26}")
        assert answer.status_code in {200, 422}, answer.text


@pytest.fixture
def inbox(make_caller: MakeCaller, admin: Caller, user: Caller) -> dict[str, str]:
    """Return chats by name, each different from the others."""
    colleague = make_caller("admin")
    chats = {}
    for name, fields, change in (
        ("new", {"priority": "high", "message": "Hi"}, {}),
        ("mine", {"category": "billing"}, {"adminId": admin.id}),
        ("theirs", {"message": "Hi"}, {"adminId": colleague.id, "status": "pending"}),
        ("done", {"priority": "high", "message": "Hi"}, {"status": "closed", "read": True}),
        ("old", {"priority": "low"}, {"status": "archived", "adminId": admin.id}),
    ):
        chat = make_caller("user").open_chat(subject=name, **fields)
        if change:
            admin.patch(f"/api/chat/{chat['_id']}", change)
        chats[chat["_id"]] = name
    return chats | {"colleague": str(colleague.id)}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"new", "mine", "theirs", "done", "old"}),
        ("status=active", {"new", "mine"}),
        ("status=active&status=pending", {"new", "mine", "theirs"}),
        ("status=closed", {"done"}),
        ("status=archived", {"old"}),
        ("priority=high", {"new", "done"}),
        ("priority=high&priority=low", {"new", "done", "old"}),
        ("priority=urgent", set()),
        ("category=billing", {"mine"}),
        ("category=general&category=billing", {"new", "mine", "theirs", "done", "old"}),
        ("assigned=me", {"mine", "old"}),
        ("assigned=none", {"new", "done"}),
        ("assigned=COLLEAGUE", {"theirs"}),
        ("assigned=0123456789abcdef01234567", set()),
        ("unread=true", {"new", "theirs"}),
        ("unread=false", {"mine", "done", "old"}),
        ("q=don", {"done"}),
        ("status=active&priority=high", {"new"}),
        ("assigned=none&unread=true", {"new"}),
        ("assigned=me&status=archived&priority=low&category=general&unread=false&q=ol", {"old"}),
        ("assigned=me&status=closed", set()),
        ("unread=true&q=mine", set()),
    ],
)
def test_filters_narrow_the_list(
    query: str, expected: set[str], inbox: dict[str, str], admin: Caller
) -> None:
    answer = admin.get(f"/api/chat?{query.replace('COLLEAGUE', inbox['colleague'])}")
    assert {inbox[chat] for chat in ids(answer)} == expected


def test_a_user_filters_their_own_chats(user: Caller, admin: Caller) -> None:
    closed = user.open_chat(subject="First")
    admin.patch(f"/api/chat/{closed['_id']}", {"message": "Bye", "status": "closed"})
    active = user.open_chat(subject="Second")
    assert ids(user.get("/api/chat?status=closed")) == [closed["_id"]]
    assert ids(user.get("/api/chat?unread=true")) == [closed["_id"]]
    assert ids(user.get("/api/chat?unread=false")) == [active["_id"]]
    assert ids(user.get("/api/chat?q=sec")) == [active["_id"]]
    assert ids(user.get("/api/chat?assigned=me")) == []
    assert ids(user.get("/api/chat?assigned=none&status=active")) == [active["_id"]]


@pytest.mark.parametrize(
    ("subject", "found_by", "not_by"),
    [
        ("Où est ma commande", ["ou", "OÙ", "comma", "est où", "Commande ma"], ["mande", "oub"]),
        ("Straße gesperrt", ["strasse", "STRASSE", "straße"], ["rasse"]),
        ("İstanbul şubesi", ["istanbul", "İSTANBUL", "subesi"], ["tanbul"]),
        ("أين طلبي من المتجر", ["طلبي", "المتجر", "أين"], ["طلبك"]),
        ("订单没有到货", ["订单", "没有", "到货", "货"], ["退货"]),
        ("注文が届かない", ["注文", "届か", "かない"], ["返品"]),
        ("Broken 📦 box", ["box", "broken box", "📦 box"], ["📦"]),
        (
            "Price (50% off)? [a.*]",
            ["50", "off", "(50%", "[a.*]", "a"],
            ["^rice", "p.ice", "(50% on)"],
        ),
        ("Café déjà vu", ["cafe", "CAFÉ", "cafe\u0301", "deja vu"], ["vue"]),
    ],
)
def test_search_finds_words_in_any_script_and_spelling(
    subject: str, found_by: list[str], not_by: list[str], user: Caller, admin: Caller
) -> None:
    chat = user.open_chat(subject=subject)
    for q in found_by:
        found = admin.call("GET", "/api/chat", query_string={"q": q})
        assert ids(found) == [chat["_id"]], q
    for q in not_by:
        assert ids(admin.call("GET", "/api/chat", query_string={"q": q})) == [], q


@pytest.mark.parametrize("q", [".*", "^", "$", "(", "[", "\\", "*", "{$ne:1}", "😀", "%", "_", "|"])
def test_signs_alone_find_nothing_and_break_nothing(q: str, user: Caller, admin: Caller) -> None:
    user.open_chat(subject="Help")
    assert ids(admin.call("GET", "/api/chat", query_string={"q": q})) == []


def test_search_looks_at_the_users_name_and_email(
    make_caller: MakeCaller, make_user: MakeUser, admin: Caller
) -> None:
    chat = make_caller(user=make_user("Zoë Ångström", email="zo@nordic.example")).open_chat()
    make_caller("user").open_chat()
    for q in ("zoe", "angstrom", "nordic", "zo@nordic.example", "zoe help"):
        assert ids(admin.call("GET", "/api/chat", query_string={"q": q})) == [chat["_id"]], q
    for q in (" ", ""):
        assert len(ids(admin.call("GET", "/api/chat", query_string={"q": q}))) == 2


def test_search_is_no_way_into_other_peoples_chats(user: Caller, other: Caller) -> None:
    user.open_chat(subject="Secret plans")
    assert ids(other.get("/api/chat?q=secret")) == []


def test_the_unread_total_counts_the_messages_of_all_pages(
    user: Caller, other: Caller, admin: Caller, make_caller: MakeCaller
) -> None:
    def total(person: Caller, query: str = "") -> str:
        return person.get(f"/api/chat{query}").headers["X-Unread-Total"]

    assert total(admin) == total(user) == "0"
    chat = user.open_chat(message="One")
    user.say(chat, "Two")
    other.open_chat(message="Three")
    assert total(admin) == total(admin, "?limit=1") == total(admin, "?status=closed") == "3"
    assert total(make_caller("admin")) == "3"
    assert total(user) == "0"
    admin.say(chat, "Hello")
    assert (total(user), total(other)) == ("1", "0")
    admin.patch(f"/api/chat/{chat['_id']}", {"read": True})
    assert total(admin) == "1"
    user.patch(f"/api/chat/{chat['_id']}", {"read": True})
    assert total(user) == "0"


def test_ids_are_those_of_the_database(user: Caller) -> None:
    assert all(ObjectId.is_valid(chat) for chat in ids(user.get("/api/chat")))


def test_a_filter_takes_a_category_that_only_stored_chats_have(user: Caller, admin: Caller) -> None:
    chat = user.open_chat(category="billing")
    categories.configure(["general"])
    assert ids(admin.get("/api/chat?category=billing")) == [chat["_id"]]
    assert ids(admin.get("/api/chat?category=general")) == []
    body = refused(admin.get("/api/chat?category=support"), 422, "validation_failed")
    assert body["fields"]["category"] == ["Must be one of: general; or a category that a chat has."]


def test_a_list_shows_each_chat_as_it_is_now_to_each_side(user: Caller, admin: Caller) -> None:
    chat = user.post("/api/chat", {"subject": "Where is my parcel?"}).json
    path = f"/api/chat/{chat['_id']}"
    steps: list[Callable[[], Any]] = [
        lambda: user.post(f"{path}/messages", {"content": "Hello"}),
        lambda: admin.patch(path, {"message": "Good morning", "read": True}),
        lambda: admin.patch(path, {"priority": "urgent", "adminId": admin.id}),
        lambda: user.post(f"{path}/solved"),
        lambda: admin.patch(path, {"status": "closed"}),
    ]
    for step in steps:
        assert step().status_code < 300
        shown = []
        for caller in (user, admin, user):
            now = caller.get(path).json
            del now["messages"]
            assert caller.get("/api/chat").json == [now]
            shown.append(now["unreadCount"])
        assert shown[0] == shown[2]


def test_a_list_that_is_read_again_renders_what_has_changed(
    make_caller: MakeCaller, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = [
        make_caller("user").post("/api/chat", {"subject": f"Subject {number}"}).json
        for number in range(3)
    ]
    rendered: list[str] = []

    def counted(shown: dict[str, Any]) -> str:
        rendered.append(shown["_id"])
        return json_text(shown)

    monkeypatch.setattr("chatapi.user_api.chats.json_text", counted)
    admin.get("/api/chat")
    assert set(rendered) == {chat["_id"] for chat in opened}
    rendered.clear()
    admin.patch(f"/api/chat/{opened[1]['_id']}", {"priority": "urgent"})
    admin.get("/api/chat")
    assert rendered == [opened[1]["_id"]]
