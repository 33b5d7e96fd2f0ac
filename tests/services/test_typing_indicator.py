"""Typing: told to the others, once for every two seconds of it, however it is sent."""

from __future__ import annotations

from typing import Any

import pytest

from chatapi.domain import errors
from chatapi.services import chats, messages, typing_indicator
from chatapi.store import presence
from tests.conftest import MakeChat, MakeSession


@pytest.fixture
def delivered(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was told, as (sender, chat)."""
    found: list[Any] = []
    monkeypatch.setattr(
        presence, "emit", lambda _, **data: found.append((data["senderId"], data["chatId"]))
    )
    return found


def test_a_repeated_typing_is_told_once(
    make_session: MakeSession,
    make_chat: MakeChat,
    delivered: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    user, agent = make_session(), make_session("admin")
    chat_id = make_chat(user)["_id"]
    for who in (user, agent, user, agent):
        typing_indicator.notify(who, chat_id)
    assert delivered == [(user.user_id, chat_id), (agent.user_id, chat_id)]
    monkeypatch.setattr(typing_indicator, "TYPING_SECONDS", 0)
    typing_indicator.notify(user, chat_id)
    assert delivered[2:] == [(user.user_id, chat_id)]


def test_typing_after_a_message_is_told_at_once(
    make_session: MakeSession, make_chat: MakeChat, delivered: list[Any]
) -> None:
    user = make_session()
    chat_id = make_chat(user)["_id"]
    for _ in range(2):
        typing_indicator.notify(user, chat_id)
        messages.send(user, chat_id, "Here I am")
    assert len(delivered) == 2


def test_typing_that_could_not_be_told_is_told_the_next_time(
    make_session: MakeSession,
    make_chat: MakeChat,
    delivered: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(*_: object, **__: object) -> None:
        raise ConnectionError

    user = make_session()
    chat_id = make_chat(user)["_id"]
    with monkeypatch.context() as patch:
        patch.setattr(presence, "emit", away)
        with pytest.raises(ConnectionError):
            typing_indicator.notify(user, chat_id)
    typing_indicator.notify(user, chat_id)
    assert len(delivered) == 1


def test_who_types_is_remembered_for_so_many_only(
    make_session: MakeSession,
    make_chat: MakeChat,
    delivered: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(typing_indicator, "MAX_TYPINGS", 2)
    chat_id = make_chat(make_session())["_id"]
    for _ in range(5):
        typing_indicator.notify(make_session("admin"), chat_id)
    assert len(delivered) == 5
    assert len(typing_indicator._recent.current._notified_at) <= 2


def test_nobody_types_in_a_closed_chat_however_often(
    make_session: MakeSession, make_chat: MakeChat, delivered: list[Any]
) -> None:
    user, agent = make_session(), make_session("admin")
    chat_id = make_chat(user)["_id"]
    typing_indicator.notify(user, chat_id)
    chats.update(agent, chat_id, status="closed")
    for _ in range(2):
        with pytest.raises(errors.ChatClosed):
            typing_indicator.notify(user, chat_id)
    assert len(delivered) == 1
