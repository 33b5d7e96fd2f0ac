"""Many chats at once, and numbers over all of them."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo.database import Database

from chatapi.store.database import Document
from tests.user_api.callers import UNKNOWN_ID, Caller, MakeCaller, refused, stored

BULK = "/api/admin/chats/bulk"


def results(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json["results"]
    assert all(set(row) == {"_id", "ok", "problem"} for row in found)
    return found


def test_the_same_change_is_made_to_many_chats(admin: Caller, make_caller: MakeCaller) -> None:
    chats = [make_caller("guest").open_chat()["_id"] for _ in range(3)]
    body = {
        "ids": chats[:2],
        "status": "pending",
        "priority": "high",
        "category": "billing",
        "adminId": admin.id,
    }
    assert results(admin.post(BULK, body)) == [
        {"_id": chat, "ok": True, "problem": None} for chat in chats[:2]
    ]
    for chat in chats[:2]:
        shown = admin.get(f"/api/chat/{chat}").json
        assert {name: shown[name] for name in body if name != "ids"} == {
            name: value for name, value in body.items() if name != "ids"
        }
    assert admin.get(f"/api/chat/{chats[2]}").json["status"] == "active"


def test_each_id_gets_its_own_result(admin: Caller, user: Caller, other: Caller) -> None:
    old = user.open_chat()
    admin.patch(f"/api/chat/{old['_id']}", {"status": "closed"})
    new, theirs = user.open_chat(), other.open_chat()
    ids = [old["_id"], "x", UNKNOWN_ID, theirs["_id"], ""]
    found = results(admin.post(BULK, {"ids": ids, "status": "active", "priority": "low"}))
    assert [row["_id"] for row in found] == ids
    assert [row["ok"] for row in found] == [False, False, False, True, False]
    assert [row["problem"] and row["problem"]["code"] for row in found] == [
        "chat_open",
        "not_found",
        "not_found",
        None,
        "not_found",
    ]
    assert found[0]["problem"]["chatId"] == new["_id"]
    assert found[0]["problem"]["status"] == 409
    assert admin.get(f"/api/chat/{old['_id']}").json["priority"] == "medium"
    assert admin.get(f"/api/chat/{theirs['_id']}").json["priority"] == "low"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"status": "gone"}, "status"),
        ({"priority": 1}, "priority"),
        ({"category": "none"}, "category"),
        ({"adminId": "x"}, "adminId"),
        ({"adminId": UNKNOWN_ID}, "adminId"),
        ({"status": "closed", "adminId": "x"}, "adminId"),
        ({"message": "Bye"}, "message"),
        ({}, "body"),
    ],
    ids=str,
)
def test_nothing_is_changed_if_the_change_itself_is_refused(
    body: dict[str, Any],
    field: str,
    admin: Caller,
    user: Caller,
    database: Database[Document],
) -> None:
    chat = user.open_chat()
    before = stored(database)
    answer = admin.post(BULK, {"ids": [chat["_id"]], **body})
    refused(answer, 422, "validation_failed", field)
    assert stored(database) == before


def test_two_hundred_ids_are_taken_and_one_more_is_refused(admin: Caller) -> None:
    body = {"status": "closed"}
    assert len(results(admin.post(BULK, body | {"ids": [UNKNOWN_ID] * 200}))) == 200
    answer = admin.post(BULK, body | {"ids": [UNKNOWN_ID] * 201})
    refused(answer, 422, "validation_failed", "ids")


def test_an_id_may_stand_twice(admin: Caller, user: Caller) -> None:
    chat = user.open_chat()
    found = results(admin.post(BULK, {"ids": [chat["_id"]] * 2, "status": "closed"}))
    assert [row["ok"] for row in found] == [True, True]


def test_the_numbers_agree_with_the_chats(
    admin: Caller, user: Caller, other: Caller, guest: Caller
) -> None:
    chat = user.open_chat(message="One", category="billing")
    user.say(chat, "Two")
    other.open_chat(priority="urgent", message="Three")
    guest.open_chat()
    admin.patch(f"/api/chat/{chat['_id']}", {"status": "pending", "adminId": admin.id})
    answer = admin.get("/api/admin/stats")
    assert answer.status_code == 200
    assert answer.json == {
        "status": {"active": 2, "pending": 1, "closed": 0, "archived": 0},
        "priority": {"low": 0, "medium": 2, "high": 0, "urgent": 1},
        "category": {"general": 2, "support": 0, "billing": 1, "technical": 0, "other": 0},
        "total": 3,
        "unread": 2,
        "unreadMessages": 3,
        "unassigned": 2,
    }


def test_the_numbers_of_nothing_are_zero(admin: Caller) -> None:
    body = admin.get("/api/admin/stats").json
    assert body["total"] == body["unread"] == body["unassigned"] == body["unreadMessages"] == 0
