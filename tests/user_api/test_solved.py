"""A user says that a chat is solved; the status stays the agents' to change."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo.database import Database

from chatapi.domain.enums import Role
from chatapi.store.database import Document
from tests.user_api.callers import Caller, MakeCaller, object_id, refused, stored


def path_of(chat: Any, below: str = "") -> str:
    return f"/api/chat/{chat['_id']}{below}"


def listed(caller: Caller, solved: str) -> list[str]:
    return [chat["_id"] for chat in caller.get(f"/api/chat?solved={solved}").json]


@pytest.mark.parametrize("role", ["user", "guest"])
def test_the_owner_marks_a_chat_as_solved(
    role: Role, make_caller: MakeCaller, admin: Caller
) -> None:
    owner = make_caller(role)
    chat = owner.open_chat(message="Where is it?")
    assert chat["solvedAt"] is None
    assert owner.post(path_of(chat, "/solved")).status_code == 204
    for caller in (owner, admin):
        shown = caller.get(path_of(chat)).json
        assert shown["solvedAt"] >= chat["createdAt"]
        assert (shown["status"], shown["lastMessageAt"]) == ("active", chat["lastMessageAt"])


def test_marking_it_again_changes_nothing(user: Caller, database: Database[Document]) -> None:
    chat = user.open_chat()
    user.post(path_of(chat, "/solved"))
    before = stored(database)
    assert user.post(path_of(chat, "/solved")).status_code == 204
    assert stored(database) == before


def test_only_the_owner_marks_it(
    user: Caller, other: Caller, admin: Caller, anonymous: Caller, database: Database[Document]
) -> None:
    chat = user.open_chat()
    before = stored(database)
    refused(other.post(path_of(chat, "/solved")), 403, "not_your_chat")
    refused(admin.post(path_of(chat, "/solved")), 403, "forbidden")
    refused(anonymous.post(path_of(chat, "/solved")), 401, "not_signed_in")
    refused(user.post("/api/chat/0123456789abcdef01234567/solved"), 404, "not_found")
    assert stored(database) == before


@pytest.mark.parametrize("status", ["closed", "archived"])
def test_a_closed_chat_is_not_marked(user: Caller, admin: Caller, status: str) -> None:
    chat = user.open_chat()
    admin.patch(path_of(chat), {"status": status})
    body = refused(user.post(path_of(chat, "/solved")), 409, "chat_closed")
    assert body["chatStatus"] == status
    assert user.get(path_of(chat)).json["solvedAt"] is None


def test_the_users_next_message_clears_it_and_an_agents_does_not(
    user: Caller, admin: Caller
) -> None:
    chat = user.open_chat()
    user.post(path_of(chat, "/solved"))
    admin.say(chat, "Good to hear!")
    assert admin.get(path_of(chat)).json["solvedAt"] is not None
    user.say(chat, "One more thing")
    assert admin.get(path_of(chat)).json["solvedAt"] is None


@pytest.mark.parametrize("body", [{}, {"message": "What else can we do?"}])
def test_a_reopening_clears_it_and_a_closing_keeps_it(
    user: Caller, admin: Caller, body: dict[str, str]
) -> None:
    chat = user.open_chat()
    user.post(path_of(chat, "/solved"))
    assert admin.patch(path_of(chat), {"status": "closed"}).json["solvedAt"] is not None
    reopened = admin.patch(path_of(chat), body | {"status": "active"}).json
    assert (reopened["status"], reopened["solvedAt"]) == ("active", None)


def test_a_list_is_narrowed_to_chats_that_are_solved_or_not(
    user: Caller, other: Caller, admin: Caller, database: Database[Document]
) -> None:
    solved, unsolved = user.open_chat(), other.open_chat()
    # As an older release has stored it.
    database["chatrooms"].update_one(
        {"_id": object_id(unsolved["_id"])}, {"$unset": {"solvedAt": ""}}
    )
    user.post(path_of(solved, "/solved"))
    assert (listed(admin, "true"), listed(admin, "false")) == ([solved["_id"]], [unsolved["_id"]])
    assert (listed(user, "true"), listed(user, "false")) == ([solved["_id"]], [])
    assert listed(other, "true") == []
    refused(admin.get("/api/chat?solved=perhaps"), 422, "validation_failed", field="solved")


def test_a_chat_of_an_older_release_is_marked_and_changed_as_any_other(
    user: Caller, admin: Caller, database: Database[Document]
) -> None:
    chat = user.open_chat()
    database["chatrooms"].update_one({}, {"$unset": {"solvedAt": ""}})
    assert admin.get(path_of(chat)).json["solvedAt"] is None
    user.say(chat)
    assert user.post(path_of(chat, "/solved")).status_code == 204
    assert admin.get(path_of(chat)).json["solvedAt"] is not None
