"""Signing up, in and out; the sessions one has and how they end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from pymongo.database import Database

from chatapi.store.database import Document
from tests.conftest import PASSWORD, MakeUser
from tests.user_api.callers import Caller, MakeCaller, caller_on, object_id, refused, stored

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
ANA = {"name": "Ana", "email": "ana@example.org", "password": PASSWORD}


def with_token(app: Flask, token: str) -> Caller:
    """Return a caller with this token."""
    caller = caller_on(app, None, None)
    caller.headers["Authorization"] = f"Bearer {token}"
    return caller


def sign_in(anonymous: Caller, email: str, password: str = PASSWORD) -> Any:
    """Sign in and return the token."""
    answer = anonymous.post("/api/auth/login", {"email": email, "password": password})
    assert answer.status_code == 200, answer.text
    return answer.json["token"]


def test_registering_makes_a_user_who_is_signed_in(
    app: Flask, anonymous: Caller, database: Database[Document]
) -> None:
    answer = anonymous.post("/api/auth/register", ANA)
    assert answer.status_code == 201
    body = answer.json
    assert set(body) == {"user", "token", "expiresAt", "deviceToken"}
    assert body["user"] == {
        "_id": body["user"]["_id"],
        "name": "Ana",
        "email": "ana@example.org",
        "role": "user",
        "image": None,
        "emailVerified": False,
    }
    assert with_token(app, body["token"]).get("/api/auth/me").json == body["user"]
    row = database["users"].find_one({"_id": object_id(body["user"]["_id"])})
    assert row is not None
    assert row["passwordHash"].startswith("$argon2id$")
    assert PASSWORD not in repr(row)


def test_a_token_is_stored_only_as_its_hash(
    anonymous: Caller, database: Database[Document]
) -> None:
    token = anonymous.post("/api/auth/register", ANA).json["token"]
    assert token not in repr(stored(database))


def test_a_taken_email_is_refused_in_any_spelling(
    anonymous: Caller, database: Database[Document]
) -> None:
    anonymous.post("/api/auth/register", ANA)
    before = stored(database)
    for email in ("ana@example.org", "ANA@Example.org", " ana@example.org "):
        answer = anonymous.post("/api/auth/register", ANA | {"email": email})
        refused(answer, 409, "email_taken")
    assert stored(database) == before


def test_nobody_registers_as_an_agent(anonymous: Caller, database: Database[Document]) -> None:
    answer = anonymous.post("/api/auth/register", ANA | {"role": "admin"})
    refused(answer, 422, "validation_failed", "role")
    assert database["users"].count_documents({}) == 0


@pytest.mark.parametrize("email", ["ana", "ana@", "@example.org", "a b@example.org", "a@b@c.org"])
def test_what_is_no_email_is_refused(email: str, anonymous: Caller) -> None:
    answer = anonymous.post("/api/auth/register", ANA | {"email": email})
    refused(answer, 422, "validation_failed", "email")
    answer = anonymous.post("/api/auth/guest", {"name": "Ana", "email": email})
    refused(answer, 422, "validation_failed", "email")


@pytest.mark.parametrize(
    ("password", "status"), [("xy" * 3, 422), ("xyz xyz", 422), ("xyz wxyz", 201), (" " * 8, 422)]
)
def test_a_password_has_at_least_eight_characters(
    password: str, status: int, anonymous: Caller
) -> None:
    answer = anonymous.post("/api/auth/register", ANA | {"password": password})
    assert answer.status_code == status
    if status == 201:
        assert sign_in(anonymous, ANA["email"], password)


def test_signing_in_gives_a_new_token_each_time(anonymous: Caller) -> None:
    first = anonymous.post("/api/auth/register", ANA).json
    answer = anonymous.post("/api/auth/login", {"email": "Ana@Example.org", "password": PASSWORD})
    assert answer.status_code == 200
    assert answer.json["user"] == first["user"]
    assert answer.json["token"] != first["token"]


def test_an_unknown_account_and_a_wrong_password_look_alike(
    anonymous: Caller, make_user: MakeUser, database: Database[Document]
) -> None:
    known = make_user()["email"]
    before = stored(database)
    answers = [
        refused(
            anonymous.post("/api/auth/login", {"email": email, "password": password}),
            401,
            "wrong_credentials",
        )
        for email, password in ((known, "wrong password"), ("unknown@example.org", PASSWORD))
    ]
    for answer in answers:
        del answer["requestId"]
    assert answers[0] == answers[1]
    assert stored(database) == before


def test_a_guest_cannot_sign_in_with_a_password(anonymous: Caller, guest: Caller) -> None:
    answer = anonymous.post("/api/auth/login", {"email": guest.email, "password": ""})
    refused(answer, 401, "wrong_credentials")


def test_a_guest_gets_a_session_without_an_account(app: Flask, anonymous: Caller) -> None:
    answer = anonymous.post("/api/auth/guest", {"name": "Gil", "email": "Gil@Example.org"})
    assert answer.status_code == 201
    me = with_token(app, answer.json["token"]).get("/api/auth/me").json
    assert (me["role"], me["name"], me["email"]) == ("guest", "Gil", "gil@example.org")


def test_a_guest_may_use_the_email_of_an_account_and_gets_nothing_of_it(
    app: Flask, anonymous: Caller, user: Caller
) -> None:
    user.open_chat(message="Private")
    answer = anonymous.post("/api/auth/guest", {"name": "Liar", "email": user.email})
    assert answer.status_code == 201
    assert answer.json["user"]["_id"] != user.id
    assert with_token(app, answer.json["token"]).get("/api/chat").json == []


def test_signing_out_ends_this_session_alone(
    make_caller: MakeCaller, make_user: MakeUser, database: Database[Document]
) -> None:
    account = make_user()
    here, there = make_caller(user=account), make_caller(user=account)
    answer = here.post("/api/auth/logout")
    assert (answer.status_code, answer.data) == (204, b"")
    refused(here.get("/api/auth/me"), 401, "session_expired")
    assert there.get("/api/auth/me").status_code == 200
    assert database["sessions"].count_documents({}) == 1


def test_sessions_are_listed_newest_first_without_their_keys(
    make_caller: MakeCaller, make_user: MakeUser, other: Caller, database: Database[Document]
) -> None:
    account = make_user()
    with time_machine.travel(NOON, tick=False):
        make_caller(user=account)
    with time_machine.travel(NOON + timedelta(minutes=1), tick=False):
        here = make_caller(user=account)
        rows = here.get("/api/auth/sessions").json
    assert [row["current"] for row in rows] == [True, False]
    assert set(rows[0]) == {
        "_id", "createdAt", "lastSeenAt", "expiresAt", "userAgent", "address", "current"
    }  # fmt: skip
    keys = {row["_id"] for row in database["sessions"].find()}
    assert not keys & {row["_id"] for row in rows}
    assert rows[0]["createdAt"] == "2026-11-22T12:01:00.000Z"


def test_a_session_can_be_ended_from_another(make_caller: MakeCaller, make_user: MakeUser) -> None:
    account = make_user()
    here, lost = make_caller(user=account), make_caller(user=account)
    (row,) = (row for row in here.get("/api/auth/sessions").json if not row["current"])
    assert here.delete(f"/api/auth/sessions/{row['_id']}").status_code == 204
    refused(lost.get("/api/auth/me"), 401, "session_expired")
    refused(here.delete(f"/api/auth/sessions/{row['_id']}"), 404, "not_found")
    assert here.get("/api/auth/me").status_code == 200


def test_nobody_ends_somebody_elses_session_not_even_an_agent(
    user: Caller, other: Caller, admin: Caller
) -> None:
    (row,) = user.get("/api/auth/sessions").json
    for stranger in (other, admin):
        refused(stranger.delete(f"/api/auth/sessions/{row['_id']}"), 404, "not_found")
    assert user.get("/api/auth/me").status_code == 200


def test_a_new_password_ends_the_other_sessions(
    anonymous: Caller, make_caller: MakeCaller, make_user: MakeUser
) -> None:
    account = make_user()
    here, there = make_caller(user=account), make_caller(user=account)
    answer = here.post("/api/auth/password", {"current": PASSWORD, "new": "a new password"})
    assert (answer.status_code, answer.data) == (204, b"")
    assert here.get("/api/auth/me").status_code == 200
    refused(there.get("/api/auth/me"), 401, "session_expired")
    old = anonymous.post("/api/auth/login", {"email": account["email"], "password": PASSWORD})
    refused(old, 401, "wrong_credentials")
    assert sign_in(anonymous, account["email"], "a new password")


def test_the_current_password_must_be_right(
    user: Caller, make_caller: MakeCaller, database: Database[Document]
) -> None:
    before = stored(database)
    answer = user.post("/api/auth/password", {"current": "wrong", "new": "a new password"})
    refused(answer, 422, "validation_failed", "current")
    assert stored(database) == before


def test_a_guest_has_no_password_to_change(guest: Caller, database: Database[Document]) -> None:
    before = stored(database)
    answer = guest.post("/api/auth/password", {"current": "", "new": "a new password"})
    refused(answer, 403, "forbidden")
    assert stored(database) == before


def test_a_guest_becomes_a_user_who_keeps_id_chats_and_token(
    guest: Caller, anonymous: Caller, database: Database[Document]
) -> None:
    before = guest.get("/api/auth/me").json
    chat = guest.post("/api/chat", {"subject": "Help", "message": "Hello"}).json
    assert chat["userRole"] == "guest"
    answer = guest.post("/api/auth/upgrade", {"password": "a good sentence"})
    assert (answer.status_code, answer.json) == (200, before | {"role": "user"})
    assert guest.get("/api/auth/me").json == before | {"role": "user"}
    token = sign_in(anonymous, before["email"], "a good sentence")
    again = with_token(guest.client.application, token).get(f"/api/chat/{chat['_id']}").json
    assert (again["userRole"], again["userId"]) == ("user", before["_id"])
    assert [message["content"] for message in again["messages"]] == ["Hello"]
    assert database["users"].count_documents({"email": before["email"]}) == 1


def test_only_a_guest_is_upgraded(
    user: Caller, guest: Caller, anonymous: Caller, database: Database[Document]
) -> None:
    before = stored(database)
    refused(user.post("/api/auth/upgrade", {"password": "a good sentence"}), 403, "forbidden")
    refused(
        anonymous.post("/api/auth/upgrade", {"password": "a good sentence"}), 401, "not_signed_in"
    )
    answer = guest.post("/api/auth/upgrade", {"password": "short"})
    refused(answer, 422, "validation_failed", "password")
    assert stored(database) == before


def test_a_guest_cannot_take_the_email_of_an_account(
    guest: Caller, anonymous: Caller, database: Database[Document]
) -> None:
    email = guest.get("/api/auth/me").json["email"]
    anonymous.post("/api/auth/register", ANA | {"email": email})
    before = stored(database)
    answer = guest.post("/api/auth/upgrade", {"password": "a good sentence"})
    refused(answer, 409, "email_taken")
    assert stored(database) == before


def test_a_session_ends_after_a_week_without_use(
    app: Flask, anonymous: Caller, make_user: MakeUser
) -> None:
    email = make_user()["email"]
    with time_machine.travel(NOON, tick=False):
        caller = with_token(app, sign_in(anonymous, email))
    with time_machine.travel(NOON + timedelta(days=7), tick=False):
        refused(caller.get("/api/auth/me"), 401, "session_expired")


def test_use_keeps_a_session_alive_but_not_beyond_thirty_days(
    app: Flask, anonymous: Caller, make_user: MakeUser
) -> None:
    email = make_user()["email"]
    with time_machine.travel(NOON, tick=False):
        caller = with_token(app, sign_in(anonymous, email))
    for day in range(6, 30, 6):
        with time_machine.travel(NOON + timedelta(days=day), tick=False):
            assert caller.get("/api/auth/me").status_code == 200
    with time_machine.travel(NOON + timedelta(days=30, seconds=-1), tick=False):
        assert caller.get("/api/auth/me").status_code == 200
    with time_machine.travel(NOON + timedelta(days=30), tick=False):
        refused(caller.get("/api/auth/me"), 401, "session_expired")


def test_an_ended_session_is_not_listed(make_caller: MakeCaller, make_user: MakeUser) -> None:
    account = make_user()
    with time_machine.travel(NOON - timedelta(days=8), tick=False):
        make_caller(user=account)
    with time_machine.travel(NOON, tick=False):
        rows = make_caller(user=account).get("/api/auth/sessions").json
    assert [row["current"] for row in rows] == [True]


def test_a_disabled_user_is_out_at_once_and_cannot_come_back(
    anonymous: Caller, user: Caller, admin: Caller, database: Database[Document]
) -> None:
    answer = admin.patch(f"/api/admin/users/{user.id}", {"disabled": True})
    assert answer.status_code == 200
    refused(user.get("/api/auth/me"), 401, "session_expired")
    assert user.id is not None
    assert database["sessions"].count_documents({"userId": object_id(user.id)}) == 0
    answer = anonymous.post("/api/auth/login", {"email": user.email, "password": PASSWORD})
    refused(answer, 401, "wrong_credentials")
    admin.patch(f"/api/admin/users/{user.id}", {"disabled": False})
    assert sign_in(anonymous, str(user.email))


def test_the_config_tells_a_front_end_what_it_needs(anonymous: Caller) -> None:
    answer = anonymous.get("/api/config")
    assert answer.status_code == 200
    assert answer.json["categories"] == ["general", "support", "billing", "technical", "other"]
    assert answer.json["imageHosts"] == ["pictures.example"]
    assert answer.json["limits"]["message"] == 5000
    assert answer.json["limits"]["subject"] == 200


def test_the_health_of_the_process_and_of_its_database(anonymous: Caller) -> None:
    assert anonymous.get("/healthz").json == {"status": "ok"}
    assert anonymous.get("/readyz").json == {
        "status": "ok",
        "writable": True,
        "lastWriteSecondsAgo": None,
    }
