"""Changing a password, setting a forgotten one, and the sessions that end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import time_machine
from flask import Flask
from pymongo.database import Database

from chatapi.domain import clock, errors
from chatapi.domain.documents import User
from chatapi.services import accounts, credentials, sessions
from chatapi.store import password_links
from chatapi.store.database import Document
from tests.conftest import CLIENT, PASSWORD, MakeUser
from tests.user_api.callers import Caller, MakeCaller, refused
from tests.user_api.test_cookies import Browser

NEW = "a quite new password"


@pytest.fixture
def browser(app: Flask, make_user: MakeUser) -> Browser:
    """A user's browser."""
    return Browser(app, make_user(email="ana@example.org")["email"])


def test_a_new_password_replaces_the_cookie_and_keeps_the_open_page_working(
    browser: Browser, make_caller: MakeCaller
) -> None:
    old = browser.cookie
    answer = browser.call("POST", "/api/auth/password", {"current": PASSWORD, "new": NEW})
    assert (answer.status_code, answer.data) == (204, b"")
    assert browser.cookie != old
    assert sessions.open_session(old) is None
    assert browser.call("GET", "/api/auth/me").status_code == 200
    assert browser.call("POST", "/api/auth/logout").status_code == 204


def test_a_bearer_token_is_replaced_when_its_client_asks(
    app: Flask, make_user: MakeUser, anonymous: Caller
) -> None:
    _, token = accounts.login(make_user()["email"], PASSWORD, CLIENT)
    headers = {"Authorization": f"Bearer {token}"}
    body = {"current": PASSWORD, "new": NEW, "newToken": True}
    answer = app.test_client().post("/api/auth/password", json=body, headers=headers)
    assert answer.status_code == 200
    given: Any = answer.json
    assert set(given) == {"token", "expiresAt"}
    assert sessions.open_session(token) is None
    assert sessions.open_session(given["token"]) is not None
    assert "Set-Cookie" not in answer.headers


def test_signing_out_everywhere_ends_all_sessions_and_takes_the_cookie(
    browser: Browser, app: Flask
) -> None:
    _, other = accounts.login("ana@example.org", PASSWORD, CLIENT)
    own = browser.cookie
    assert browser.call("DELETE", "/api/auth/sessions").status_code == 204
    assert browser.client.get_cookie("chat_session") is None
    assert sessions.open_session(own) is None
    assert sessions.open_session(other) is None


def test_one_session_too_many_ends_the_one_used_least_recently(
    app: Flask, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch, database: Database[Document]
) -> None:
    monkeypatch.setattr(sessions.lifetimes.current, "per_user", 3)
    user, other = make_user(), make_user()
    _, of_another = accounts.login(other["email"], PASSWORD, CLIENT)
    tokens = []
    with time_machine.travel(clock.now(), tick=False) as time:
        for _ in range(3):
            tokens.append(accounts.login(user["email"], PASSWORD, CLIENT)[1])
            time.shift(600)
        assert sessions.open_session(tokens[0]) is not None
        time.shift(1)
        tokens.append(accounts.login(user["email"], PASSWORD, CLIENT)[1])
        alive = [sessions.open_session(token) is not None for token in tokens]
    assert alive == [True, False, True, True]
    assert sessions.open_session(of_another) is not None
    assert database["sessions"].count_documents({"userId": user["_id"]}) == 3


# Links


def made(admin: Caller, user: User) -> str:
    answer = admin.post(f"/api/admin/users/{user['_id']}/password-link")
    assert answer.status_code == 201
    address = urlsplit(answer.json["url"])
    assert address.path == "/admin/set-password"
    return str(address.query).removeprefix("token=")


def test_a_link_sets_a_password_once_and_ends_all_sessions(
    admin: Caller, anonymous: Caller, make_user: MakeUser, database: Database[Document]
) -> None:
    user = make_user()
    _, session = accounts.login(user["email"], PASSWORD, CLIENT)
    token = made(admin, user)
    assert token not in repr(list(database["passwordLinks"].find()))
    body = {"token": token, "password": NEW}
    assert anonymous.post("/api/auth/password/link", body).status_code == 204
    assert sessions.open_session(session) is None
    accounts.login(user["email"], NEW, CLIENT)
    refused(anonymous.post("/api/auth/password/link", body), 404, "link_expired")
    with pytest.raises(errors.WrongCredentials):
        accounts.login(user["email"], PASSWORD, CLIENT)


def test_opening_the_page_of_a_link_changes_nothing(
    app: Flask, admin: Caller, make_user: MakeUser, database: Database[Document]
) -> None:
    user = make_user()
    token = made(admin, user)
    before = [list(database[name].find()) for name in ("users", "passwordLinks", "sessions")]
    browser = app.test_client()
    for method in ("GET", "HEAD", "GET"):
        assert browser.open(f"/admin/set-password?token={token}", method=method).status_code == 200
    after = [list(database[name].find()) for name in ("users", "passwordLinks", "sessions")]
    assert after == before
    page = browser.get(f"/admin/set-password?token={token}").text
    csrf = page.split('name="csrf_token" value="')[1].split('"')[0]
    form = {"csrf_token": csrf, "token": token, "password": "short"}
    again = browser.post("/admin/set-password", data=form)
    assert again.status_code == 422
    assert 'id="password-error"' in again.text
    done = browser.post("/admin/set-password", data=form | {"password": NEW})
    assert "Your password is set." in done.text
    accounts.login(user["email"], NEW, CLIENT)
    for path in (f"?token={token}", "", "?token=x"):
        gone = browser.get(f"/admin/set-password{path}")
        assert gone.status_code == 404
        assert "has expired" in gone.text


def test_of_two_tabs_at_once_one_sets_the_password(
    admin: Caller, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = make_user()
    token = made(admin, user)
    consume = password_links.consume

    def while_another_does(key: str) -> bool:
        monkeypatch.setattr(password_links, "consume", consume)
        credentials.use_link(token, "the other tab's password")
        return consume(key)

    monkeypatch.setattr(password_links, "consume", while_another_does)
    with pytest.raises(errors.LinkExpired):
        credentials.use_link(token, NEW)
    accounts.login(user["email"], "the other tab's password", CLIENT)


def _is_too_old(time: Any, admin: Caller, user: User) -> None:
    time.shift(timedelta(hours=24))


def _is_replaced(time: Any, admin: Caller, user: User) -> None:
    made(admin, user)


def _password_is_changed(time: Any, admin: Caller, user: User) -> None:
    session, _ = accounts.login(user["email"], PASSWORD, CLIENT)
    credentials.change_password(session, PASSWORD, "changed meanwhile")


@pytest.mark.parametrize("happens", [_is_too_old, _is_replaced, _password_is_changed])
def test_a_link_ends(
    app: Flask, admin: Caller, anonymous: Caller, make_user: MakeUser,
    happens: Callable[[Any, Caller, User], None],
) -> None:  # fmt: skip
    user = make_user()
    with time_machine.travel(clock.now(), tick=False) as time:
        token = made(admin, user)
        happens(time, admin, user)
        body = {"token": token, "password": NEW}
        refused(anonymous.post("/api/auth/password/link", body), 404, "link_expired")


def test_only_agents_make_links_and_none_for_guests(
    admin: Caller, user: Caller, guest: Caller, make_user: MakeUser
) -> None:
    other = make_user()
    path = f"/api/admin/users/{other['_id']}/password-link"
    refused(user.post(path), 403, "admin_only")
    refused(guest.post(path), 403, "admin_only")
    answer = admin.post(f"/api/admin/users/{guest.id}/password-link")
    refused(answer, 422, "validation_failed", "role")
    refused(admin.post("/api/admin/users/x/password-link"), 404, "not_found")


def test_the_command_sets_a_password_and_ends_all_sessions(
    app: Flask,
) -> None:
    _, token = accounts.register("Ana", "ana@example.org", PASSWORD, CLIENT)
    runner = app.test_cli_runner()
    typed = runner.invoke(args=["set-password", "Ana@example.org"], input=f"{NEW}\n{NEW}\n")
    assert typed.exit_code == 0, typed.output
    assert NEW not in typed.output
    assert sessions.open_session(token) is None
    accounts.login("ana@example.org", NEW, CLIENT)
    for arguments in (
        ["nobody@example.org", "--password", NEW],
        ["ana@example.org", "--password", "x"],
    ):
        assert runner.invoke(args=["set-password", *arguments]).exit_code == 1
    accounts.login("ana@example.org", NEW, CLIENT)
