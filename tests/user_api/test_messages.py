"""Messages: sending, reading and deleting them."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo.database import Database

from chatapi.store.database import Document
from tests.user_api.callers import Caller, refused, stored

MESSAGE = {
    "_id", "chatId", "seq", "clientMessageId", "senderId", "senderName", "senderImage",
    "senderRole", "content", "timestamp", "isRead", "deletedAt",
}  # fmt: skip


def messages_of(chat: Any) -> str:
    return f"/api/chat/{chat['_id']}/messages"


def seqs(answer: Any) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [message["seq"] for message in answer.json]


def test_a_message_is_added_under_the_next_number(
    user: Caller, admin: Caller, database: Database[Document]
) -> None:
    chat = user.open_chat(message="Hello")
    answer = admin.post(messages_of(chat), {"content": "  Hi\n\tAna  ", "clientMessageId": "a"})
    assert answer.status_code == 201
    message = answer.json
    assert set(message) == MESSAGE
    assert (message["seq"], message["content"], message["chatId"]) == (2, "Hi\n\tAna", chat["_id"])
    assert (message["senderId"], message["senderRole"]) == (admin.id, "admin")
    assert (message["isRead"], message["deletedAt"]) == (False, None)
    assert user.get(messages_of(chat)).json[1] == message
    row = database["chatrooms"].find_one()
    assert row is not None
    assert (row["lastSeq"], row["lastMessage"]["content"]) == (2, "Hi\n\tAna")


@pytest.mark.parametrize(
    "content",
    ["é", "e\u0301", "مرحبا", "你好", "👩‍👩‍👧‍👦", "<b>$ne</b>", "a\u202eb", "{{7*7}}", "'; --"],
)
def test_any_text_comes_back_as_it_was_sent(content: str, user: Caller) -> None:
    chat = user.open_chat()
    assert user.say(chat, content)["content"] == content
    assert user.get(messages_of(chat)).json[0]["content"] == content


@pytest.mark.parametrize(("length", "status"), [(1, 201), (5000, 201), (5001, 422)])
def test_a_message_has_one_to_five_thousand_characters(
    length: int, status: int, user: Caller
) -> None:
    chat = user.open_chat()
    answer = user.post(messages_of(chat), {"content": f" {'😀' * length} "})
    assert answer.status_code == status
    assert user.get(f"/api/chat/{chat['_id']}").json["messageCount"] == (status == 201)


@pytest.mark.parametrize("field", ["senderRole", "senderName", "senderId", "seq", "timestamp"])
def test_the_sender_is_never_taken_from_the_body(
    field: str, user: Caller, database: Database[Document]
) -> None:
    chat = user.open_chat()
    before = stored(database)
    answer = user.post(messages_of(chat), {"content": "Hi", field: "admin"})
    refused(answer, 422, "validation_failed", field)
    assert stored(database) == before


@pytest.mark.parametrize("status", ["closed", "archived"])
def test_nothing_is_added_to_a_closed_chat_by_anybody(
    status: str, user: Caller, admin: Caller, database: Database[Document]
) -> None:
    chat = user.open_chat(message="Hello")
    admin.patch(f"/api/chat/{chat['_id']}", {"status": status})
    before = stored(database)
    for person in (user, admin):
        answer = person.post(messages_of(chat), {"content": "Hi"})
        assert refused(answer, 409, "chat_closed")["chatStatus"] == status
    assert stored(database) == before
    assert seqs(user.get(messages_of(chat))) == [1]


def test_a_retry_returns_the_first_message_and_changes_nothing(
    user: Caller, admin: Caller, database: Database[Document]
) -> None:
    chat = user.open_chat()
    first = user.post(messages_of(chat), {"content": "Hi", "clientMessageId": "once"})
    admin.say(chat, "Hello")
    before = stored(database)
    again = user.post(messages_of(chat), {"content": "Other", "clientMessageId": "once"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json == first.json
    assert stored(database) == before


def test_a_retry_after_the_closing_still_returns_the_first_message(
    user: Caller, admin: Caller
) -> None:
    chat = user.open_chat()
    body = {"content": "Hi", "clientMessageId": "once"}
    first = user.post(messages_of(chat), body).json
    admin.patch(f"/api/chat/{chat['_id']}", {"status": "closed"})
    again = user.post(messages_of(chat), body)
    assert (again.status_code, again.json) == (200, first)
    answer = user.post(messages_of(chat), body | {"clientMessageId": "new"})
    refused(answer, 409, "chat_closed")


def test_a_client_message_id_belongs_to_its_sender_and_its_chat(
    user: Caller, other: Caller, admin: Caller
) -> None:
    body = {"content": "Hi", "clientMessageId": "same"}
    mine, theirs = user.open_chat(), other.open_chat()
    answers = [
        user.post(messages_of(mine), body),
        admin.post(messages_of(mine), body),
        other.post(messages_of(theirs), body),
        admin.post(messages_of(theirs), body),
    ]
    assert [answer.status_code for answer in answers] == [201] * 4


def test_a_client_message_id_is_the_same_in_patch_and_post(user: Caller) -> None:
    chat = user.open_chat()
    patched = user.patch(
        f"/api/chat/{chat['_id']}", {"message": "Hi", "clientMessageId": "once"}
    ).json["messages"][0]
    posted = user.post(messages_of(chat), {"content": "Hi", "clientMessageId": "once"})
    assert (posted.status_code, posted.json) == (200, patched)


def test_messages_without_a_client_message_id_are_all_kept(user: Caller) -> None:
    chat = user.open_chat()
    for body in ({"content": "Hi"}, {"content": "Hi"}, {"content": "Hi", "clientMessageId": None}):
        assert user.post(messages_of(chat), body).status_code == 201
    assert seqs(user.get(messages_of(chat))) == [1, 2, 3]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("?limit=3", [7, 8, 9]),
        ("?before=4", [1, 2, 3]),
        ("?before=4&limit=2", [2, 3]),
        ("?before=1", []),
        ("?before=2147483647&limit=1", [9]),
        ("?after=0&limit=2", [1, 2]),
        ("?after=7", [8, 9]),
        ("?after=9", []),
        ("?after=100", []),
        ("?after=2&before=6", [3, 4, 5]),
        ("?after=2&before=9&limit=2", [3, 4]),
        ("?after=6&before=3", []),
        ("?after=8&wait=0", [9]),
    ],
)
def test_history_is_a_range_of_numbers(query: str, expected: list[int], user: Caller) -> None:
    chat = user.open_chat()
    for _ in range(9):
        user.say(chat)
    assert seqs(user.get(messages_of(chat) + query)) == expected


@pytest.mark.parametrize(
    "query",
    ["before=0", "before=-1", "after=-1", "limit=0", "limit=201", "wait=26", "before=x",
     "after=1.5", "limit=1e2", "before=99999999999999999999", "after=", "limit=1_0"],
)  # fmt: skip
def test_a_range_that_is_none_is_refused(query: str, user: Caller) -> None:
    chat = user.open_chat()
    field = query.split("=", maxsplit=1)[0]
    refused(user.get(f"{messages_of(chat)}?{query}"), 422, "validation_failed", field)


def test_walking_back_meets_every_message_once_while_new_ones_come(
    user: Caller, admin: Caller
) -> None:
    chat = user.open_chat()
    for _ in range(10):
        user.say(chat)
    met: list[int] = []
    before = ""
    while page := seqs(user.get(f"{messages_of(chat)}?limit=3{before}")):
        met = page + met
        before = f"&before={page[0]}"
        admin.say(chat, "News")
    assert met == list(range(1, 11))


def test_reading_marks_the_other_sides_messages(user: Caller, admin: Caller) -> None:
    chat = user.open_chat(message="One")
    user.say(chat, "Two")
    admin.say(chat, "Three")
    path = f"/api/chat/{chat['_id']}"
    assert admin.get(path).json["unreadCount"] == 2
    answer = admin.post(f"{path}/read", {"seq": 1})
    assert (answer.status_code, answer.data) == (204, b"")
    assert admin.get(path).json["unreadCount"] == 1
    read = {message["seq"]: message["isRead"] for message in user.get(path).json["messages"]}
    assert read == {1: True, 2: False, 3: False}
    assert user.get(path).json["unreadCount"] == 1
    user.post(f"{path}/read", {"seq": 3})
    assert user.get(path).json["unreadCount"] == 0
    assert admin.get(path).json["messages"][2]["isRead"] is True


def test_reading_never_moves_backwards(
    user: Caller, admin: Caller, database: Database[Document]
) -> None:
    chat = user.open_chat(message="One")
    user.say(chat, "Two")
    admin.post(f"/api/chat/{chat['_id']}/read", {"seq": 2})
    before = stored(database)
    for seq in (2, 1, 0):
        answer = admin.post(f"/api/chat/{chat['_id']}/read", {"seq": seq})
        assert answer.status_code == 204
    assert stored(database) == before


def test_nobody_reads_beyond_the_last_message(user: Caller, database: Database[Document]) -> None:
    chat = user.open_chat(message="One")
    before = stored(database)
    answer = user.post(f"/api/chat/{chat['_id']}/read", {"seq": 2})
    refused(answer, 422, "validation_failed", "seq")
    assert stored(database) == before


def test_patching_read_reads_everything(user: Caller, admin: Caller) -> None:
    chat = user.open_chat(message="One")
    user.say(chat, "Two")
    shown = admin.patch(f"/api/chat/{chat['_id']}", {"read": True}).json
    assert (shown["unreadCount"], shown["messages"]) == (0, [])
    assert all(message["isRead"] for message in user.get(messages_of(chat)).json)


def test_an_agent_deletes_a_message_and_its_number_stays(
    user: Caller, admin: Caller, database: Database[Document]
) -> None:
    chat = user.open_chat(message="My card is 4111 1111")
    user.say(chat, "Sorry")
    answer = admin.delete(f"{messages_of(chat)}/1")
    assert (answer.status_code, answer.data) == (204, b"")
    first, second = user.get(messages_of(chat)).json
    assert (first["seq"], second["seq"]) == (1, 2)
    assert first["content"] == "This message was deleted."
    assert first["deletedAt"] is not None
    assert second["content"] == "Sorry"
    assert "4111" not in repr(stored(database))
    assert user.say(chat)["seq"] == 3


def test_deleting_the_last_message_deletes_it_from_the_list_too(
    user: Caller, admin: Caller, database: Database[Document]
) -> None:
    chat = user.open_chat(message="My card is 4111 1111")
    assert admin.delete(f"{messages_of(chat)}/1").status_code == 204
    (row,) = user.get("/api/chat").json
    assert row["lastMessage"]["content"] == "This message was deleted."
    assert "4111" not in repr(stored(database))


def test_a_message_deleted_before_it_was_read_is_not_unread(user: Caller, admin: Caller) -> None:
    chat = user.open_chat(message="Hi")
    admin.say(chat, "Meant for somebody else")
    assert user.get(f"/api/chat/{chat['_id']}").json["unreadCount"] == 1
    assert admin.delete(f"{messages_of(chat)}/2").status_code == 204
    answer = user.get("/api/chat")
    assert answer.json[0]["unreadCount"] == 0
    assert answer.headers["X-Unread-Total"] == "0"
    admin.say(chat, "Meant for you")
    assert user.get(f"/api/chat/{chat['_id']}").json["unreadCount"] == 1


def test_user_cannot_delete_their_own_message(user: Caller) -> None:
    chat = user.open_chat(message="Hello")
    refused(user.delete(f"{messages_of(chat)}/1"), 403, "admin_only")
    assert user.get(messages_of(chat)).json[0]["content"] == "Hello"


@pytest.mark.parametrize("seq", ["0", "2", "-1", "x", "9" * 30])
def test_a_message_that_is_not_there_cannot_be_deleted(
    seq: str, user: Caller, admin: Caller, database: Database[Document]
) -> None:
    chat = user.open_chat(message="Hello")
    before = stored(database)
    refused(admin.delete(f"{messages_of(chat)}/{seq}"), 404, "not_found")
    assert stored(database) == before


def test_a_rename_shows_in_new_messages_only(user: Caller, admin: Caller) -> None:
    chat = user.open_chat(message="Before")
    old = chat["messages"][0]["senderName"]
    admin.patch(f"/api/admin/users/{user.id}", {"name": "Renamed"})
    assert user.say(chat, "After")["senderName"] == "Renamed"
    names = [message["senderName"] for message in admin.get(messages_of(chat)).json]
    assert names == [old, "Renamed"]
    assert admin.get(f"/api/chat/{chat['_id']}").json["userName"] == "Renamed"
