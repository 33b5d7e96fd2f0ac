"""Accounts and sessions: who somebody is, for how long, and who may change it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from bson import ObjectId
from pymongo.database import Database

from chatapi.domain import clock, errors
from chatapi.domain.documents import User, UserChanges
from chatapi.domain.enums import Role
from chatapi.services import accounts, chats, credentials, passwords, sessions, users
from chatapi.services.sessions import ClientInfo, Session
from chatapi.store import chats as stored_chats
from chatapi.store import sessions as stored_sessions
from chatapi.store import users as stored_users
from chatapi.store.database import Document
from tests.conftest import CLIENT, PASSWORD, MakeChat, MakeSession, MakeUser

Meanwhile = Callable[..., None]


def registered(name: str = "Ana", email: str = "ana@example.org") -> tuple[Session, str]:
    return accounts.register(name, email, PASSWORD, CLIENT)


def stored(user_id: ObjectId) -> User:
    user = stored_users.by_id(user_id)
    assert user is not None
    return user


def die(*_: object, **__: object) -> None:
    """End like a process that is killed at this point."""
    raise ConnectionError


@pytest.fixture(autouse=True)
def _app(app: Any) -> None:
    """Cheap password hashes: the application sets their cost."""


# Signing up and in


def test_registering_makes_a_user_who_is_signed_in(database: Database[Document]) -> None:
    session, token = registered(" Ana".strip(), "Ana@Example.org")
    assert (session.role, session.name, session.email) == ("user", "Ana", "ana@example.org")
    assert sessions.open_session(token) == session
    user = stored(session.user_id)
    assert user["passwordHash"].startswith("$argon2id$")
    assert PASSWORD not in repr(list(database["users"].find()))
    assert session.id == hashlib.sha256(token.encode()).hexdigest()
    assert [row["_id"] for row in database["sessions"].find()] == [session.id]
    assert token not in repr(list(database["sessions"].find()))


@pytest.mark.parametrize("email", ["ana@example.org", "ANA@EXAMPLE.ORG", " ana@example.org "])
def test_an_email_is_registered_once_however_it_is_written(
    database: Database[Document], email: str
) -> None:
    registered()
    with pytest.raises(errors.EmailTaken):
        registered("Another", email)
    assert database["users"].count_documents({}) == 1
    assert database["sessions"].count_documents({}) == 1


def test_two_spellings_of_the_same_letters_are_one_account() -> None:
    registered(email="zo\u00eb@example.org")
    with pytest.raises(errors.EmailTaken):
        registered(email="zoe\u0308@example.org")


@pytest.mark.parametrize("email", ["ana@example.org", "ANA@example.org"])
def test_the_right_password_signs_in(email: str) -> None:
    first, _ = registered()
    session, token = accounts.login(email, PASSWORD, CLIENT)
    assert session.user_id == first.user_id
    assert session.id != first.id
    assert sessions.open_session(token) == session


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("ana@example.org", PASSWORD + " "),
        ("ana@example.org", PASSWORD.upper()),
        ("ana@example.org", ""),
        ("nobody@example.org", PASSWORD),
        ("", ""),
    ],
)
def test_nothing_else_signs_in(database: Database[Document], email: str, password: str) -> None:
    registered()
    with pytest.raises(errors.WrongCredentials):
        accounts.login(email, password, CLIENT)
    assert database["sessions"].count_documents({}) == 1


def test_a_disabled_account_cannot_be_told_from_a_wrong_password(
    make_session: MakeSession,
) -> None:
    session, _ = registered()
    users.update_user(make_session("admin"), session.user_id, {"disabled": True})
    with pytest.raises(errors.WrongCredentials):
        accounts.login("ana@example.org", PASSWORD, CLIENT)


def test_an_account_without_a_password_cannot_be_signed_in_to() -> None:
    users.create_user("Imported", "imported@example.org", None)
    for password in ("", "None", PASSWORD):
        with pytest.raises(errors.WrongCredentials):
            accounts.login("imported@example.org", password, CLIENT)


def test_a_hash_of_another_cost_is_made_anew_at_the_next_sign_in() -> None:
    session, _ = registered()
    before = stored(session.user_id)["passwordHash"]
    passwords.configure(2, 8)
    accounts.login("ana@example.org", PASSWORD, CLIENT)
    after = stored(session.user_id)["passwordHash"]
    assert after != before
    accounts.login("ana@example.org", PASSWORD, CLIENT)
    assert stored(session.user_id)["passwordHash"] == after


def test_a_password_changed_during_a_sign_in_stays_changed_and_lets_nobody_in(
    meanwhile: Meanwhile,
) -> None:
    session, _ = registered()
    passwords.configure(2, 8)
    meanwhile(
        passwords,
        "is_outdated",
        before=lambda: credentials.change_password(session, PASSWORD, "another password"),
    )
    with pytest.raises(errors.WrongCredentials):
        accounts.login("ana@example.org", PASSWORD, CLIENT)
    assert [row["current"] for row in sessions.list_sessions(session)] == [True]
    accounts.login("ana@example.org", "another password", CLIENT)


def test_guests_have_no_account_and_share_nothing_but_an_email(
    database: Database[Document],
) -> None:
    registered()
    first, token = accounts.guest("Ana", "ana@example.org", CLIENT)
    second, _ = accounts.guest("Ana", "ana@example.org", CLIENT)
    assert sessions.open_session(token) == first
    assert (first.role, first.side, first.is_admin) == ("guest", "user", False)
    assert first.user_id != second.user_id
    chat, _, _ = chats.create(first, "Help")
    with pytest.raises(errors.NotYourChat):
        chats.get(second, chat["_id"])
    with pytest.raises(errors.WrongCredentials):
        accounts.login("guest:" + str(first.user_id), "", CLIENT)
    found = users.find("ana@example.org")
    assert found is not None
    assert found["role"] == "user"


def test_an_admin_is_made_by_a_command_only() -> None:
    admin = users.create_admin("Ada", "ada@example.org", PASSWORD)
    assert admin["role"] == "admin"
    session, _ = accounts.login("ada@example.org", PASSWORD, CLIENT)
    assert (session.is_admin, session.side, session.other_side) == (True, "admin", "user")
    with pytest.raises(errors.EmailTaken):
        users.create_admin("Ada", "ADA@example.org", PASSWORD)


# Sessions


@pytest.mark.parametrize("token", ["", "x", "None", "0" * 64, "a" * 5000, "\0", "😀"])
def test_a_made_up_token_opens_nothing(token: str) -> None:
    registered()
    assert sessions.open_session(token) is None


def test_what_is_stored_of_a_session_opens_nothing(database: Database[Document]) -> None:
    session, _ = registered()
    (row,) = database["sessions"].find()
    for value in (row["_id"], str(row["publicId"]), session.id):
        assert sessions.open_session(value) is None


def test_a_session_ends_when_it_is_not_used() -> None:
    _, token = registered()
    idle = sessions.lifetimes.current.idle
    with time_machine.travel(clock.now() + idle - timedelta(seconds=2), tick=False):
        assert sessions.open_session(token) is not None
    _, unused = accounts.login("ana@example.org", PASSWORD, CLIENT)
    with time_machine.travel(clock.now() + idle, tick=False):
        assert sessions.open_session(unused) is None


def test_use_keeps_a_session_alive_but_not_for_ever() -> None:
    start = clock.now()
    with time_machine.travel(start, tick=False) as time:
        _, token = registered()
        step = sessions.lifetimes.current.idle - timedelta(seconds=1)
        uses = 0
        while sessions.open_session(token) is not None:
            uses += 1
            time.shift(step)
        assert clock.now() - start >= sessions.lifetimes.current.absolute
        assert uses > 2


def test_a_session_is_touched_every_five_minutes_at_most(database: Database[Document]) -> None:
    with time_machine.travel(clock.now(), tick=False) as time:
        _, token = registered()
        begun = clock.now()
        time.shift(299)
        sessions.open_session(token)
        assert database["sessions"].find_one()["lastSeenAt"] == begun  # type: ignore[index]
        time.shift(1)
        sessions.open_session(token)
        assert database["sessions"].find_one()["lastSeenAt"] == clock.now()  # type: ignore[index]


def test_a_session_that_is_used_goes_on_however_short_its_life(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sessions.lifetimes.current, "idle", timedelta(seconds=30))
    with time_machine.travel(clock.now(), tick=False) as time:
        _, token = registered()
        for _ in range(10):
            time.shift(20)
            assert sessions.open_session(token) is not None
        time.shift(30)
        assert sessions.open_session(token) is None


def test_a_session_tells_what_the_user_is_now(make_session: MakeSession) -> None:
    session, token = registered()
    users.update_user(make_session("admin"), session.user_id, {"role": "admin", "name": "Ada"})
    now = sessions.open_session(token)
    assert now is not None
    assert (now.role, now.name) == ("admin", "Ada")


def test_a_session_without_its_user_opens_nothing(database: Database[Document]) -> None:
    session, token = registered()
    database["users"].delete_one({"_id": session.user_id})
    assert sessions.open_session(token) is None


def test_logging_out_ends_this_session_only() -> None:
    first, token = registered()
    _, other = accounts.login("ana@example.org", PASSWORD, CLIENT)
    sessions.logout(first)
    assert sessions.open_session(token) is None
    assert sessions.open_session(other) is not None
    sessions.revoke_token(other)
    assert sessions.open_session(other) is None


def test_one_lists_ones_own_live_sessions() -> None:
    accounts.register("Bob", "bob@example.org", PASSWORD, CLIENT)
    first, _ = registered()
    client = ClientInfo("x" * 1000, "192.0.2.1")
    second, _ = accounts.login("ana@example.org", PASSWORD, client)
    listed = sessions.list_sessions(second)
    assert {row["_id"] for row in listed} == {first.public_id, second.public_id}
    assert [row["_id"] for row in listed if row["current"]] == [second.public_id]
    (current,) = [row for row in listed if row["current"]]
    assert (len(current["userAgent"]), current["address"]) == (300, "192.0.2.1")
    with time_machine.travel(clock.now() + sessions.lifetimes.current.idle, tick=False):
        assert sessions.list_sessions(second) == []


def test_one_ends_ones_own_session_by_its_public_id() -> None:
    first, token = registered()
    second, _ = accounts.login("ana@example.org", PASSWORD, CLIENT)
    sessions.revoke_session(second, str(first.public_id))
    assert sessions.open_session(token) is None
    assert len(sessions.list_sessions(second)) == 1


@pytest.mark.parametrize("which", ["another's", "unknown", "secret", "zz", None])
def test_one_ends_no_other_session(which: str | None) -> None:
    mine, _ = registered()
    theirs, token = accounts.register("Bob", "bob@example.org", PASSWORD, CLIENT)
    public_id = {
        "another's": str(theirs.public_id),
        "unknown": str(ObjectId()),
        "secret": mine.id,
    }.get(which or "", which)
    with pytest.raises(errors.SessionNotFound):
        sessions.revoke_session(mine, public_id)
    assert sessions.open_session(token) is not None


def test_a_new_password_ends_all_other_sessions() -> None:
    session, token = registered()
    _, other = accounts.login("ana@example.org", PASSWORD, CLIENT)
    credentials.change_password(session, PASSWORD, "another password")
    assert sessions.open_session(token) is not None
    assert sessions.open_session(other) is None
    with pytest.raises(errors.WrongCredentials):
        accounts.login("ana@example.org", PASSWORD, CLIENT)
    accounts.login("ana@example.org", "another password", CLIENT)


def test_a_new_password_needs_the_current_one() -> None:
    session, _ = registered()
    _, other = accounts.login("ana@example.org", PASSWORD, CLIENT)
    with pytest.raises(errors.InvalidInput) as refusal:
        credentials.change_password(session, "not the password", "another password")
    assert list(refusal.value.data["fields"]) == ["current"]
    assert sessions.open_session(other) is not None
    accounts.login("ana@example.org", PASSWORD, CLIENT)


def test_a_guest_has_no_password_to_change() -> None:
    session, _ = accounts.guest("Ana", "ana@example.org", CLIENT)
    with pytest.raises(errors.Forbidden):
        credentials.change_password(session, "", "another password")


def test_of_two_upgrades_at_once_one_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    session, _ = accounts.guest("Ana", "ana@example.org", CLIENT)
    hashed = passwords.make

    def slow(password: str) -> str:
        monkeypatch.setattr(passwords, "make", hashed)
        accounts.upgrade_guest(session, "the other password")
        return hashed(password)

    monkeypatch.setattr(passwords, "make", slow)
    with pytest.raises(errors.Forbidden):
        accounts.upgrade_guest(session, "this password")
    accounts.login("ana@example.org", "the other password", CLIENT)
    with pytest.raises(errors.WrongCredentials):
        accounts.login("ana@example.org", "this password", CLIENT)


@pytest.mark.parametrize("mended_by", ["the client's repetition", "init-db"])
def test_an_upgrade_that_was_cut_off_is_finished(
    make_chat: MakeChat, monkeypatch: pytest.MonkeyPatch, mended_by: str
) -> None:
    guest, token = accounts.guest("Ana", "ana@example.org", CLIENT)
    chat_id = make_chat(guest)["_id"]
    with monkeypatch.context() as patch:
        patch.setattr(stored_chats, "rename_user", die)
        with pytest.raises(ConnectionError):
            accounts.upgrade_guest(guest, PASSWORD)
    now = sessions.open_session(token)
    assert now is not None
    assert now.role == "user"
    assert chats.get(now, chat_id)[0]["userRole"] == "guest"
    if mended_by == "init-db":
        assert accounts.finish_upgrades() == 1
    else:
        with pytest.raises(errors.Forbidden):
            accounts.upgrade_guest(now, PASSWORD)
    assert chats.get(now, chat_id)[0]["userRole"] == "user"
    assert accounts.finish_upgrades() == 0


def test_an_upgrade_that_never_began_leaves_a_guest(
    make_chat: MakeChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest, _ = accounts.guest("Ana", "ana@example.org", CLIENT)
    chat_id = make_chat(guest)["_id"]
    with monkeypatch.context() as patch:
        patch.setattr(stored_users, "upgrade_guest", die)
        with pytest.raises(ConnectionError):
            accounts.upgrade_guest(guest, PASSWORD)
    assert accounts.finish_upgrades() == 0
    assert chats.get(guest, chat_id)[0]["userRole"] == "guest"


def test_an_agents_link_hands_a_blocked_address_to_its_owner(make_session: MakeSession) -> None:
    _, strangers = accounts.register("Stranger", "owner@example.org", PASSWORD, CLIENT)
    found = users.find("owner@example.org")
    assert found is not None
    link, _ = credentials.make_link(make_session("admin"), found["_id"])
    credentials.use_link(link, "the owner's password")
    assert sessions.open_session(strangers) is None
    with pytest.raises(errors.WrongCredentials):
        accounts.login("owner@example.org", PASSWORD, CLIENT)
    session, _ = accounts.login("owner@example.org", "the owner's password", CLIENT)
    assert session.user_id == found["_id"]


def test_a_password_that_matched_in_another_form_is_hashed_in_ours(make_user: MakeUser) -> None:
    composed, decomposed = "p\u00e4ssw\u00f6rter", "pa\u0308sswo\u0308rter"
    user = make_user()
    older = passwords._hashing.current.hasher.hash(decomposed)
    stored_users.update(user["_id"], {"passwordHash": older})
    accounts.login(user["email"], composed, CLIENT)
    renewed = stored_users.by_id(user["_id"])
    assert renewed is not None
    assert passwords.matched_form(renewed["passwordHash"], decomposed) == composed
    accounts.login(user["email"], decomposed, CLIENT)
    assert stored_users.by_id(user["_id"]) == renewed


# Users, for agents


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
    somebody, other = make_session(role), make_user()
    with pytest.raises(errors.AdminOnly):
        users.list_users(somebody)
    for user_id in (other["_id"], somebody.user_id):
        with pytest.raises(errors.AdminOnly):
            users.update_user(somebody, user_id, {"role": "admin"})
        assert stored(user_id)["role"] == stored(user_id)["role"] != "admin"


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


def test_a_session_begun_while_its_user_is_disabled_opens_nothing(
    make_session: MakeSession, meanwhile: Meanwhile
) -> None:
    agent = make_session("admin")
    session, _ = registered()
    meanwhile(
        stored_sessions,
        "insert",
        before=lambda: users.update_user(agent, session.user_id, {"disabled": True}),
    )
    _, token = accounts.login("ana@example.org", PASSWORD, CLIENT)
    assert sessions.open_session(token) is None


@pytest.mark.parametrize("changes", [{"role": "user"}, {"disabled": True}])
def test_the_last_agent_stays(
    database: Database[Document], make_session: MakeSession, changes: UserChanges
) -> None:
    agent = make_session("admin")
    before = stored(agent.user_id)
    with pytest.raises(errors.LastAdmin):
        users.update_user(agent, agent.user_id, changes | {"name": "New Name"})
    after = stored(agent.user_id)
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
    assert stored(agent.user_id)["name"] == agent.name
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
        patch.setattr(stored_chats, "rename_user", die)
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


def test_a_new_password_never_stands_beside_an_old_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session, _ = registered()
    _, other = accounts.login(session.email, PASSWORD, CLIENT)

    for module, name in ((stored_sessions, "delete_of_user"), (stored_users, "update")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, die)
            with pytest.raises(ConnectionError):
                credentials.change_password(session, PASSWORD, "a new password")
        accounts.login(session.email, PASSWORD, CLIENT)  # The old one still holds.
    assert sessions.open_session(other) is None


def test_a_guest_stays_a_guest(make_session: MakeSession) -> None:
    agent, guest = make_session("admin"), make_session("guest")
    for role in ("user", "admin"):
        with pytest.raises(errors.InvalidInput) as refusal:
            users.update_user(agent, guest.user_id, {"role": role})
        assert list(refusal.value.data["fields"]) == ["role"]
    assert users.update_user(agent, guest.user_id, {"role": "guest", "name": "G"})["name"] == "G"


@pytest.mark.parametrize("role", ["user", "admin"])
def test_nobody_with_an_account_becomes_a_guest(
    make_session: MakeSession, make_user: MakeUser, role: Role
) -> None:
    user = make_user(role=role)
    with pytest.raises(errors.InvalidInput) as refusal:
        users.update_user(make_session("admin"), user["_id"], {"role": "guest"})
    assert list(refusal.value.data["fields"]) == ["role"]
    assert stored(user["_id"])["role"] == role


@pytest.mark.parametrize("user_id", ["", "zz", str(ObjectId()), None, {"$gt": ""}])
def test_an_unknown_user_cannot_be_changed(make_session: MakeSession, user_id: object) -> None:
    with pytest.raises(errors.UserNotFound):
        users.update_user(make_session("admin"), user_id, {"name": "X"})


def test_a_change_that_changes_nothing_writes_nothing(
    make_session: MakeSession, make_user: MakeUser
) -> None:
    user = make_user("Ana")
    same: UserChanges = {"name": "Ana", "role": "user", "disabled": False, "image": None}
    assert users.update_user(make_session("admin"), user["_id"], same) == stored(user["_id"])
    assert stored(user["_id"])["updatedAt"] == user["updatedAt"]


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
