"""Fixtures of the tests of services: people without a web request."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from bson import ObjectId
from pymongo.database import Database

from chatapi.domain.documents import Chat, ShownChat, User
from chatapi.domain.enums import Role
from chatapi.services import (
    accounts,
    appending,
    chats,
    messages,
    passwords,
    sessions,
    users,
)
from chatapi.services.access import access_chat
from chatapi.services.sessions import Session
from chatapi.store import chats as stored_chats
from chatapi.store import database as store_database
from chatapi.store import users as stored_users
from chatapi.store.database import Document
from config import TestConfig
from tests.conftest import CLIENT, PASSWORD

Meanwhile = Callable[..., None]  # the fixture `meanwhile`

_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _bound(database: Database[Document], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the services work on the database, and never wait for another sender."""
    store_database.bind(database)
    passwords.configure(TestConfig.PASSWORD_TIME_COST, TestConfig.PASSWORD_MEMORY_KIB)
    monkeypatch.setattr(appending, "MAX_PAUSE", 0)


def new_session(role: Role = "user", name: str | None = None, image: str | None = None) -> Session:
    """Return the session of somebody who is in no collection: enough for chats."""
    number = next(_numbers)
    name = name or f"{role.capitalize()} {number}"
    email = f"{role}{number}@example.org"
    return sessions.session_for(users.new_user(name, email, role, image))


@pytest.fixture
def user() -> Session:
    """A user."""
    return new_session("user")


@pytest.fixture
def agent() -> Session:
    """A support agent."""
    return new_session("admin")


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


@pytest.fixture
def chat(user: Session) -> ShownChat:
    """An open chat of the user without a message."""
    return chats.create(user, "Help")[0]


def texts(session: Session, chat: Chat) -> list[str]:
    return [row["content"] for row in messages.history(session, chat["_id"])[1]]


@pytest.fixture
def long_chat(user: Session) -> Chat:
    """A chat of ten messages."""
    chat, _, _ = chats.create(user, "Help")
    for number in range(1, 11):
        messages.send(user, chat["_id"], f"message {number}")
    return access_chat(user, chat["_id"])


def killed_between_the_writes(
    meanwhile: Meanwhile, session: Session, chat: Chat, text: str, key: str | None = None
) -> None:
    """Send a message and die before it is committed."""
    meanwhile(stored_chats, "replace", before=die)
    with pytest.raises(Killed):
        messages.send(session, chat["_id"], text, key)


def registered(name: str = "Ana", email: str = "ana@example.org") -> tuple[Session, str]:
    return accounts.register(name, email, PASSWORD, CLIENT)


def stored_user(user_id: ObjectId) -> User:
    user = stored_users.by_id(user_id)
    assert user is not None
    return user


def lose_connection(*_: object, **__: object) -> None:
    """End like a process that is killed at this point."""
    raise ConnectionError
