"""Whole documents for tests of the layers below the services, which look at some fields only."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

from bson import ObjectId

from chatapi.domain.documents import Chat, EphemeralEvent, Message, StoredSession

AT, LATER = datetime(2026, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


def chat_document(**fields: Any) -> Chat:
    """Return an open chat without a message, with these fields."""
    chat: Chat = {
        "_id": ObjectId(),
        "userId": ObjectId(),
        "userName": "Ana",
        "userEmail": "ana@mail.example",
        "userImage": None,
        "adminId": None,
        "adminName": None,
        "adminImage": None,
        "subject": "Help",
        "category": "general",
        "priority": "medium",
        "status": "active",
        "isOpen": True,
        "createdAt": AT,
        "updatedAt": AT,
        "lastMessageAt": AT,
        "lastMessage": None,
        "messageCount": 0,
        "lastSeq": 0,
        "epoch": 0,
        "version": 1,
        "counts": {"user": 0, "admin": 0},
        "readSeq": {"user": 0, "admin": 0},
        "unread": {"user": 0, "admin": 0},
        "unreadByAdmin": False,
    }
    return cast("Chat", {**chat, **fields})


def message_document(**fields: Any) -> Message:
    """Return the first message of a chat, with these fields."""
    message_id = ObjectId()
    message: Message = {
        "_id": message_id,
        "chatId": ObjectId(),
        "seq": 1,
        "epoch": 0,
        "idempotencyKey": f"own:{message_id}",
        "clientMessageId": None,
        "senderId": ObjectId(),
        "senderName": "Ana",
        "senderImage": None,
        "senderRole": "user",
        "side": "user",
        "content": "Hello",
        "timestamp": AT,
        "counts": {"user": 1, "admin": 0},
    }
    return cast("Message", {**message, **fields})


def session_document(**fields: Any) -> StoredSession:
    """Return a session, with these fields."""
    session: StoredSession = {
        "_id": str(ObjectId()),
        "publicId": ObjectId(),
        "userId": ObjectId(),
        "createdAt": AT,
        "lastSeenAt": AT,
        "expiresAt": LATER,
        "absoluteExpiresAt": LATER,
        "userAgent": "tests",
        "address": "127.0.0.1",
    }
    return cast("StoredSession", {**session, **fields})


def event_document(**fields: Any) -> EphemeralEvent:
    """Return an ephemeral event of an agent who came or left, with these fields."""
    event: EphemeralEvent = {"_id": ObjectId(), "kind": "presence", "at": AT, "expiresAt": LATER}
    return cast("EphemeralEvent", {**event, **fields})


def preview_of(chat: Chat) -> str:
    """Return the text of a chat's last message as lists show it."""
    preview = chat["lastMessage"]
    assert preview is not None
    return preview["content"]
