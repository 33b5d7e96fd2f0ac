"""What the services store is what `domain.documents` says."""

from __future__ import annotations

import ast
import types
from datetime import datetime
from pathlib import Path
from typing import (
    Any,
    Literal,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import pytest
from bson import ObjectId
from pymongo.database import Database

from chatapi.domain import documents, enums
from chatapi.services import accounts, chats, credentials, messages, typing_indicator
from chatapi.store import presence
from chatapi.store.database import Document
from tests.conftest import CLIENT, PASSWORD, MakeSession

ROOT = Path(__file__).parents[2]
COLLECTIONS = {
    "chatrooms": documents.Chat,
    "messages": documents.Message,
    "users": documents.User,
    "sessions": documents.StoredSession,
    "chat_terms": documents.ChatTerms,
    "passwordLinks": documents.PasswordLink,
    "deletions": documents.Deletion,
    "ephemeralEvents": documents.EphemeralEvent,
    "presence": documents.Heartbeat,
}


def mistakes(value: Any, kind: Any, place: str) -> list[str]:
    """Return a sentence for each part of a value that is not of a kind."""
    origin = get_origin(kind)
    if origin is NotRequired:
        return mistakes(value, get_args(kind)[0], place)
    if origin is Literal:
        return [] if value in get_args(kind) else [f"{place} is {value!r}."]
    if origin in {Union, types.UnionType}:
        found = [mistakes(value, each, place) for each in get_args(kind)]
        return min(found, key=len)
    if origin is list:
        if not isinstance(value, list):
            return [f"{place} is {value!r}."]
        (part,) = get_args(kind)
        return [each for n, one in enumerate(value) for each in mistakes(one, part, f"{place}.{n}")]
    if origin is dict:
        return [] if isinstance(value, dict) else [f"{place} is {value!r}."]
    if is_typeddict(kind):
        if not isinstance(value, dict):
            return [f"{place} is {value!r}."]
        hints = get_type_hints(kind, include_extras=True)
        needed = {name for name, each in hints.items() if get_origin(each) is not NotRequired}
        needed = needed if kind.__total__ else set()
        wrong = [f"{place}.{name} is not described." for name in set(value) - set(hints)]
        wrong += [f"{place}.{name} is missing." for name in needed - set(value)]
        for name in set(value) & set(hints):
            wrong += mistakes(value[name], hints[name], f"{place}.{name}")
        return wrong
    if kind is type(None):
        return [] if value is None else [f"{place} is {value!r}."]
    return [] if type(value) is kind else [f"{place} is {value!r}, a {type(value).__name__}."]


def test_what_is_stored_is_described(
    make_session: MakeSession, database: Database[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, other = make_session("admin"), make_session("admin")
    user, guest = make_session(), make_session("guest")
    chat, *_ = chats.create(user, "A question", message="Hello", client_message_id="first")
    messages.send(user, chat["_id"], "One more", "second")
    messages.send(agent, chat["_id"], "An answer")
    messages.mark_read(user, chat["_id"], 2)
    messages.send(user, chat["_id"], "Not read")
    messages.delete(agent, chat["_id"], 4)
    chats.update(agent, chat["_id"], message="Done", read=True, status="closed", priority="high")
    chats.update(agent, chat["_id"], message="Open again", status="active")
    chats.update(agent, chat["_id"], admin_id=str(other.user_id))
    chats.mark_solved(user, chat["_id"])
    # A deletion that was cut short before the text was overwritten.
    messages.send(user, chat["_id"], "Once more")

    def cut_short(*_: object) -> None:
        raise OSError("The process ends here.")

    monkeypatch.setattr("chatapi.store.messages.redact", cut_short)
    monkeypatch.setattr("chatapi.store.messages.delete_of_chat", cut_short)
    with pytest.raises(OSError, match="ends here"):
        messages.delete(agent, chat["_id"], 7)
    with pytest.raises(OSError, match="ends here"):
        chats.delete(agent, chats.create(make_session(), "To be deleted")[0]["_id"])
    typing_indicator.notify(user, chat["_id"])
    credentials.make_link(agent, user.user_id)
    person: documents.Person = {
        "userId": agent.user_id,
        "name": agent.name,
        "role": agent.role,
        "chatId": chat["_id"],
    }
    presence.heartbeat("a process", [person])
    chats.create(guest, "From a guest")
    accounts.upgrade_guest(guest, PASSWORD)
    accounts.guest("Gil", "gil@example.org", CLIENT)

    stored = {name: list(database[name].find()) for name in COLLECTIONS}
    wrong = [
        each
        for name, kind in COLLECTIONS.items()
        for document in stored[name]
        for each in mistakes(document, kind, name)
    ]
    assert wrong == []
    # Every field was stored by one of the documents, so that each line was compared.
    for name, kind in COLLECTIONS.items():
        seen = {field for document in stored[name] for field in document}
        assert set(kind.__annotations__) - seen == set(), name


def test_a_document_that_is_not_described_is_found() -> None:
    row = {"user": 1, "admin": 2}
    assert mistakes(row, documents.PerSide, "counts") == []
    assert mistakes(row | {"guest": 0}, documents.PerSide, "counts")
    assert mistakes({"user": 1}, documents.PerSide, "counts")
    assert mistakes(row | {"admin": "2"}, documents.PerSide, "counts")
    assert mistakes({"seq": 1, "at": None}, documents.Redaction, "redaction")
    assert mistakes("closing", enums.Status, "status")
    local = datetime.now()  # noqa: DTZ005
    assert mistakes([{"seq": 1, "at": local}, {}], list[documents.Redaction], "pendingRedactions")
    assert mistakes(ObjectId(), ObjectId | None, "adminId") == []


# (file, field): where a field that may be missing is read as one that is there, and why it is.
KNOWN_TO_BE_THERE = {
    ("chatapi/services/messages.py", "pendingRedactions"): "it was set by the write before",
    ("chatapi/services/credentials.py", "passwordHash"): "it was looked for before",
}


def fields_of(kind: type, *, optional: bool) -> set[str]:
    hints = get_type_hints(kind, include_extras=True)
    return {name for name, hint in hints.items() if (get_origin(hint) is NotRequired) == optional}


def optional_fields() -> set[str]:
    """Return the fields of chats, messages and users that a document may lack."""
    kinds: tuple[type, ...] = (documents.Chat, documents.Message, documents.User)
    optional = {name for kind in kinds for name in fields_of(kind, optional=True)}
    everything: tuple[type, ...] = tuple(COLLECTIONS.values())
    return optional - {name for kind in everything for name in fields_of(kind, optional=False)}


def required_reads(source: str, fields: set[str]) -> set[str]:
    """Return the fields that a source reads by `document["field"]`."""
    return {
        node.slice.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Subscript)
        and isinstance(node.ctx, ast.Load)
        and isinstance(node.slice, ast.Constant)
        and node.slice.value in fields
    }


def test_no_code_requires_a_field_that_older_documents_lack() -> None:
    fields = optional_fields()
    assert {"pendingRedactions", "solvedAt", "deletedUnread", "chatChanges"} <= fields
    found = {
        (path.relative_to(ROOT).as_posix(), name)
        for package in ("chatapi", "admin_ui")
        for path in (ROOT / package).rglob("*.py")
        for name in required_reads(path.read_text(encoding="utf-8"), fields)
    }
    assert found == set(KNOWN_TO_BE_THERE)


def test_a_required_read_is_found() -> None:
    assert required_reads("at = chat['solvedAt']", {"solvedAt"}) == {"solvedAt"}
    assert required_reads("chat['solvedAt'] = chat.get('solvedAt')", {"solvedAt"}) == set()
