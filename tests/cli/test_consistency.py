"""What a chat says of its history, compared with the history."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from pymongo.database import Database

from chatapi.cli import consistency
from chatapi.services import chats, messages
from chatapi.store import maintenance
from chatapi.store.database import Document
from tests.conftest import MakeChat, MakeSession


@pytest.mark.parametrize(
    ("collection", "change", "said"),
    [
        ("chatrooms", {"$set": {"messageCount": 7}}, "messageCount is 7, not 3"),
        ("chatrooms", {"$set": {"lastSeq": 4}}, "3 of the messages 1 to 4"),
        ("chatrooms", {"$set": {"unread.admin": 9}}, "unread.admin is 9, not 2"),
        ("chatrooms", {"$set": {"deletedUnread": [{"seq": 3, "side": "user"}]}}, "is not deleted"),
        ("chatrooms", {"$set": {"counts.user": 0}}, "counts.user is 0, not 2"),
        ("chatrooms", {"$set": {"isOpen": False}}, "isOpen is False and the status active"),
        ("chatrooms", {"$set": {"lastMessage.content": "x"}}, "lastMessage is not its last"),
        ("chatrooms", {"$set": {"lastMessageAt": None}}, "lastMessageAt is not the time"),
        ("messages", {"$set": {"side": "admin"}}, "counts.user is 2, not 1"),
    ],
)
def test_a_chat_that_differs_from_its_history_is_named(
    app: Flask,
    database: Database[Document],
    make_session: MakeSession,
    make_chat: MakeChat,
    collection: str,
    change: Document,
    said: str,
) -> None:
    owner, agent = make_session(), make_session("admin")
    chat = make_chat(owner, message="One")
    messages.send(agent, chat["_id"], "Two")
    messages.send(owner, chat["_id"], "Three")
    make_chat()
    assert [found for _, found in consistency.problems()] == [[]]
    where = {"_id": chat["_id"]} if collection == "chatrooms" else {"seq": 1}
    database[collection].update_one(where, change)
    ((compared, found),) = consistency.problems()
    assert compared == 2
    assert any(said in problem for problem in found), found
    assert all(str(chat["_id"]) in problem for problem in found)


def test_a_chat_that_goes_while_it_is_compared_is_no_problem(
    app: Flask,
    make_session: MakeSession,
    make_chat: MakeChat,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    agent = make_session("admin")
    chat = make_chat(message="Gone in a moment")
    read = maintenance.histories

    def late(chat_ids: Any) -> Any:
        chats.delete(agent, chat["_id"])
        monkeypatch.setattr(maintenance, "histories", read)
        return read(chat_ids)

    monkeypatch.setattr(maintenance, "histories", late)
    assert [found for _, found in consistency.problems()] == [[]]
