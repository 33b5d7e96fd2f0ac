"""Headers: what keeps a browser safe is on every answer, CORS is exact."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pymongo.database import Database
from werkzeug.test import TestResponse

from chatapi import create_app
from chatapi.store.database import Document
from config import TestConfig
from tests.user_api.callers import ROUTES, Caller, Route, caller_on

SHOP = "https://shop.example"
PAGE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


PAGE_ONLY = set(PAGE) - {"X-Content-Type-Options"}
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"


def check_headers(answer: TestResponse) -> None:
    if answer.mimetype == "text/html" and answer.data:
        for name, value in PAGE.items():
            assert answer.headers[name] == value
    else:
        assert answer.headers["Content-Security-Policy"] == DATA_POLICY
        assert not [name for name in PAGE_ONLY if name in answer.headers]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert len(answer.headers["X-Request-Id"]) == 32
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["Cache-Control"]
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_the_safety_headers_are_on_every_answer(
    route: Route, anonymous: Caller, admin: Caller
) -> None:
    for person in (anonymous, admin):
        check_headers(person.call(route.method, route.path()))
        check_headers(person.call("PUT", route.path()))


def test_the_safety_headers_are_on_answers_of_no_route(anonymous: Caller) -> None:
    check_headers(anonymous.get("/api/nothing"))
    check_headers(anonymous.get("/nothing"))
    check_headers(anonymous.send_raw("POST", "/api/auth/login", b"x" * 100_000))


def test_the_pages_load_pictures_from_the_named_hosts_alone(database: Database[Document]) -> None:
    def pictures(**settings: object) -> str:
        app = create_app(TestConfig, database=database, **settings)
        policy = app.test_client().get("/chat").headers["Content-Security-Policy"]
        return next(rule for rule in policy.split("; ") if rule.startswith("img-src "))

    assert pictures(IMAGE_HOSTS=()) == "img-src 'self' data:"
    named = pictures(IMAGE_HOSTS=("a.example", "b.example:8443"), PUBLIC_URL="https://chat.example")
    assert named == (
        "img-src 'self' data: https://chat.example https://a.example https://b.example:8443"
    )


def test_strict_transport_security_is_sent_over_tls_alone(anonymous: Caller) -> None:
    name = "Strict-Transport-Security"
    assert name not in anonymous.get("/healthz").headers
    answer = anonymous.get("/healthz", base_url="https://chat.example")
    assert "max-age=31536000" in answer.headers[name]


def test_a_proxys_word_for_tls_counts_only_when_it_is_trusted(
    database: Database[Document],
) -> None:
    forwarded = {"X-Forwarded-Proto": "https"}
    for proxies in (0, 1):
        app = create_app(TestConfig, database=database, TRUSTED_PROXIES=proxies)
        answer = app.test_client().get("/healthz", headers=forwarded)
        assert ("Strict-Transport-Security" in answer.headers) == bool(proxies)


@pytest.fixture
def shop_app(database: Database[Document]) -> Flask:
    """An app that the pages of one shop may call."""
    return create_app(TestConfig, database=database, CORS_ORIGINS=(SHOP,))


@pytest.fixture
def browser(shop_app: Flask) -> FlaskClient:
    """A browser that asks it."""
    return shop_app.test_client()


def preflight(browser: FlaskClient, origin: str, headers: str = "authorization") -> TestResponse:
    sent = {
        "Origin": origin,
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": headers,
    }
    return browser.options("/api/chat", headers=sent)


def test_an_allowed_origin_may_ask_and_read_but_never_with_cookies(browser: FlaskClient) -> None:
    answer = preflight(browser, SHOP)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == SHOP
    assert "PATCH" in answer.headers["Access-Control-Allow-Methods"]
    assert "authorization" in answer.headers["Access-Control-Allow-Headers"].lower()
    answer = browser.get("/api/config", headers={"Origin": SHOP})
    assert answer.headers["Access-Control-Allow-Origin"] == SHOP
    assert "Origin" in answer.headers["Vary"]
    for name in ("ETag", "Link", "X-Next-Cursor", "X-Unread-Total", "Retry-After"):
        assert name in answer.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_an_allowed_origin_reads_refusals_too(browser: FlaskClient) -> None:
    for path in ("/api/chat", "/api/nothing"):
        answer = browser.get(path, headers={"Origin": SHOP})
        assert answer.status_code >= 400
        assert answer.headers["Access-Control-Allow-Origin"] == SHOP


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://shop.example",
        "https://shop.example.evil.example",
        "https://evil-shop.example",
        "https://shop.example:8443",
        "https://a.shop.example",
        "https://shopxexample",
        "null",
        "",
        "*",
    ],
)
def test_another_origin_gets_no_permission(origin: str, browser: FlaskClient) -> None:
    for answer in (
        preflight(browser, origin),
        browser.get("/api/config", headers={"Origin": origin}),
        browser.get("/api/chat", headers={"Origin": origin}),
    ):
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "Access-Control-Allow-Credentials" not in answer.headers


def test_a_preflight_does_not_allow_the_csrf_header(browser: FlaskClient) -> None:
    answer = preflight(browser, SHOP, "x-csrf-token")
    allowed = answer.headers.get("Access-Control-Allow-Headers", "")
    assert "csrf" not in allowed.lower()


def test_without_configured_origins_there_is_no_cors_at_all(app: Flask) -> None:
    anonymous = caller_on(app, None, None)
    answer = anonymous.get("/api/config", headers={"Origin": SHOP})
    assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]


def test_an_unchanged_answer_is_short(user: Caller) -> None:
    whole = user.get("/api/chat")
    same = user.get("/api/chat", headers={"If-None-Match": whole.headers["ETag"]})
    assert same.status_code == 304
    names = {"Cache-Control", "ETag", "Vary", "X-Request-Id", "X-Unread-Total"}
    assert set(same.headers.keys()) == names
    assert len(str(same.headers)) < 260
    assert set(whole.headers.keys()) == names | {
        "Content-Length",
        "Content-Security-Policy",
        "Content-Type",
        "Cross-Origin-Resource-Policy",
        "X-Content-Type-Options",
    }
    assert len(str(whole.headers)) < 460


def test_an_answer_without_a_body_has_the_short_policy_too(user: Caller) -> None:
    answer = user.call("POST", "/api/auth/logout")
    assert answer.status_code == 204
    assert answer.headers["Content-Security-Policy"] == DATA_POLICY


def test_the_widgets_loader_depends_on_no_cookie(anonymous: Caller) -> None:
    answer = anonymous.get("/widget.js")
    assert "Cookie" not in answer.headers["Vary"]
    assert "public" in answer.headers["Cache-Control"]
