"""Fixtures of the console's tests: somebody in a browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from chatapi.domain.documents import Chat, ShownChat, User
from chatapi.services import accounts, chats
from chatapi.services.sessions import Session
from tests.conftest import CLIENT, PASSWORD, MakeChat, MakeSession, MakeUser

FRAGMENT = {"HX-Request": "true", "HX-Request-Type": "partial"}


class Browser:
    """Somebody at the console, with cookies, and the CSRF token of the page they see."""

    def __init__(self, app: Flask) -> None:
        self.client = app.test_client()
        self._session: Session | None = None
        self.token = ""

    @property
    def session(self) -> Session:
        """Who this is."""
        assert self._session is not None, "not signed in"
        return self._session

    def sign_in(self, user: User) -> Browser:
        """Get the cookie of a session, without the sign-in page."""
        self._session, token = accounts.login(user["email"], PASSWORD, CLIENT)
        self.client.set_cookie("chat_session", token)
        return self

    def get(self, path: str, **headers: str) -> TestResponse:
        """Ask for a page."""
        response = self.client.get(path, headers=_names(headers))
        found = re.search(r'name="csrf_token" value="([^"]+)"', response.text)
        self.token = found.group(1) if found else self.token
        return response

    def fragment(self, path: str, **headers: str) -> TestResponse:
        """Ask as HTMX does."""
        return self.client.get(path, headers=FRAGMENT | _names(headers))

    def post(self, path: str, htmx: bool = True, **fields: Any) -> TestResponse:
        """Send a form of the page, by HTMX or by itself."""
        if not self.token:
            self.get("/admin/login?next=/admin/users")
            self.get("/admin")
        data = {"csrf_token": self.token, **fields}
        return self.client.post(path, data=data, headers=FRAGMENT if htmx else {})


def _names(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@pytest.fixture
def browser(app: Flask) -> Browser:
    """Somebody who is not signed in."""
    return Browser(app)


@pytest.fixture
def agent(app: Flask, make_user: MakeUser) -> Browser:
    """An agent who is signed in."""
    return Browser(app).sign_in(make_user(name="Ada Agent", role="admin"))


@pytest.fixture
def outsider(app: Flask, make_user: MakeUser) -> Browser:
    """A user who is signed in, with no business here."""
    return Browser(app).sign_in(make_user(name="Ulf User"))


@pytest.fixture
def ids() -> Callable[[TestResponse], list[str]]:
    """`ids(response)` -> the chats in a list, in order."""
    return lambda response: re.findall(r'id="chat-([0-9a-f]{24})"', response.text)


Ids = Callable[[TestResponse], list[str]]


@pytest.fixture
def chat(make_chat: MakeChat, make_session: MakeSession) -> ShownChat:
    return make_chat(make_session(name="Ana Souza"), subject="Parcel is late", message="Hello?")


def stored(agent: Browser, chat: Chat) -> ShownChat:
    return chats.get(agent.session, chat["_id"])[0]
