"""Fixtures of all tests: an app on an in-memory database, and factories for what is in it.

Everything here goes through the services, as the product does, so that no test builds a
document by hand. tests/live replaces `database` by a real one and gets all of these on it.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import mongomock
import pytest
from bson import ObjectId
from flask import Flask
from flask.testing import FlaskClient
from pymongo import MongoClient
from pymongo.database import Database

from chatapi import create_app
from chatapi.domain.documents import ShownChat, User
from chatapi.domain.enums import Role
from chatapi.domain.runtime import Runtime
from chatapi.services import accounts, chats
from chatapi.services.sessions import ClientInfo, Session
from chatapi.services.users import create_user
from chatapi.store import indexes, migrations, users
from chatapi.store.database import Document
from chatapi.transport import streams
from config import Config, TestConfig
from tests import cheap_apps
from tests.exercised import Exercised

TESTS = Path(__file__).parent
PASSWORD = "a password of the tests"
TIERS = ("fast", "test", "all")
# The folders beyond the fast tests, in the order in which they run.
ORDER = {"browser": 0, "live": 1}
CLIENT = ClientInfo(user_agent="tests", address="127.0.0.1")


class MakeUser(Protocol):
    """The fixture `make_user`."""

    def __call__(
        self, name: str | None = None, role: Role = "user", email: str | None = None
    ) -> User: ...


class MakeSession(Protocol):
    """The fixture `make_session`."""

    def __call__(self, role: Role = "user", name: str | None = None) -> Session: ...


class MakeChat(Protocol):
    """The fixture `make_chat`."""

    def __call__(self, session: Session | None = None, **fields: Any) -> ShownChat: ...


class SignIn(Protocol):
    """The fixture `sign_in`."""

    def __call__(self, role: Role = "user", user: User | None = None) -> dict[str, str]: ...


class MakeApp(Protocol):
    """The fixture `make_app`."""

    def __call__(self, **settings: Any) -> Flask: ...


def chromium_path() -> str | None:
    """Return the browser that the browser tests drive, or None where there is none."""
    # The headless shell takes half the CPU of the whole browser for the same tests.
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the choice of a tier."""
    parser.addoption(
        "--tier",
        choices=TIERS,
        help="the tests of `make check`, `make test` or `make test-all`; where neither this nor a "
        "file is named, the fast ones",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Choose the tier, and forget this shell's settings of the product: each test has its own."""
    if config.option.tier is None:
        # Whoever names a file or a folder wants all of its tests.
        nothing_named = config.args_source is pytest.Config.ArgsSource.TESTPATHS
        config.option.tier = "fast" if nothing_named and not config.option.markexpr else "all"
    cheap_apps.install()
    config.pluginmanager.register(Exercised(), "exercised")
    for name in filter(str.isupper, dir(Config)):
        os.environ.pop(name, None)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Read no module of a folder that the tier leaves out: some take long to import."""
    if config.option.tier == "fast" and folder(collection_path) in ORDER:
        return True
    return None


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a parameter that is an id the same in every process: each makes its own ids."""
    return f"{argname}-id" if isinstance(val, str) and ObjectId.is_valid(val) else None


def folder(path: Path) -> str:
    """Return the folder in tests that a path is in."""
    return path.relative_to(TESTS).parts[0] if path.is_relative_to(TESTS) and path != TESTS else ""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests by their folder, put the long ones first, and leave out those of other tiers."""
    for item in items:
        if folder(item.path) in ORDER:
            item.add_marker(folder(item.path))
    # Several processes finish together when the long tests do not come last.
    items.sort(
        key=lambda item: (item.get_closest_marker("long") is None, ORDER.get(folder(item.path), 2))
    )

    if config.option.tier != "all":
        _leave_out(config, items, lambda item: item.get_closest_marker("long") is not None)
    if chromium_path() is None and any(folder(item.path) == "browser" for item in items):
        if os.environ.get("CI", "").lower() in {"1", "true"}:
            raise pytest.UsageError("Chromium is missing, and CI leaves no test out.")
        _leave_out(config, items, lambda item: folder(item.path) == "browser")


def _leave_out(
    config: pytest.Config, items: list[pytest.Item], unwanted: Callable[[pytest.Item], bool]
) -> None:
    left_out = [item for item in items if unwanted(item)]
    items[:] = [item for item in items if not unwanted(item)]
    config.hook.pytest_deselected(items=left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end, where it is read, that the browser tests did not run."""
    if chromium_path() is None:
        terminalreporter.section("BROWSER TESTS DID NOT RUN", sep="!", red=True, bold=True)
        terminalreporter.line("There is no Chromium on this machine: apt-get install chromium")


@pytest.fixture
def database() -> Database[Document]:
    """An empty database in memory, of this release, with the product's indexes."""
    mongo: MongoClient[Document] = mongomock.MongoClient(tz_aware=True)
    migrations.run(mongo["test"])
    indexes.ensure(mongo["test"], validators=False)
    return mongo["test"]


@pytest.fixture(autouse=True)
def _runtime() -> Iterator[None]:
    """The state of an app of each test's own, for what is called without `app`."""
    with Runtime().active():
        yield


@pytest.fixture
def make_app(database: Database[Document]) -> Iterator[MakeApp]:
    """`make_app(**settings)` -> an application on the database, the current one from then on.

    What follows the database ends with the test.
    """
    with ExitStack() as ends:

        def make(**settings: Any) -> Flask:
            made = create_app(TestConfig, database=database, **settings)
            ends.callback(streams.stop, made)
            ends.enter_context(made.extensions["chat"].active())
            return made

        yield make


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """The application on the database."""
    return make_app()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Somebody who sends requests; cookies are kept."""
    return app.test_client()


@pytest.fixture
def make_user(app: Flask) -> MakeUser:
    """`make_user(name=None, role="user", email=None)` -> the user's document.

    The password is PASSWORD; a guest has none.
    """
    numbers = itertools.count(1)

    def make(name: str | None = None, role: Role = "user", email: str | None = None) -> User:
        number = next(numbers)
        name = name or f"{role.capitalize()} {number}"
        email = email or f"{role}{number}@example.org"
        if role == "guest":
            session, _ = accounts.guest(name, email, CLIENT)
            guest = users.by_id(session.user_id)
            assert guest is not None
            return guest
        return create_user(name, email, PASSWORD, role=role)

    return make


@pytest.fixture
def make_session(app: Flask, make_user: MakeUser) -> MakeSession:
    """`make_session(role="user", name=None)` -> the stored Session of somebody new."""

    def make(role: Role = "user", name: str | None = None) -> Session:
        session, _ = _signed_in(make_user, role, name, None)
        return session

    return make


@pytest.fixture
def make_chat(app: Flask, make_session: MakeSession) -> MakeChat:
    """`make_chat(session=None, **fields)` -> a new chat, by default of a new user.

    fields -- as `services.chats.create` takes them: subject, category, priority, message.
    """

    def make(session: Session | None = None, **fields: Any) -> ShownChat:
        chat, _, _ = chats.create(session or make_session(), **{"subject": "Help", **fields})
        return chat

    return make


@pytest.fixture
def sign_in(app: Flask, make_user: MakeUser) -> SignIn:
    """`sign_in(role="user", user=None)` -> the headers of a request of somebody signed in.

    user -- a document of `make_user`; by default somebody new.
    """

    def headers(role: Role = "user", user: User | None = None) -> dict[str, str]:
        _, token = _signed_in(make_user, role, None, user)
        return {"Authorization": f"Bearer {token}"}

    return headers


def _signed_in(
    make_user: MakeUser, role: Role, name: str | None, user: User | None
) -> tuple[Session, str]:
    if user is None and role == "guest":
        return accounts.guest(name or "Guest", "guest@example.org", CLIENT)
    user = user or make_user(name=name, role=role)
    return accounts.login(user["email"], PASSWORD, CLIENT)
