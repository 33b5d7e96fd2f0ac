"""The unique indexes of messages: one place, one key."""

from __future__ import annotations

import pytest
from bson import ObjectId
from pymongo.database import Database

from chatapi.domain import clock
from chatapi.domain.documents import Message
from chatapi.store import database as store
from chatapi.store import messages
from chatapi.store.database import Document, Duplicate
from tests.documents import message_document

CHAT = ObjectId()
SENDER = ObjectId()


@pytest.fixture(autouse=True)
def _bound(database: Database[Document]) -> None:
    store.bind(database)


def message(seq: int, key: str, chat: ObjectId = CHAT, sender: ObjectId = SENDER) -> Message:
    return message_document(chatId=chat, senderId=sender, seq=seq, idempotencyKey=key, content=key)


def test_a_seq_is_taken_once_in_a_chat() -> None:
    messages.insert(message(1, "a"))
    with pytest.raises(Duplicate):
        messages.insert(message(1, "b", sender=ObjectId()))
    messages.insert(message(1, "b", chat=ObjectId()))
    stored = messages.at(CHAT, 1)
    assert stored is not None
    assert stored["idempotencyKey"] == "a"


def test_a_key_is_used_once_by_a_sender_in_a_chat() -> None:
    messages.insert(message(1, "a"))
    with pytest.raises(Duplicate):
        messages.insert(message(2, "a"))
    messages.insert(message(2, "a", sender=ObjectId()))
    messages.insert(message(2, "a", chat=ObjectId()))
    first = messages.by_idempotency_key(CHAT, SENDER, "a")
    assert first is not None
    assert first["seq"] == 1
    assert messages.by_idempotency_key(CHAT, SENDER, "A") is None


def test_a_range_is_ascending_and_includes_both_ends() -> None:
    for seq in (4, 2, 5, 1, 3):
        messages.insert(message(seq, f"{seq}"))
    assert [row["seq"] for row in messages.between(CHAT, 2, 4)] == [2, 3, 4]
    assert [row["seq"] for row in messages.between(CHAT, 5, 9)] == [5]
    assert messages.between(CHAT, 4, 3) == []
    assert messages.between(ObjectId(), 1, 9) == []


def test_the_messages_of_one_chat_are_deleted_and_no_others() -> None:
    other = ObjectId()
    for seq in (1, 2):
        messages.insert(message(seq, f"{seq}"))
        messages.insert(message(seq, f"{seq}", chat=other))
    messages.delete_of_chat(CHAT)
    assert messages.between(CHAT, 1, 9) == []
    assert len(messages.between(other, 1, 9)) == 2


def test_a_tombstone_stands_in_the_place_of_one_message() -> None:
    for seq in (1, 2):
        messages.insert(message(seq, f"{seq}"))
    messages.redact(CHAT, 1, "gone", clock.now())
    assert [row["content"] for row in messages.between(CHAT, 1, 2)] == ["gone", "2"]
