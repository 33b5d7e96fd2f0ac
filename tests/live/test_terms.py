"""Search terms of an earlier form, remade on a real server."""

from __future__ import annotations

from typing import Any

import pytest
from bson import ObjectId
from pymongo.database import Database

from chatapi.cli import consistency
from chatapi.services import chat_lists, search
from chatapi.store import chat_terms, search_terms
from chatapi.store.database import Document
from tests.conftest import MakeChat, MakeSession


@pytest.mark.usefixtures("live_app")
def test_chats_of_an_earlier_form_are_found(
    database: Database[Document],
    make_chat: MakeChat,
    make_session: MakeSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search_terms, "_BATCH", 2)
    agent = make_session("admin")
    old = {make_chat(subject="Łódź วิทยุ")["_id"] for _ in range(5)}
    earlier = {"terms": ["ł", "ło", "łod", "łodz", "ว", "ท", "ทย", "ย"]}
    database["chat_terms"].update_many({}, {"$set": earlier})
    database["users"].update_many({}, {"$set": {"searchTerms": []}})
    new: Any = {"_id": ObjectId(), "userId": ObjectId()}
    chat_terms.upsert(new, search.terms(["lodz"]))
    search_terms.set_format_version(1)
    consistency.recompute_terms()
    filters = chat_lists.ChatFilters(q="lodz วิทยุ")
    assert {chat["_id"] for chat in chat_lists.list_chats(agent, filters).items} == old
    row = database["chat_terms"].find_one({"_id": min(old)})
    assert row is not None
    assert "łodz" not in row["terms"]
    assert database["users"].count_documents({"searchTerms": []}) == 0
    assert search_terms.format_version() == search.FORM
