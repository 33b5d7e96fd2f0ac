"""Accounts and sessions: who somebody is, for how long, and who may change it."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from pymongo.database import Database

from chatapi.domain import errors
from chatapi.domain.enums import Role
from chatapi.services import accounts, chats, credentials, passwords, sessions, users
from chatapi.store import chats as stored_chats
from chatapi.store import sessions as stored_sessions
from chatapi.store import users as stored_users
from chatapi.store.database import Document
from tests.conftest import CLIENT, PASSWORD, MakeChat, MakeSession, MakeUser
from tests.services.conftest import Meanwhile, lose_connection, registered, stored_user


@pytest.fixture(autouse=True)
def _app(app: Any) -> None:
    """Cheap password hashes: the application sets their cost."""


def test_registering_makes_a_user_who_is_signed_in(database: Database[Document]) -> None:
    session, token = registered(" Ana".strip(), "Ana@Example.org")
    assert (session.role, session.name, session.email) == ("user", "Ana", "ana@example.org")
    assert sessions.open_session(token) == session
    user = stored_user(session.user_id)
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
    before = stored_user(session.user_id)["passwordHash"]
    passwords.configure(2, 8)
    accounts.login("ana@example.org", PASSWORD, CLIENT)
    after = stored_user(session.user_id)["passwordHash"]
    assert after != before
    accounts.login("ana@example.org", PASSWORD, CLIENT)
    assert stored_user(session.user_id)["passwordHash"] == after


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
        patch.setattr(stored_chats, "rename_user", lose_connection)
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
        patch.setattr(stored_users, "upgrade_guest", lose_connection)
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


def test_a_new_password_never_stands_beside_an_old_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session, _ = registered()
    _, other = accounts.login(session.email, PASSWORD, CLIENT)

    for module, name in ((stored_sessions, "delete_of_user"), (stored_users, "update")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, lose_connection)
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
    assert stored_user(user["_id"])["role"] == role
