"""An open chat belongs to an agent who can answer it, whoever comes or goes meanwhile."""

from __future__ import annotations

import pytest
from bson import ObjectId
from flask import Flask

from chatapi.domain.documents import Chat, User, UserChanges
from chatapi.services import assignment, chat_lists, chats, stats
from chatapi.services.chat_lists import ChatFilters
from chatapi.services.sessions import Session
from chatapi.services.users import update_user
from chatapi.store import chats as stored_chats
from chatapi.store import messages as stored_messages
from chatapi.store import unassignments, users
from tests.conftest import MakeChat, MakeSession, MakeUser
from tests.services.conftest import Killed, Meanwhile, die

LEAVING = pytest.mark.parametrize("change", [{"disabled": True}, {"role": "user"}])


@pytest.fixture(autouse=True)
def _app(app: Flask) -> None:
    """Cheap password hashes: the application sets their cost."""


@pytest.fixture
def boss(make_session: MakeSession) -> Session:
    """The agent who changes others."""
    return make_session("admin")


@pytest.fixture
def bea(make_user: MakeUser) -> User:
    """The agent who leaves."""
    return make_user("Bea", role="admin")


def stored(chat: Chat) -> Chat:
    found = stored_chats.by_id(chat["_id"])
    assert found is not None
    return found


def assigned(boss: Session, admin_id: object) -> set[ObjectId]:
    page = chat_lists.list_chats(boss, ChatFilters(assigned=str(admin_id)))
    return {row["_id"] for row in page.items}


@LEAVING
def test_the_open_chats_of_an_agent_who_leaves_are_unassigned_everywhere(
    boss: Session, bea: User, make_chat: MakeChat, change: UserChanges,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(stored_chats, "CHANGED_BATCH", 2)
    opened = [make_chat() for _ in range(5)]
    closed, others = make_chat(), make_chat()
    for chat in (*opened, closed):
        chats.update(boss, chat["_id"], admin_id=bea["_id"])
    chats.update(boss, closed["_id"], status="closed")
    chats.update(boss, others["_id"], admin_id=boss.user_id)
    before = [stored(chat) for chat in opened]
    update_user(boss, bea["_id"], change)
    for earlier in before:
        now = stored(earlier)
        assert (now["adminId"], now["adminName"], now["adminImage"]) == (None, None, None)
        assert now["version"] > earlier["version"]
        assert now["lastMessageAt"] == earlier["lastMessageAt"]
    assert assigned(boss, "none") == {chat["_id"] for chat in opened}
    assert assigned(boss, bea["_id"]) == {closed["_id"]}
    assert assigned(boss, "me") == {others["_id"]}
    assert stats.counts(boss, ["general"])["unassigned"] == 5
    assert unassignments.unfinished() == []


@LEAVING
@pytest.mark.parametrize("at", ["open_chats_assigned_to", "unassign"])
@pytest.mark.parametrize("how", ["init-db", "again"])
def test_what_a_crash_cut_off_is_finished(
    boss: Session, bea: User, make_chat: MakeChat, meanwhile: Meanwhile,
    change: UserChanges, at: str, how: str,
) -> None:  # fmt: skip
    chat = make_chat()
    chats.update(boss, chat["_id"], admin_id=bea["_id"])
    meanwhile(stored_chats, at, before=die)
    with pytest.raises(Killed):
        update_user(boss, bea["_id"], change)
    assert stored(chat)["adminId"] == bea["_id"]
    if how == "again":
        update_user(boss, bea["_id"], change)
    else:
        assert assignment.finish_unassignments() == 1
    assert stored(chat)["adminId"] is None
    assert unassignments.unfinished() == []
    assert assignment.finish_unassignments() == 0


def test_a_crash_before_the_agent_is_disabled_leaves_all_as_it_was(
    boss: Session, bea: User, make_chat: MakeChat, meanwhile: Meanwhile
) -> None:
    chat = make_chat()
    chats.update(boss, chat["_id"], admin_id=bea["_id"])
    meanwhile(users, "update", before=die)
    with pytest.raises(Killed):
        update_user(boss, bea["_id"], {"disabled": True})
    assert assignment.finish_unassignments() == 0
    assert stored(chat)["adminId"] == bea["_id"]
    assert unassignments.unfinished() == []


@LEAVING
@pytest.mark.parametrize("message", [None, "Bea will answer."])
def test_an_agent_who_leaves_while_a_chat_is_assigned_to_them_does_not_keep_it(
    boss: Session, bea: User, make_chat: MakeChat, meanwhile: Meanwhile,
    change: UserChanges, message: str | None,
) -> None:  # fmt: skip
    chat = make_chat()
    meanwhile(stored_chats, "replace", before=lambda: update_user(boss, bea["_id"], change))
    shown, sent = chats.update(boss, chat["_id"], admin_id=bea["_id"], message=message)
    assert shown["adminId"] is None
    assert stored(chat)["adminId"] is None
    assert [each["content"] for each in sent] == ([message] if message else [])


def test_a_message_that_another_sender_commits_assigns_to_nobody_who_has_left(
    boss: Session, bea: User, make_chat: MakeChat, meanwhile: Meanwhile
) -> None:
    chat = make_chat()
    meanwhile(stored_messages, "insert", after=die)
    with pytest.raises(Killed):
        chats.update(boss, chat["_id"], admin_id=bea["_id"], message="Bea will answer.")
    update_user(boss, bea["_id"], {"disabled": True})
    chats.update(boss, chat["_id"], message="Hello?")
    assert stored(chat)["lastSeq"] == 2
    assert stored(chat)["adminId"] is None


@pytest.mark.parametrize("message", [None, "One more thing."])
@pytest.mark.parametrize("stays", [True, False])
def test_a_reopened_chat_stays_with_its_agent_only_if_they_are_still_there(
    boss: Session, bea: User, make_chat: MakeChat, message: str | None, stays: bool
) -> None:
    chat = make_chat()
    chats.update(boss, chat["_id"], admin_id=bea["_id"], status="closed")
    if not stays:
        update_user(boss, bea["_id"], {"role": "user"})
    shown, _ = chats.update(boss, chat["_id"], status="active", message=message)
    assert shown["adminId"] == stored(chat)["adminId"] == (bea["_id"] if stays else None)
    assert shown["adminName"] == ("Bea" if stays else None)
