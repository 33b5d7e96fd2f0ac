"""Lists of chats: filters, order, pages, ETags."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from bson import ObjectId
from pymongo.database import Database

from chatapi.domain import clock, errors
from chatapi.domain.documents import Chat, ShownChat
from chatapi.services import chat_lists, chats, messages, users
from chatapi.services.chat_lists import ChatFilters
from chatapi.services.sessions import Session
from chatapi.store import chats as stored_chats
from chatapi.store.database import Document
from tests.conftest import MakeSession
from tests.consistency import assert_chat_is_consistent
from tests.services.conftest import new_session


def stored(chat: Chat) -> Chat:
    found = stored_chats.by_id(chat["_id"])
    assert found is not None
    return found


def opened(subject: str, owner: Session | None = None, **fields: Any) -> ShownChat:
    return chats.create(owner or new_session("user"), subject, **fields)[0]


def subjects(session: Session, limit: int = 50, **filters: Any) -> list[str]:
    page = chat_lists.list_chats(session, ChatFilters(**filters), limit)
    return [row["subject"] for row in page.items]


def test_a_chat_of_another_time_is_told_of_as_changed_now(agent: Session) -> None:
    # Who follows the database, and how late they are, goes by it.
    with clock.frozen(datetime(2020, 1, 1, tzinfo=UTC)):
        chat = opened("imported", message="Hello")
        made = stored(chat)["changedAt"]
        chats.update(agent, chat["_id"], status="closed")
    for changed in (made, stored(chat)["changedAt"]):
        assert abs(clock.now() - changed) < timedelta(minutes=1)


@pytest.fixture
def shelf(agent: Session) -> dict[str, ShownChat]:
    """Four chats of four users, from the oldest to the newest, in all sorts of states."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    with clock.frozen(start):
        one = opened("one", priority="low", message="Hello")
    with clock.frozen(start + timedelta(hours=1)):
        two = opened("two", category="billing")
        chats.update(agent, two["_id"], status="pending")
    with clock.frozen(start + timedelta(hours=2)):
        three = opened("three", priority="urgent", category="billing", message="Hello")
        chats.update(agent, three["_id"], status="closed", read=True)
    with clock.frozen(start + timedelta(hours=3)):
        four = opened("four", message="Hello")
        chats.update(agent, four["_id"], status="archived")
    return {"one": one, "two": two, "three": three, "four": four}


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, ["four", "three", "two", "one"]),
        ({"status": ["active"]}, ["one"]),
        ({"status": ["active", "closed"]}, ["three", "one"]),
        ({"priority": ["low"]}, ["one"]),
        ({"priority": ["low", "urgent"]}, ["three", "one"]),
        ({"category": ["billing"]}, ["three", "two"]),
        ({"category": ["billing"], "status": ["pending"]}, ["two"]),
        ({"category": ["billing"], "priority": ["low"]}, []),
        ({"unread": True}, ["four", "one"]),
        ({"unread": False}, ["three", "two"]),
        ({"assigned": "none"}, ["four", "three", "two", "one"]),
        ({"assigned": "me"}, []),
        ({"assigned": str(ObjectId())}, []),
        ({"q": "tw"}, ["two"]),
        ({"q": "TWO"}, ["two"]),
        ({"q": "t"}, ["three", "two"]),
        ({"q": "wo"}, []),
        ({"q": "?!"}, []),
        ({"q": "  "}, ["four", "three", "two", "one"]),
    ],
)
def test_an_agent_narrows_the_list(
    agent: Session, shelf: dict[str, ShownChat], filters: dict[str, Any], found: list[str]
) -> None:
    assert subjects(agent, **filters) == found


def test_the_list_is_searched_by_the_owners_name_and_email_too(agent: Session) -> None:
    opened("one", new_session("user", "Ana Souza"))
    owner = new_session("user", "Zoë")
    opened("two", owner)
    assert subjects(agent, q="sou ana") == ["one"]
    assert subjects(agent, q="zoe") == ["two"]
    assert subjects(agent, q=owner.email) == ["two"]


def test_a_renamed_user_is_found_under_both_names(
    make_session: MakeSession, agent: Session
) -> None:
    boss, owner = make_session("admin"), make_session("user", "Beatriz")
    opened("one", owner)
    users.update_user(boss, owner.user_id, {"name": "Wanda"})
    assert subjects(agent, q="wanda") == ["one"]
    assert subjects(agent, q="beatriz") == ["one"]


def test_an_assigned_chat_is_on_its_agents_list_only(make_session: MakeSession, chat: Chat) -> None:
    ada, bob = make_session("admin"), make_session("admin")
    chats.update(ada, chat["_id"], admin_id=str(ada.user_id))
    assert subjects(ada, assigned="me") == ["Help"]
    assert subjects(bob, assigned="me") == []
    assert subjects(bob, assigned=str(ada.user_id)) == ["Help"]
    assert subjects(bob, assigned="none") == []


@pytest.mark.parametrize("filters", [{"assigned": "zz"}, {"assigned": "ME"}, {"assigned": ""}])
def test_a_wrong_filter_is_refused_by_name(agent: Session, filters: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidInput) as refusal:
        subjects(agent, **filters)
    assert list(refusal.value.data["fields"]) == ["assigned"]


def test_a_user_lists_their_own_chats_whatever_they_ask_for(
    user: Session, agent: Session, shelf: dict[str, ShownChat]
) -> None:
    first = opened("mine", user)
    chats.update(agent, first["_id"], status="closed", message="Goodbye")
    opened("mine too", user)
    assert sorted(subjects(user)) == ["mine", "mine too"]
    assert subjects(user, status=["closed"]) == ["mine"]
    assert subjects(user, unread=True) == ["mine"]
    assert subjects(user, unread=False) == ["mine too"]
    assert subjects(user, q="one") == []
    assert subjects(user, assigned=str(agent.user_id)) == []
    assert subjects(new_session("user")) == []


def test_the_latest_message_comes_first(agent: Session, shelf: dict[str, ShownChat]) -> None:
    messages.send(agent, shelf["two"]["_id"], "Sorry for the wait")
    assert subjects(agent) == ["two", "four", "three", "one"]


def test_pages_follow_each_other_without_gap_or_repetition(agent: Session) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(7):
        # Some share their time: then the id decides.
        with clock.frozen(start + timedelta(hours=number // 3)):
            opened(f"{number}")
    everything = subjects(agent)
    seen: list[str] = []
    cursor = None
    for _ in range(4):
        page = chat_lists.list_chats(agent, ChatFilters(), 2, cursor)
        seen += [row["subject"] for row in page.items]
        cursor = page.next_cursor
    assert seen == everything
    assert len(seen) == 7
    assert cursor is None


def test_a_cursor_grants_nothing(
    user: Session, agent: Session, shelf: dict[str, ShownChat]
) -> None:
    opened("mine", user)
    cursor = chat_lists.list_chats(agent, ChatFilters(), 1).next_cursor
    page = chat_lists.list_chats(user, ChatFilters(), 50, cursor)
    assert {row["subject"] for row in page.items} <= {"mine"}


@pytest.mark.parametrize("cursor", ["", "x", "=", "A" * 27, "A" * 26, "A" * 100, "ü" * 27])
def test_a_made_up_cursor_is_refused(agent: Session, cursor: str) -> None:
    if cursor == "A" * 27:
        assert chat_lists.list_chats(agent, ChatFilters(), 50, cursor).items == []
        return
    with pytest.raises(errors.InvalidInput) as refusal:
        chat_lists.list_chats(agent, ChatFilters(), 50, cursor)
    assert list(refusal.value.data["fields"]) == ["cursor"]


def test_the_state_of_a_list_tells_of_chats_that_come_and_go(
    agent: Session, shelf: dict[str, ShownChat]
) -> None:
    seen = {chat_lists.list_chats(agent, ChatFilters(status=["active"])).etag}
    new = opened("five")
    seen.add(chat_lists.list_chats(agent, ChatFilters(status=["active"])).etag)
    chats.update(agent, shelf["one"]["_id"], status="closed")
    seen.add(chat_lists.list_chats(agent, ChatFilters(status=["active"])).etag)
    chats.delete(agent, new["_id"])
    seen.add(chat_lists.list_chats(agent, ChatFilters(status=["active"])).etag)
    assert len(seen) == 4


def test_the_state_of_a_list_carries_the_unread_total_of_all_chats(
    agent: Session, shelf: dict[str, ShownChat]
) -> None:
    state = chat_lists.list_chats(agent, ChatFilters(status=["closed"]), 1)
    assert (state.unread_chats, state.unread_messages) == (2, 2)


def test_the_unread_numbers_of_a_list_move_its_etag(
    user: Session, agent: Session, chat: Chat
) -> None:
    # The message is in no chat of this page, but the total above the page shows it.
    before = chat_lists.list_chats(agent, ChatFilters(status=["closed"]))
    messages.send(user, chat["_id"], "Hello")
    assert chat_lists.list_chats(agent, ChatFilters(status=["closed"])).etag != before.etag


def test_a_clock_that_jumps_back_still_lists_the_chat(
    database: Database[Document], user: Session, chat: Chat
) -> None:
    with time_machine.travel(datetime.now(UTC) - timedelta(days=30)):
        messages.send(user, chat["_id"], "Hello")
        assert subjects(user) == ["Help"]
    assert_chat_is_consistent(database, chat["_id"])
