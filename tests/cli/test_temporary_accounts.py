"""`flask temporary-accounts`: what a run of the acceptance checks is given, and its removal."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pymongo.database import Database

from chatapi.domain.enums import Role
from chatapi.http.login_limits import attempts_key
from chatapi.services import chats, messages, sessions, users
from chatapi.store.database import Document
from tests.conftest import MakeChat, MakeUser


@pytest.fixture
def made(app: Flask) -> Any:
    """What the command prints."""
    result = app.test_cli_runner().invoke(args=["temporary-accounts", "make"])
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def me(client: FlaskClient, token: str) -> Any:
    return client.get("/api/auth/me", headers={"Authorization": f"Bearer {token}"})


@pytest.mark.parametrize(
    ("kind", "role"), [("user", "user"), ("other", "user"), ("agent", "admin")]
)
def test_each_account_is_signed_in_with_its_role(
    client: FlaskClient, made: Any, kind: str, role: Role
) -> None:
    person = made[kind]
    for token in person["tokens"]:
        seen = me(client, token).json
        assert (seen["role"], seen["email"]) == (role, person["email"])
        assert person["role"] == role
    expired = me(client, person["expiredToken"])
    assert expired.status_code == 401
    assert expired.json["code"] == "session_expired"


def test_only_the_user_has_a_password(database: Database[Document], made: Any) -> None:
    with_password = {
        row["email"] for row in database["users"].find({"passwordHash": {"$ne": None}})
    }
    assert with_password == {made["user"]["email"]}
    assert made["other"]["password"] is None
    assert made["agent"]["password"] is None


def test_attempts_to_sign_in_are_counted_by_account(
    app: Flask, database: Database[Document]
) -> None:
    key = attempts_key("a@b.invalid")
    database["attempts"].insert_one({"_id": key, "count": 3})
    for email, count in (("a@b.invalid", "3"), ("c@b.invalid", "0")):
        result = app.test_cli_runner().invoke(
            args=["temporary-accounts", "sign-in-attempts", email]
        )
        assert result.output.strip() == count


def test_what_a_killed_run_left_is_removed_and_nothing_else(
    app: Flask,
    database: Database[Document],
    made: Any,
    make_user: MakeUser,
    make_chat: MakeChat,
) -> None:
    owner, agent = (
        sessions.session_for(user)
        for kind in ("user", "agent")
        if (user := users.find(made[kind]["email"])) is not None
    )
    mine, _, _ = chats.create(owner, "Verification", message="Left")
    messages.send(agent, mine["_id"], "Also left")
    near = make_user(email="verify-me@verify.invalid")
    other = make_chat(message="Stays")
    before = database["users"].count_documents({})
    remove = ["temporary-accounts", "remove"]
    assert "Removed 3 " in app.test_cli_runner().invoke(args=remove).output
    assert database["users"].count_documents({}) == before - 3
    assert users.find(near["email"])
    assert [row["_id"] for row in database["chatrooms"].find()] == [other["_id"]]
    assert database["messages"].count_documents({}) == 1
    owners = {row["userId"] for row in database["sessions"].find()}
    assert owners == {other["userId"]}
    assert "Removed 0 " in app.test_cli_runner().invoke(args=remove).output


def test_a_new_run_removes_what_the_last_one_left(
    app: Flask, database: Database[Document], made: Any
) -> None:
    again = json.loads(app.test_cli_runner().invoke(args=["temporary-accounts", "make"]).output)
    emails = {row["email"] for row in database["users"].find()}
    assert emails == {person["email"] for person in again.values()}
    assert not emails & {person["email"] for person in made.values()}
