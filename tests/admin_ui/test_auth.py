"""Signing in and out of the console."""

from __future__ import annotations

import json

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from admin_ui import forms
from chatapi.http import limits
from chatapi.store import database
from tests.admin_ui.conftest import FRAGMENT, Browser
from tests.conftest import PASSWORD, MakeUser, SignIn

ELSEWHERE = [
    "https://evil.example",
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/admin\\@evil.example",
    "/admin/\\evil.example",
    "/%5cevil.example",
    "/admin/%5c%5cevil",
    "/admin//evil.example",
    "/admin/..//evil.example",
    "/admin/../chat",
    "/admin/%2e%2e/chat",
    "/admin/%252e%252e/chat",
    "/admin/./../chat",
    "/admin@evil.example",
    "/administrator",
    "/adminevil",
    "/chat",
    "/",
    "",
    "admin",
    "javascript:alert(1)",
    "data:text/html,x",
    "/admin\r\nLocation: https://evil.example",
    "/admin\t",
    "\t//evil.example",
    " /admin",
    "/admin/\x00",
    "/admin/%00",
    "/admin/%0d%0aX: y",
    "http:/admin",
    "https:admin",
    "//admin",
    "/admin/login?next=//evil.example",
    "/admin/logout",
    "/admin/ｅvil",
    "/admin?" + "x" * 2000,
]
HERE = [
    "/admin",
    "/admin?status=open&q=a%20b",
    "/admin/chats/" + "a" * 24,
    "/admin/users?role=admin",
]


def sign_in(browser: Browser, email: str, password: str = PASSWORD, **fields: str) -> TestResponse:
    browser.get("/admin/login")
    return browser.post("/admin/login", htmx=False, email=email, password=password, **fields)


def test_an_agent_signs_in_and_out(browser: Browser, make_user: MakeUser) -> None:
    agent = make_user(role="admin")
    response = sign_in(browser, agent["email"])
    assert (response.status_code, response.location) == (303, "/admin")
    assert "HttpOnly" in response.headers.get_all("Set-Cookie")[0]
    assert agent["name"] in browser.get("/admin").text

    response = browser.post("/admin/logout", htmx=False)
    assert (response.status_code, response.location) == (303, "/admin/login")
    assert browser.get("/admin").status_code == 303
    assert database.current()["sessions"].count_documents({}) == 0


def test_a_user_is_told_that_there_is_no_access_and_is_not_signed_in(
    browser: Browser, make_user: MakeUser
) -> None:
    response = sign_in(browser, make_user()["email"])
    assert response.status_code == 403
    assert "no access" in response.text
    assert not any("chat_session" in each for each in response.headers.get_all("Set-Cookie"))
    assert database.current()["sessions"].count_documents({}) == 0


@pytest.mark.parametrize("email", ["nobody@example.org", "admin1@example.org"])
def test_a_wrong_password_and_an_unknown_account_look_alike(
    browser: Browser, make_user: MakeUser, email: str
) -> None:
    make_user(role="admin")
    response = sign_in(browser, email, "wrong password")
    assert response.status_code == 401
    assert "The e-mail or the password is not right." in response.text
    assert f'value="{email}"' in response.text
    assert "wrong password" not in response.text


def test_an_empty_form_says_what_is_missing_beside_the_field(browser: Browser) -> None:
    response = sign_in(browser, "")
    assert response.status_code == 422
    assert 'id="email-error"' in response.text


def test_too_many_attempts_are_refused_with_the_time_to_wait(
    app: Flask, browser: Browser, make_user: MakeUser
) -> None:
    app.config |= {"RATELIMIT_ENABLED": True, "LIMIT_LOGIN_ACCOUNT": "2 per 5 minutes"}
    limits.init_app(app)
    email = make_user(role="admin")["email"]
    answers = [sign_in(browser, email, "wrong") for _ in range(3)]
    assert [each.status_code for each in answers] == [401, 401, 429]
    assert 0 < int(answers[2].headers["Retry-After"]) <= 300
    assert "Too many" in answers[2].text or "too many" in answers[2].text
    assert sign_in(browser, email).status_code == 429


def test_signing_in_needs_the_token_of_the_page(browser: Browser, make_user: MakeUser) -> None:
    email = make_user(role="admin")["email"]
    browser.get("/admin/login")
    response = browser.client.post("/admin/login", data={"email": email, "password": PASSWORD})
    assert response.status_code == 403
    assert "try again" in response.text
    assert database.current()["sessions"].count_documents({}) == 0


@pytest.mark.parametrize("target", ELSEWHERE)
def test_next_leads_nowhere_else(app: Flask, target: str) -> None:
    with app.test_request_context():
        assert forms.redirect_target(target) == "/admin"


@pytest.mark.parametrize("target", HERE)
def test_next_leads_back_into_the_console(
    browser: Browser, make_user: MakeUser, target: str
) -> None:
    response = sign_in(browser, make_user(role="admin")["email"], next=target)
    assert response.location == target
    assert browser.client.get("/admin/login", query_string={"next": target}).location == target


def test_the_page_that_was_asked_for_comes_after_the_sign_in(browser: Browser) -> None:
    response = browser.get("/admin/chats?status=open&q=x%26y")
    assert response.location == "/admin/login?next=/admin/chats?status%3Dopen%26q%3Dx%2526y"
    assert 'value="/admin/chats?status=open&amp;q=x%26y"' in browser.get(response.location).text


def test_signing_in_over_a_page_gives_it_the_new_token(
    browser: Browser, make_user: MakeUser
) -> None:
    agent = make_user(role="admin")
    dialog = browser.client.get("/admin", headers=FRAGMENT)
    assert dialog.status_code == 401
    browser.get("/admin/login")
    refused = browser.post("/admin/login", email=agent["email"], password="wrong")
    assert refused.status_code == 401
    assert "<html" not in refused.text
    assert 'hx-post="/admin/login"' in refused.text

    response = browser.post("/admin/login", email=agent["email"], password=PASSWORD)
    assert response.status_code == 200
    signed = json.loads(response.headers["HX-Trigger"])["console:signedin"]
    assert signed["agent"] == str(agent["_id"])
    browser.token = signed["token"]
    assert browser.post("/admin/logout", htmx=False).location == "/admin/login"


def test_an_old_token_is_worth_nothing_after_the_sign_in(
    browser: Browser, make_user: MakeUser
) -> None:
    sign_in(browser, make_user(role="admin")["email"])
    assert browser.post("/admin/logout", htmx=False).status_code == 403


def test_a_token_of_a_session_opens_the_console_without_cookies(
    app: Flask, sign_in: SignIn
) -> None:
    assert app.test_client().get("/admin", headers=sign_in("admin")).status_code == 200


def test_a_browser_that_blocks_cookies_is_told_so(browser: Browser) -> None:
    fields = {"email": "a@example.org", "password": "whatever it is"}
    response = browser.client.post("/admin/login", data=fields)
    assert response.status_code == 403
    assert "allow cookies" in response.text


def test_the_sign_in_page_says_how_the_first_agent_is_made(
    browser: Browser, make_user: MakeUser
) -> None:
    assert "flask create-admin" in browser.get("/admin/login").text
    make_user(role="admin")
    assert "flask create-admin" not in browser.get("/admin/login").text
