"""Chats: opening, listing, changing, deleting them, and who may."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest
from bson import ObjectId
from pymongo.database import Database

from chatapi.domain import errors
from chatapi.domain.documents import Chat
from chatapi.domain.enums import CLOSED_STATUSES, OPEN_STATUSES, Role, Status
from chatapi.services import accounts, chat_lists, chats, messages, users
from chatapi.services.access import access_chat
from chatapi.services.chat_lists import ChatFilters
from chatapi.services.sessions import Session
from chatapi.store import chats as stored_chats
from chatapi.store import messages as stored_messages
from chatapi.store.database import Document
from tests.conftest import CLIENT, MakeSession
from tests.consistency import assert_all_chats_are_consistent, assert_chat_is_consistent
from tests.services.conftest import Killed, Meanwhile, die, new_session


def stored(chat: Chat) -> Chat:
    found = stored_chats.by_id(chat["_id"])
    assert found is not None
    return found


def test_a_new_chat_has_the_defaults_and_its_owner(
    database: Database[Document], user: Session
) -> None:
    chat, added, created = chats.create(user, "Parcel is late")
    assert (created, added) == (True, [])
    assert (chat["status"], chat["priority"], chat["category"]) == ("active", "medium", "general")
    assert (chat["userId"], chat["userName"], chat["userEmail"]) == (
        user.user_id,
        user.name,
        user.email,
    )
    assert (chat["adminId"], chat["lastMessage"], chat["unreadCount"]) == (None, None, 0)
    assert assert_chat_is_consistent(database, chat["_id"]) == []


def test_a_first_message_comes_with_the_chat(
    database: Database[Document], user: Session, agent: Session
) -> None:
    chat, added, _ = chats.create(user, "Help", "billing", "urgent", "It is late", "key")
    assert (chat["priority"], chat["category"], chat["unreadCount"]) == ("urgent", "billing", 0)
    history = assert_chat_is_consistent(database, chat["_id"])
    assert [row["_id"] for row in history] == [added[0]["_id"]]
    assert chats.get(agent, chat["_id"])[0]["unreadCount"] == 1


def test_a_guest_opens_a_chat(database: Database[Document]) -> None:
    guest, _ = accounts.guest("Gil", "gil@example.org", CLIENT)
    chat, _, _ = chats.create(guest, "Help", message="Hello")
    assert chat["userRole"] == "guest"
    assert_chat_is_consistent(database, chat["_id"])


def test_an_agent_opens_none(database: Database[Document], agent: Session) -> None:
    with pytest.raises(errors.Forbidden):
        chats.create(agent, "Help")
    assert database["chatrooms"].count_documents({}) == 0


@pytest.mark.parametrize("status", OPEN_STATUSES)
def test_a_second_chat_is_refused_while_one_is_open(
    database: Database[Document], user: Session, agent: Session, chat: Chat, status: Status
) -> None:
    chats.update(agent, chat["_id"], status=status)
    with pytest.raises(errors.ChatOpen) as refusal:
        chats.create(user, "Another", message="Hello")
    assert refusal.value.data["chatId"] == str(chat["_id"])
    assert database["chatrooms"].count_documents({}) == 1
    assert database["messages"].count_documents({}) == 0


@pytest.mark.parametrize("status", CLOSED_STATUSES)
def test_a_second_chat_may_follow_a_closed_one(
    database: Database[Document], user: Session, agent: Session, chat: Chat, status: Status
) -> None:
    chats.update(agent, chat["_id"], status=status)
    assert chats.create(user, "Another")[2]
    assert database["chatrooms"].count_documents({"isOpen": True}) == 1


def test_another_users_open_chat_stands_in_nobodys_way(chat: Chat) -> None:
    assert chats.create(new_session("user"), "Another")[2]


def test_the_same_creation_again_returns_the_chat_it_made(
    database: Database[Document], user: Session
) -> None:
    first = chats.create(user, "Help", message="Hello", client_message_id="key")
    again = chats.create(user, "Help", message="Hello", client_message_id="key")
    assert again == (stored(first[0]) | {"unreadCount": 0}, first[1], False)
    assert database["messages"].count_documents({}) == 1


def test_the_same_creation_after_the_closing_does_not_open_another_chat(
    database: Database[Document], user: Session, agent: Session
) -> None:
    chat, _, _ = chats.create(user, "Help", message="Hello", client_message_id="key")
    chats.update(agent, chat["_id"], status="closed")
    again, added, created = chats.create(user, "Help", message="Hello", client_message_id="key")
    assert (again["_id"], again["status"], created) == (chat["_id"], "closed", False)
    assert [row["content"] for row in added] == ["Hello"]
    assert database["chatrooms"].count_documents({}) == 1


def test_the_same_creation_without_a_message_returns_the_chat_it_made(
    user: Session, agent: Session
) -> None:
    chat, _, _ = chats.create(user, "Help", client_message_id="key")
    messages.send(agent, chat["_id"], "What is it?")
    again, added, created = chats.create(user, "Help", client_message_id="key")
    assert (again["_id"], added, created) == (chat["_id"], [], False)


def test_another_key_is_another_creation(user: Session, chat: Chat) -> None:
    with pytest.raises(errors.ChatOpen):
        chats.create(user, "Help", message="Hello", client_message_id="another")


def test_a_key_of_another_user_makes_another_chat(user: Session) -> None:
    mine, _, _ = chats.create(user, "Help", message="Hello", client_message_id="key")
    theirs, _, created = chats.create(
        new_session("user"), "Help", message="Hello", client_message_id="key"
    )
    assert created
    assert theirs["_id"] != mine["_id"]


def test_a_creation_that_dies_before_the_chat_leaves_the_user_free(
    database: Database[Document], user: Session, meanwhile: Meanwhile
) -> None:
    meanwhile(stored_chats, "insert", before=die)
    with pytest.raises(Killed):
        chats.create(user, "Help", message="Hello", client_message_id="key")
    assert database["chatrooms"].count_documents({}) == 0
    chat, _, created = chats.create(user, "Help", message="Hello", client_message_id="key")
    assert created
    assert len(assert_chat_is_consistent(database, chat["_id"])) == 1


def test_a_chat_closed_while_another_is_opened_stands_in_no_ones_way(
    database: Database[Document],
    user: Session,
    agent: Session,
    chat: Chat,
    meanwhile: Meanwhile,
) -> None:
    meanwhile(
        stored_chats,
        "open_chat_of",
        before=lambda: chats.update(agent, chat["_id"], status="closed"),
    )
    another, _, created = chats.create(user, "Another", message="Hello")
    assert created
    assert len(assert_chat_is_consistent(database, another["_id"])) == 1
    assert database["messages"].count_documents({}) == 1


def test_a_chat_is_seen_by_its_owner_and_by_agents(
    user: Session, agent: Session, chat: Chat
) -> None:
    for who in (user, agent):
        assert chats.get(who, chat["_id"])[0]["_id"] == chat["_id"]
        assert chats.get(who, str(chat["_id"]))[0]["_id"] == chat["_id"]


@pytest.mark.parametrize("role", ["user", "guest"])
def test_a_chat_is_not_seen_by_anybody_else(chat: Chat, role: Role) -> None:
    stranger = new_session(role)
    for call in (
        lambda: chats.get(stranger, chat["_id"]),
        lambda: chats.update(stranger, chat["_id"], read=True),
        lambda: chats.update(stranger, chat["_id"], message="Hello"),
        lambda: access_chat(stranger, chat["_id"]),
    ):
        with pytest.raises(errors.NotYourChat):
            call()
    assert stored(chat)["version"] == 1


def test_each_side_has_its_own_unread_number(user: Session, agent: Session, chat: Chat) -> None:
    for _ in range(2):
        messages.send(user, chat["_id"], "question")
    for _ in range(3):
        messages.send(agent, chat["_id"], "answer")
    assert chats.get(user, chat["_id"])[0]["unreadCount"] == 3
    assert chats.get(agent, chat["_id"])[0]["unreadCount"] == 2
    assert chat_lists.unread(user) == (1, 3)
    assert chat_lists.unread(agent) == (1, 2)
    assert chat_lists.unread(new_session("user")) == (0, 0)


def test_a_chat_comes_with_its_newest_messages(user: Session, chat: Chat) -> None:
    for number in range(5):
        messages.send(user, chat["_id"], f"{number}")
    _, newest = chats.get(user, chat["_id"], 2)
    assert [row["seq"] for row in newest] == [4, 5]
    assert chats.get(user, chat["_id"], 0)[1] == []


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"status": "pending"}, "status", "pending"),
        ({"status": "closed"}, "status", "closed"),
        ({"status": "archived"}, "status", "archived"),
        ({"priority": "urgent"}, "priority", "urgent"),
        ({"category": "billing"}, "category", "billing"),
    ],
)
def test_an_agent_changes_a_chat(
    database: Database[Document],
    agent: Session,
    chat: Chat,
    changes: dict[str, Any],
    field: Literal["status", "priority", "category"],
    value: str,
) -> None:
    now, added = chats.update(agent, chat["_id"], **changes)
    assert (now[field], added) == (value, [])
    assert stored(chat)[field] == value
    assert now["lastMessageAt"] == chat["lastMessageAt"]
    assert_chat_is_consistent(database, chat["_id"])


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "closed"},
        {"priority": "urgent"},
        {"category": "billing"},
        {"admin_id": None},
        {"status": "active"},
        {"message": "Hello", "priority": "high"},
        {"read": True, "status": "closed"},
    ],
)
def test_a_user_changes_nothing_of_that_and_no_part_is_applied(
    user: Session, chat: Chat, changes: dict[str, Any]
) -> None:
    with pytest.raises(errors.AdminOnly):
        chats.update(user, chat["_id"], **changes)
    assert stored(chat)["version"] == 1


def test_a_change_to_what_is_already_so_changes_nothing(agent: Session, chat: Chat) -> None:
    chats.update(agent, chat["_id"], status="active", priority="medium", admin_id=None)
    assert stored(chat)["version"] == 1


def test_all_parts_of_a_change_are_applied_at_once(
    database: Database[Document], user: Session, make_session: MakeSession, chat: Chat
) -> None:
    agent = make_session("admin", "Ada")
    messages.send(user, chat["_id"], "Hello")
    now, added = chats.update(
        agent,
        chat["_id"],
        message="Here I am",
        client_message_id="key",
        status="pending",
        priority="high",
        category="support",
        admin_id=str(agent.user_id),
        read=True,
    )
    assert [row["content"] for row in added] == ["Here I am"]
    assert (now["status"], now["priority"], now["category"]) == ("pending", "high", "support")
    assert (now["adminId"], now["adminName"]) == (agent.user_id, "Ada")
    assert (now["unreadCount"], now["lastSeq"]) == (0, 2)
    assert now["_id"] == stored(chat)["_id"]
    assert now | stored(chat) == now | {"changedAt": stored(chat)["changedAt"]}
    assert_chat_is_consistent(database, chat["_id"])


def test_a_repeated_change_with_a_message_changes_nothing(
    database: Database[Document], agent: Session, chat: Chat
) -> None:
    _, first = chats.update(
        agent, chat["_id"], message="Hi", client_message_id="key", priority="high"
    )
    chats.update(agent, chat["_id"], priority="low")
    _, again = chats.update(
        agent, chat["_id"], message="Hi", client_message_id="key", priority="high"
    )
    assert again == first
    assert stored(chat)["priority"] == "low"
    assert len(assert_chat_is_consistent(database, chat["_id"])) == 1


def test_a_goodbye_closes_the_chat_behind_it(
    database: Database[Document], agent: Session, chat: Chat
) -> None:
    now, added = chats.update(agent, chat["_id"], message="Goodbye", status="closed")
    assert (now["status"], added[0]["seq"]) == ("closed", 1)
    assert len(assert_chat_is_consistent(database, chat["_id"])) == 1


def test_a_repeated_goodbye_is_no_error(agent: Session, chat: Chat) -> None:
    for _ in range(2):
        now, added = chats.update(
            agent, chat["_id"], message="Goodbye", client_message_id="key", status="closed"
        )
        assert (now["status"], [row["seq"] for row in added]) == ("closed", [1])


def test_a_message_to_a_closed_chat_is_refused_with_all_that_came_with_it(
    database: Database[Document], agent: Session, chat: Chat
) -> None:
    chats.update(agent, chat["_id"], status="closed")
    refused: list[dict[str, Any]] = [
        {"priority": "high"},
        {"status": "archived"},
        {"status": "closed"},
    ]
    for changes in refused:
        with pytest.raises(errors.ChatClosed):
            chats.update(agent, chat["_id"], message="One more", **changes)
    now = stored(chat)
    assert (now["priority"], now["status"], now["version"]) == ("medium", "closed", 2)
    assert assert_chat_is_consistent(database, chat["_id"]) == []


def test_reopening_with_a_message_opens_first(
    database: Database[Document], agent: Session, chat: Chat
) -> None:
    chats.update(agent, chat["_id"], status="closed")
    now, added = chats.update(
        agent, chat["_id"], message="Back again", status="active", priority="high"
    )
    assert (now["status"], now["priority"], added[0]["seq"]) == ("active", "high", 1)
    assert_chat_is_consistent(database, chat["_id"])


def test_a_late_repetition_does_not_open_what_was_closed_since(agent: Session, chat: Chat) -> None:
    changes: dict[str, Any] = {
        "message": "Back again",
        "client_message_id": "key",
        "status": "active",
    }
    chats.update(agent, chat["_id"], status="closed")
    _, first = chats.update(agent, chat["_id"], **changes)
    chats.update(agent, chat["_id"], status="closed")
    now, again = chats.update(agent, chat["_id"], **changes)
    assert (now["status"], again) == ("closed", first)
    assert stored(chat)["status"] == "closed"


def test_reopening_is_refused_while_the_user_has_another_open_chat(
    database: Database[Document], user: Session, agent: Session, chat: Chat
) -> None:
    chats.update(agent, chat["_id"], status="closed")
    other, _, _ = chats.create(user, "Another")
    with pytest.raises(errors.ChatOpen) as refusal:
        chats.update(agent, chat["_id"], status="pending", message="Hello", priority="high")
    assert refusal.value.data["chatId"] == str(other["_id"])
    now = stored(chat)
    assert (now["status"], now["priority"]) == ("closed", "medium")
    assert database["messages"].count_documents({}) == 0


def test_a_chat_closed_while_another_is_reopened_stands_in_no_ones_way(
    user: Session, agent: Session, chat: Chat, meanwhile: Meanwhile
) -> None:
    chats.update(agent, chat["_id"], status="closed")
    other, _, _ = chats.create(user, "Another")
    meanwhile(
        stored_chats,
        "open_chat_of",
        before=lambda: chats.update(agent, other["_id"], status="closed"),
    )
    now, _ = chats.update(agent, chat["_id"], status="active")
    assert (now["status"], now["epoch"]) == ("active", 1)


def test_a_chat_that_another_agent_opens_meanwhile_does_not_stand_in_its_own_way(
    user: Session, agent: Session, chat: Chat, meanwhile: Meanwhile
) -> None:
    chats.update(agent, chat["_id"], status="closed")
    other, _, _ = chats.create(user, "Another")

    def close_that_and_open_this() -> None:
        chats.update(agent, other["_id"], status="closed")
        chats.update(agent, chat["_id"], status="pending")

    meanwhile(stored_chats, "open_chat_of", before=close_that_and_open_this)
    now, _ = chats.update(agent, chat["_id"], status="active")
    assert (now["status"], now["epoch"]) == ("active", 1)


def test_each_reopening_counts_the_epoch_up_and_nothing_else_does(
    agent: Session, chat: Chat
) -> None:
    steps: tuple[Status, ...] = (
        "pending",
        "active",
        "closed",
        "archived",
        "pending",
        "archived",
        "active",
    )
    epochs = [chats.update(agent, chat["_id"], status=step)[0]["epoch"] for step in steps]
    assert epochs == [0, 0, 0, 0, 1, 1, 2]


def test_a_change_meets_another_and_both_stay(
    agent: Session, chat: Chat, meanwhile: Meanwhile
) -> None:
    meanwhile(
        stored_chats,
        "replace",
        before=lambda: chats.update(agent, chat["_id"], category="billing"),
    )
    chats.update(agent, chat["_id"], priority="high")
    assert (stored(chat)["priority"], stored(chat)["category"]) == ("high", "billing")


def test_a_chat_is_assigned_and_unassigned(
    agent: Session, make_session: MakeSession, chat: Chat
) -> None:
    other = make_session("admin", "Ada")
    now, _ = chats.update(agent, chat["_id"], admin_id=str(other.user_id))
    assert (now["adminId"], now["adminName"], now["adminImage"]) == (other.user_id, "Ada", None)
    now, _ = chats.update(agent, chat["_id"], admin_id=None)
    assert (now["adminId"], now["adminName"], now["adminImage"]) == (None, None, None)


@pytest.mark.parametrize("wrong", ["", "zz", str(ObjectId()), "user", "disabled", 7])
def test_only_an_active_agent_can_be_assigned(
    agent: Session, make_session: MakeSession, chat: Chat, wrong: object
) -> None:
    if wrong == "user":
        wrong = str(make_session("user").user_id)
    elif wrong == "disabled":
        gone = make_session("admin")
        users.update_user(make_session("admin"), gone.user_id, {"disabled": True})
        wrong = str(gone.user_id)
    with pytest.raises(errors.InvalidInput) as refusal:
        chats.update(agent, chat["_id"], admin_id=wrong, message="Hello", priority="high")
    assert list(refusal.value.data["fields"]) == ["adminId"]
    assert stored(chat)["version"] == 1


def test_read_marks_all_that_is_there(
    database: Database[Document], user: Session, agent: Session, chat: Chat
) -> None:
    messages.send(user, chat["_id"], "Hello")
    now, _ = chats.update(agent, chat["_id"], read=True)
    assert now["unreadCount"] == 0
    assert_chat_is_consistent(database, chat["_id"])


def test_many_chats_change_at_once_and_each_tells_how_it_went(
    database: Database[Document], user: Session, agent: Session, chat: Chat
) -> None:
    chats.update(agent, chat["_id"], status="closed")
    second, _, _ = chats.create(user, "Second")
    third, _, _ = chats.create(new_session("user"), "Third")
    ids = [str(chat["_id"]), str(second["_id"]), "zz", str(third["_id"])]
    results = chats.bulk_update(agent, ids, status="pending")
    assert [row["_id"] for row in results] == ids
    assert [row["ok"] for row in results] == [False, True, False, True]
    assert isinstance(results[0]["problem"], errors.ChatOpen)
    assert isinstance(results[2]["problem"], errors.ChatNotFound)
    assert [stored(each)["status"] for each in (chat, second, third)] == [
        "closed", "pending", "pending",
    ]  # fmt: skip
    assert_all_chats_are_consistent(database)


def test_a_user_changes_no_chats_in_bulk(user: Session, chat: Chat) -> None:
    with pytest.raises(errors.AdminOnly):
        chats.bulk_update(user, [chat["_id"]], status="closed")
    assert stored(chat)["status"] == "active"


def test_a_deleted_chat_is_gone_with_its_messages(
    database: Database[Document], user: Session, agent: Session, chat: Chat
) -> None:
    kept, _, _ = chats.create(new_session("user"), "Kept", message="Hello")
    messages.send(user, chat["_id"], "Hello")
    chats.delete(agent, chat["_id"])
    with pytest.raises(errors.ChatNotFound):
        chats.get(user, chat["_id"])
    assert database["messages"].count_documents({"chatId": chat["_id"]}) == 0
    assert database["deletions"].count_documents({}) == 0
    assert len(assert_chat_is_consistent(database, kept["_id"])) == 1


def test_a_user_deletes_no_chat(user: Session, chat: Chat) -> None:
    with pytest.raises(errors.AdminOnly):
        chats.delete(user, chat["_id"])
    assert stored(chat)["_id"] == chat["_id"]


def test_a_deleted_open_chat_leaves_its_user_free(
    user: Session, agent: Session, chat: Chat
) -> None:
    chats.delete(agent, chat["_id"])
    assert chats.create(user, "Another")[2]


@pytest.mark.parametrize(
    ("module", "name"),
    [(stored_chats, "delete"), (stored_messages, "delete_of_chat")],
)
def test_a_deletion_that_was_cut_off_is_finished_at_the_next_start(
    database: Database[Document],
    user: Session,
    agent: Session,
    chat: Chat,
    meanwhile: Meanwhile,
    module: Any,
    name: str,
) -> None:
    messages.send(user, chat["_id"], "Hello")
    meanwhile(module, name, before=die)
    with pytest.raises(Killed):
        chats.delete(agent, chat["_id"])
    assert chats.finish_deletions() == 1
    for collection in ("chatrooms", "chat_terms", "messages", "deletions"):
        assert database[collection].count_documents({}) == 0
    delivered = database["ephemeralEvents"].find_one({"kind": "deleted", "seq": None})
    assert delivered is not None
    assert (delivered["chatId"], delivered["userId"]) == (chat["_id"], user.user_id)
    assert chats.finish_deletions() == 0


def test_the_etag_of_a_chat_changes_with_everything_one_sees_of_it(
    make_session: MakeSession, user: Session, chat: Chat
) -> None:
    agent = make_session("admin")
    owner = make_session("user")
    chat, _, _ = chats.create(owner, "Help", message="Hello")
    steps: list[Callable[[], Any]] = [
        lambda: messages.send(owner, chat["_id"], "Hello?"),
        lambda: messages.mark_read(agent, chat["_id"], 2),
        lambda: messages.delete(agent, chat["_id"], 1),
        lambda: chats.update(agent, chat["_id"], status="pending"),
        lambda: chats.update(agent, chat["_id"], admin_id=str(agent.user_id)),
        lambda: users.update_user(agent, owner.user_id, {"name": "New Name"}),
        lambda: users.update_user(agent, agent.user_id, {"image": "https://x.example/a.png"}),
    ]
    seen = {chats.etag(owner, stored(chat))}
    listed = {chat_lists.list_chats(agent, ChatFilters()).etag}
    for number, step in enumerate(steps, 2):
        step()
        seen.add(chats.etag(owner, stored(chat)))
        listed.add(chat_lists.list_chats(agent, ChatFilters()).etag)
        assert (len(seen), len(listed)) == (number, number)


def test_the_etag_stays_while_nothing_happens(user: Session, agent: Session, chat: Chat) -> None:
    for who in (user, agent):
        assert chats.etag(who, stored(chat)) == chats.etag(who, stored(chat))
        assert chat_lists.list_chats(who, ChatFilters()) == chat_lists.list_chats(
            who, ChatFilters()
        )
    assert chats.etag(user, stored(chat)) != chats.etag(agent, stored(chat))


def test_a_late_retry_of_an_opening_gives_the_chat_it_made(make_session: MakeSession) -> None:
    user, agent = make_session(), make_session("admin")
    made = []
    for key in ("one", "two"):
        chat, _, _ = chats.create(user, "Help", message="Hello", client_message_id=key)
        chats.update(agent, chat["_id"], status="closed")
        made.append(chat["_id"])
    chat, added, is_new = chats.create(user, "Help", message="Hello", client_message_id="one")
    assert (chat["_id"], [each["seq"] for each in added], is_new) == (made[0], [1], False)


@pytest.mark.parametrize(
    ("field", "change", "value"),
    [
        ("category", {"category": "billing"}, "billing"),
        ("priority", {"priority": "high"}, "high"),
        ("adminId", {"admin_id": None}, None),
    ],
)
def test_a_chat_that_lacks_a_newer_field_can_be_changed(
    field: Literal["category", "priority", "adminId"],
    change: dict[str, Any],
    value: object,
    chat: Chat,
    agent: Session,
    database: Database[Document],
) -> None:
    """As a release wrote it that did not have the field yet."""
    database["chatrooms"].update_one({"_id": chat["_id"]}, {"$unset": {field: ""}})
    stored_chats._last_seen.current.clear()
    assert field not in access_chat(agent, chat["_id"])
    chats.update(agent, chat["_id"], **change)
    assert access_chat(agent, chat["_id"])[field] == value
