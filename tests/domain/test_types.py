"""What mypy knows of stored documents, so that a misspelt field or value is an error before a test.

mypy checks this module like all others. A comment that expects an error is itself an error where
there is none (`warn_unused_ignores`), so each line below is refused as long as `make lint` passes.
"""

from __future__ import annotations

from typing import assert_type

import pytest
from bson import ObjectId
from pymongo.database import Database

from chatapi.domain.documents import (
    Chat,
    ChatChanges,
    Message,
    ShownChat,
    ShownMessage,
    StoredSession,
    User,
)
from chatapi.domain.enums import Status
from chatapi.services import chats, messages
from chatapi.store import chats as stored_chats
from chatapi.store import messages as stored_messages
from chatapi.store import sessions, users
from chatapi.store.database import Document
from tests.conftest import MakeSession
from tests.documents import chat_document, message_document


def test_the_store_returns_typed_documents(database: Database[Document], app: object) -> None:
    unknown = ObjectId()
    assert assert_type(stored_chats.by_id(unknown), Chat | None) is None
    assert assert_type(stored_chats.newest(stored_chats.Filter(), 1), list[Chat]) == []
    assert assert_type(stored_messages.at(unknown, 1), Message | None) is None
    assert assert_type(stored_messages.between(unknown, 1, 2), list[Message]) == []
    assert assert_type(users.by_id(unknown), User | None) is None
    assert assert_type(sessions.with_user("x"), tuple[StoredSession, User] | None) is None


def test_the_services_return_typed_documents(make_session: MakeSession) -> None:
    user = make_session()
    chat, added, is_new = chats.create(user, "Help", message="Hello")
    assert assert_type(chat, ShownChat)["unreadCount"] == 0
    assert [row["seq"] for row in assert_type(added, list[ShownMessage])] == [1]
    assert assert_type(is_new, bool)
    message, _ = messages.send(user, chat["_id"], "More")
    assert assert_type(message, ShownMessage)["seq"] == 2


def test_a_misspelt_field_is_refused_where_it_is_read() -> None:
    chat, message = chat_document(), message_document()
    with pytest.raises(KeyError):
        chat["lastSequence"]  # type: ignore[typeddict-item]
    with pytest.raises(KeyError):
        message["sentAt"]  # type: ignore[typeddict-item]


def test_a_misspelt_field_is_refused_where_it_is_written() -> None:
    changes: ChatChanges = {"prioritty": "high"}  # type: ignore[typeddict-unknown-key]
    merged: Chat = {**chat_document(), "statuss": "closed"}  # type: ignore[typeddict-unknown-key]
    assert changes.keys().isdisjoint(Chat.__annotations__)
    assert merged["status"] == "active"


def test_a_value_that_a_field_cannot_have_is_refused() -> None:
    changes: ChatChanges = {"status": "open"}  # type: ignore[typeddict-item]
    status: Status = "done"  # type: ignore[assignment]
    assert status != changes["status"]
