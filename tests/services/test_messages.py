"""Messages: sending, reading, deleting, and what happens between the two writes of a send."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from bson import ObjectId
from pymongo.database import Database

from chatapi.cli import consistency
from chatapi.domain import errors
from chatapi.domain.documents import Chat
from chatapi.domain.enums import CLOSED_STATUSES, OPEN_STATUSES, Role, Status
from chatapi.services import accounts, appending, chat_lists, chats, messages, sessions, users
from chatapi.services.access import access_chat
from chatapi.services.sessions import Session
from chatapi.store import messages as stored_messages
from chatapi.store.database import Document
from tests.conftest import CLIENT
from tests.consistency import assert_chat_is_consistent
from tests.documents import preview_of
from tests.services.conftest import (
    Killed,
    Meanwhile,
    die,
    killed_between_the_writes,
    new_session,
    texts,
)


def test_a_message_is_stored_with_its_sender_and_shown_in_the_chat(
    database: Database[Document], user: Session, chat: Chat
) -> None:
    message, created = messages.send(user, chat["_id"], "Hello", "key")
    assert created
    assert (message["seq"], message["content"], message["isRead"]) == (1, "Hello", False)
    assert message["senderId"] == user.user_id
    assert (message["senderName"], message["senderRole"]) == (user.name, "user")
    (row,) = assert_chat_is_consistent(database, chat["_id"])
    assert row["_id"] == message["_id"]
    now, _ = chats.get(user, chat["_id"])
    assert preview_of(now) == "Hello"
    assert now["lastMessageAt"] == message["timestamp"]


@pytest.mark.parametrize("role", ["user", "guest", "admin"])
def test_each_role_signs_its_messages(database: Database[Document], role: Role) -> None:
    owner = new_session("user")
    if role == "guest":
        owner, _ = accounts.guest("Gil", "gil@example.org", CLIENT)
    chat, _, _ = chats.create(owner, "Help")
    sender = new_session("admin", image="https://x.example/a.png") if role == "admin" else owner
    message, _ = messages.send(sender, chat["_id"], "Hello")
    assert (message["senderRole"], message["senderImage"]) == (role, sender.image)
    assert_chat_is_consistent(database, chat["_id"])


def test_nobody_writes_into_someone_elses_chat(database: Database[Document], chat: Chat) -> None:
    stranger = new_session("user")
    with pytest.raises(errors.NotYourChat):
        messages.send(stranger, chat["_id"], "Let me in")
    assert assert_chat_is_consistent(database, chat["_id"]) == []


@pytest.mark.parametrize(
    "chat_id", ["", "zz", "0" * 24, None, 5, {"$gt": ""}, ObjectId(), "ß" * 24]
)
def test_no_chat_has_a_wrong_id(user: Session, chat: Chat, chat_id: object) -> None:
    for call in (
        lambda: messages.send(user, chat_id, "x"),
        lambda: messages.history(user, chat_id),
        lambda: messages.mark_read(user, chat_id, 0),
    ):
        with pytest.raises(errors.ChatNotFound):
            call()


@pytest.mark.parametrize("status", CLOSED_STATUSES)
def test_a_closed_chat_takes_no_message_of_anybody(
    database: Database[Document], user: Session, agent: Session, chat: Chat, status: Status
) -> None:
    chats.update(agent, chat["_id"], status=status)
    for who in (user, agent):
        with pytest.raises(errors.ChatClosed) as refusal:
            messages.send(who, chat["_id"], "One more")
        assert refusal.value.data["chatStatus"] == status
    assert assert_chat_is_consistent(database, chat["_id"]) == []


@pytest.mark.parametrize("status", OPEN_STATUSES)
def test_an_open_chat_takes_messages(
    database: Database[Document], user: Session, agent: Session, chat: Chat, status: Status
) -> None:
    chats.update(agent, chat["_id"], status=status)
    messages.send(user, chat["_id"], "One more")
    assert len(assert_chat_is_consistent(database, chat["_id"])) == 1


def test_5000_characters_beyond_the_basic_plane_come_back_as_they_were(
    database: Database[Document], user: Session, chat: Chat
) -> None:
    content = "👩‍💻é汉ا\n" * 714 + "🎉🎉"
    assert len(content) == 5000
    sent, _ = messages.send(user, chat["_id"], content)
    _, (stored,) = messages.history(user, chat["_id"])
    assert stored["content"] == sent["content"] == content
    now, _ = chats.get(user, chat["_id"])
    assert preview_of(now) == content[: appending.MAX_PREVIEW_LENGTH]
    assert_chat_is_consistent(database, chat["_id"])


def test_a_rename_is_seen_in_new_messages_only(
    database: Database[Document], make_session: Any, chat: Chat
) -> None:
    boss, sender = make_session("admin"), make_session("user", "Old Name")
    chat, _, _ = chats.create(sender, "Help", message="before")
    user = users.update_user(boss, sender.user_id, {"name": "New Name"})
    messages.send(sessions.session_for(user), chat["_id"], "after")
    history = assert_chat_is_consistent(database, chat["_id"])
    assert [row["senderName"] for row in history] == ["Old Name", "New Name"]
    assert chats.get(boss, chat["_id"])[0]["userName"] == "New Name"


@pytest.mark.parametrize("jump", [timedelta(days=-400), timedelta(days=400)])
def test_a_clock_that_jumps_does_not_change_the_order(
    database: Database[Document], user: Session, chat: Chat, jump: timedelta
) -> None:
    messages.send(user, chat["_id"], "first")
    with time_machine.travel(datetime.now(UTC) + jump):
        messages.send(user, chat["_id"], "second")
        assert texts(user, chat) == ["first", "second"]
    messages.send(user, chat["_id"], "third")
    assert texts(user, chat) == ["first", "second", "third"]
    assert_chat_is_consistent(database, chat["_id"])


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ({}, range(1, 11)),
        ({"limit": 3}, [8, 9, 10]),
        ({"before": 5}, [1, 2, 3, 4]),
        ({"before": 5, "limit": 2}, [3, 4]),
        ({"before": 1}, []),
        ({"before": 100, "limit": 2}, [9, 10]),
        ({"after": 8}, [9, 10]),
        ({"after": 0, "limit": 2}, [1, 2]),
        ({"after": 10}, []),
        ({"after": 100}, []),
        ({"after": 3, "before": 6}, [4, 5]),
        ({"after": 3, "before": 9, "limit": 2}, [4, 5]),
        ({"after": 6, "before": 3}, []),
        ({"limit": 0}, []),
    ],
)
def test_a_page_of_history_is_a_range(
    user: Session, long_chat: Chat, asked: dict[str, int], given: list[int]
) -> None:
    _, page = messages.history(user, long_chat["_id"], **asked)
    assert [row["seq"] for row in page] == list(given)


def test_nobody_reads_someone_elses_history(long_chat: Chat) -> None:
    with pytest.raises(errors.NotYourChat):
        messages.history(new_session("user"), long_chat["_id"])
    assert len(messages.history(new_session("admin"), long_chat["_id"])[1]) == 10


def test_a_deleted_message_keeps_its_place_and_loses_its_text(
    database: Database[Document], user: Session, agent: Session, long_chat: Chat
) -> None:
    messages.delete(agent, long_chat["_id"], 4)
    history = assert_chat_is_consistent(database, long_chat["_id"])
    assert [row["content"] for row in history][2:5] == [
        "message 3",
        messages.TOMBSTONE,
        "message 5",
    ]
    assert history[3]["deletedAt"] is not None
    now = access_chat(user, long_chat["_id"])
    assert now["version"] > long_chat["version"]
    assert now["lastMessageAt"] == long_chat["lastMessageAt"]


def test_a_deleted_last_message_is_gone_from_the_preview(
    database: Database[Document], agent: Session, long_chat: Chat
) -> None:
    messages.delete(agent, long_chat["_id"], 10)
    now = access_chat(agent, long_chat["_id"])
    assert preview_of(now) == messages.TOMBSTONE
    assert_chat_is_consistent(database, long_chat["_id"])


def test_a_message_that_arrives_during_the_deletion_keeps_its_preview(
    database: Database[Document],
    user: Session,
    agent: Session,
    long_chat: Chat,
    meanwhile: Meanwhile,
) -> None:
    meanwhile(
        stored_messages, "redact", after=lambda: messages.send(user, long_chat["_id"], "newer")
    )
    messages.delete(agent, long_chat["_id"], 10)
    assert preview_of(access_chat(agent, long_chat["_id"])) == "newer"
    assert_chat_is_consistent(database, long_chat["_id"])


def test_deleting_twice_is_harmless(
    database: Database[Document], agent: Session, long_chat: Chat
) -> None:
    messages.delete(agent, long_chat["_id"], 10)
    messages.delete(agent, long_chat["_id"], 10)
    assert_chat_is_consistent(database, long_chat["_id"])


def test_a_deletion_that_was_cut_off_is_completed_by_asking_again(
    database: Database[Document], agent: Session, long_chat: Chat, meanwhile: Meanwhile
) -> None:
    meanwhile(stored_messages, "redact", after=die)
    with pytest.raises(Killed):
        messages.delete(agent, long_chat["_id"], 10)
    messages.delete(agent, long_chat["_id"], 10)
    assert_chat_is_consistent(database, long_chat["_id"])


def test_a_deletion_that_was_cut_off_shows_the_text_to_nobody(
    user: Session, agent: Session, chat: Chat, meanwhile: Meanwhile
) -> None:
    messages.send(user, chat["_id"], "My number is 4711", "key")
    meanwhile(stored_messages, "redact", before=die)
    with pytest.raises(Killed):
        messages.delete(agent, chat["_id"], 1)
    again, created = messages.send(user, chat["_id"], "My number is 4711", "key")
    assert not created
    for shown in (again, *messages.history(agent, chat["_id"])[1]):
        assert shown["content"] == messages.TOMBSTONE
        assert shown["deletedAt"] is not None
    assert preview_of(chats.get(user, chat["_id"])[0]) == messages.TOMBSTONE


@pytest.mark.parametrize("seq", [0, -1, 11, 2**40])
def test_there_is_no_message_beyond_the_history(agent: Session, long_chat: Chat, seq: int) -> None:
    with pytest.raises(errors.MessageNotFound):
        messages.delete(agent, long_chat["_id"], seq)


def test_a_message_that_was_never_committed_cannot_be_deleted(
    user: Session, agent: Session, chat: Chat, meanwhile: Meanwhile
) -> None:
    killed_between_the_writes(meanwhile, user, chat, "left behind")
    with pytest.raises(errors.MessageNotFound):
        messages.delete(agent, chat["_id"], 1)


def test_a_user_deletes_nothing_not_even_their_own(user: Session, long_chat: Chat) -> None:
    with pytest.raises(errors.AdminOnly):
        messages.delete(user, long_chat["_id"], 1)
    assert texts(user, long_chat)[0] == "message 1"


def test_a_deleted_message_is_not_counted_as_unread(
    database: Database[Document], user: Session, agent: Session, long_chat: Chat
) -> None:
    for seq in (5, 5, 7):  # Once, however often it is deleted.
        messages.delete(agent, long_chat["_id"], seq)
    assert chats.get(agent, long_chat["_id"])[0]["unreadCount"] == 8
    messages.mark_read(agent, long_chat["_id"], 4)
    assert chats.get(agent, long_chat["_id"])[0]["unreadCount"] == 4
    messages.mark_read(agent, long_chat["_id"], 6)
    # What has been read is not taken off again.
    messages.delete(agent, long_chat["_id"], 6)
    messages.send(user, long_chat["_id"], "Another")
    chat, _ = chats.get(agent, long_chat["_id"])
    assert (chat["unreadCount"], chat["deletedUnread"]) == (4, [{"seq": 7, "side": "user"}])
    assert_chat_is_consistent(database, long_chat["_id"])
    messages.mark_read(agent, long_chat["_id"], 11)
    chat, _ = chats.get(agent, long_chat["_id"])
    assert (chat["unreadCount"], chat["deletedUnread"]) == (0, [])
    assert_chat_is_consistent(database, long_chat["_id"])


@pytest.mark.parametrize("key", ["deletedUnread", "pendingRedactions"])
def test_a_chat_of_before_deletions_were_counted_out_is_counted_as_before(
    database: Database[Document], agent: Session, long_chat: Chat, key: str
) -> None:
    where = {"_id": long_chat["_id"]}
    messages.delete(agent, long_chat["_id"], 5)
    database["chatrooms"].update_one(where, {"$unset": {key: ""}, "$set": {"unread.admin": 10}})
    database["chatrooms"].update_one(where, {"$unset": {"deletedUnread": ""}})
    assert list(consistency.problems()) == [(1, [])]
    messages.mark_read(agent, long_chat["_id"], 4)
    assert chats.get(agent, long_chat["_id"])[0]["unreadCount"] == 6
    messages.delete(agent, long_chat["_id"], 5)
    assert chats.get(agent, long_chat["_id"])[0]["unreadCount"] == 5
    assert_chat_is_consistent(database, long_chat["_id"])
    messages.mark_read(agent, long_chat["_id"], 10)
    assert chats.get(agent, long_chat["_id"])[0]["unreadCount"] == 0
    assert_chat_is_consistent(database, long_chat["_id"])


def test_a_chat_of_deleted_messages_alone_is_not_among_the_unread(
    database: Database[Document], user: Session, agent: Session, chat: Chat
) -> None:
    messages.send(user, chat["_id"], "By mistake")
    unread = chat_lists.ChatFilters(unread=True)
    assert len(chat_lists.list_chats(agent, unread).items) == 1
    messages.delete(agent, chat["_id"], 1)
    assert chat_lists.list_chats(agent, unread).items == []
    assert chat_lists.unread(agent) == (0, 0)
    messages.send(user, chat["_id"], "On purpose")
    assert chat_lists.unread(agent) == (1, 1)


def test_an_answer_reads_past_what_was_deleted(
    database: Database[Document], user: Session, agent: Session, long_chat: Chat
) -> None:
    messages.send(agent, long_chat["_id"], "For somebody else")
    messages.delete(agent, long_chat["_id"], 11)
    messages.delete(agent, long_chat["_id"], 5)
    assert chats.get(user, long_chat["_id"])[0]["unreadCount"] == 0
    chats.update(agent, long_chat["_id"], message="An answer", read=True)
    chat, _ = chats.get(agent, long_chat["_id"])
    assert (chat["unreadCount"], chat["deletedUnread"]) == (0, [{"seq": 11, "side": "admin"}])
    assert chats.get(user, long_chat["_id"])[0]["unreadCount"] == 1
    assert_chat_is_consistent(database, long_chat["_id"])
