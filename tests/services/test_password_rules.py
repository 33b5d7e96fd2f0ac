"""What a chosen password must not be."""

from __future__ import annotations

import pytest
from flask import Flask

from chatapi.domain import errors
from chatapi.services import accounts, credentials, password_rules, users
from tests.conftest import CLIENT, PASSWORD, MakeUser

BAD = [
    "password",
    "12345678",
    "PassWord1",
    " " * 8,
    "Ana Souza",
    "ana@example.org",
    "ANA@example.org",
]


@pytest.mark.parametrize("password", BAD)
def test_a_password_that_is_guessed_first_is_refused(app: Flask, password: str) -> None:
    with pytest.raises(errors.InvalidInput) as refusal:
        accounts.register("Ana Souza", "ana@example.org", password, CLIENT)
    assert list(refusal.value.data["fields"]) == ["password"]
    session, _ = accounts.register("Ana Souza", "ana@example.org", PASSWORD, CLIENT)
    with pytest.raises(errors.InvalidInput) as refusal:
        credentials.change_password(session, PASSWORD, password)
    assert list(refusal.value.data["fields"]) == ["new"]
    accounts.login("ana@example.org", PASSWORD, CLIENT)


@pytest.mark.parametrize(
    "password", ["correct horse", "\u00fcn\u00fcbliche w\u00f6rter", "password for the tea"]
)
def test_any_other_password_is_taken(app: Flask, password: str) -> None:
    accounts.register("Ana", "ana@example.org", password, CLIENT)


def test_agents_need_a_longer_one_everywhere(app: Flask, make_user: MakeUser) -> None:
    short = "eleven char"
    agent = make_user(role="admin")
    session, _ = accounts.login(agent["email"], PASSWORD, CLIENT)
    token, _ = credentials.make_link(session, agent["_id"])
    for choose in (
        lambda: users.create_admin("Bea", "bea@example.org", short),
        lambda: credentials.change_password(session, PASSWORD, short),
        lambda: credentials.set_password(agent, short),
        lambda: credentials.use_link(token, short),
    ):
        with pytest.raises(errors.InvalidInput):
            choose()
    credentials.use_link(token, "twelve chars")
    accounts.register("Cy", "cy@example.org", short, CLIENT)


def test_a_password_set_before_the_rules_still_opens_the_account(app: Flask) -> None:
    users.create_user("Old", "old@example.org", "password")
    accounts.login("old@example.org", "password", CLIENT)


def test_the_list_of_common_passwords_is_whole() -> None:
    assert len(password_rules._common()) > 8000


def test_a_guest_who_becomes_a_user_needs_a_good_one_too(app: Flask) -> None:
    session, _ = accounts.guest("Ana", "ana@example.org", CLIENT)
    with pytest.raises(errors.InvalidInput):
        accounts.upgrade_guest(session, "12345678")
    assert accounts.upgrade_guest(session, PASSWORD).role == "user"
