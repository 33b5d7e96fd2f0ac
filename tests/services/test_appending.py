"""Appending a message to its chat: once and in order, also after a crash or a retry."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo.database import Database

from chatapi.domain import errors
from chatapi.domain.documents import Chat, ShownMessage
from chatapi.services import chats, messages
from chatapi.services.sessions import Session
from chatapi.store import chats as stored_chats
from chatapi.store import messages as stored_messages
from chatapi.store.database import Document
from tests.consistency import assert_chat_is_consistent
from tests.services.conftest import (
    Killed,
    Meanwhile,
    die,
    killed_between_the_writes,
    new_session,
    texts,
)


def test_a_retry_returns_the_first_message_and_changes_nothing(
    database: Database[Document], user: Session, chat: Chat
) -> None:
    first, _ = messages.send(user, chat["_id"], "Hello", "key")
    before, _ = chats.get(user, chat["_id"])
    again, created = messages.send(user, chat["_id"], "Something else", "key")
    assert (again, created) == (first, False)
    assert chats.get(user, chat["_id"])[0] == before
    assert len(assert_chat_is_consistent(database, chat["_id"])) == 1


def test_a_retry_after_the_closing_still_returns_the_first_message(
    user: Session, agent: Session, chat: Chat
) -> None:
    first, _ = messages.send(user, chat["_id"], "Hello", "key")
    chats.update(agent, chat["_id"], status="closed")
    assert messages.send(user, chat["_id"], "Hello", "key") == (first, False)


def test_another_key_after_the_closing_is_refused(
    user: Session, agent: Session, chat: Chat
) -> None:
    messages.send(user, chat["_id"], "Hello", "key")
    chats.update(agent, chat["_id"], status="closed")
    with pytest.raises(errors.ChatClosed):
        messages.send(user, chat["_id"], "Hello", "another")


def test_a_retry_of_a_deleted_message_returns_its_tombstone(
    user: Session, agent: Session, chat: Chat
) -> None:
    messages.send(user, chat["_id"], "Hello", "key")
    messages.delete(agent, chat["_id"], 1)
    again, created = messages.send(user, chat["_id"], "Hello", "key")
    assert (again["content"], created) == (messages.TOMBSTONE, False)


def test_a_key_belongs_to_its_sender_and_its_chat(
    database: Database[Document], user: Session, agent: Session, chat: Chat
) -> None:
    other, _, _ = chats.create(new_session("user"), "Help")
    sent = [
        messages.send(user, chat["_id"], "of the user", "key"),
        messages.send(agent, chat["_id"], "of the agent", "key"),
        messages.send(agent, other["_id"], "in another chat", "key"),
    ]
    assert [created for _, created in sent] == [True, True, True]
    assert len(assert_chat_is_consistent(database, chat["_id"])) == 2


def test_messages_without_a_key_are_never_taken_for_retries(
    database: Database[Document], user: Session, chat: Chat
) -> None:
    for _ in range(3):
        assert messages.send(user, chat["_id"], "Hello")[1]
    assert len(assert_chat_is_consistent(database, chat["_id"])) == 3


def test_a_message_is_invisible_until_it_is_committed(
    database: Database[Document],
    user: Session,
    agent: Session,
    chat: Chat,
    meanwhile: Meanwhile,
) -> None:
    seen: list[list[str]] = []
    meanwhile(stored_messages, "insert", after=lambda: seen.append(texts(agent, chat)))
    messages.send(user, chat["_id"], "Hello")
    assert seen == [[]]
    assert texts(agent, chat) == ["Hello"]


def test_the_next_sender_commits_what_a_dead_one_left(
    database: Database[Document],
    user: Session,
    agent: Session,
    chat: Chat,
    meanwhile: Meanwhile,
) -> None:
    killed_between_the_writes(meanwhile, user, chat, "left behind")
    assert texts(agent, chat) == []
    message, _ = messages.send(agent, chat["_id"], "next")
    assert message["seq"] == 2
    assert texts(agent, chat) == ["left behind", "next"]
    assert_chat_is_consistent(database, chat["_id"])


def test_the_retry_of_a_dead_sender_finds_its_own_message(
    database: Database[Document], user: Session, chat: Chat, meanwhile: Meanwhile
) -> None:
    killed_between_the_writes(meanwhile, user, chat, "Hello", "key")
    message, _ = messages.send(user, chat["_id"], "Hello", "key")
    assert message["seq"] == 1
    assert texts(user, chat) == ["Hello"]
    assert_chat_is_consistent(database, chat["_id"])


def test_the_retry_of_a_message_that_is_under_way_waits_for_it(
    database: Database[Document], user: Session, chat: Chat, meanwhile: Meanwhile
) -> None:
    answers: list[tuple[ShownMessage, bool]] = []

    def retry() -> None:
        answers.append(messages.send(user, chat["_id"], "Hello", "key"))

    meanwhile(stored_chats, "replace", before=retry)
    first, created = messages.send(user, chat["_id"], "Hello", "key")
    assert created
    assert answers == [(first, False)]
    assert len(assert_chat_is_consistent(database, chat["_id"])) == 1


def test_two_helpers_commit_a_left_message_once(
    database: Database[Document],
    user: Session,
    agent: Session,
    chat: Chat,
    meanwhile: Meanwhile,
) -> None:
    killed_between_the_writes(meanwhile, user, chat, "left behind")
    second = new_session("admin")

    def help_too() -> None:
        messages.send(second, chat["_id"], "second helper")

    # The first helper is about to commit what it found when the second does so.
    meanwhile(stored_chats, "replace", before=help_too)
    messages.send(agent, chat["_id"], "first helper")
    assert texts(agent, chat) == ["left behind", "second helper", "first helper"]
    assert_chat_is_consistent(database, chat["_id"])


def test_a_closing_between_the_writes_keeps_the_message_out(
    database: Database[Document],
    user: Session,
    agent: Session,
    chat: Chat,
    meanwhile: Meanwhile,
) -> None:
    meanwhile(
        stored_messages,
        "insert",
        after=lambda: chats.update(agent, chat["_id"], status="closed"),
    )
    with pytest.raises(errors.ChatClosed):
        messages.send(user, chat["_id"], "too late")
    assert assert_chat_is_consistent(database, chat["_id"]) == []
    assert database["messages"].count_documents({}) == 0


def test_a_message_left_before_a_closing_stays_out_after_the_reopening(
    database: Database[Document],
    user: Session,
    agent: Session,
    chat: Chat,
    meanwhile: Meanwhile,
) -> None:
    killed_between_the_writes(meanwhile, user, chat, "from before")
    chats.update(agent, chat["_id"], status="closed")
    chats.update(agent, chat["_id"], status="active")
    messages.send(agent, chat["_id"], "after")
    assert texts(agent, chat) == ["after"]
    assert_chat_is_consistent(database, chat["_id"])


def test_a_sender_that_slept_through_closing_and_reopening_sends_anew(
    database: Database[Document],
    user: Session,
    agent: Session,
    chat: Chat,
    meanwhile: Meanwhile,
) -> None:
    def close_and_reopen() -> None:
        chats.update(agent, chat["_id"], status="closed")
        chats.update(agent, chat["_id"], status="active")

    meanwhile(stored_messages, "insert", after=close_and_reopen)
    message, _ = messages.send(user, chat["_id"], "Hello")
    (row,) = assert_chat_is_consistent(database, chat["_id"])
    assert (row["_id"], row["epoch"]) == (message["_id"], 1)


def test_a_void_message_is_not_committed_by_a_helper_after_the_reopening(
    database: Database[Document],
    user: Session,
    agent: Session,
    chat: Chat,
    meanwhile: Meanwhile,
) -> None:
    killed_between_the_writes(meanwhile, user, chat, "void", "key")
    chats.update(agent, chat["_id"], status="archived")
    chats.update(agent, chat["_id"], status="pending")
    # The retry of the void message is a new message, in its own place.
    messages.send(agent, chat["_id"], "after")
    message, created = messages.send(user, chat["_id"], "void", "key")
    assert (message["seq"], created) == (2, True)
    assert_chat_is_consistent(database, chat["_id"])


def test_a_deletion_between_the_writes_leaves_no_message_behind(
    database: Database[Document],
    user: Session,
    agent: Session,
    chat: Chat,
    meanwhile: Meanwhile,
) -> None:
    meanwhile(stored_messages, "insert", after=lambda: chats.delete(agent, chat["_id"]))
    with pytest.raises(errors.ChatNotFound):
        messages.send(user, chat["_id"], "too late")
    assert database["messages"].count_documents({}) == 0


def test_a_change_and_its_message_come_together_when_a_helper_commits_them(
    database: Database[Document],
    user: Session,
    agent: Session,
    chat: Chat,
    meanwhile: Meanwhile,
) -> None:
    meanwhile(stored_chats, "replace", before=die)
    with pytest.raises(Killed):
        chats.update(agent, chat["_id"], message="Urgent!", priority="urgent")
    assert chats.get(agent, chat["_id"])[0]["priority"] == "medium"
    messages.send(user, chat["_id"], "Thank you")
    now, _ = chats.get(agent, chat["_id"])
    assert (now["priority"], now["lastSeq"]) == ("urgent", 2)
    assert_chat_is_consistent(database, chat["_id"])


def test_a_goodbye_that_a_helper_commits_closes_the_chat_before_the_helpers_message(
    database: Database[Document],
    user: Session,
    agent: Session,
    chat: Chat,
    meanwhile: Meanwhile,
) -> None:
    refused: list[bool] = []

    def user_writes() -> None:
        try:
            messages.send(user, chat["_id"], "Wait!")
        except errors.ChatClosed:
            refused.append(True)

    meanwhile(stored_chats, "replace", before=user_writes)
    now, _ = chats.update(agent, chat["_id"], message="Goodbye", status="closed")
    assert refused == [True]
    assert (now["status"], now["lastSeq"]) == ("closed", 1)
    assert texts(user, chat) == ["Goodbye"]
    assert_chat_is_consistent(database, chat["_id"])


def test_so_many_writers_that_one_gives_up_is_said_as_busy(
    database: Database[Document],
    user: Session,
    chat: Chat,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stored_chats, "replace", lambda *_: False)
    with pytest.raises(errors.Busy) as refusal:
        messages.send(user, chat["_id"], "Hello")
    assert refusal.value.retry_after == 1
    database["chatrooms"].update_one({}, {"$set": {"lastSeq": 1}})
    with pytest.raises(errors.Busy):
        messages.mark_read(user, chat["_id"], 1)


def test_a_client_message_id_is_never_taken_for_a_message_without_one(
    make_chat: Any, make_session: Any
) -> None:
    user = make_session()
    chat = make_chat(user)
    first, _ = messages.send(user, chat["_id"], "without an id")
    second, created = messages.send(user, chat["_id"], "another", str(first["_id"]))
    assert created
    assert (second["seq"], second["content"]) == (first["seq"] + 1, "another")
