"""Large collections, written straight to the database with the documents the services make."""

from __future__ import annotations

import random
from datetime import timedelta

from bson import ObjectId

from chatapi.domain import clock
from chatapi.domain.documents import Chat, Message
from chatapi.domain.enums import OPEN_STATUSES, PRIORITIES, STATUSES
from chatapi.services import appending, chats, users
from chatapi.services.sessions import Session, session_for
from chatapi.store import chat_terms, database

BATCH = 2000
TEXT = "A message of a usual length, no more."
SUBJECTS = ("Parcel is late", "Invoice question", "Cannot sign in", "Change my plan", "Refund")


def add_chats(count: int, admin_id: ObjectId, seed: int = 1) -> None:
    """Add chats of `count` other users in every state, spread over the past weeks.

    One in ten is unread, as in an inbox that is worked on.
    """
    chance = random.Random(seed)
    now = clock.now()
    batch: list[Chat] = []

    def write() -> None:
        found_by = [chat_terms.to_document(chat, chats.terms(chat)) for chat in batch]
        database.chat_terms().insert_many(found_by)
        database.chatrooms().insert_many(batch)
        batch.clear()

    for number in range(count):
        user = users.new_user(f"User {number}", f"user{number}@example.com", "user", None)
        session = session_for(user)
        chat = chats.new_chat(
            session,
            chance.choice(SUBJECTS),
            chance.choice(("general", "support", "billing", "technical")),
            chance.choice(PRIORITIES),
        )
        message = appending.new(session, chat, TEXT, None)
        chat = {**chat, **appending.apply_message(chat, message)}
        status = chance.choice(STATUSES)
        unread = chance.random() < 0.1
        chat |= {
            "status": status,
            "isOpen": status in OPEN_STATUSES,
            "adminId": admin_id if chance.random() < 0.5 else None,
            "lastMessageAt": now - timedelta(seconds=number + 60),
            "unreadByAdmin": unread,
            "unread": {"user": 0, "admin": int(unread)},
            "readSeq": {"user": 0, "admin": int(not unread)},
        }
        batch.append(chat)
        if len(batch) == BATCH:
            write()
    if batch:
        write()


def fill_chat(chat_id: ObjectId, sessions: list[Session], count: int) -> None:
    """Make a chat `count` messages long, its two sides taking turns."""
    chat = database.chatrooms().find_one({"_id": chat_id})
    if chat is None:
        raise LookupError(f"no chat {chat_id}")
    batch: list[Message] = []
    version = chat["version"]
    while chat["lastSeq"] < count:
        sender = sessions[chat["lastSeq"] % 2]
        message = appending.new(sender, chat, TEXT, None)
        chat = {**chat, **appending.apply_message(chat, message)}
        batch.append(message)
        if len(batch) == BATCH or chat["lastSeq"] == count:
            database.messages().insert_many(batch)
            batch = []
    chat["version"] = version + 1
    database.chatrooms().replace_one({"_id": chat_id}, chat)
