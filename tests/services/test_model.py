"""Random sequences of what users and agents do, against a model of a dozen lines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import mongomock
from hypothesis import given, settings
from hypothesis import strategies as some

from chatapi.domain import errors
from chatapi.domain.enums import Status
from chatapi.services import accounts, chat_lists, chats, messages
from chatapi.services.chat_lists import ChatFilters
from chatapi.services.sessions import Session
from chatapi.store import database as store_database
from chatapi.store import indexes
from tests.conftest import CLIENT
from tests.consistency import assert_chat_is_consistent
from tests.services.conftest import new_session

OPEN = {"active", "pending"}


@dataclass
class Chat:
    """What a chat should be."""

    id: Any
    owner: int
    status: Status = "active"
    said: list[tuple[str, str]] = field(default_factory=list)
    read: dict[str, int] = field(default_factory=lambda: {"user": 0, "admin": 0})
    keys: dict[tuple[int, str], int] = field(default_factory=dict)

    def unread(self, side: str) -> int:
        later = self.said[self.read[side] :]
        return sum(by != side and text != messages.TOMBSTONE for by, text in later)


class Model:
    """Two users, an agent, their chats, and the product beside it."""

    def __init__(self) -> None:
        mongo: Any = mongomock.MongoClient(tz_aware=True)
        self.database = mongo["test"]
        indexes.ensure(self.database, validators=False)
        store_database.bind(self.database)
        guest, _ = accounts.guest("Gil", "gil@example.org", CLIENT)
        self.people: list[Session] = [new_session("user"), guest, new_session("admin")]
        self.chats: list[Chat] = []

    def open_chat(self, owner: int) -> Chat | None:
        return next((c for c in self.chats if c.owner == owner and c.status in OPEN), None)

    def refused_for(self, refusal: errors.ChatOpen, other: Chat | None) -> None:
        assert other is not None
        assert refusal.data["chatId"] == str(other.id)

    def create(self, owner: int, text: str | None) -> None:
        in_the_way = self.open_chat(owner)
        try:
            chat, _, created = chats.create(self.people[owner], "Help", message=text)
        except errors.ChatOpen as refusal:
            self.refused_for(refusal, in_the_way)
            return
        assert created
        assert in_the_way is None
        self.chats.append(Chat(chat["_id"], owner, said=[("user", text)] if text else []))

    def send(self, which: int, who: int, text: str, key: str | None) -> None:
        if not self.chats:
            return
        chat = self.chats[which % len(self.chats)]
        sender = self.people[who]
        try:
            message, created = messages.send(sender, chat.id, text, key)
        except errors.NotYourChat:
            assert who not in {2, chat.owner}
            return
        except errors.ChatClosed:
            assert chat.status not in OPEN
            assert (who, key) not in chat.keys
            return
        assert who in {2, chat.owner}
        first = chat.keys.get((who, key)) if key else None
        assert created == (first is None)
        if first is not None:
            assert message["seq"] == first
            return
        assert chat.status in OPEN
        chat.said.append((sender.side, text))
        assert message["seq"] == len(chat.said)
        if key:
            chat.keys[who, key] = len(chat.said)

    def change(self, which: int, status: Status, text: str | None, read: bool) -> None:
        if not self.chats:
            return
        chat = self.chats[which % len(self.chats)]
        other = self.open_chat(chat.owner)
        changes: dict[str, Any] = {"message": text} if text else {}
        try:
            chats.update(self.people[2], chat.id, status=status, read=read, **changes)
        except errors.ChatOpen as refusal:
            assert status in OPEN
            assert other is not chat
            self.refused_for(refusal, other)
            return
        except errors.ChatClosed:
            assert text
            assert chat.status not in OPEN
            assert status not in OPEN
            return
        chat.status = status
        if text:
            chat.said.append(("admin", text))
        if read:
            chat.read["admin"] = len(chat.said)

    def read(self, which: int, who: int, seq: int) -> None:
        if not self.chats:
            return
        chat = self.chats[which % len(self.chats)]
        reader = self.people[who]
        try:
            messages.mark_read(reader, chat.id, seq)
        except errors.NotYourChat:
            assert who not in {2, chat.owner}
        except errors.InvalidInput:
            assert seq > len(chat.said)
        else:
            chat.read[reader.side] = max(chat.read[reader.side], seq)

    def redact(self, which: int, seq: int) -> None:
        if not self.chats:
            return
        chat = self.chats[which % len(self.chats)]
        try:
            messages.delete(self.people[2], chat.id, seq)
        except errors.MessageNotFound:
            assert not 1 <= seq <= len(chat.said)
        else:
            chat.said[seq - 1] = (chat.said[seq - 1][0], messages.TOMBSTONE)

    def delete(self, which: int) -> None:
        if self.chats:
            chats.delete(self.people[2], self.chats.pop(which % len(self.chats)).id)

    def check(self) -> None:
        agent = self.people[2]
        assert self.database["chatrooms"].count_documents({}) == len(self.chats)
        for chat in self.chats:
            history = assert_chat_is_consistent(self.database, chat.id)
            assert [(row["side"], row["content"]) for row in history] == chat.said
            now, _ = chats.get(agent, chat.id)
            assert (now["status"], now["readSeq"]) == (chat.status, chat.read)
            assert now["unread"] == {side: chat.unread(side) for side in ("user", "admin")}
        assert chat_lists.unread(agent)[1] == sum(chat.unread("admin") for chat in self.chats)
        for owner in (0, 1):
            own = [chat for chat in self.chats if chat.owner == owner]
            listed = chat_lists.list_chats(self.people[owner], ChatFilters()).items
            assert {row["_id"] for row in listed} == {chat.id for chat in own}
            assert chat_lists.unread(self.people[owner])[1] == sum(c.unread("user") for c in own)


whichs = some.integers(0, 3)
people = some.integers(0, 2)
seqs = some.integers(0, 5)
texts = some.sampled_from(["Hello", "👩‍💻 é", "x" * 300])
keys = some.sampled_from([None, "a", "b"])
statuses = some.sampled_from(["active", "pending", "closed", "archived"])
steps = some.one_of(
    some.tuples(some.just("create"), some.integers(0, 1), some.none() | texts),
    some.tuples(some.just("send"), whichs, people, texts, keys),
    some.tuples(some.just("send"), whichs, people, texts, keys),
    some.tuples(some.just("change"), whichs, statuses, some.none() | texts, some.booleans()),
    some.tuples(some.just("read"), whichs, people, seqs),
    some.tuples(some.just("redact"), whichs, seqs),
    some.tuples(some.just("delete"), whichs),
)


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(some.lists(steps, min_size=5, max_size=30))
def test_whatever_people_do_the_chats_are_what_the_model_says(
    sequence: list[tuple[Any, ...]],
) -> None:
    model = Model()
    model.create(0, "Hello")
    for name, *arguments in sequence:
        getattr(model, name)(*arguments)
        model.check()
