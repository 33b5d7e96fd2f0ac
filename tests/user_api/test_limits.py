"""How often somebody may do something."""

from __future__ import annotations

import functools
from collections import Counter
from typing import Any, cast

import pytest
from flask import Flask
from pymongo.database import Database
from werkzeug.test import TestResponse

from chatapi.domain.enums import Role
from chatapi.domain.errors import TooManyRequests
from chatapi.domain.networks import SITE_FACTOR, Network, network_of
from chatapi.http import limits
from chatapi.http.counters import WorkerMemory
from chatapi.services import accounts, users
from chatapi.store import database as store_database
from chatapi.store.database import Document
from tests.conftest import CLIENT, PASSWORD, MakeApp
from tests.user_api.callers import Answer, Caller, caller_on, refused, stored


@pytest.fixture
def make_limited_app(make_app: MakeApp) -> MakeApp:
    """`make_limited_app(**settings)` -> an app that limits."""
    return functools.partial(make_app, RATELIMIT_ENABLED=True)


def somebody_on(app: Flask, role: Role = "user") -> Caller:
    """Return somebody new who is signed in, without having spent an attempt."""
    session, token = accounts.guest("Guest", "guest@example.org", CLIENT)
    if role != "guest":
        email = f"{session.user_id}@example.org"
        user = users.create_user("Somebody", email, PASSWORD, role=role)
        session, token = accounts.login(email, PASSWORD, CLIENT)
        return caller_on(app, user, token)
    return caller_on(app, {"_id": session.user_id, "email": session.email, "role": role}, token)


def limited(answer: TestResponse) -> Any:
    body = refused(answer, 429, "too_many_requests")
    assert int(answer.headers["Retry-After"]) == body["retryAfter"] >= 1
    return body


def test_sending_is_limited_by_account_over_all_ways_of_sending(
    make_limited_app: MakeApp, database: Database[Document]
) -> None:
    app = make_limited_app(LIMIT_SEND="3 per hour")
    user, other = somebody_on(app), somebody_on(app)
    chat = user.open_chat()
    path = f"/api/chat/{chat['_id']}"
    for _ in range(2):
        assert user.post(f"{path}/messages", {"content": "Hi"}).status_code == 201
    assert user.patch(path, {"message": "Hi"}).status_code == 200
    before = stored(database)
    assert limited(user.post(f"{path}/messages", {"content": "Hi"}))["retryAfter"] <= 3601
    limited(user.patch(path, {"message": "Hi"}))
    assert stored(database) == before
    assert user.get(path).status_code == 200
    other.say(other.open_chat())


def test_opening_chats_is_limited_by_account(make_limited_app: MakeApp) -> None:
    app = make_limited_app(LIMIT_CREATE_CHAT="1 per hour")
    user, other = somebody_on(app), somebody_on(app)
    user.open_chat()
    limited(user.post("/api/chat", {"subject": "Again"}))
    other.open_chat()


@pytest.mark.parametrize(
    ("path", "setting", "body"),
    [
        ("register", "LIMIT_REGISTER", {"name": "Ana", "password": PASSWORD}),
        ("guest", "LIMIT_GUEST", {"name": "Ana"}),
    ],
)
def test_new_accounts_and_guests_are_limited_by_address(
    path: str,
    setting: str,
    body: dict[str, str],
    make_limited_app: MakeApp,
    database: Database[Document],
) -> None:
    anonymous = caller_on(make_limited_app(**{setting: "2 per hour"}), None, None)
    for number in range(2):
        answer = anonymous.post(f"/api/auth/{path}", body | {"email": f"{number}@example.org"})
        assert answer.status_code == 201
    before = stored(database)
    limited(anonymous.post(f"/api/auth/{path}", body | {"email": "last@example.org"}))
    assert stored(database) == before


def test_the_addresses_of_a_64_count_together_and_those_of_a_48_more_loosely(
    make_limited_app: MakeApp,
) -> None:
    anonymous = caller_on(make_limited_app(LIMIT_GUEST="2 per hour", TRUSTED_PROXIES=1), None, None)

    def guest(address: str) -> int:
        body = {"name": "Ana", "email": "ana@example.org"}
        forwarded = {"X-Forwarded-For": address}
        return anonymous.post("/api/auth/guest", body, headers=forwarded).status_code

    assert [guest(f"2001:db8:0:1::{number}") for number in range(4)] == [201, 201, 429, 429]
    assert [guest(f"::ffff:192.0.2.{number}") for number in (7, 7, 8)] == [201, 201, 201]
    assert guest("192.0.2.7") == 429
    made = [guest(f"2001:db8:0:{number:x}::1") for number in range(2, 2 + 2 * SITE_FACTOR)]
    assert Counter(made) == {201: 2 * SITE_FACTOR - 2, 429: 2}
    assert guest("2001:db8:1:1::1") == 201


def let_through(networks: list[Network]) -> int:
    """Count a new guest of each network; return how many the limits let through."""
    passed = 0
    for network in networks:
        try:
            limits.count("guest", network)
            passed += 1
        except TooManyRequests:
            continue
    return passed


def test_networks_of_a_site_that_is_refused_leave_no_counters(make_limited_app: MakeApp) -> None:
    app = make_limited_app(LIMIT_GUEST="3 per hour")
    networks = [network_of(f"2001:db8:1:{number:x}::1") for number in range(1000)]
    with app.app_context():
        storage = limits.storage.current
        assert isinstance(storage, WorkerMemory)
        before = len(storage.storage)
        assert let_through(networks) == 3 * SITE_FACTOR
        # The site's own, and one for each that was let through.
        assert len(storage.storage) - before == 3 * SITE_FACTOR + 1


def test_what_a_network_is_refused_does_not_use_up_its_site(make_limited_app: MakeApp) -> None:
    app = make_limited_app(LIMIT_GUEST="3 per hour")
    with app.app_context():
        assert let_through([network_of("2001:db8:1:1::1")] * 100) == 3
        assert let_through([network_of("2001:db8:1:2::1")] * 4) == 3


@pytest.mark.parametrize("forwarded", ["unknown", "client.example", "300.1.1.1"])
def test_a_forwarded_address_that_is_none_is_refused(
    forwarded: str, make_limited_app: MakeApp
) -> None:
    anonymous = caller_on(make_limited_app(TRUSTED_PROXIES=1), None, None)
    headers = {"X-Forwarded-For": forwarded}
    body = {"name": "Ana", "email": "ana@example.org"}
    refused(anonymous.post("/api/auth/guest", body, headers=headers), 400, "bad_address")


def test_a_token_buys_no_new_allowance_for_accounts_and_guests(make_limited_app: MakeApp) -> None:
    app = make_limited_app(LIMIT_GUEST="1 per hour", LIMIT_REGISTER="1 per hour")
    guest = somebody_on(app, "guest")
    body = {"name": "Ana", "email": "ana@example.org"}
    assert guest.post("/api/auth/guest", body).status_code == 201
    limited(somebody_on(app, "guest").post("/api/auth/guest", body))
    assert guest.post("/api/auth/register", body | {"password": PASSWORD}).status_code == 201
    limited(somebody_on(app).post("/api/auth/register", body | {"password": PASSWORD}))


def test_only_chats_that_were_opened_count_against_opening_chats(make_limited_app: MakeApp) -> None:
    app = make_limited_app(LIMIT_CREATE_CHAT="1 per hour")
    user = somebody_on(app)
    for _ in range(3):
        assert user.post("/api/chat", {"subject": ""}).status_code == 422
    first = {"subject": "Help", "message": "Hello", "clientMessageId": "m-1"}
    assert user.post("/api/chat", first).status_code == 201


def test_everything_else_is_limited_together(make_limited_app: MakeApp) -> None:
    app = make_limited_app(LIMIT_DEFAULT="3 per hour")
    user, other = somebody_on(app), somebody_on(app)
    for path in ("/api/chat", "/api/auth/me", "/api/config"):
        assert user.get(path).status_code == 200
    for path in ("/api/chat", "/api/auth/me", "/api/docs", "/api/openapi.json"):
        limited(user.get(path))
    assert other.get("/api/chat").status_code == 200
    for path in ("/healthz", "/readyz"):
        assert user.get(path).status_code == 200


def login(app: Flask, email: str, address: str = "10.0.0.1", **headers: str) -> Answer:
    """Sign in with a wrong password from an address."""
    answer = app.test_client().post(
        "/api/auth/login",
        json={"email": email, "password": "wrong"},
        headers=headers,
        environ_overrides={"REMOTE_ADDR": address},
    )
    return cast("Answer", answer)


def test_attempts_at_an_account_from_one_network_are_limited(make_limited_app: MakeApp) -> None:
    app = make_limited_app(LIMIT_LOGIN_ACCOUNT="3 per hour")
    user = somebody_on(app)
    for number in range(3):
        address = f"2001:db8:1:2::{number}"
        refused(login(app, str(user.email), address), 401, "wrong_credentials")
    body = limited(login(app, f" {str(user.email).upper()} ", "2001:db8:1:2::9"))
    assert body["title"] == "Too many sign-in attempts"
    right = caller_on(app, None, None).post(
        "/api/auth/login",
        {"email": user.email, "password": PASSWORD},
        environ_overrides={"REMOTE_ADDR": "2001:db8:1:2::9"},
    )
    limited(right)
    refused(login(app, "other@example.org"), 401, "wrong_credentials")
    # Elsewhere the owner signs in: wrong passwords from one network lock nobody out.
    elsewhere = caller_on(app, None, None).post(
        "/api/auth/login", {"email": user.email, "password": PASSWORD}
    )
    assert elsewhere.status_code == 200


def test_a_known_device_signs_in_at_once_while_an_account_is_attacked(
    make_limited_app: MakeApp,
) -> None:
    app = make_limited_app()
    user = somebody_on(app)
    owner, other = caller_on(app, None, None), somebody_on(app)
    right = {"email": user.email, "password": PASSWORD}
    token = owner.post("/api/auth/login", right).json["deviceToken"]
    browser = app.test_client()
    assert browser.post("/api/auth/login", json=right | {"cookie": True}).status_code == 200
    foreign = other.post("/api/auth/login", {"email": other.email, "password": PASSWORD})
    answers = [login(app, str(user.email), f"198.51.100.{number}") for number in range(20)]
    assert {answer.status_code for answer in answers[-10:]} == {429}
    assert all(1 <= int(each.headers["Retry-After"]) <= 30 for each in answers[-10:])
    limited(owner.post("/api/auth/login", right))
    limited(owner.post("/api/auth/login", right | {"deviceToken": "made up"}))
    limited(owner.post("/api/auth/login", right | {"deviceToken": foreign.json["deviceToken"]}))
    assert owner.post("/api/auth/login", right | {"deviceToken": token}).status_code == 200
    assert browser.post("/api/auth/login", json=right).status_code == 200


def test_a_known_device_has_a_limit_of_its_own(make_limited_app: MakeApp) -> None:
    app = make_limited_app(LIMIT_LOGIN_ACCOUNT="2 per hour")
    user = somebody_on(app)
    anonymous = caller_on(app, None, None)
    right = {"email": user.email, "password": PASSWORD}
    right["deviceToken"] = anonymous.post("/api/auth/login", right).json["deviceToken"]
    for _ in range(2):
        wrong = anonymous.post("/api/auth/login", right | {"password": "wrong"})
        refused(wrong, 401, "wrong_credentials")
    limited(anonymous.post("/api/auth/login", right))


def test_a_guest_with_an_agents_address_does_not_lock_the_agent_out(
    make_limited_app: MakeApp,
) -> None:
    app = make_limited_app(LIMIT_LOGIN_ACCOUNT="2 per hour")
    agent = somebody_on(app, "admin")
    session, token = accounts.guest("Guest", "other@example.org", CLIENT)
    database = store_database.current()
    database["users"].update_one({"_id": session.user_id}, {"$set": {"email": agent.email}})
    guest = caller_on(app, {"_id": session.user_id, "email": agent.email, "role": "guest"}, token)
    for _ in range(4):
        body = {"current": "wrong", "new": "an entirely new password"}
        refused(guest.post("/api/auth/password", body), 403, "forbidden")
    body = {"current": PASSWORD, "new": "an entirely new password"}
    assert agent.post("/api/auth/password", body).status_code == 204


def test_signing_in_forgives_the_attempts_before(make_limited_app: MakeApp) -> None:
    app = make_limited_app(LIMIT_LOGIN_ACCOUNT="3 per hour")
    user = somebody_on(app)
    for _ in range(3):
        for _ in range(2):
            refused(login(app, str(user.email), "127.0.0.1"), 401, "wrong_credentials")
        answer = caller_on(app, None, None).post(
            "/api/auth/login", {"email": user.email, "password": PASSWORD}
        )
        assert answer.status_code == 200


def test_attempts_from_an_address_are_limited_at_whatever_account(
    make_limited_app: MakeApp,
) -> None:
    app = make_limited_app(LIMIT_LOGIN_ADDRESS="3 per hour")
    for number in range(3):
        refused(login(app, f"{number}@example.org"), 401, "wrong_credentials")
    limited(login(app, "next@example.org"))
    refused(login(app, "next@example.org", "10.0.0.2"), 401, "wrong_credentials")


def test_guessing_the_current_password_counts_as_attempts(make_limited_app: MakeApp) -> None:
    app = make_limited_app(LIMIT_LOGIN_ACCOUNT="2 per hour")
    user = somebody_on(app)
    body = {"current": "wrong", "new": "a new password"}
    for _ in range(2):
        refused(user.post("/api/auth/password", body), 422, "validation_failed", "current")
    limited(user.post("/api/auth/password", body | {"current": PASSWORD}))


def test_a_made_up_x_forwarded_for_does_not_escape_the_login_limit(
    make_limited_app: MakeApp,
) -> None:
    app = make_limited_app(LIMIT_LOGIN_ADDRESS="3 per hour", TRUSTED_PROXIES=0)
    answers = [
        login(app, f"{number}@example.org", **{"X-Forwarded-For": f"192.0.2.{number}"})
        for number in range(4)
    ]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]


def test_behind_a_proxy_the_address_that_it_saw_counts(make_limited_app: MakeApp) -> None:
    app = make_limited_app(LIMIT_LOGIN_ADDRESS="3 per hour", TRUSTED_PROXIES=1)

    def attempt(number: int, forwarded: str) -> int:
        email = f"{number}@example.org"
        return login(app, email, "127.0.0.1", **{"X-Forwarded-For": forwarded}).status_code

    # The client may write what it likes; the proxy adds the address it saw at the end.
    statuses = [attempt(number, f"198.51.100.{number}, 203.0.113.7") for number in range(4)]
    assert statuses == [401, 401, 401, 429]
    assert attempt(5, "203.0.113.7, 203.0.113.8") == 401


def test_the_sessions_list_shows_the_address_that_the_proxy_saw(make_limited_app: MakeApp) -> None:
    app = make_limited_app(TRUSTED_PROXIES=1)
    anonymous = caller_on(app, None, None)
    answer = anonymous.post(
        "/api/auth/guest",
        {"name": "Ana", "email": "ana@example.org"},
        headers={"X-Forwarded-For": "198.51.100.1, 203.0.113.7"},
    )
    anonymous.headers["Authorization"] = f"Bearer {answer.json['token']}"
    (row,) = anonymous.get("/api/auth/sessions").json
    assert row["address"] == "203.0.113.7"


def test_no_limit_holds_when_limits_are_off(user: Caller, app: Flask) -> None:
    assert not app.config["RATELIMIT_ENABLED"]
    app.config["LIMIT_DEFAULT"] = "1 per hour"
    for _ in range(3):
        assert user.get("/api/auth/me").status_code == 200
    for _ in range(40):
        assert login(app, "nobody@example.org").status_code == 401
