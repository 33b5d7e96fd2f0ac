"""Migrations on a real database: what release 0.1.0 wrote is upgraded by the commands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask import Flask
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.driver_info import DriverInfo
from pymongo.errors import WriteError

from chatapi import create_app
from chatapi.cli.consistency import problems
from chatapi.store import database as stored_database
from chatapi.store import disk, indexes, migrations
from chatapi.store.database import Document
from chatapi.store.migrations import serving
from config import TestConfig
from deploy import run
from tests import release_0_1_0
from tests.live.supervisor import Supervisor
from tests.servers import DatabaseServer
from tests.waiting import eventually

RELEASED = datetime(1970, 1, 1, tzinfo=UTC)
# Migrates the database that MONGO_URI names, and kills itself at a step the NUMBERth time.
KILLED = """
import os, signal, sys
from importlib import import_module
from chatapi import create_app
from chatapi.store import database, migrations
wanted, number = sys.argv[1], int(sys.argv[2])
import_module("chatapi.store.migrations.0001_rename_stored_fields").BATCH = 5
seen = 0
def step(name):
    global seen
    seen += name == wanted
    if seen == number:
        os.kill(os.getpid(), signal.SIGKILL)
with create_app().app_context():
    migrations.run(database.current(), step)
"""
STEPS = [
    ("look for processes of release 0.1.0", 1),
    ("let the database refuse what release 0.1.0 writes", 1),
    ("make the indexes along which all is read", 1),
    ("copy the keys of messages", 1),
    ("copy the keys of messages", 3),
    ("make the unique index of the new key", 1),
    ("drop the unique index of the old key", 1),
    ("remove the old names from messages", 1),
    ("remove the old names from messages", 3),
    ("rename the fields of chats", 1),
    ("rename the fields of chats", 2),
    ("drop the old ephemeral events", 1),
]


class Old:
    """A database of release 0.1.0 on the shared server, and commands on it."""

    def __init__(self, server: DatabaseServer, data_dir: Path) -> None:
        self.client: MongoClient[Document] = MongoClient(server.uri, tz_aware=True)
        self.database = self.client["release_0_1_0"]
        self.uri = server.uri.replace("/livechat", "/release_0_1_0")
        assert self.uri != server.uri
        self._data_dir = data_dir

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python with these arguments."""
        process = self.start(*arguments)
        out, _ = process.communicate(timeout=120)
        return subprocess.CompletedProcess(arguments, process.returncode, out)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            "MONGO_URI": self.uri,
            "DATA_DIR": str(self._data_dir),
        }
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=run.ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def flask(self, *arguments: str) -> str:
        """Run a flask command that succeeds, and return its output."""
        done = self.run("-m", "flask", "--app", "wsgi", *arguments)
        assert done.returncode == 0, done.stdout
        assert "Traceback" not in done.stdout, done.stdout  # that of a thread, too
        return done.stdout

    @contextmanager
    def app(self) -> Iterator[Flask]:
        """This release in the test's process, on the database."""
        with MongoClient[Document](self.uri) as client:
            app = create_app(TestConfig, database=disk.guarded(client["release_0_1_0"]))
            with app.extensions["chat"].active():
                yield app

    def changed_answers(self) -> list[str]:
        """Ask this release what was asked of release 0.1.0, and compare chats and histories."""
        with self.app() as app:
            inconsistent = [text for _, found in problems() for text in found]
            return release_0_1_0.changed_answers(app.test_client()) + inconsistent


@pytest.fixture
def empty(database_server: DatabaseServer, tmp_path: Path) -> Iterator[Old]:
    """An empty database."""
    old = Old(database_server, tmp_path)
    with old.client:
        old.client.drop_database("release_0_1_0")
        yield old
        old.client.drop_database("release_0_1_0")


@pytest.fixture
def old(empty: Old) -> Old:
    """The database that release 0.1.0 wrote."""
    release_0_1_0.load(empty.database)
    return empty


def field_names(database: Database[Document], name: str) -> set[str]:
    return {field for document in database[name].find() for field in document}


def assert_is_upgraded(old: Old) -> None:
    """Check all that an upgrade has to leave."""
    assert old.changed_answers() == []
    assert_is_migrated(old)


def assert_is_migrated(old: Old) -> None:
    """Check the stored fields, indexes and validators."""
    database = old.database
    assert migrations.missing(database) == []
    assert not field_names(database, "messages") & {"sendKey", "also"}
    assert not field_names(database, "chatrooms") & {"createKey", "burying"}
    there = database["messages"].index_information()
    assert set(there) == {"_id_", "order", "idempotency"}
    assert there["idempotency"]["unique"]
    for name, validator in indexes.VALIDATORS.items():
        assert database[name].options()["validator"] == validator
    assert "signals" not in database.list_collection_names()


def test_init_db_upgrades_the_database_of_release_0_1_0(old: Old) -> None:
    said = old.flask("init-db")
    assert "Migrating: copy the keys of messages ..." in said
    assert "Finished 2 deletions that a crash had interrupted." in said
    assert_is_upgraded(old)
    assert "Migrating" not in old.flask("init-db")
    assert_is_upgraded(old)


def test_a_retry_of_what_release_0_1_0_stored_stores_nothing(old: Old) -> None:
    migrations.run(old.database)
    with old.app() as app:
        for retry in release_0_1_0.RECORDED["retries"]:
            before = old.database["messages"].count_documents({})
            headers = release_0_1_0.headers(retry["as"])
            answer = app.test_client().post(retry["path"], json=retry["body"], headers=headers)
            assert answer.status_code == 200, answer.text
            assert old.database["messages"].count_documents({}) == before
        assert [text for _, found in problems() for text in found] == []


@pytest.mark.long
@pytest.mark.parametrize(("step", "number"), STEPS)
def test_an_upgrade_killed_at_a_step_is_finished_by_the_next(
    old: Old, step: str, number: int
) -> None:
    killed = old.run("-c", KILLED, step, str(number))
    assert killed.returncode == -signal.SIGKILL, killed.stdout
    assert migrations.missing(old.database) == migrations.names()
    # As if the seconds had passed for which the killed process holds the lease.
    ended = {"$set": {"until": RELEASED}}
    assert old.database["leases"].update_one({}, ended).modified_count == 1
    old.flask("init-db")
    assert_is_upgraded(old)


@pytest.mark.long
def test_the_lease_of_a_killed_upgrade_ends_by_itself(old: Old) -> None:
    assert old.run("-c", KILLED, STEPS[4][0], "2").returncode == -signal.SIGKILL
    assert "Another process migrates this database" in old.flask("init-db")
    assert_is_upgraded(old)


@pytest.mark.long
def test_of_two_hosts_that_start_at_once_one_migrates(old: Old) -> None:
    command = ("-m", "flask", "--app", "wsgi", "init-db")
    both = [old.start(*command), old.start(*command)]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("Ran " in each for each in said) == 1
    assert_is_upgraded(old)


def test_the_database_refuses_what_release_0_1_0_writes_from_the_second_step_on(old: Old) -> None:
    class Stop(Exception):
        pass

    message = old.database["messages"].find_one()
    chat = old.database["chatrooms"].find_one({"status": "archived"})
    assert message is not None
    assert chat is not None
    late = {**message, "sendKey": "client:late", "seq": 1000}
    checked = []

    def write(step: str) -> None:
        if step in {STEPS[0][0], STEPS[1][0]}:
            return
        for name, document in (("messages", late), ("chatrooms", chat)):
            new = {field: value for field, value in document.items() if field != "_id"}
            with pytest.raises(WriteError, match="Document failed validation"):
                old.database[name].insert_one(new)
        burying = {"$set": {"burying": [{"seq": 1, "at": RELEASED}]}}
        with pytest.raises(WriteError, match="Document failed validation"):
            old.database["chatrooms"].update_one({"_id": chat["_id"]}, burying)
        checked.append(step)

    migrations.run(old.database, write)
    assert set(checked) == {step for step, _ in STEPS[2:]}
    indexes.ensure(old.database)
    with pytest.raises(WriteError, match="Document failed validation"):
        old.database["messages"].insert_one({**late, "_id": 1})


def test_it_is_refused_while_a_process_of_release_0_1_0_is_connected(old: Old) -> None:
    before = release_0_1_0.everything(old.database)
    with MongoClient[Document](old.uri, driver=DriverInfo("Flask-PyMongo", "3.0.1")) as client:
        client["release_0_1_0"].command("ping")
        done = old.run("-m", "flask", "--app", "wsgi", "init-db")
    assert done.returncode == 1
    assert "Release 0.1.0 still works on this database: it is connected from 127." in done.stdout
    assert "Traceback" not in done.stdout
    eventually(lambda: serving.find(old.database) is None)  # The server lists it a moment longer.
    assert release_0_1_0.everything(old.database) == before
    assert migrations.missing(old.database) == migrations.names()


def test_a_release_0_1_0_that_is_started_once_more_does_no_lasting_harm(empty: Old) -> None:
    migrations.run(empty.database)
    indexes.ensure(empty.database)
    # What its init-db makes, where no user has sent two messages in a chat.
    keys = [("chatId", 1), ("senderId", 1), ("sendKey", 1)]
    empty.database["messages"].create_index(keys, unique=True, name="send_once")
    empty.database.command("collMod", "messages", validator={"sendKey": {"$type": "string"}})
    indexes.ensure(empty.database)
    assert_is_migrated(empty)


@pytest.mark.long
def test_a_process_of_this_release_is_no_reason_to_refuse(old: Old) -> None:
    with create_app(TestConfig, MONGO_URI=old.uri).extensions["chat"].active():
        stored_database.ping()
        try:
            old.flask("init-db")
        finally:
            stored_database.current().client.close()
    assert_is_upgraded(old)


@pytest.mark.parametrize(
    "chats_there", [False, pytest.param(True, marks=pytest.mark.long)], ids=["empty", "in use"]
)
def test_a_backup_of_release_0_1_0_is_restored_and_upgraded(empty: Old, chats_there: bool) -> None:
    if chats_there:
        release_0_1_0.load(empty.database)
    file = str(release_0_1_0.BACKUP)
    assert "can be restored" in empty.flask("restore", "--check", file)
    said = empty.flask("restore", file, *(["--replace"] if chats_there else []))
    assert "every chat agrees with its history" in said
    assert_is_migrated(empty)
    # Release 0.1.0 notes in a backup twice that a message is being deleted. So it is deleted twice.
    differing = {each.partition(":")[0].split()[-1] for each in empty.changed_answers()}
    assert differing == {"deletedAt", "updatedAt", "unreadCount", "unreadMessages"}


@pytest.mark.long
def test_make_run_upgrades_an_old_data_directory(tmp_path: Path) -> None:
    data_dir = tmp_path / "var"
    with DatabaseServer(data_dir / "db") as server:
        server.start()
        with MongoClient[Document](server.uri) as client:
            release_0_1_0.load(client["livechat"])
    product = Supervisor(data_dir, SEED_DEMO="0")
    try:
        product.start()
        assert "Migrating: " in (data_dir / "prepare.log").read_text()
        for row in release_0_1_0.RECORDED["answers"]:
            if row["path"] == "/api/auth/me":
                token = release_0_1_0.RECORDED["tokens"][row["as"]]
                assert product.request("GET", row["path"], token)["_id"] == row["answer"]["_id"]
        user = {"email": "vera@example.org", "password": release_0_1_0.PASSWORD}
        listed = product.request("GET", "/api/chat", product.login(user))
        assert [chat["subject"] for chat in listed] == ["A secret"]
    finally:
        product.close()
