"""Fixtures of the tests of services: people without a web request."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from pymongo.database import Database

from chatapi.domain.enums import Role
from chatapi.services import appending, passwords, sessions, users
from chatapi.services.sessions import Session
from chatapi.store import database as store_database
from chatapi.store.database import Document
from config import TestConfig

_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _bound(database: Database[Document], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the services work on the database, and never wait for another sender."""
    store_database.bind(database)
    passwords.configure(TestConfig.PASSWORD_TIME_COST, TestConfig.PASSWORD_MEMORY_KIB)
    monkeypatch.setattr(appending, "MAX_PAUSE", 0)


def somebody(role: Role = "user", name: str | None = None, image: str | None = None) -> Session:
    """Return the session of somebody who is in no collection: enough for chats."""
    number = next(_numbers)
    name = name or f"{role.capitalize()} {number}"
    email = f"{role}{number}@example.org"
    return sessions.session_for(users.new_user(name, email, role, image))


@pytest.fixture
def user() -> Session:
    """A user."""
    return somebody("user")


@pytest.fixture
def agent() -> Session:
    """A support agent."""
    return somebody("admin")


class Killed(BaseException):
    """The process ends here: no `except` of the product may see it and clean up."""


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`meanwhile(store.messages, "insert", before=f, after=g)`: others act around a call.

    Only the next call is met; what f and g themselves do goes through untouched.
    """

    def arrange(
        module: Any,
        name: str,
        before: Callable[[], object] | None = None,
        after: Callable[[], object] | None = None,
    ) -> None:
        real = getattr(module, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            monkeypatch.setattr(module, name, real)
            if before:
                before()
            result = real(*args, **kwargs)
            if after:
                after()
            return result

        monkeypatch.setattr(module, name, call)

    return arrange


def die() -> None:
    """Be killed, for `meanwhile`."""
    raise Killed
