"""Chats: opening, reading, changing and deleting them."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo.database import Database

from chatapi.domain.enums import Role
from chatapi.store.database import Document
from tests.user_api.callers import Caller, MakeCaller, object_id, refused, stored

CHAT = {
    "_id", "userId", "userName", "userEmail", "userImage", "userRole", "adminId", "adminName",
    "adminImage", "subject", "category", "priority", "status", "createdAt", "updatedAt",
    "lastMessageAt", "lastMessage", "messageCount", "lastSeq", "unreadCount", "solvedAt",
    "userEmailVerified",
}  # fmt: skip


def path_of(chat: Any) -> str:
    return f"/api/chat/{chat['_id']}"


def row_of(database: Database[Document], chat: Any) -> Document:
    """Return a chat as it is stored."""
    row = database["chatrooms"].find_one({"_id": object_id(chat["_id"])})
    assert row is not None
    return row


@pytest.mark.parametrize("role", ["user", "guest"])
def test_a_user_or_guest_opens_a_chat(
    role: Role, make_caller: MakeCaller, database: Database[Document]
) -> None:
    person = make_caller(role)
    answer = person.post("/api/chat", {"subject": "  Where is my parcel?  "})
    assert answer.status_code == 201
    chat = answer.json
    assert set(chat) == CHAT | {"messages"}
    assert chat["subject"] == "Where is my parcel?"
    assert (chat["status"], chat["priority"], chat["category"]) == ("active", "medium", "general")
    assert (chat["userId"], chat["userEmail"], chat["userRole"]) == (
        person.id,
        person.email,
        role,
    )
    assert (chat["messages"], chat["lastMessage"], chat["messageCount"]) == ([], None, 0)
    assert chat["adminId"] is chat["adminName"] is None
    assert row_of(database, chat)["userId"] == object_id(chat["userId"])


def test_a_chat_is_opened_with_its_first_message(user: Caller, admin: Caller) -> None:
    body = {
        "subject": "Parcel",
        "category": "billing",
        "priority": "urgent",
        "message": " Hello\nthere ",
        "clientMessageId": "a",
    }
    chat = user.post("/api/chat", body).json
    assert (chat["category"], chat["priority"]) == ("billing", "urgent")
    (message,) = chat["messages"]
    assert (message["seq"], message["content"]) == (1, "Hello\nthere")
    assert (message["senderRole"], message["senderId"]) == ("user", user.id)
    assert message["clientMessageId"] == "a"
    assert chat["lastMessage"]["content"] == "Hello\nthere"
    assert chat["lastMessageAt"] == message["timestamp"]
    assert chat["unreadCount"] == 0
    assert admin.get(path_of(chat)).json["unreadCount"] == 1


def test_an_agent_opens_no_chat(admin: Caller, database: Database[Document]) -> None:
    refused(admin.post("/api/chat", {"subject": "Help"}), 403, "forbidden")
    assert database["chatrooms"].count_documents({}) == 0


@pytest.mark.parametrize("status", ["active", "pending"])
def test_a_second_chat_is_refused_while_one_is_open(
    status: str, user: Caller, admin: Caller, database: Database[Document]
) -> None:
    chat = user.open_chat()
    admin.patch(path_of(chat), {"status": status})
    before = stored(database)
    answer = user.post("/api/chat", {"subject": "Again", "message": "Hello"})
    assert refused(answer, 409, "chat_open")["chatId"] == chat["_id"]
    assert stored(database) == before


@pytest.mark.parametrize("status", ["closed", "archived"])
def test_a_second_chat_is_opened_when_the_first_is_over(
    status: str, user: Caller, admin: Caller
) -> None:
    first = user.open_chat()
    admin.patch(path_of(first), {"status": status})
    second = user.open_chat()
    assert second["_id"] != first["_id"]
    assert len(user.get("/api/chat").json) == 2


@pytest.mark.parametrize("message", [None, "Hello"])
def test_opening_again_with_the_same_client_message_id_returns_the_first_chat(
    message: str | None, user: Caller, database: Database[Document]
) -> None:
    body = {"subject": "Help", "message": message, "clientMessageId": "once"}
    first = user.post("/api/chat", body)
    before = stored(database)
    second = user.post("/api/chat", body)
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json == first.json
    assert stored(database) == before


def test_a_late_retry_of_opening_opens_no_second_chat(
    user: Caller, admin: Caller, database: Database[Document]
) -> None:
    body = {"subject": "Help", "message": "Hello", "clientMessageId": "once"}
    chat = user.post("/api/chat", body).json
    admin.patch(path_of(chat), {"status": "closed"})
    again = user.post("/api/chat", body)
    assert (again.status_code, again.json["_id"]) == (200, chat["_id"])
    assert database["chatrooms"].count_documents({}) == 1


def test_a_chat_shows_its_newest_messages_ascending(user: Caller, admin: Caller) -> None:
    chat = user.open_chat()
    for number in range(1, 6):
        user.say(chat, f"Message {number}")
    for person in (user, admin):
        shown = person.get(f"{path_of(chat)}?messages=3").json
        assert set(shown) == CHAT | {"messages"}
        assert [message["seq"] for message in shown["messages"]] == [3, 4, 5]
    assert user.get(f"{path_of(chat)}?messages=0").json["messages"] == []
    assert len(user.get(path_of(chat)).json["messages"]) == 5
    refused(user.get(f"{path_of(chat)}?messages=201"), 422, "validation_failed", "messages")


def test_the_fifty_newest_messages_are_shown_by_default(user: Caller) -> None:
    chat = user.open_chat()
    for _ in range(51):
        user.say(chat)
    seqs = [message["seq"] for message in user.get(path_of(chat)).json["messages"]]
    assert seqs == list(range(2, 52))


def test_an_agent_sets_everything_at_once(
    user: Caller, admin: Caller, database: Database[Document]
) -> None:
    chat = user.open_chat(message="Hello")
    body = {
        "status": "pending",
        "priority": "high",
        "category": "technical",
        "adminId": admin.id,
        "message": "On it",
        "read": True,
    }
    answer = admin.patch(path_of(chat), body)
    assert answer.status_code == 200
    shown = answer.json
    assert {name: shown[name] for name in ("status", "priority", "category", "adminId")} == {
        name: body[name] for name in ("status", "priority", "category", "adminId")
    }
    assert shown["adminName"].startswith("Admin")
    assert [message["content"] for message in shown["messages"]] == ["On it"]
    assert shown["messages"][0]["senderRole"] == "admin"
    assert shown["unreadCount"] == 0
    row = row_of(database, chat)
    assert (row["status"], row["priority"], row["lastSeq"]) == ("pending", "high", 2)
    assert user.get(path_of(chat)).json["adminName"] == shown["adminName"]


@pytest.mark.parametrize(
    "change",
    [
        {"status": "closed"},
        {"priority": "urgent"},
        {"category": "billing"},
        {"adminId": None},
        {"status": "active"},
    ],
    ids=str,
)
@pytest.mark.parametrize("role", ["user", "guest"])
def test_a_user_or_guest_cannot_change_the_chat_itself(
    change: dict[str, Any], role: Role, make_caller: MakeCaller, database: Database[Document]
) -> None:
    person = make_caller(role)
    chat = person.open_chat(message="Hello")
    before = stored(database)
    refused(person.patch(path_of(chat), change), 403, "admin_only")
    refused(person.patch(path_of(chat), change | {"message": "Hi"}), 403, "admin_only")
    assert stored(database) == before


def test_user_cannot_close_a_chat(user: Caller, admin: Caller) -> None:
    chat = user.open_chat()
    refused(user.patch(path_of(chat), {"status": "closed"}), 403, "admin_only")
    assert user.get(path_of(chat)).json["status"] == "active"
    assert admin.patch(path_of(chat), {"status": "closed"}).json["status"] == "closed"


def test_nothing_is_applied_if_the_assignment_is_refused(
    user: Caller, other: Caller, admin: Caller, database: Database[Document]
) -> None:
    chat = user.open_chat(message="Hello")
    before = stored(database)
    for admin_id in (other.id, "x", "", "0" * 24, user.id):
        body = {"adminId": admin_id, "status": "closed", "message": "Bye", "read": True}
        answer = admin.patch(path_of(chat), body)
        refused(answer, 422, "validation_failed", "adminId")
    assert stored(database) == before


def test_a_disabled_agent_cannot_be_assigned(
    user: Caller, admin: Caller, make_caller: MakeCaller
) -> None:
    former = make_caller("admin")
    chat = user.open_chat()
    assert admin.patch(path_of(chat), {"adminId": former.id}).status_code == 200
    admin.patch(f"/api/admin/users/{former.id}", {"disabled": True})
    answer = admin.patch(path_of(chat), {"adminId": former.id, "priority": "low"})
    refused(answer, 422, "validation_failed", "adminId")
    assert admin.get(path_of(chat)).json["priority"] == "medium"


@pytest.mark.parametrize("status", ["closed", "archived"])
@pytest.mark.parametrize("role", ["user", "admin"])
def test_nothing_is_applied_if_the_message_is_refused_by_a_closed_chat(
    status: str, role: Role, user: Caller, admin: Caller, database: Database[Document]
) -> None:
    chat = user.open_chat(message="Hello")
    admin.patch(path_of(chat), {"status": status})
    before = stored(database)
    bodies: list[dict[str, Any]] = [{"message": "Hi"}, {"message": "Hi", "read": True}]
    if role == "admin":
        bodies += [{"message": "Hi", "priority": "low"}, {"message": "Hi", "status": "archived"}]
    for body in bodies:
        answer = {"user": user, "admin": admin}[role].patch(path_of(chat), body)
        assert refused(answer, 409, "chat_closed")["chatStatus"] == status
    assert stored(database) == before


def test_an_agent_closes_with_a_last_message_and_reopens_with_a_first(
    user: Caller, admin: Caller
) -> None:
    chat = user.open_chat(message="Hello")
    closed = admin.patch(path_of(chat), {"status": "closed", "message": "Bye"}).json
    assert (closed["status"], closed["lastSeq"]) == ("closed", 2)
    opened = admin.patch(path_of(chat), {"status": "active", "message": "Hello again"}).json
    assert (opened["status"], opened["lastSeq"]) == ("active", 3)
    contents = [message["content"] for message in user.get(path_of(chat)).json["messages"]]
    assert contents == ["Hello", "Bye", "Hello again"]


def test_a_chat_is_not_reopened_beside_another_open_one(
    user: Caller, admin: Caller, database: Database[Document]
) -> None:
    first = user.open_chat(message="Hello")
    admin.patch(path_of(first), {"status": "closed"})
    second = user.open_chat()
    before = stored(database)
    for body in ({"status": "active"}, {"status": "pending", "message": "Hi", "priority": "low"}):
        answer = admin.patch(path_of(first), body)
        assert refused(answer, 409, "chat_open")["chatId"] == second["_id"]
    assert stored(database) == before
    admin.patch(path_of(second), {"status": "archived"})
    assert admin.patch(path_of(first), {"status": "active"}).json["status"] == "active"


def test_an_assignment_can_be_taken_back(user: Caller, admin: Caller) -> None:
    chat = user.open_chat()
    admin.patch(path_of(chat), {"adminId": admin.id})
    shown = admin.patch(path_of(chat), {"adminId": None}).json
    assert shown["adminId"] is shown["adminName"] is shown["adminImage"] is None


def test_a_patch_with_a_repeated_client_message_id_changes_nothing(
    user: Caller, admin: Caller, database: Database[Document]
) -> None:
    chat = user.open_chat()
    body = {"message": "Bye", "clientMessageId": "once", "status": "closed", "priority": "low"}
    first = admin.patch(path_of(chat), body).json
    admin.patch(path_of(chat), {"priority": "high"})
    before = stored(database)
    second = admin.patch(path_of(chat), body).json
    assert second["messages"] == first["messages"]
    assert second["priority"] == "high"
    assert stored(database) == before


def test_an_empty_patch_changes_nothing(user: Caller, database: Database[Document]) -> None:
    chat = user.open_chat(message="Hello")
    before = stored(database)
    bodies: tuple[dict[str, Any] | None, ...] = ({}, None)
    for body in bodies:
        answer = user.patch(path_of(chat), body)
        assert answer.status_code == 200
        assert answer.json["messages"] == []
    assert stored(database) == before


def test_last_message_at_moves_only_with_a_message(user: Caller, admin: Caller) -> None:
    chat = user.open_chat(message="Hello")
    at = chat["lastMessageAt"]
    for body in ({"priority": "low"}, {"adminId": admin.id}, {"read": True}, {"status": "closed"}):
        assert admin.patch(path_of(chat), body).json["lastMessageAt"] == at
    opened = admin.patch(path_of(chat), {"status": "active", "message": "Hi"}).json
    assert opened["lastMessageAt"] == opened["messages"][0]["timestamp"]


def test_an_agent_deletes_a_chat_for_good(
    user: Caller, admin: Caller, database: Database[Document]
) -> None:
    chat = user.open_chat(message="Hello")
    answer = admin.delete(path_of(chat))
    assert (answer.status_code, answer.data) == (204, b"")
    for name in ("chatrooms", "messages", "deletions"):
        assert database[name].count_documents({}) == 0
    for person in (user, admin):
        refused(person.get(path_of(chat)), 404, "not_found")
    refused(admin.delete(path_of(chat)), 404, "not_found")
    assert user.open_chat()


def test_user_cannot_delete_their_own_chat(user: Caller) -> None:
    chat = user.open_chat(message="Hello")
    refused(user.delete(path_of(chat)), 403, "admin_only")
    assert user.get(path_of(chat)).json["messageCount"] == 1
