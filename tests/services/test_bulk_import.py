"""Loading many messages at once keeps every promise that sending them one by one keeps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from chatapi.domain import errors
from chatapi.domain.documents import Chat, Message
from chatapi.services import bulk_import, chats, messages
from chatapi.services.bulk_import import ImportedMessage
from chatapi.services.sessions import Session
from chatapi.store import chats as stored_chats
from chatapi.store import messages as stored_messages
from tests.conftest import MakeChat, MakeSession
from tests.documents import preview_of

BEGIN = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


def talk(owner: Session, agent: Session, length: int = 4) -> list[ImportedMessage]:
    return [
        ImportedMessage(
            (owner, agent)[n % 2], BEGIN + timedelta(minutes=n), f"text {n}", f"load-{n}"
        )
        for n in range(length)
    ]


def texts(session: Session, chat: Chat) -> list[str]:
    return [message["content"] for message in messages.history(session, chat["_id"])[1]]


def test_append_all_is_what_sending_one_by_one_gives(
    make_session: MakeSession, make_chat: MakeChat
) -> None:
    owner, agent = make_session(), make_session("admin")
    chat = make_chat(owner, message="first")
    after = bulk_import.bulk_append(chat["_id"], talk(owner, agent))
    shown, history = messages.history(agent, chat["_id"])
    assert [message["content"] for message in history] == [
        "first",
        *(f"text {n}" for n in range(4)),
    ]
    assert [message["seq"] for message in history] == [1, 2, 3, 4, 5]
    assert [message["senderRole"] for message in history[1:]] == ["user", "admin"] * 2
    assert [message["timestamp"] for message in history[1:]] == [
        BEGIN + timedelta(minutes=n) for n in range(4)
    ]
    assert shown["unread"] == {"user": 2, "admin": 3}
    assert preview_of(shown) == "text 3"
    assert {name: after[name] for name in ("lastSeq", "version", "counts")} == {
        name: shown[name] for name in ("lastSeq", "version", "counts")
    }
    messages.send(owner, chat["_id"], "and on it goes")
    assert messages.mark_read(agent, chat["_id"], 4)["unread"]["admin"] == 1


def test_append_all_twice_adds_nothing(make_session: MakeSession, make_chat: MakeChat) -> None:
    owner, agent = make_session(), make_session("admin")
    chat = make_chat(owner)
    for _ in range(2):
        bulk_import.bulk_append(chat["_id"], talk(owner, agent))
    assert texts(owner, chat) == [f"text {n}" for n in range(4)]


def test_append_all_after_a_crash_takes_in_what_was_written(
    make_session: MakeSession, make_chat: MakeChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, agent = make_session(), make_session("admin")
    chat = make_chat(owner)

    def crash(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stored_chats, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            bulk_import.bulk_append(chat["_id"], talk(owner, agent))
    assert texts(owner, chat) == []
    bulk_import.bulk_append(chat["_id"], talk(owner, agent))
    assert texts(owner, chat) == [f"text {n}" for n in range(4)]


def test_append_all_loses_no_message_of_another_sender(
    make_session: MakeSession, make_chat: MakeChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, agent = make_session(), make_session("admin")
    chat = make_chat(owner)
    insert_many = stored_messages.insert_many

    def overtaken(rows: list[Message]) -> None:
        messages.send(owner, chat["_id"], "in between")
        insert_many(rows)

    monkeypatch.setattr(stored_messages, "insert_many", overtaken)
    bulk_import.bulk_append(chat["_id"], talk(owner, agent))
    assert texts(owner, chat) == ["in between", *(f"text {n}" for n in range(4))]


def test_append_all_is_refused_in_a_closed_chat(
    make_session: MakeSession, make_chat: MakeChat
) -> None:
    owner, agent = make_session(), make_session("admin")
    chat = make_chat(owner)
    chats.update(agent, chat["_id"], status="closed")
    with pytest.raises(errors.ChatClosed):
        bulk_import.bulk_append(chat["_id"], talk(owner, agent))
    assert texts(owner, chat) == []


def test_append_all_is_refused_when_the_chat_closes_in_between(
    make_session: MakeSession, make_chat: MakeChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, agent = make_session(), make_session("admin")
    chat = make_chat(owner)
    insert_many = stored_messages.insert_many

    def closed(rows: list[Message]) -> None:
        insert_many(rows)
        chats.update(agent, chat["_id"], status="closed")

    monkeypatch.setattr(stored_messages, "insert_many", closed)
    with pytest.raises(errors.ChatClosed):
        bulk_import.bulk_append(chat["_id"], talk(owner, agent))
    assert texts(owner, chat) == []
    chats.update(agent, chat["_id"], status="active")
    messages.send(owner, chat["_id"], "new life")
    assert texts(owner, chat) == ["new life"]


def test_append_all_is_refused_in_somebody_elses_chat(
    make_session: MakeSession, make_chat: MakeChat
) -> None:
    owner, stranger, agent = make_session(), make_session(), make_session("admin")
    chat = make_chat(owner)
    with pytest.raises(errors.NotYourChat):
        bulk_import.bulk_append(chat["_id"], [*talk(owner, agent), *talk(stranger, agent)])
    assert texts(owner, chat) == []
