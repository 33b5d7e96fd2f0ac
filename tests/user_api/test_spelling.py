"""Passwords, addresses and names that can be written in several ways."""

from __future__ import annotations

import unicodedata
from typing import Literal, get_args

import pytest
from argon2 import PasswordHasher
from flask import Flask
from pymongo.database import Database

from chatapi.services import accounts
from chatapi.store.database import Document
from tests.conftest import CLIENT, PASSWORD, MakeUser
from tests.user_api.callers import Caller, refused

WORD = "p\u00e4ssw\u00f6rt-1"
Form = Literal["NFC", "NFD"]
FORMS = get_args(Form)


def registered(anonymous: Caller, email: str, password: str = PASSWORD) -> int:
    body = {"name": "Ana", "email": email, "password": password}
    return anonymous.post("/api/auth/register", body).status_code


@pytest.mark.parametrize("chosen", FORMS)
@pytest.mark.parametrize("typed", FORMS)
def test_a_password_opens_in_each_unicode_form(
    anonymous: Caller, chosen: Form, typed: Form
) -> None:
    assert registered(anonymous, "ana@example.org", unicodedata.normalize(chosen, WORD)) == 201
    accounts.login("ana@example.org", unicodedata.normalize(typed, WORD), CLIENT)


@pytest.mark.parametrize("stored", FORMS)
@pytest.mark.parametrize("typed", FORMS)
def test_a_hash_of_another_form_still_opens(
    make_user: MakeUser, database: Database[Document], stored: Form, typed: Form
) -> None:
    user = make_user()
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    old = hasher.hash(unicodedata.normalize(stored, WORD))
    database["users"].update_one({"_id": user["_id"]}, {"$set": {"passwordHash": old}})
    accounts.login(user["email"], unicodedata.normalize(typed, WORD), CLIENT)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("ana@example.org", "ana@example.org\u200b"),
        ("ana@example.org\u200b", "a\u00adna@example.org"),
        ("a@m\u00fcnchen.de", "a@xn--mnchen-3ya.de"),
        ("a@xn--mnchen-3ya.de", "a@m\u00fcnchen.de"),
        ("jose\u0301@example.org", "jos\u00e9@example.org"),
    ],
)
def test_an_address_is_one_account_in_each_spelling(
    anonymous: Caller, first: str, second: str
) -> None:
    assert registered(anonymous, first) == 201
    assert registered(anonymous, second) == 409
    for email in (first, second):
        accounts.login(email, PASSWORD, CLIENT)


def test_an_account_stored_in_an_older_spelling_is_found_and_not_doubled(
    anonymous: Caller, make_user: MakeUser, database: Database[Document]
) -> None:
    user = make_user()
    old = {"loginKey": "a@xn--mnchen-3ya.de", "email": "a@xn--mnchen-3ya.de"}
    database["users"].update_one({"_id": user["_id"]}, {"$set": old})
    for email in ("a@m\u00fcnchen.de", "A@xn--mnchen-3ya.de"):
        assert accounts.login(email, PASSWORD, CLIENT)[0].user_id == user["_id"]
        assert registered(anonymous, email) == 409


def test_an_account_stored_with_invisible_characters_opens_as_it_was_typed(
    anonymous: Caller, make_user: MakeUser, database: Database[Document]
) -> None:
    user, old = make_user(), "ana@example.org\u200b"
    database["users"].update_one({"_id": user["_id"]}, {"$set": {"loginKey": old, "email": old}})
    answer = anonymous.post("/api/auth/login", {"email": old, "password": PASSWORD})
    assert answer.json["user"]["_id"] == str(user["_id"])
    clean = {"email": "ana@example.org", "password": PASSWORD}
    assert anonymous.post("/api/auth/login", clean).status_code == 401


def test_a_name_is_stored_as_it_is_seen(anonymous: Caller, admin: Caller, user: Caller) -> None:
    body = {"name": "Mor\u200bgan\u202e", "email": "g@example.org"}
    assert anonymous.post("/api/auth/guest", body).json["user"]["name"] == "Morgan"
    answer = admin.patch(f"/api/admin/users/{user.id}", {"name": "\u2067Ana"})
    assert answer.json["name"] == "Ana"
    empty = anonymous.post("/api/auth/guest", body | {"name": "\u200b\u202e"})
    refused(empty, 422, "validation_failed", "name")


@pytest.mark.parametrize("name", ["", "\u200b", "x" * 101, "a\nb"])
def test_the_command_that_makes_an_agent_checks_the_name(
    app: Flask, name: str, database: Database[Document]
) -> None:
    arguments = ["create-admin", "a@example.org", "--password", "a long password", "--name", name]
    assert app.test_cli_runner().invoke(args=arguments).exit_code == 1
    assert database["users"].count_documents({}) == 0


@pytest.mark.parametrize(
    "email", ["boss@m\u00fcnchen.de", "BOSS@xn--mnchen-3ya.de", "boss\u200b@m\u00fcnchen.de"]
)
def test_a_guest_cannot_use_an_agents_address(
    anonymous: Caller, make_user: MakeUser, email: str
) -> None:
    make_user(role="admin", email="boss@m\u00fcnchen.de")
    make_user(email="ana@example.org")
    answer = anonymous.post("/api/auth/guest", {"name": "Boss", "email": email})
    refused(answer, 422, "validation_failed", "email")
    taken = anonymous.post("/api/auth/guest", {"name": "Ana", "email": "ana@example.org"})
    assert taken.status_code == 201
