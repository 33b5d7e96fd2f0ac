"""Migrations, on a database in memory that release 0.1.0 wrote.

`tests/live/test_migrations.py` does the same on a real one, and kills processes.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import mongomock
import pytest
from bson import ObjectId
from flask.testing import FlaskClient
from pymongo.database import Database

from chatapi import create_app
from chatapi.domain import clock
from chatapi.domain.runtime import Runtime
from chatapi.store import leases, migrations, scan
from chatapi.store.database import Document
from chatapi.store.migrations import serving
from config import TestConfig
from tests import release_0_1_0
from tests.waiting import eventually

STEPS = (
    "look for processes of release 0.1.0",
    "let the database refuse what release 0.1.0 writes",
    "make the indexes along which all is read",
    "copy the keys of messages",
    "make the unique index of the new key",
    "drop the unique index of the old key",
    "remove the old names from messages",
    "rename the fields of chats",
    "drop the old ephemeral events",
)


class Killed(Exception):
    """Ends a migration as a kill does: nothing after it runs."""


@pytest.fixture(autouse=True, scope="module")
def _long_parts() -> Iterator[None]:
    """Let a collection be read in fewer parts: in memory each looks at all documents."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "_MAX_SPAN", 20 * 365 * 24 * 3600)
        yield


@pytest.fixture
def old() -> Database[Document]:
    """A database as release 0.1.0 left it."""
    database: Database[Document] = mongomock.MongoClient(tz_aware=True)["old"]
    release_0_1_0.load(database, validators=False)
    return database


@pytest.fixture(scope="module")
def upgraded() -> Database[Document]:
    """The same, after an upgrade that nothing cut off. No test writes to it."""
    database: Database[Document] = mongomock.MongoClient(tz_aware=True)["upgraded"]
    release_0_1_0.load(database, validators=False)
    with Runtime().active():
        migrations.run(database)
    return database


def field_names(database: Database[Document], name: str) -> set[str]:
    return {field for document in database[name].find() for field in document}


def test_the_database_of_release_0_1_0_has_all_that_is_renamed(old: Database[Document]) -> None:
    assert {"sendKey", "also", "hasRead"} <= field_names(old, "messages")
    assert {"createKey", "burying"} <= field_names(old, "chatrooms")
    statuses = {chat["status"] for chat in old["chatrooms"].find()}
    assert statuses == {"active", "pending", "closed", "archived"}
    lengths = {chat["_id"]: chat["lastSeq"] for chat in old["chatrooms"].find()}
    uncommitted = [m for m in old["messages"].find() if m["seq"] > lengths.get(m["chatId"], 0)]
    assert len(uncommitted) == 3
    assert old["deletions"].count_documents({}) == 2


def test_fields_are_renamed_and_nothing_else_changes(
    old: Database[Document], upgraded: Database[Document]
) -> None:
    names = {
        "messages": {"sendKey": "idempotencyKey", "also": "chatChanges"},
        "chatrooms": {"createKey": "idempotencyKey", "burying": "pendingRedactions"},
    }
    wanted = {
        name: [
            {names.get(name, {}).get(field, field): value for field, value in document.items()}
            for document in documents
        ]
        for name, documents in release_0_1_0.everything(old).items()
    }
    assert release_0_1_0.everything(upgraded) == wanted


def test_the_unique_index_has_the_new_key(upgraded: Database[Document]) -> None:
    indexes = upgraded["messages"].index_information()
    assert set(indexes) == {"_id_", "order", "idempotency"}
    assert indexes["idempotency"]["unique"]
    assert [field for field, _ in indexes["idempotency"]["key"]][-1] == "idempotencyKey"


def test_the_api_answers_as_release_0_1_0_did(old: Database[Document], client: FlaskClient) -> None:
    migrations.run(old)
    assert release_0_1_0.changed_answers(client) == []


@pytest.mark.parametrize("step", STEPS)
def test_an_upgrade_that_was_killed_is_finished(
    old: Database[Document], upgraded: Database[Document], step: str
) -> None:
    def die(name: str) -> None:
        if name == step:
            raise Killed

    with pytest.raises(Killed):
        migrations.run(old, die)
    assert migrations.missing(old) == migrations.names()
    migrations.run(old)
    assert migrations.missing(old) == []
    assert release_0_1_0.everything(old) == release_0_1_0.everything(upgraded)
    assert set(old["messages"].index_information()) == {"_id_", "order", "idempotency"}


def test_at_every_step_a_unique_index_keeps_messages_from_being_stored_twice(
    old: Database[Document],
) -> None:
    seen = []

    def look(name: str) -> None:
        indexes = old["messages"].index_information()
        kept = [key for key in ("send_once", "idempotency") if key in indexes]
        field = "idempotencyKey" if "idempotency" in kept else "sendKey"
        assert kept
        assert all(field in message for message in old["messages"].find())
        seen.append(name)

    migrations.run(old, look)
    assert tuple(dict.fromkeys(seen)) == STEPS


def test_what_ran_is_recorded_and_does_not_run_again(old: Database[Document]) -> None:
    migrations.run(old)
    steps: list[str] = []
    assert migrations.run(old, steps.append) == []
    assert steps == []


def test_a_new_database_has_nothing_to_migrate() -> None:
    new: Database[Document] = mongomock.MongoClient(tz_aware=True)["new"]
    steps: list[str] = []
    assert migrations.run(new, steps.append) == migrations.names()
    assert steps == []
    assert set(new.list_collection_names()) == {"leases", "migrations"}


@pytest.fixture
def _short_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "WATCH_SECONDS", 0.03)
    monkeypatch.setattr(serving, "WATCH_INTERVAL", 0.01)


def beat(database: Database[Document], process: str = "one") -> None:
    row = {"_id": process, "seenAt": clock.real(), "people": []}
    database["presence"].replace_one({"_id": process}, row, upsert=True)


def type_something(database: Database[Document]) -> None:
    database["signals"].insert_one({"kind": "typing", "at": clock.real()})


@pytest.mark.usefixtures("_short_watch")
@pytest.mark.parametrize("write", [beat, type_something])
def test_it_is_refused_while_agents_are_connected_to_the_old_release(
    old: Database[Document],
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[Database[Document]], None],
) -> None:
    before = release_0_1_0.everything(old)
    write(old)
    monkeypatch.setattr(time, "sleep", lambda _: write(old))
    with pytest.raises(migrations.MigrationRefused, match="Stop all of its processes"):
        migrations.run(old)
    assert release_0_1_0.everything(old) == before
    assert "send_once" in old["messages"].index_information()


@pytest.mark.usefixtures("_short_watch")
def test_what_a_process_that_has_ended_left_behind_is_no_reason_to_refuse(
    old: Database[Document],
) -> None:
    beat(old)
    type_something(old)
    assert migrations.run(old) == migrations.names()


@pytest.fixture
def client(old: Database[Document]) -> FlaskClient:
    """Somebody who asks this release on the database of release 0.1.0."""
    return create_app(TestConfig, database=old).test_client()


@pytest.mark.parametrize("path", ["/readyz", "/api/chat", "/admin/login"])
def test_nothing_is_served_until_the_migrations_have_run(
    old: Database[Document], client: FlaskClient, path: str
) -> None:
    before = release_0_1_0.everything(old)
    headers = release_0_1_0.headers("Agnes") if path == "/api/chat" else {}
    answer = client.get(path, headers=headers)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "30"
    assert "flask init-db" in answer.text
    assert release_0_1_0.everything(old) == before
    migrations.run(old)
    assert client.get(path, headers=headers).status_code == 200


def test_the_process_asks_for_migrations_until_they_have_run_and_then_no_more(
    old: Database[Document], client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    missing = migrations.missing

    def ask(database: Database[Document]) -> list[str]:
        asked.append(1)
        return missing(database)

    monkeypatch.setattr(migrations, "missing", ask)
    assert client.get("/readyz").status_code == 503
    migrations.run(old)
    asked.clear()
    for _ in range(3):
        assert client.get("/readyz").status_code == 200
    assert asked == [1]


@pytest.mark.parametrize("number", range(len(release_0_1_0.RECORDED["retries"])))
def test_a_message_that_release_0_1_0_stored_is_not_stored_again(
    old: Database[Document], client: FlaskClient, number: int
) -> None:
    retry = release_0_1_0.RECORDED["retries"][number]
    migrations.run(old)
    before = old["messages"].count_documents({}), old["chatrooms"].count_documents({})
    headers = release_0_1_0.headers(retry["as"])
    answers = [client.post(retry["path"], json=retry["body"], headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    for answer in answers:
        assert answer.json is not None
        if retry["answer"] is None:  # it was killed before it answered
            assert answer.json["content"] == retry["body"]["content"]
        else:
            assert answer.json["_id"] == retry["answer"]["_id"]
    after = old["messages"].count_documents({}), old["chatrooms"].count_documents({})
    assert after == before


def test_what_changes_with_an_uncommitted_message_of_release_0_1_0_still_changes(
    old: Database[Document], client: FlaskClient
) -> None:
    (retry,) = (row for row in release_0_1_0.RECORDED["retries"] if row["as"] == "Agnes")
    migrations.run(old)
    headers = release_0_1_0.headers("Agnes")
    chat_id = ObjectId(retry["path"].split("/")[3])
    (before,) = old["chatrooms"].find({"_id": chat_id})
    client.post(retry["path"], json=retry["body"], headers=headers)
    (after,) = old["chatrooms"].find({"_id": chat_id})
    assert (before["status"], after["status"]) == ("active", "closed")
    assert after["lastMessage"]["content"] == "Closed for you."


@pytest.mark.parametrize(
    "command", [["backup", "copy"], ["import-conversations", "file.jsonl"], ["seed-demo"]]
)
def test_commands_refuse_until_the_migrations_have_run(
    old: Database[Document], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    line = {"id": "one", "subject": "Parcel", "messages": [{"role": "user", "text": "Where?"}]}
    (tmp_path / "file.jsonl").write_text(json.dumps(line))
    before = release_0_1_0.everything(old)
    runner = create_app(TestConfig, database=old, DATA_DIR=str(tmp_path)).test_cli_runner()
    refused = runner.invoke(args=command)
    assert refused.exit_code == 1
    assert "Run flask init-db first" in refused.output
    assert release_0_1_0.everything(old) == before
    assert not (tmp_path / "copy").exists()


# The next migration, which is online.

NEXT = """
def up(database, step):
    step("give each chat a language")
    missing = {"language": {"$exists": False}}
    database["chatrooms"].update_many(missing, {"$set": {"language": "en"}})
    step("make its index")
    database["chatrooms"].create_index([("language", 1)], name="language")
"""


Release = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def next_release(tmp_path: Path) -> Release:
    """With `next_release()` there is one more migration."""
    (tmp_path / "0002_add_a_language.py").write_text(NEXT)

    @contextmanager
    def released() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(migrations, "__path__", [*migrations.__path__, str(tmp_path)])
            yield
            sys.modules.pop("chatapi.store.migrations.0002_add_a_language", None)

    return released


def test_an_online_migration_runs_while_this_release_serves(
    old: Database[Document],
    client: FlaskClient,
    next_release: Release,
) -> None:
    migrations.run(old)
    headers = release_0_1_0.headers("Gerd")
    (chat,) = client.get("/api/chat", headers=headers).json or []
    path, sent = f"/api/chat/{chat['_id']}/messages", []

    def use(step: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(migrations, "names", lambda: ["0001_rename_stored_fields"])
            sent.append(client.post(path, json={"content": step}, headers=headers))

    with next_release():
        assert migrations.missing(old) == ["0002_add_a_language"]
        assert migrations.run(old, use) == ["0002_add_a_language"]
    assert [answer.status_code for answer in sent] == [201, 201]
    assert {chat["language"] for chat in old["chatrooms"].find()} == {"en"}


def test_the_release_before_works_on_what_the_next_one_has_migrated(
    old: Database[Document],
    client: FlaskClient,
    next_release: Release,
) -> None:
    migrations.run(old)
    with next_release():
        migrations.run(old)
    # From here on it is this release again.
    assert migrations.missing(old) == []
    assert migrations.run(old) == []
    assert release_0_1_0.changed_answers(client) == []
    headers = release_0_1_0.headers("Yann")
    made = client.post("/api/chat", json={"subject": "After it"}, headers=headers)
    assert made.status_code == 201
    for name in ("Ute", "Gerd"):
        headers = release_0_1_0.headers(name)
        (chat, *_) = client.get("/api/chat", headers=headers).json or []
        path = f"/api/chat/{chat['_id']}"
        sent = client.post(f"{path}/messages", json={"content": "Still?"}, headers=headers)
        assert sent.status_code == 201
        agent = release_0_1_0.headers("Agnes")
        assert client.patch(path, json={"status": "closed"}, headers=agent).status_code == 200
        # What the next release has added stays as it is.
        (stored,) = old["chatrooms"].find({"_id": ObjectId(chat["_id"])})
        assert (stored["language"], stored["status"]) == ("en", "closed")


def test_of_two_processes_one_migrates_and_the_other_waits(
    old: Database[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "POLL_INTERVAL", 0.005)
    waited: list[str] = []
    steps: list[str] = []
    results: list[list[str]] = []

    def second() -> None:
        results.append(migrations.run(old, steps.append, waited.append))

    thread = threading.Thread(target=Runtime().run, args=(second,))

    def first_step(name: str) -> None:
        if name == STEPS[0]:
            thread.start()
            eventually(lambda: bool(waited))

    assert migrations.run(old, first_step) == migrations.names()
    thread.join()
    assert (results, steps, len(waited)) == ([[]], [], 1)
