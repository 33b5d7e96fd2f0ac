"""Many people at once, signed in, each user with a chat: written straight to the database."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bson import ObjectId
from pymongo.collection import Collection

from chatapi.domain.documents import StoredSession
from chatapi.domain.enums import Role
from chatapi.services import appending, chats, sessions, users
from chatapi.store import chat_terms, database

BATCH = 1000


@dataclass(frozen=True)
class Person:
    """A signed-in user; `chat` is the id of the user's chat, "" for agents."""

    token: str
    chat: str


def add(count: int, role: Role = "user") -> list[Person]:
    """Make so many accounts with a session each, and for users a chat with one message."""
    people: list[Person] = []
    while len(people) < count:
        people += _add_some(min(BATCH, count - len(people)), role)
    return people


def _add_some(count: int, role: Role) -> list[Person]:
    rows: dict[str, list[Mapping[str, Any]]] = {
        name: [] for name in ("users", "sessions", "chat_terms", "chatrooms", "messages")
    }
    pattern = _session_row(role)
    people = []
    for _ in range(count):
        token = secrets.token_urlsafe(32)
        name = f"{role.capitalize()} {token[:6]}"
        user = users.new_user(name, f"{ObjectId()}@example.com", role, None)
        rows["users"].append(user)
        key = hashlib.sha256(token.encode()).hexdigest()
        rows["sessions"].append(
            pattern | {"_id": key, "publicId": ObjectId(), "userId": user["_id"]}
        )
        chat_id = ""
        if role != "admin":
            session = sessions.session_for(user)
            chat = chats.new_chat(session, "Parcel is late", "general", "medium")
            first = appending.new(session, chat, "It should have arrived on Monday.", None)
            rows["chat_terms"].append(chat_terms.to_document(chat, chats.terms(chat)))
            rows["chatrooms"].append({**chat, **appending.apply_message(chat, first)})
            rows["messages"].append(first)
            chat_id = str(chat["_id"])
        people.append(Person(token, chat_id))
    for name, documents in rows.items():
        if documents:
            collection: Collection[Any] = database.current()[name]
            collection.insert_many(documents)
    return people


def _session_row(role: Role) -> StoredSession:
    """Return a stored session as signing in makes it."""
    user = users.create_user("Pattern", f"{ObjectId()}@example.com", None, role)
    session, _ = sessions.begin_session(user, sessions.ClientInfo("bench", "127.0.0.1"))
    row = database.sessions().find_one({"_id": session.id})
    if row is None:
        raise LookupError("the session that was just begun")
    return row
