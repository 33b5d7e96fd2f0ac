"""Sessions in a cookie: the browser sends it by itself, so more is asked of the request."""

from __future__ import annotations

from typing import Any, cast

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pymongo.database import Database

from chatapi import create_app
from chatapi.store.database import Document
from config import TestConfig
from tests.conftest import PASSWORD, MakeUser
from tests.user_api.callers import BODIES, ROUTES, Answer, Caller, Route, refused, stored

CHANGING = [
    route
    for route in ROUTES
    if route.method != "GET" and route.contract and route.contract.auth != "anyone"
]


class Browser:
    """A browser that is signed in by cookie."""

    def __init__(self, app: Flask, email: str) -> None:
        self.client: FlaskClient = app.test_client()
        self.sign_in(email)

    def sign_in(self, email: str) -> Answer:
        """Sign in, and get the CSRF token that belongs to the session."""
        answer = self.client.post(
            "/api/auth/login", json={"email": email, "password": PASSWORD, "cookie": True}
        )
        assert answer.status_code == 200, answer.text
        self.csrf: str = cast("Answer", self.client.get("/api/auth/csrf")).json["csrfToken"]
        return cast("Answer", answer)

    @property
    def cookie(self) -> str:
        found = self.client.get_cookie("chat_session")
        assert found is not None
        return found.value

    def call(
        self, method: str, path: str, json: Any = None, csrf: str | None = None, **headers: str
    ) -> Answer:
        """Send a request. csrf -- "" for none, None for the right one."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        token = self.csrf if csrf is None else csrf
        if token:
            sent["X-CSRF-Token"] = token
        return cast("Answer", self.client.open(path, method=method, json=json, headers=sent))


@pytest.fixture
def browser(app: Flask, make_user: MakeUser) -> Browser:
    """A user's browser."""
    return Browser(app, make_user()["email"])


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(
    app: Flask, make_user: MakeUser
) -> None:
    browser = Browser(app, make_user()["email"])
    answer = browser.sign_in(make_user()["email"])
    (cookie,) = (
        line for line in answer.headers.getlist("Set-Cookie") if line.startswith("chat_session=")
    )
    parts = set(cookie.split("; ")[1:])
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= parts
    assert "Secure" not in parts


def test_in_production_the_cookie_travels_over_tls_only(
    database: Database[Document], make_user: MakeUser
) -> None:
    app = create_app(
        TestConfig,
        database=database,
        SESSION_COOKIE_SECURE=True,
        AUTH_COOKIE_NAME="__Host-chat_session",
    )
    answer = app.test_client().post(
        "/api/auth/login",
        json={"email": make_user()["email"], "password": PASSWORD, "cookie": True},
    )
    cookie, *_ = answer.headers.getlist("Set-Cookie")
    assert cookie.startswith("__Host-chat_session=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(cookie.split("; "))


@pytest.mark.parametrize("path", ["login", "register", "guest"])
def test_no_cookie_is_set_unless_asked_for(path: str, client: FlaskClient, app: Flask) -> None:
    client.post("/api/auth/register", json=BODIES["POST /api/auth/register"])
    body = dict(BODIES[f"POST /api/auth/{path}"])
    if path == "register":
        body["email"] = "second@example.org"
    answer = client.post(f"/api/auth/{path}", json=body)
    assert answer.status_code in {200, 201}
    assert "Set-Cookie" not in answer.headers
    if path == "register":
        body["email"] = "third@example.org"
    answer = client.post(f"/api/auth/{path}", json=body | {"cookie": True})
    assert answer.headers["Set-Cookie"].startswith("chat_session=")
    assert client.get("/api/auth/me").status_code == 200


def test_a_cookie_reads_without_a_csrf_token(browser: Browser) -> None:
    assert browser.call("GET", "/api/chat", csrf="").status_code == 200


@pytest.mark.parametrize("route", CHANGING, ids=str)
def test_every_change_by_cookie_needs_the_csrf_token(
    route: Route, app: Flask, make_user: MakeUser, database: Database[Document]
) -> None:
    browser = Browser(app, make_user(role="admin")["email"])
    somebody_elses = Browser(app, make_user()["email"]).csrf
    before = stored(database)
    for csrf in ("", "stale", somebody_elses):
        answer = browser.call(route.method, route.path(), BODIES.get(str(route)), csrf=csrf)
        refused(answer, 403, "csrf_failed")
    assert stored(database) == before


def test_a_change_by_cookie_with_the_csrf_token_is_made(browser: Browser) -> None:
    answer = browser.call("POST", "/api/chat", {"subject": "Help"})
    assert answer.status_code == 201
    assert browser.call("PATCH", f"/api/chat/{answer.json['_id']}", {"message": "Hi"}).json[
        "messages"
    ]


def test_a_bearer_token_needs_no_csrf_token_even_beside_a_cookie(
    browser: Browser, user: Caller
) -> None:
    answer = browser.call("POST", "/api/chat", {"subject": "Help"}, csrf="", **user.headers)
    assert answer.status_code == 201
    assert answer.json["userId"] == user.id


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost.evil.example"},
        {"Origin": "http://localhost:8080"},
        {"Origin": "https://localhost"},
        {"Sec_Fetch_Site": "cross-site"},
    ],
    ids=str,
)
def test_a_change_by_cookie_from_another_site_is_refused_despite_the_token(
    headers: dict[str, str], browser: Browser, database: Database[Document]
) -> None:
    before = stored(database)
    answer = browser.call("POST", "/api/chat", {"subject": "Help"}, **headers)
    refused(answer, 403, "csrf_failed")
    assert stored(database) == before


def test_a_change_by_cookie_from_this_site_is_made(browser: Browser) -> None:
    answer = browser.call(
        "POST",
        "/api/chat",
        {"subject": "Help"},
        Origin="http://localhost",
        Sec_Fetch_Site="same-origin",
    )
    assert answer.status_code == 201


def test_a_form_of_another_site_cannot_sign_anybody_in(client: FlaskClient) -> None:
    client.post("/api/auth/register", json=BODIES["POST /api/auth/register"])
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer = client.post(
            "/api/auth/login",
            data=b'{"email":"new@example.org","password":"a password of the tests","cookie":true}',
            content_type=content_type,
        )
        refused(answer, 415, "not_json")
        assert client.get_cookie("chat_session") is None


def test_signing_in_again_gives_a_new_token_and_ends_the_old_session(
    browser: Browser, make_user: MakeUser, app: Flask
) -> None:
    old_cookie, old_csrf = browser.cookie, browser.csrf
    browser.sign_in(make_user()["email"])
    assert browser.cookie != old_cookie
    assert browser.csrf != old_csrf
    thief = app.test_client()
    thief.set_cookie("chat_session", old_cookie)
    refused(thief.get("/api/auth/me"), 401, "session_expired")
    answer = browser.call("POST", "/api/chat", {"subject": "Help"}, csrf=old_csrf)
    refused(answer, 403, "csrf_failed")


def test_a_planted_cookie_is_not_taken_over(app: Flask, make_user: MakeUser) -> None:
    client = app.test_client()
    client.set_cookie("chat_session", "chosen-by-an-attacker")
    email = make_user()["email"]
    client.post("/api/auth/login", json={"email": email, "password": PASSWORD, "cookie": True})
    cookie = client.get_cookie("chat_session")
    assert cookie is not None
    assert cookie.value != "chosen-by-an-attacker"


def test_signing_out_takes_the_cookie_back(browser: Browser, app: Flask) -> None:
    old = browser.cookie
    answer = browser.call("POST", "/api/auth/logout")
    assert answer.status_code == 204
    assert browser.client.get_cookie("chat_session") is None
    refused(browser.client.get("/api/auth/me"), 401, "not_signed_in")
    thief = app.test_client()
    thief.set_cookie("chat_session", old)
    refused(thief.get("/api/auth/me"), 401, "session_expired")


def test_the_token_for_bearer_and_the_cookie_are_one_session(
    app: Flask, make_user: MakeUser
) -> None:
    client = app.test_client()
    answer = client.post(
        "/api/auth/login",
        json={"email": make_user()["email"], "password": PASSWORD, "cookie": True},
    )
    cookie = client.get_cookie("chat_session")
    assert cookie is not None
    assert cookie.value == cast("Answer", answer).json["token"]


def test_the_forms_cookie_says_nothing_of_who_is_signed_in(app: Flask, client: FlaskClient) -> None:
    guest = {"name": "Ana", "email": "ana@example.org", "cookie": True}
    assert client.post("/api/auth/guest", json=guest).status_code == 201
    with client.session_transaction() as kept:
        assert not kept
    assert client.get("/api/auth/csrf").status_code == 200
    with client.session_transaction() as kept:
        assert set(kept) == {"csrf_token", "_permanent"}
    cookie = client.get_cookie(app.config["SESSION_COOKIE_NAME"])
    assert cookie is not None
    assert cookie.expires is not None  # A tab that the browser brings back can still write.


@pytest.mark.parametrize(
    ("origin", "scheme", "is_ours"),
    [
        ("https://localhost", "https", True),
        ("https://localhost", "wss", True),
        ("http://localhost", "https", False),
        ("http://localhost", "wss", False),
        ("https://chat.example.com", "http", True),  # PUBLIC_URL
        ("http://chat.example.com", "http", False),
    ],
)
def test_behind_a_proxy_the_origin_has_the_scheme_that_the_browser_uses(
    database: Database[Document], origin: str, scheme: str, is_ours: bool
) -> None:
    app = create_app(
        TestConfig,
        database=database,
        TRUSTED_PROXIES=1,
        PUBLIC_URL="https://chat.example.com",
    )
    answer = app.test_client().get(
        "/api/ws",
        headers={
            "Origin": origin,
            "X-Forwarded-Proto": scheme,
            "Authorization": f"Bearer {caller_token(app)}",
        },
    )
    # Without an upgrade nothing more than the origin is looked at.
    assert answer.status_code == (426 if is_ours else 403)


def caller_token(app: Flask) -> str:
    body = {"name": "Ana", "email": "proxy@example.org", "password": "a long enough secret"}
    answer = app.test_client().post("/api/auth/register", json=body)
    return str(answer.get_json()["token"])
