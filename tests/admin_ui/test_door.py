"""Who comes in, and who does not: every route, signed out and as somebody else."""

from __future__ import annotations

import pytest
from flask import Flask
from pymongo.database import Database

from chatapi import create_app
from chatapi.store.database import Document
from config import TestConfig
from tests.admin_ui.conftest import Browser
from tests.conftest import MakeChat, MakeUser, SignIn

OPEN = {"admin_ui.static", "admin_ui.versioned", "admin_ui.auth_login", "admin_ui.auth_sign_in"}
OPEN |= {"admin_ui.auth_logout", "admin_ui.passwords_show", "admin_ui.passwords_save"}


def routes(app: Flask) -> list[tuple[str, str]]:
    found = []
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith("admin_ui.") and rule.endpoint not in OPEN:
            path = rule.rule.replace("<chat_id>", "a" * 24).replace("<user_id>", "a" * 24)
            path = path.replace("<int:seq>", "1")
            found += [
                (method, path) for method in sorted((rule.methods or set()) & {"GET", "POST"})
            ]
    return found


def test_there_are_routes_to_guard(app: Flask) -> None:
    assert len(routes(app)) >= 15


def test_a_page_sends_who_is_signed_out_to_the_sign_in(app: Flask, browser: Browser) -> None:
    for method, path in routes(app):
        response = browser.client.open(path, method=method)
        assert response.status_code == 303, (method, path)
        assert response.location.startswith("/admin/login"), (method, path)


def test_a_fragment_asks_who_is_signed_out_to_sign_in_over_the_page(
    app: Flask, browser: Browser
) -> None:
    for method, path in routes(app):
        headers = {"HX-Request": "true", "HX-Request-Type": "partial"}
        response = browser.client.open(path, method=method, headers=headers)
        assert response.status_code == 401, (method, path)
        assert response.headers["HX-Retarget"] == "#dialogs"
        assert 'id="sign-in"' in response.text


@pytest.mark.parametrize("htmx", [True, False])
def test_a_user_is_refused_everywhere_and_sees_nothing(
    app: Flask, outsider: Browser, make_chat: MakeChat, htmx: bool
) -> None:
    make_chat(subject="Somebody's secret")
    outsider.get("/admin/login")
    for method, path in routes(app):
        headers = {"HX-Request": "true", "HX-Request-Type": "partial"} if htmx else {}
        data = {"csrf_token": outsider.token} if method == "POST" else None
        response = outsider.client.open(path, method=method, headers=headers, data=data)
        assert response.status_code == 403, (method, path)
        assert "secret" not in response.text
        assert "Ulf" not in response.text


def test_a_guest_is_refused(app: Flask, sign_in: SignIn) -> None:
    response = app.test_client().get("/admin", headers=sign_in("guest"))
    assert response.status_code == 403


def test_every_post_without_a_csrf_token_is_refused(app: Flask, agent: Browser) -> None:
    for method, path in [*routes(app), ("POST", "/admin/logout")]:
        if method == "POST":
            response = agent.client.post(path, data={"csrf_token": "made up"})
            assert response.status_code == 403, path
    assert agent.get("/admin").status_code == 200


def test_a_post_from_another_site_is_refused(agent: Browser, make_chat: MakeChat) -> None:
    chat = make_chat()
    agent.get("/admin")
    response = agent.client.post(
        f"/admin/chats/{chat['_id']}",
        data={"csrf_token": agent.token, "status": "closed"},
        headers={"Origin": "https://evil.example"},
    )
    assert response.status_code == 403
    assert "status-active" in agent.fragment("/admin").text


def test_a_stale_token_comes_back_fresh_to_htmx(agent: Browser) -> None:
    agent.token = "stale"
    response = agent.post("/admin/chats/bulk", ids="a" * 24, status="closed")
    assert response.status_code == 403
    assert "console:csrf" in response.headers["HX-Trigger"]


def test_history_going_back_gets_a_page_or_the_sign_in_page(
    agent: Browser, browser: Browser
) -> None:
    headers = {"HX-Request": "true", "HX-Request-Type": "full"}
    assert "<!doctype html>" in agent.client.get("/admin", headers=headers).text
    refused = browser.client.get("/admin?q=x", headers=headers)
    assert refused.status_code == 401
    assert refused.headers["HX-Redirect"].startswith("/admin/login?next=")


def test_limits_hold_for_the_console(
    database: Database[Document], app: Flask, make_user: MakeUser
) -> None:
    limited = create_app(
        TestConfig, database=database, RATELIMIT_ENABLED=True, LIMIT_DEFAULT="2 per minute"
    )
    agent = Browser(limited).sign_in(make_user(role="admin"))
    answers = [agent.fragment("/admin") for _ in range(3)]
    assert [each.status_code for each in answers] == [200, 200, 429]
    assert answers[2].headers["Retry-After"]
    assert answers[2].headers["HX-Retarget"] == "#toasts"
