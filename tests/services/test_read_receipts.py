"""How far each side has read, and what is unread."""

from __future__ import annotations

import pytest
from pymongo.database import Database

from chatapi.domain import errors
from chatapi.domain.documents import Chat
from chatapi.services import chats, messages
from chatapi.services.access import access_chat
from chatapi.services.sessions import Session
from chatapi.store import chats as stored_chats
from chatapi.store.database import Document
from tests.consistency import assert_chat_is_consistent
from tests.services.conftest import Meanwhile, new_session


def test_a_message_is_read_once_the_other_side_has_read_that_far(
    user: Session, agent: Session, long_chat: Chat
) -> None:
    messages.mark_read(agent, long_chat["_id"], 4)
    _, page = messages.history(user, long_chat["_id"])
    assert [row["isRead"] for row in page] == [True] * 4 + [False] * 6


def test_ones_own_reading_does_not_mark_ones_own_messages(user: Session, long_chat: Chat) -> None:
    messages.mark_read(user, long_chat["_id"], 10)
    assert not any(row["isRead"] for row in messages.history(user, long_chat["_id"])[1])


def test_reading_up_to_the_middle_leaves_the_rest_unread(
    database: Database[Document], user: Session, agent: Session, chat: Chat
) -> None:
    for number in range(9):
        messages.send(agent if number % 3 == 0 else user, chat["_id"], f"{number}")
    for seq, left in ((1, 6), (3, 4), (4, 4), (6, 2), (9, 0)):
        messages.mark_read(agent, chat["_id"], seq)
        now, _ = chats.get(agent, chat["_id"])
        assert (now["unreadCount"], now["unreadByAdmin"]) == (left, left > 0)
        assert_chat_is_consistent(database, chat["_id"])
    assert chats.get(user, chat["_id"])[0]["unreadCount"] == 3


def test_reading_never_moves_backwards(
    database: Database[Document], agent: Session, long_chat: Chat
) -> None:
    messages.mark_read(agent, long_chat["_id"], 7)
    before = access_chat(agent, long_chat["_id"])
    for seq in (7, 6, 1, 0):
        assert messages.mark_read(agent, long_chat["_id"], seq) == before
    assert access_chat(agent, long_chat["_id"]) == before
    assert_chat_is_consistent(database, long_chat["_id"])


def test_nobody_has_read_what_is_not_written_yet(
    database: Database[Document], agent: Session, long_chat: Chat
) -> None:
    with pytest.raises(errors.InvalidInput) as refusal:
        messages.mark_read(agent, long_chat["_id"], 11)
    assert "seq" in refusal.value.data["fields"]
    assert access_chat(agent, long_chat["_id"])["readSeq"]["admin"] == 0


def test_a_stranger_does_not_mark_anything_read(user: Session, long_chat: Chat) -> None:
    with pytest.raises(errors.NotYourChat):
        messages.mark_read(new_session("user"), long_chat["_id"], 5)
    assert access_chat(user, long_chat["_id"])["readSeq"] == {"user": 0, "admin": 0}


def test_reading_while_a_message_arrives_counts_it_as_unread(
    database: Database[Document],
    user: Session,
    agent: Session,
    long_chat: Chat,
    meanwhile: Meanwhile,
) -> None:
    meanwhile(stored_chats, "replace", before=lambda: messages.send(user, long_chat["_id"], "new"))
    messages.mark_read(agent, long_chat["_id"], 10)
    assert chats.get(agent, long_chat["_id"])[0]["unreadCount"] == 1
    assert_chat_is_consistent(database, long_chat["_id"])


def test_a_closed_chat_can_still_be_read(
    database: Database[Document], agent: Session, long_chat: Chat
) -> None:
    chats.update(agent, long_chat["_id"], status="closed")
    messages.mark_read(agent, long_chat["_id"], 10)
    assert chats.get(agent, long_chat["_id"])[0]["unreadCount"] == 0
    assert_chat_is_consistent(database, long_chat["_id"])
