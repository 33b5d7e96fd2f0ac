"""Fixtures of the tests on real servers.

`database` is a real one here, so `app`, `client` and the factories of tests/conftest.py
work on it unchanged. It is emptied before each test, not made anew: servers, change streams
and indexes stay.

A test that kills, stops or counts processes takes `own_database` and starts its own app with
`tests.servers.start_app`; the shared ones are never harmed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from pymongo import MongoClient
from pymongo.database import Database

from chatapi.domain.runtime import Runtime
from chatapi.store import disk, indexes, migrations
from chatapi.store.database import Document
from tests.live.wire import Wire
from tests.servers import AppServer, DatabaseServer, start_app, start_database


@pytest.fixture(scope="session")
def database_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """The database server that the tests of this process share."""
    with start_database(tmp_path_factory.mktemp("database") / "db") as server:
        yield server


@pytest.fixture(scope="session")
def _prepared_database(database_server: DatabaseServer) -> Iterator[Database[Document]]:
    client: MongoClient[dict[str, Any]] = MongoClient(database_server.uri, tz_aware=True)
    with client:
        database = client.get_default_database()
        with Runtime().active():
            migrations.run(database)
        indexes.ensure(database)
        yield database


@pytest.fixture
def live_database(_prepared_database: Database[Document]) -> Database[Document]:
    """The shared server's database, emptied; indexes, validators and migrations stay."""
    for name in _prepared_database.list_collection_names():
        if not name.startswith("system.") and name != "migrations":
            _prepared_database[name].delete_many({})
    return _prepared_database


@pytest.fixture
def database(live_database: Database[Document]) -> Database[Document]:
    """What `app` and the factories of tests/conftest.py stand on."""
    return live_database


@pytest.fixture
def wire() -> Wire:
    """What is sent through `listened_database`."""
    return Wire()


@pytest.fixture
def listened_database(
    live_database: Database[Document], database_server: DatabaseServer, wire: Wire
) -> Iterator[Database[Document]]:
    """`live_database` as the product opens it, through a client whose commands `wire` keeps."""
    client: MongoClient[Document] = MongoClient(database_server.uri, event_listeners=[wire])
    with client:
        yield disk.guarded(client.get_default_database())


@pytest.fixture
def live_app(app: Flask) -> Flask:
    """The application in this process, on the shared server's database."""
    return app


@pytest.fixture(scope="session")
def _shared_app_server(
    database_server: DatabaseServer, _prepared_database: Database[Document]
) -> Iterator[AppServer]:
    with start_app(database_server.uri, env={"RATELIMIT_ENABLED": "false"}) as server:
        yield server


@pytest.fixture
def live_server(_shared_app_server: AppServer, live_database: Database[Document]) -> AppServer:
    """gunicorn on the shared server's database, without rate limits; the database is empty."""
    return _shared_app_server


@pytest.fixture(scope="session")
def _second_app_server(
    database_server: DatabaseServer, _shared_app_server: AppServer
) -> Iterator[AppServer]:
    with start_app(database_server.uri, env={"RATELIMIT_ENABLED": "false"}) as server:
        yield server


@pytest.fixture
def other_server(live_server: AppServer, _second_app_server: AppServer) -> AppServer:
    """A second gunicorn on the database of `live_server`, as on another host."""
    return _second_app_server


@pytest.fixture
def own_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """A database server of this test alone, to be killed and started again."""
    with start_database(tmp_path_factory.mktemp("own") / "db") as server:
        yield server


@pytest.fixture
def own_server(own_database: DatabaseServer) -> Iterator[AppServer]:
    """gunicorn of this test alone on `own_database`, without rate limits."""
    with start_app(own_database.uri, env={"RATELIMIT_ENABLED": "false"}) as server:
        yield server
