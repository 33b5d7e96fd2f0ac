"""Who is told where the agents are."""

from __future__ import annotations

from typing import Any

import pytest
from bson import ObjectId

from chatapi.realtime.hub import Event, hub
from chatapi.services.presence import Presence
from chatapi.store import presence

ANA, HERE, THERE = ObjectId(), ObjectId(), ObjectId()

Told = list[tuple[ObjectId | None, bool, ObjectId | None]]


@pytest.fixture
def delivered(monkeypatch: pytest.MonkeyPatch) -> Told:
    """To which chat, or the inbox, it was told whether she is there, and where."""
    said: Told = []

    def present(event: Event, chat_id: ObjectId | None) -> None:
        said.append((chat_id, event.data["online"], event.data["chatId"]))

    monkeypatch.setattr(hub.current, "publish_presence", present)
    return said


def look(present: Presence, monkeypatch: pytest.MonkeyPatch, *places: ObjectId | None) -> None:
    """Let the database say in which chats she is, or with none that she is not there."""
    people: list[dict[str, Any]] = [
        {"userId": ANA, "name": "Ana", "role": "admin", "chatId": place} for place in places
    ]
    monkeypatch.setattr(presence, "online_since", lambda _: people)
    present.update({}, is_due=False, has_listeners=True)


def test_who_hears_of_the_chats_and_the_inbox_hears_last_where_the_agent_is(
    delivered: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    present = Presence()
    look(present, monkeypatch, HERE)
    assert delivered == [(HERE, True, HERE), (None, True, HERE)]
    delivered.clear()
    look(present, monkeypatch, THERE)
    assert delivered == [(HERE, True, None), (THERE, True, THERE), (None, True, THERE)]
    delivered.clear()
    look(present, monkeypatch, THERE)
    assert delivered == []
    look(present, monkeypatch)
    assert delivered == [(THERE, False, None), (None, False, None)]
