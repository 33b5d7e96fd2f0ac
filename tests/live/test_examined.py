"""How many documents the server looks at for a page of a list, where there are many more."""

from __future__ import annotations

import pytest
from flask import Flask
from pymongo.database import Database

from bench import data
from chatapi.services import sessions, users
from chatapi.store.chats import TIE_ROWS
from chatapi.store.database import Document
from tests.conftest import CLIENT, PASSWORD
from tests.live.plans import examined
from tests.live.wire import Wire

CHATS = 1000
PAGE = 50


@pytest.fixture
def database(listened_database: Database[Document]) -> Database[Document]:
    """What `app` stands on: a database whose commands are kept."""
    return listened_database


def test_a_page_of_a_list_looks_at_few_documents_more_than_it_shows(
    live_app: Flask,
    live_database: Database[Document],
    wire: Wire,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What lists of other tests reached in this process says nothing of this one.
    agent = users.create_admin("Agent", "agent@example.org", PASSWORD)
    data.add_chats(CHATS, agent["_id"])
    client, token = live_app.test_client(), sessions.begin_session(agent, CLIENT)[1]
    cursor = ""

    def looked_at(query: str) -> int:
        nonlocal cursor
        wire.clear()
        path = f"/api/chat?limit={PAGE}{query}"
        answer = client.get(path, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200, answer.text
        assert len(answer.get_json()) == PAGE
        cursor = f"&cursor={answer.headers['X-Next-Cursor']}"
        finds = [each for each in wire.commands if each.get("find") == "chatrooms"]
        return sum(examined(live_database, each) for each in finds)

    # A list that was never read is looked for further and further back, but not to its end.
    assert PAGE < looked_at("") < CHATS * 0.6
    for _ in range(3):
        following = cursor
        # A page that follows another is about as far apart; one that was read is read again.
        assert PAGE < looked_at(following) < 1.5 * PAGE
        assert PAGE <= looked_at(following) <= PAGE + TIE_ROWS
    assert PAGE <= looked_at("") <= PAGE + TIE_ROWS
    # A quarter of the chats is active: the others between them are looked at, no more.
    active = "&status=active"
    looked_at(active)
    assert looked_at(active) < 6 * PAGE
    following = active + cursor
    looked_at(following)
    assert looked_at(following) < 6 * PAGE
