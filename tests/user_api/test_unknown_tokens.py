"""Made-up tokens: a network has the database asked for so many of them, and no more."""

from __future__ import annotations

import secrets
from collections import Counter
from typing import Any

import pytest
from flask import Flask

from chatapi.domain.networks import network_of
from chatapi.http import unknown_tokens
from chatapi.http.unknown_tokens import UnknownTokens
from chatapi.services import accounts
from chatapi.store import sessions
from tests.conftest import CLIENT, MakeApp
from tests.user_api.callers import Caller, caller_on, refused

LIMIT = 5


@pytest.fixture
def limited_app(make_app: MakeApp) -> Flask:
    return make_app(
        RATELIMIT_ENABLED=True, TRUSTED_PROXIES=1, LIMIT_UNKNOWN_TOKENS=f"{LIMIT} per minute"
    )


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The session ids that the database was asked for."""
    asked: list[str] = []
    read = sessions.with_user

    def noted(session_id: str) -> Any:
        asked.append(session_id)
        return read(session_id)

    monkeypatch.setattr(sessions, "with_user", noted)
    return asked


def guest_on(app: Flask) -> Caller:
    session, token = accounts.guest("Guest", "guest@example.org", CLIENT)
    return caller_on(app, {"_id": session.user_id, "email": session.email, "role": "guest"}, token)


def made_up(app: Flask, address: str, token: str | None = None) -> Any:
    headers = {
        "Authorization": f"Bearer {token or secrets.token_urlsafe(32)}",
        "X-Forwarded-For": address,
    }
    return app.test_client().get("/api/auth/me", headers=headers)


def test_made_up_tokens_of_a_network_are_looked_up_so_often_and_no_more(
    limited_app: Flask, lookups: list[str]
) -> None:
    answers = [made_up(limited_app, f"2001:db8::{number}") for number in range(20)]
    assert Counter(answer.status_code for answer in answers) == {401: LIMIT, 429: 20 - LIMIT}
    assert len(lookups) == LIMIT
    refusal = refused(answers[-1], 429, "too_many_requests")
    assert answers[-1].headers["Retry-After"] == str(refusal["retryAfter"])
    assert made_up(limited_app, "2001:db8:0:1::1").status_code == 401


def test_sessions_in_the_same_network_go_on_working_meanwhile(
    limited_app: Flask, lookups: list[str]
) -> None:
    guest = guest_on(limited_app)
    headers = {"X-Forwarded-For": "192.0.2.1"}
    assert guest.get("/api/auth/me", headers=headers).status_code == 200
    for _ in range(LIMIT + 3):
        made_up(limited_app, "192.0.2.1")
    for _ in range(LIMIT + 3):
        assert guest.get("/api/auth/me", headers=headers).status_code == 200


def test_a_token_that_opened_nothing_is_not_looked_up_again_for_a_moment(
    limited_app: Flask, lookups: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(LIMIT + 3):
        assert made_up(limited_app, "192.0.2.1", "the-same").status_code == 401
    assert len(lookups) == 1
    assert "the-same" not in lookups
    monkeypatch.setattr(unknown_tokens, "CACHE_TTL_SECONDS", 0)
    made_up(limited_app, "192.0.2.1", "another")
    made_up(limited_app, "192.0.2.1", "another")
    assert len(lookups) == 3


def test_a_page_of_the_console_refuses_such_a_token_once(
    limited_app: Flask, lookups: list[str]
) -> None:
    client = limited_app.test_client()
    for _ in range(LIMIT + 1):
        client.set_cookie(limited_app.config["AUTH_COOKIE_NAME"], secrets.token_urlsafe(32))
        answer = client.get("/admin/chats", headers={"X-Forwarded-For": "192.0.2.1"})
    assert answer.status_code == 429
    assert answer.headers["Retry-After"]
    assert len(lookups) == LIMIT


def test_no_number_of_tokens_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unknown_tokens, "MAX_CACHED_TOKENS", 3)
    tokens = UnknownTokens()
    for name in "abcdef":
        tokens.record_invalid(name, network_of("192.0.2.1"), "5 per minute")
        tokens.record_valid(name)
    assert [tokens.is_known_invalid(name) for name in "abcdef"] == [False] * 3 + [True] * 3
    assert list(tokens._opened) == ["d", "e", "f"]
