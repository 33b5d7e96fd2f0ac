"""Does a chat agree with its history? The one check that every test of the data uses."""

from __future__ import annotations

from collections import Counter
from typing import Any

from bson import ObjectId
from pymongo.database import Database

from chatapi.services import search
from chatapi.store.database import Document

MAX_PREVIEW_LENGTH = 200
TOMBSTONE = "This message was deleted."
OPEN_STATUSES = {"active", "pending"}
OTHER_SIDE = {"user": "admin", "admin": "user"}


def assert_chat_is_consistent(database: Database[Any], chat_id: Any) -> list[Document]:
    """Compare everything a chat says of its history with the history, and return that.

    Reads the collections themselves, past the product's code and past its indexes.
    """
    chat_id = ObjectId(chat_id)
    chat = database["chatrooms"].find_one({"_id": chat_id})
    assert chat is not None, "the chat is gone"
    written = [row for row in database["messages"].find() if row["chatId"] == chat_id]
    written.sort(key=lambda row: row["seq"])
    indexed = database["messages"].find({"chatId": chat_id, "seq": {"$gte": 1}}).sort("seq", 1)
    assert [row["_id"] for row in indexed] == [row["_id"] for row in written]

    history = [row for row in written if row["seq"] <= chat["lastSeq"]]
    assert [row["seq"] for row in history] == list(range(1, chat["lastSeq"] + 1))
    # What was written and never became part of the chat: at most the very next one.
    beyond = [row["seq"] for row in written if row["seq"] > chat["lastSeq"]]
    assert beyond in ([], [chat["lastSeq"] + 1])

    _assert_messages(chat, history)
    _assert_numbers(chat, history)
    _assert_preview(chat, history)
    found_by = database["chat_terms"].find_one({"_id": chat_id})
    assert found_by is not None, "nobody finds the chat"
    assert found_by["userId"] == chat["userId"]
    named = search.terms([chat["subject"], chat["userName"], chat["userEmail"]])
    assert set(named) <= set(found_by["terms"])
    assert chat["isOpen"] == (chat["status"] in OPEN_STATUSES)
    open_chats = [
        row
        for row in database["chatrooms"].find()
        if row["userId"] == chat["userId"] and row["isOpen"]
    ]
    assert len(open_chats) <= 1, "the user has two open chats"
    return history


def assert_all_chats_are_consistent(database: Database[Any]) -> None:
    """Check every chat there is."""
    for chat in list(database["chatrooms"].find({}, {"_id": 1})):
        assert_chat_is_consistent(database, chat["_id"])


def _assert_messages(chat: Document, history: list[Document]) -> None:
    keys = Counter((row["senderId"], row["idempotencyKey"]) for row in history)
    assert not [key for key, count in keys.items() if count > 1], "a message stands twice"
    running = {"user": 0, "admin": 0}
    epoch = 0
    for row in history:
        assert row["side"] == ("user" if row["senderRole"] in {"user", "guest"} else "admin")
        running[row["side"]] += 1
        assert row["counts"] == running
        assert epoch <= row["epoch"] <= chat["epoch"], "from before a closing"
        epoch = row["epoch"]
        if row["clientMessageId"] is not None:
            assert row["idempotencyKey"] == f"client:{row['clientMessageId']}"


def _assert_numbers(chat: Document, history: list[Document]) -> None:
    assert chat["messageCount"] == len(history)
    for side, other in OTHER_SIDE.items():
        assert chat["counts"][side] == sum(row["side"] == side for row in history)
        assert 0 <= chat["readSeq"][side] <= chat["lastSeq"]
        later = [r for r in history if r["side"] == other and r["seq"] > chat["readSeq"][side]]
        buried = {each["seq"] for each in chat.get("pendingRedactions", ())}
        unread = [r for r in later if not r.get("deletedAt") and r["seq"] not in buried]
        assert chat["unread"][side] == len(unread), f"what the {side} has not read"
        listed = [e["seq"] for e in chat.get("deletedUnread", ()) if e["side"] == other]
        assert sorted(listed) == [row["seq"] for row in later if row not in unread]
    assert chat["unreadByAdmin"] == (chat["unread"]["admin"] > 0)


def _assert_preview(chat: Document, history: list[Document]) -> None:
    if not history:
        assert chat["lastMessage"] is None
        assert chat["lastMessageAt"] == chat["createdAt"]
        return
    last = history[-1]
    hidden = any(each["seq"] == last["seq"] for each in chat.get("pendingRedactions", ()))
    assert chat["lastMessage"] == {
        "content": TOMBSTONE if hidden else last["content"][:MAX_PREVIEW_LENGTH],
        "senderRole": last["senderRole"],
        "senderName": last["senderName"],
        "timestamp": last["timestamp"],
    }
    assert chat["lastMessageAt"] == last["timestamp"]
