"""The numbers over all chats."""

from __future__ import annotations

import pytest

from chatapi.domain import errors
from chatapi.domain.enums import Priority, Role
from chatapi.services import chats, messages, stats
from chatapi.services.sessions import Session
from tests.conftest import MakeSession
from tests.services.conftest import new_session

CATEGORIES = ("general", "billing")


def test_without_a_chat_every_number_is_there_and_zero(agent: Session) -> None:
    assert stats.counts(agent, CATEGORIES) == {
        "status": {"active": 0, "pending": 0, "closed": 0, "archived": 0},
        "priority": {"low": 0, "medium": 0, "high": 0, "urgent": 0},
        "category": {"general": 0, "billing": 0},
        "total": 0,
        "unassigned": 0,
        "unread": 0,
        "unreadMessages": 0,
    }


def test_every_chat_is_counted_where_it_belongs(make_session: MakeSession) -> None:
    agent = make_session("admin")
    opened: list[tuple[str, Priority, str | None]] = [
        ("general", "low", "Hello"),
        ("general", "urgent", "Hello"),
        ("billing", "low", None),
        ("gone from the configuration", "medium", None),
    ]
    made = [
        chats.create(new_session("user"), "Help", category, priority, message)[0]
        for category, priority, message in opened
    ]
    messages.send(agent, made[0]["_id"], "An agent's own message is unread by nobody here")
    chats.update(agent, made[1]["_id"], message="More", status="pending")
    chats.update(agent, made[2]["_id"], admin_id=str(agent.user_id), status="closed")
    chats.update(agent, made[3]["_id"], status="archived")
    assert stats.counts(agent, CATEGORIES) == {
        "status": {"active": 1, "pending": 1, "closed": 1, "archived": 1},
        "priority": {"low": 2, "medium": 1, "high": 0, "urgent": 1},
        "category": {"general": 2, "billing": 1, "gone from the configuration": 1},
        "total": 4,
        "unassigned": 3,
        "unread": 2,
        "unreadMessages": 2,
    }
    messages.mark_read(agent, made[0]["_id"], 1)
    numbers = stats.counts(agent, CATEGORIES)
    assert (numbers["unread"], numbers["unreadMessages"]) == (1, 1)


@pytest.mark.parametrize("role", ["user", "guest"])
def test_only_agents_see_the_numbers(role: Role) -> None:
    with pytest.raises(errors.AdminOnly):
        stats.counts(new_session(role), CATEGORIES)
