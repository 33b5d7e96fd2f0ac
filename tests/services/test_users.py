"""Users as agents see and change them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from bson import ObjectId
from pymongo.database import Database

from chatapi.domain import clock, errors
from chatapi.domain.documents import UserChanges
from chatapi.domain.enums import Role
from chatapi.services import accounts, chats, sessions, users
from chatapi.store import chats as stored_chats
from chatapi.store import users as stored_users
from chatapi.store.database import Document
from tests.conftest import CLIENT, PASSWORD, MakeChat, MakeSession, MakeUser
from tests.services.conftest import Meanwhile, lose_connection, registered, stored_user


@pytest.fixture(autouse=True)
def _app(app: Any) -> None:
    """Cheap password hashes: the application sets their cost."""


def test_an_agent_lists_users_newest_first(make_session: MakeSession, make_user: MakeUser) -> None:
    agent = make_session("admin")
    start = clock.now()
    for number in range(5):
        with clock.frozen(start + timedelta(hours=number // 2 + 1)):
            make_user(f"User {number}")
    everybody = users.list_users(agent).items
    assert [row["name"] for row in everybody][-1] == agent.name
    times = [row["createdAt"] for row in everybody]
    assert times == sorted(times, reverse=True)
    seen: list[ObjectId] = []
    cursor = None
    for _ in range(3):
        page = users.list_users(agent, limit=2, cursor=cursor)
        seen += [row["_id"] for row in page.items]
        cursor = page.next_cursor
    assert seen == [row["_id"] for row in everybody]
    assert cursor is None
    assert not any("passwordHash" in row for row in everybody)


@pytest.mark.parametrize(
    ("narrow", "found"),
    [
        ({"role": "admin"}, {"Agent"}),
        ({"role": "guest"}, {"Gus"}),
        ({"disabled": True}, {"Dan"}),
        ({"disabled": False, "role": "user"}, {"Ana"}),
        ({"q": "an"}, {"Ana"}),
        ({"q": "d dan"}, {"Dan"}),
        ({"q": "nobody"}, set()),
        ({"q": "!"}, set()),
        ({"q": ""}, {"Agent", "Ana", "Dan", "Gus"}),
    ],
)
def test_an_agent_narrows_the_users(
    make_session: MakeSession, make_user: MakeUser, narrow: dict[str, Any], found: set[str]
) -> None:
    agent = make_session("admin", "Agent")
    make_user("Ana", email="x@example.org")
    dan = make_user("Dan", email="y@example.org")
    make_user("Gus", role="guest")
    users.update_user(agent, dan["_id"], {"disabled": True})
    assert {row["name"] for row in users.list_users(agent, **narrow).items} == found


@pytest.mark.parametrize("role", ["user", "guest"])
def test_nobody_else_lists_or_changes_users(
    make_session: MakeSession, make_user: MakeUser, role: Role
) -> None:
    new_session, other = make_session(role), make_user()
    with pytest.raises(errors.AdminOnly):
        users.list_users(new_session)
    for user_id in (other["_id"], new_session.user_id):
        with pytest.raises(errors.AdminOnly):
            users.update_user(new_session, user_id, {"role": "admin"})
        assert stored_user(user_id)["role"] == stored_user(user_id)["role"] != "admin"


def test_chats_are_assigned_to_agents_who_can_sign_in(
    make_session: MakeSession, make_user: MakeUser
) -> None:
    agent = make_session("admin", "zoe")
    make_user("Ada", role="admin")
    gone = make_user("Bob", role="admin")
    make_user("User")
    users.update_user(agent, gone["_id"], {"disabled": True})
    assert [row["name"] for row in users.list_admins()] == ["Ada", "zoe"]
    assert not any("passwordHash" in row for row in users.list_admins())


def test_a_disabled_user_is_out_at_once_and_back_after_a_new_sign_in(
    make_session: MakeSession,
) -> None:
    agent = make_session("admin")
    session, token = registered()
    users.update_user(agent, session.user_id, {"disabled": True})
    assert sessions.open_session(token) is None
    users.update_user(agent, session.user_id, {"disabled": False})
    assert sessions.open_session(token) is None
    accounts.login("ana@example.org", PASSWORD, CLIENT)


@pytest.mark.parametrize("changes", [{"role": "user"}, {"disabled": True}])
def test_the_last_agent_stays(
    database: Database[Document], make_session: MakeSession, changes: UserChanges
) -> None:
    agent = make_session("admin")
    before = stored_user(agent.user_id)
    with pytest.raises(errors.LastAdmin):
        users.update_user(agent, agent.user_id, changes | {"name": "New Name"})
    after = stored_user(agent.user_id)
    assert {**after, "updatedAt": 0} == {**before, "updatedAt": 0}
    assert database["sessions"].count_documents({"userId": agent.user_id}) == 1


@pytest.mark.parametrize("changes", [{"role": "user"}, {"disabled": True}])
def test_an_agent_among_two_can_be_sent_away_by_the_other_but_not_leave_by_a_slip(
    make_session: MakeSession, make_user: MakeUser, changes: UserChanges
) -> None:
    agent, other = make_session("admin"), make_user(role="admin")
    with pytest.raises(errors.InvalidInput) as refusal:
        users.update_user(agent, agent.user_id, changes | {"name": "New Name"})
    assert list(refusal.value.data["fields"]) == list(changes)
    assert stored_user(agent.user_id)["name"] == agent.name
    assert stored_users.count_active_admins() == 2
    users.update_user(agent, other["_id"], changes)
    assert stored_users.count_active_admins() == 1


def test_a_disabled_agent_does_not_count_as_one_who_is_left(
    make_session: MakeSession, make_user: MakeUser
) -> None:
    agent, other = make_session("admin"), make_user(role="admin")
    users.update_user(agent, other["_id"], {"disabled": True})
    with pytest.raises(errors.LastAdmin):
        users.update_user(agent, agent.user_id, {"role": "user"})


def test_two_agents_who_demote_each_other_at_once_leave_one(
    make_session: MakeSession, meanwhile: Meanwhile
) -> None:
    one, two = make_session("admin"), make_session("admin")
    meanwhile(
        stored_users,
        "update",
        before=lambda: users.update_user(two, one.user_id, {"role": "user"}),
    )
    with pytest.raises(errors.LastAdmin):
        users.update_user(one, two.user_id, {"role": "user"})
    assert stored_users.count_active_admins() == 1


def test_the_last_agent_is_an_agent_at_every_moment(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = make_session("admin")
    monkeypatch.setattr(stored_users, "update", lambda *_: pytest.fail("It was written."))
    changes: tuple[UserChanges, ...] = ({"role": "user"}, {"disabled": True})
    for change in changes:
        with pytest.raises(errors.LastAdmin):
            users.update_user(agent, agent.user_id, change)


def test_a_renaming_that_was_cut_off_is_finished_by_the_next(
    make_session: MakeSession, make_chat: MakeChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, user = make_session("admin"), make_session()
    chat = make_chat(user)

    with monkeypatch.context() as patch:
        patch.setattr(stored_chats, "rename_user", lose_connection)
        with pytest.raises(ConnectionError):
            users.update_user(agent, user.user_id, {"name": "Grace"})
    users.update_user(agent, user.user_id, {"name": "Grace"})
    found = stored_chats.by_id(chat["_id"])
    assert found is not None
    assert found["userName"] == "Grace"


def test_of_two_renamings_at_once_the_chats_show_the_later(
    make_session: MakeSession, make_chat: MakeChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, user = make_session("admin"), make_session()
    chat = make_chat(user)
    rename_user = stored_chats.rename_user

    def overtaken(*given: Any) -> None:
        monkeypatch.setattr(stored_chats, "rename_user", rename_user)
        users.update_user(agent, user.user_id, {"name": "Later"})
        rename_user(*given)

    monkeypatch.setattr(stored_chats, "rename_user", overtaken)
    users.update_user(agent, user.user_id, {"name": "Earlier"})
    found = stored_chats.by_id(chat["_id"])
    assert found is not None
    assert found["userName"] == "Later"


def test_a_renaming_reaches_every_chat_and_changes_no_other(
    make_session: MakeSession, make_chat: MakeChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_chats, "CHANGED_BATCH", 2)
    agent = make_session("admin")
    mine = [make_chat(make_session()) for _ in range(5)]
    other = make_chat(make_session())
    for chat in mine:
        chats.update(agent, chat["_id"], admin_id=str(agent.user_id))

    def state() -> list[tuple[Any, int]]:
        now = [stored_chats.by_id(chat["_id"]) for chat in [*mine, other]]
        return [(chat["adminName"], chat["version"]) for chat in now if chat is not None]

    before = state()
    users.update_user(agent, agent.user_id, {"name": "Grace"})
    assert state() == [("Grace", version + 1) for _, version in before[:5]] + before[5:]
    users.update_user(agent, agent.user_id, {"name": "Grace"})
    assert state() == [("Grace", version + 1) for _, version in before[:5]] + before[5:]


@pytest.mark.parametrize("user_id", ["", "zz", str(ObjectId()), None, {"$gt": ""}])
def test_an_unknown_user_cannot_be_changed(make_session: MakeSession, user_id: object) -> None:
    with pytest.raises(errors.UserNotFound):
        users.update_user(make_session("admin"), user_id, {"name": "X"})


def test_a_change_that_changes_nothing_writes_nothing(
    make_session: MakeSession, make_user: MakeUser
) -> None:
    user = make_user("Ana")
    same: UserChanges = {"name": "Ana", "role": "user", "disabled": False, "image": None}
    assert users.update_user(make_session("admin"), user["_id"], same) == stored_user(user["_id"])
    assert stored_user(user["_id"])["updatedAt"] == user["updatedAt"]


def test_a_new_name_and_picture_are_shown_on_the_users_chats_and_assignments(
    make_session: MakeSession,
) -> None:
    agent, owner = make_session("admin"), make_session("user")
    chat, _, _ = chats.create(owner, "Help")
    other, _, _ = chats.create(make_session("user"), "Another")
    chats.update(agent, chat["_id"], admin_id=str(agent.user_id))
    picture = "https://x.example/a.png"
    users.update_user(agent, owner.user_id, {"name": "Ana", "image": picture})
    users.update_user(agent, agent.user_id, {"name": "Ada", "image": picture})
    now, _ = chats.get(agent, chat["_id"])
    assert (now["userName"], now["userImage"]) == ("Ana", picture)
    assert (now["adminName"], now["adminImage"]) == ("Ada", picture)
    assert chats.get(agent, other["_id"])[0]["version"] == 1


def test_a_renamed_user_is_found_by_the_new_name(
    make_session: MakeSession, make_user: MakeUser
) -> None:
    agent, user = make_session("admin"), make_user("Beatriz")
    users.update_user(agent, user["_id"], {"name": "Wanda"})
    assert [row["name"] for row in users.list_users(agent, q="wanda").items] == ["Wanda"]
    assert users.list_users(agent, q="beatriz").items == []
