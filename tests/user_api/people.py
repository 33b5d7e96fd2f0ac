"""Fixtures: people who call the API. Imported by the conftest of each folder that needs them."""

from __future__ import annotations

import pytest
from flask import Flask

from chatapi.domain.documents import User
from chatapi.domain.enums import Role
from chatapi.services import accounts
from tests.conftest import CLIENT, MakeUser, SignIn
from tests.user_api.callers import Caller, MakeCaller, caller_on

__all__ = ["admin", "anonymous", "guest", "make_caller", "other", "user"]


@pytest.fixture
def make_caller(app: Flask, make_user: MakeUser, sign_in: SignIn) -> MakeCaller:
    """`make_caller(role="user", user=None)` -> somebody signed in, by default somebody new."""

    def make(role: Role = "user", user: User | None = None) -> Caller:
        if role == "guest":
            session, token = accounts.guest("Guest", "guest@example.org", CLIENT)
            row = {"_id": session.user_id, "email": session.email, "role": "guest"}
            return caller_on(app, row, token)
        user = user or make_user(role=role)
        header = sign_in(user=user)["Authorization"]
        return caller_on(app, user, header.removeprefix("Bearer "))

    return make


@pytest.fixture
def user(make_caller: MakeCaller) -> Caller:
    """A user."""
    return make_caller("user")


@pytest.fixture
def other(make_caller: MakeCaller) -> Caller:
    """Another user."""
    return make_caller("user")


@pytest.fixture
def guest(make_caller: MakeCaller) -> Caller:
    """Somebody without an account."""
    return make_caller("guest")


@pytest.fixture
def admin(make_caller: MakeCaller) -> Caller:
    """An agent."""
    return make_caller("admin")


@pytest.fixture
def anonymous(app: Flask) -> Caller:
    """Somebody who is not signed in."""
    return caller_on(app, None, None)
