"""`flask backup` and `flask restore`: what is saved while people write is whole, or refused."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import Context
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId, encode
from bson.raw_bson import RawBSONDocument
from click.testing import Result
from flask import Flask
from pymongo import MongoClient
from pymongo.database import Database

from chatapi import create_app
from chatapi.cli import archive
from chatapi.cli import backup as backup_command
from chatapi.cli import restore as restore_command
from chatapi.domain import clock, runtime
from chatapi.domain.documents import Chat, User
from chatapi.services import chats, messages, sessions
from chatapi.services.sessions import Session
from chatapi.store import chats as stored_chats
from chatapi.store import indexes, maintenance, users
from chatapi.store import messages as stored_messages
from chatapi.store.database import Document
from config import TestConfig, __version__
from deploy import run
from tests.conftest import PASSWORD, MakeChat, MakeSession
from tests.consistency import assert_all_chats_are_consistent, assert_chat_is_consistent
from tests.servers import DatabaseServer

SAVED = ("users", "chatrooms", "chat_terms", "messages", "deletions")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "chat.backup"


@pytest.fixture
def target(database_server: DatabaseServer) -> Iterator[Database[Document]]:
    """A second database on the server, with nothing in it."""
    with MongoClient[Document](database_server.uri, tz_aware=True) as client:
        client.drop_database("restored")
        yield client["restored"]
        client.drop_database("restored")


def flask(database: Database[Document], *arguments: object) -> Result:
    """Run a command on a database, as an app of its own."""
    runner = create_app(TestConfig, database=database).test_cli_runner()
    # Outside the app context of the test: the command would run in that one.
    return Context().run(lambda: runner.invoke(args=[str(each) for each in arguments]))


def everything(database: Database[Document], *names: str) -> dict[str, list[Document]]:
    return {name: list(database[name].find().sort("_id")) for name in names or SAVED}


def moved_on(saved: dict[str, list[Document]]) -> dict[str, list[Document]]:
    """Return the same as it is once restored: as states of chats that nobody has seen."""

    def moved(chat: Document) -> Document:
        return chat | {name: chat[name] + restore_command.AHEAD for name in ("version", "epoch")}

    return saved | {"chatrooms": [moved(chat) for chat in saved["chatrooms"]]}


def header_of(file: Path) -> dict[str, Any]:
    with gzip.open(file, "rb") as stream:
        found: dict[str, Any] = json.loads(stream.readline())
    return found


def saved(database: Database[Document], file: Path, *options: str) -> Path:
    result = flask(database, "backup", file, *options)
    assert result.exit_code == 0, result.output
    return file


def restored(database: Database[Document], file: Path, *options: str) -> Result:
    result = flask(database, "restore", file, *options)
    assert result.exit_code == 0, result.output
    assert_all_chats_are_consistent(database)
    return result


@pytest.fixture
def conversation(make_chat: MakeChat, make_session: MakeSession) -> Chat:
    """A chat with messages of both sides, one of them deleted, in all states a field has."""
    owner, agent = make_session(name="Ana 🌱"), make_session("admin")
    chat = make_chat(owner, message="«Hello»\n文")
    for text in ("One", "Two", "Three"):
        messages.send(owner, chat["_id"], text)
        messages.send(agent, chat["_id"], f"{text}?", f"key {text}")
    messages.delete(agent, chat["_id"], 3)
    messages.mark_read(owner, chat["_id"], 5)
    chats.update(agent, chat["_id"], priority="urgent", admin_id=str(agent.user_id))
    make_chat()
    return chat


def test_what_was_saved_is_restored_to_the_last_bit(
    database: Database[Document], target: Database[Document], conversation: Chat, file: Path
) -> None:
    before = everything(database)
    result = restored(target, saved(database, file))
    assert "2 chats, 7 messages" in result.output
    assert everything(target) == moved_on(before)
    assert everything(database) == before
    for name, models in indexes.INDEXES.items():
        there = set(target[name].index_information())
        assert {model.document["name"] for model in models} <= there
    assert all(
        row["options"].get("validator")
        for row in target.list_collections()
        if row["name"] in indexes.VALIDATORS
    )


def test_a_restored_chat_goes_on(
    database: Database[Document], target: Database[Document], conversation: Chat, file: Path
) -> None:
    restored(target, saved(database, file))
    with create_app(TestConfig, database=target).extensions["chat"].active():
        session = _session(users.by_id(conversation["userId"]))
        message, created = messages.send(session, conversation["_id"], "Back again")
    assert created
    assert message["seq"] == 8
    assert_all_chats_are_consistent(target)


def _session(user: User | None) -> Session:
    assert user is not None
    return sessions.session_for(user)


def test_the_file_is_private_and_says_what_is_in_it(
    database: Database[Document], conversation: Chat, file: Path
) -> None:
    before = os.umask(0)
    try:
        saved(database, file)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    header = header_of(file)
    counts = {row["name"]: row["count"] for row in header["collections"]}
    assert counts["chatrooms"] == 2
    assert counts["messages"] == 7
    assert header["version"] == 1
    assert header["createdAt"].endswith("Z")
    assert [each.name for each in file.parent.iterdir()] == [file.name]


def test_secrets_and_what_lasts_seconds_are_left_out(
    database: Database[Document], target: Database[Document], conversation: Chat, file: Path
) -> None:
    for name in ("ephemeralEvents", "presence", "attempts"):
        database[name].insert_one({"here": True})
    database["later"].insert_one({"kind": "a collection of later work"})
    assert database["sessions"].count_documents({}) > 0
    restored(target, saved(database, file))
    for name in ("sessions", "ephemeralEvents", "presence", "attempts"):
        assert target[name].count_documents({}) == 0
    assert target["later"].count_documents({}) == 1
    database.drop_collection("later")


def test_sessions_are_saved_when_asked_for(
    database: Database[Document], target: Database[Document], conversation: Chat, file: Path
) -> None:
    restored(target, saved(database, file, "--sessions"))
    assert everything(target, "sessions") == everything(database, "sessions")


def test_an_existing_file_is_replaced_only_when_told(
    database: Database[Document], conversation: Chat, file: Path
) -> None:
    file.write_text("something dear")
    result = flask(database, "backup", file)
    assert result.exit_code == 1
    assert "exists" in result.output
    assert file.read_text() == "something dear"
    saved(database, file, "--overwrite")
    assert header_of(file)["format"] == archive.FORMAT
    assert header_of(file)["product"] == __version__


def test_a_backup_that_fails_leaves_no_file(
    database: Database[Document],
    conversation: Chat,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> Iterator[Any]:
        raise KeyboardInterrupt

    monkeypatch.setattr(maintenance, "raw_messages", broken)
    assert flask(database, "backup", file).exit_code == 1
    assert list(file.parent.iterdir()) == []


def test_a_folder_that_is_not_there_is_named(database: Database[Document], tmp_path: Path) -> None:
    result = flask(database, "backup", tmp_path / "nowhere" / "file")
    assert result.exit_code == 1
    assert "cannot be written: No such file" in result.output


def test_a_database_that_holds_something_is_replaced_only_when_told(
    database: Database[Document], target: Database[Document], conversation: Chat, file: Path
) -> None:
    saved(database, file)
    target["users"].insert_one({"_id": "somebody"})
    target["sessions"].insert_one({"_id": "an old session"})
    result = flask(target, "restore", file)
    assert result.exit_code == 1
    assert "is not empty" in result.output
    assert everything(target, "users") == {"users": [{"_id": "somebody"}]}
    restored(target, file, "--replace")
    assert everything(target) == moved_on(everything(database))
    assert target["sessions"].count_documents({}) == 0


@pytest.mark.parametrize(("name", "field"), [("presence", "seenAt"), ("ephemeralEvents", "at")])
def test_a_database_with_people_connected_is_not_replaced(
    database: Database[Document],
    target: Database[Document],
    conversation: Chat,
    file: Path,
    name: str,
    field: str,
) -> None:
    saved(database, file)
    target["users"].insert_one({"_id": "somebody"})
    target[name].insert_one({field: clock.now() - timedelta(seconds=5)})
    result = flask(target, "restore", file, "--replace")
    assert result.exit_code == 1
    assert "People are connected" in result.output
    assert everything(target, "users") == {"users": [{"_id": "somebody"}]}
    target[name].update_one({}, {"$set": {field: clock.now() - timedelta(seconds=30)}})
    restored(target, file, "--replace")


def test_nothing_that_a_process_or_a_browser_remembers_passes_for_what_is_restored(
    database: Database[Document],
    make_session: MakeSession,
    make_chat: MakeChat,
    monkeypatch: pytest.MonkeyPatch,
    file: Path,
) -> None:
    owner, agent = make_session(), make_session("admin")
    chat = make_chat(owner, message="Before the backup")
    saved(database, file)
    messages.send(owner, chat["_id"], "Lost")
    remembered, _ = chats.get(owner, chat["_id"])
    restored(database, file, "--replace")
    # As many changes as there were, and then a process that slept through all of it.
    messages.send(agent, chat["_id"], "After the restore")
    now, _ = chats.get(owner, chat["_id"])
    assert chats.etag(owner, now) != chats.etag(owner, remembered)
    monkeypatch.setitem(stored_chats._last_seen.current, chat["_id"], remembered)
    messages.send(owner, chat["_id"], "Still here")
    history = assert_chat_is_consistent(database, chat["_id"])
    assert [row["content"] for row in history][1:] == ["After the restore", "Still here"]


def _cut(content: bytes) -> bytes:
    return content[:-20]


def _cut_in_the_header(content: bytes) -> bytes:
    return content[:100]


def _changed(content: bytes) -> bytes:
    middle = len(content) - 200
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def _longer(content: bytes) -> bytes:
    return content + b"\0"


def _newer(content: bytes) -> bytes:
    size = archive._HEADER_SIZE
    header = json.loads(gzip.decompress(content[:size])) | {"version": 2}
    return archive._member(header) + content[size:]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_cut, "cut off"),
        (_cut_in_the_header, "its beginning is lost"),
        (_changed, "checksum"),
        (_longer, "too long"),
        (_newer, "version 2"),
        (lambda _: b"", "not a backup of this product"),
        (lambda _: b"PK\x03\x04 a holiday picture", "not a backup of this product"),
        (lambda _: gzip.compress(b"{}" + b" " * 9000), "not a backup of this product"),
        (lambda _: archive._member({"format": archive.FORMAT, "version": 1}), "lacks something"),
    ],
)
def test_a_damaged_or_foreign_file_changes_nothing(
    database: Database[Document],
    target: Database[Document],
    conversation: Chat,
    file: Path,
    damage: Callable[[bytes], bytes],
    said: str,
) -> None:
    saved(database, file)
    file.write_bytes(damage(file.read_bytes()))
    target["users"].insert_one({"_id": "somebody"})
    result = flask(target, "restore", file, "--replace")
    assert result.exit_code == 1
    assert said in result.output
    assert "Nothing was changed" in result.output
    assert everything(target, "users") == {"users": [{"_id": "somebody"}]}
    assert target.list_collection_names() == ["users"]


def test_a_file_with_a_right_checksum_and_a_wrong_document_changes_nothing(
    target: Database[Document], file: Path
) -> None:
    with archive.new(file) as writer:
        writer.add("chatrooms", RawBSONDocument(encode({"_id": ObjectId()})))
        writer.close({"createdAt": "2026-01-01T00:00:00.000Z"})
    target["users"].insert_one({"_id": "somebody"})
    result = flask(target, "restore", file, "--replace")
    assert result.exit_code == 1
    assert "document 1 (of chatrooms) has no userId. Nothing was changed." in result.output
    assert everything(target, "users") == {"users": [{"_id": "somebody"}]}
    assert target.list_collection_names() == ["users"]


def test_a_check_says_what_a_file_holds_and_restores_nothing(
    database: Database[Document], target: Database[Document], conversation: Chat, file: Path
) -> None:
    saved(database, file)
    result = flask(target, "restore", file, "--check")
    assert result.exit_code == 0
    assert "can be restored: 2 chats, 7 messages and" in result.output
    assert target.list_collection_names() == []


def test_a_backup_is_restored_from_a_pipe(
    database: Database[Document], target: Database[Document], conversation: Chat, file: Path
) -> None:
    saved(database, file)
    pipe = file.with_name("pipe")
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(lambda: pipe.write_bytes(file.read_bytes()))
        restored(target, pipe)
        written.result(timeout=10)
    assert everything(target) == moved_on(everything(database))


def test_a_backup_replaces_no_device_pipe_or_link(
    database: Database[Document], conversation: Chat, file: Path
) -> None:
    os.mkfifo(file)
    result = flask(database, "backup", "--overwrite", file)
    assert result.exit_code == 1
    assert "is no regular file" in result.output
    assert stat.S_ISFIFO(file.stat().st_mode)
    result = flask(database, "backup", "--overwrite", "/dev/null")
    assert result.exit_code == 1
    assert Path("/dev/null").is_char_device()
    result = flask(database, "backup", "-")
    assert result.exit_code == 1
    assert "Name a file" in result.output
    link = file.with_name("newest")
    link.symlink_to(file.with_name("real"))
    saved(database, link)
    assert link.is_symlink()
    assert header_of(file.with_name("real"))["format"] == archive.FORMAT


def test_a_missing_file_is_named(target: Database[Document], file: Path) -> None:
    result = flask(target, "restore", file)
    assert result.exit_code == 1
    assert "cannot be read (No such file or directory)" in result.output


def test_a_chat_that_does_not_agree_with_its_history_is_restored_and_named(
    database: Database[Document], target: Database[Document], conversation: Chat, file: Path
) -> None:
    database["messages"].delete_one({"chatId": conversation["_id"], "seq": 4})
    saved(database, file)
    result = flask(target, "restore", file)
    assert result.exit_code == 1
    assert f"chat {conversation['_id']}: its history has 6 of the messages 1 to 7" in result.output
    assert everything(target) == moved_on(everything(database))


Act = Callable[[], object]


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Callable[[Act], None]:
    """`between(act)`: do something after chats were read and before their messages are."""

    def arrange(act: Act) -> None:
        read = maintenance.raw_messages
        left = [act]

        def late(chat_ids: Any) -> Any:
            if left:
                left.pop()()
            return read(chat_ids)

        monkeypatch.setattr(maintenance, "raw_messages", late)

    return arrange


def test_a_message_sent_between_the_reads_is_not_in_the_backup(
    database: Database[Document],
    target: Database[Document],
    make_session: MakeSession,
    make_chat: MakeChat,
    between: Callable[[Act], None],
    file: Path,
) -> None:
    owner = make_session()
    chat = make_chat(owner, message="First")
    between(lambda: messages.send(owner, chat["_id"], "Second"))
    restored(target, saved(database, file))
    assert [row["content"] for row in target["messages"].find()] == ["First"]
    assert database["messages"].count_documents({}) == 2


def test_a_message_deleted_between_the_reads_leaves_no_text_in_the_preview(
    database: Database[Document],
    target: Database[Document],
    make_session: MakeSession,
    make_chat: MakeChat,
    between: Callable[[Act], None],
    file: Path,
) -> None:
    agent = make_session("admin")
    chat = make_chat(message="My number is 4711")
    between(lambda: messages.delete(agent, chat["_id"], 1))
    restored(target, saved(database, file))
    copy = target["chatrooms"].find_one({"_id": chat["_id"]})
    assert copy is not None
    assert copy["lastMessage"]["content"] == messages.TOMBSTONE


def test_a_message_deleted_between_the_reads_is_not_unread_in_the_backup(
    database: Database[Document],
    target: Database[Document],
    make_session: MakeSession,
    make_chat: MakeChat,
    between: Callable[[Act], None],
    file: Path,
) -> None:
    owner, agent = make_session(), make_session("admin")
    chat = make_chat(owner, message="One")
    for text in ("Two", "Three"):
        messages.send(owner, chat["_id"], text)

    def delete_two() -> None:
        messages.delete(agent, chat["_id"], 1)
        messages.delete(agent, chat["_id"], 2)

    between(delete_two)
    restored(target, saved(database, file))
    copy = target["chatrooms"].find_one({"_id": chat["_id"]})
    assert copy is not None
    assert copy["unread"]["admin"] == 1
    assert [each["seq"] for each in copy["deletedUnread"]] == [1, 2]


@pytest.mark.parametrize("over", [False, True])
def test_a_deletion_of_a_message_that_was_under_way_is_finished_by_the_restore(
    database: Database[Document],
    target: Database[Document],
    make_session: MakeSession,
    make_chat: MakeChat,
    monkeypatch: pytest.MonkeyPatch,
    file: Path,
    over: bool,
) -> None:
    agent, chat = make_session("admin"), make_chat(message="My number is 4711")

    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stored_messages, "redact", cut_off)
        with pytest.raises(KeyboardInterrupt):
            messages.delete(agent, chat["_id"], 1)
    if over:
        # As it is when the deletion comes to its end between the reads.
        database["deletions"].delete_many({})
    restored(target, saved(database, file))
    (copy,) = target["messages"].find()
    assert copy["content"] == messages.TOMBSTONE
    assert target["deletions"].count_documents({}) == 0


def test_a_chat_deleted_between_the_reads_is_gone_altogether(
    database: Database[Document],
    target: Database[Document],
    make_session: MakeSession,
    make_chat: MakeChat,
    between: Callable[[Act], None],
    file: Path,
) -> None:
    agent, other = make_session("admin"), make_chat(message="Stays")
    chat = make_chat(message="Goes")
    chats.update(agent, chat["_id"], message="Goes, too")

    def half_a_deletion() -> None:
        # As far as a deletion gets while the messages are read; it is over before the end.
        database["chatrooms"].delete_one({"_id": chat["_id"]})
        database["messages"].delete_one({"chatId": chat["_id"], "seq": 1})

    between(half_a_deletion)
    restored(target, saved(database, file))
    assert [row["_id"] for row in target["chatrooms"].find()] == [other["_id"]]
    assert [row["content"] for row in target["messages"].find()] == ["Stays"]
    assert target["chat_terms"].distinct("_id") == [other["_id"]]
    assert target["deletions"].count_documents({}) == 0


def test_a_chat_deleted_after_it_was_copied_is_found_by_a_search_when_it_is_back(
    database: Database[Document],
    target: Database[Document],
    make_session: MakeSession,
    make_chat: MakeChat,
    monkeypatch: pytest.MonkeyPatch,
    file: Path,
) -> None:
    agent, chat = make_session("admin"), make_chat(subject="Parcel", message="Where is it?")
    kept = maintenance.backup_collections

    def deleting(**options: bool) -> list[str]:
        chats.delete(agent, chat["_id"])
        return kept(**options)

    monkeypatch.setattr(maintenance, "backup_collections", deleting)
    backup_command.save(file)
    monkeypatch.undo()
    restored(target, file)
    assert len(assert_chat_is_consistent(target, chat["_id"])) == 1


@pytest.mark.parametrize("reopened", [False, True])
def test_a_users_next_chat_opened_during_the_backup_leaves_one_open(
    database: Database[Document],
    target: Database[Document],
    make_session: MakeSession,
    make_chat: MakeChat,
    monkeypatch: pytest.MonkeyPatch,
    file: Path,
    reopened: bool,
) -> None:
    monkeypatch.setattr(backup_command, "CHATS_BATCH", 1)
    agent, owner = make_session("admin"), make_session()
    first = make_chat(owner, message="The first")
    make_chat(message="Keeps the second chat in a later batch")
    second: list[ObjectId] = []
    read = maintenance.raw_chat
    asked: list[ObjectId] = []

    def next_chat() -> None:
        chats.update(agent, first["_id"], message="Bye", status="closed")
        chat, _, _ = chats.create(owner, "The second", message="Me again")
        second.append(chat["_id"])

    def switching(chat_id: ObjectId) -> Any:
        if reopened and not asked:
            asked.append(chat_id)
            chats.update(agent, second[0], message="Not here", status="closed")
            chats.update(agent, first["_id"], message="But here", status="active")
        return read(chat_id)

    original = maintenance.batches

    def batches(name: str, size: int) -> Iterator[Any]:
        for number, batch in enumerate(original(name, size)):
            yield batch
            if name == "chatrooms" and number == 0:
                next_chat()
        if name == "chatrooms":
            # The server may have read all chats at once: the new one comes in any case.
            yield [read(second[0])]

    monkeypatch.setattr(maintenance, "batches", batches)
    monkeypatch.setattr(maintenance, "raw_chat", switching)
    restored(target, saved(database, file))
    opened = [
        row["_id"] for row in target["chatrooms"].find({"userId": owner.user_id, "isOpen": True})
    ]
    assert opened == [first["_id"] if reopened else second[0]]


class Crowd:
    """Twelve users and an agent who send, answer, delete, close, open and remove chats."""

    def __init__(self, make_session: MakeSession, make_chat: MakeChat) -> None:
        self.agent = make_session("admin")
        self.owners = [make_session() for _ in range(12)]
        self.rooms = [make_chat(owner, message="Begin")["_id"] for owner in self.owners]
        self.deleted: set[ObjectId] = set()
        for owner, room in zip(self.owners, self.rooms, strict=True):
            for number in range(10):
                messages.send(owner, room, f"before {number}")

    def send(self, number: int) -> None:
        messages.send(self.owners[number % 8], self.rooms[number % 8], f"during {number}")

    def answer_and_bury(self, number: int) -> None:
        room = self.rooms[number % 4]
        chat, _ = chats.update(self.agent, room, message=f"answer {number}", read=True)
        messages.delete(self.agent, room, chat["lastSeq"])

    def next_chat(self, number: int) -> None:
        index = 8 + number % 2
        chats.update(self.agent, self.rooms[index], message="Bye", status="closed")
        chat, _, _ = chats.create(self.owners[index], "Next", message="Again")
        self.rooms[index] = chat["_id"]

    def delete_and_open(self, number: int) -> None:
        index = 10 + number % 2
        self.deleted.add(self.rooms[index])
        chats.delete(self.agent, self.rooms[index])
        chat, _, _ = chats.create(self.owners[index], "New", message="Hello")
        self.rooms[index] = chat["_id"]

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Let all of it go on inside the block, each kind in a thread of its own."""
        done = threading.Event()

        def keep(act: Callable[[int], None]) -> None:
            for number in itertools.count():
                if done.is_set():
                    return
                act(number)

        acts = (self.send, self.answer_and_bury, self.next_chat, self.delete_and_open)
        with ThreadPoolExecutor(len(acts), initializer=runtime.current().enter) as pool:
            running = [pool.submit(keep, act) for act in acts]
            try:
                yield
            finally:
                done.set()
        for each in running:
            each.result()


@pytest.mark.long
def test_a_backup_while_everybody_writes_is_consistent(
    database: Database[Document],
    target: Database[Document],
    make_session: MakeSession,
    make_chat: MakeChat,
    monkeypatch: pytest.MonkeyPatch,
    file: Path,
) -> None:
    monkeypatch.setattr(backup_command, "CHATS_BATCH", 3)
    crowd = Crowd(make_session, make_chat)
    stay = {"chatId": {"$in": crowd.rooms[:10]}}
    acknowledged = {row["_id"] for row in database["messages"].find(stay)}
    files = [file.with_suffix(f".{number}") for number in range(3)]
    with crowd.busy():
        time.sleep(0.2)
        for each in files:
            backup_command.save(each)
    assert crowd.deleted
    assert_all_chats_are_consistent(database)
    for each in files:
        restored(target, each, "--replace")
        assert_all_chats_are_consistent(target)
        there = {row["_id"] for row in target["messages"].find({}, {"_id": 1})}
        assert acknowledged <= there
        assert there <= {row["_id"] for row in database["messages"].find({}, {"_id": 1})} | {
            row["_id"] for row in target["messages"].find({"chatId": {"$in": [*crowd.deleted]}})
        }


@pytest.fixture(autouse=True)
def _in_an_app(request: pytest.FixtureRequest) -> Iterator[None]:
    """`save` reads the configuration, so it needs the app's context."""
    app: Flask = request.getfixturevalue("app")
    with app.app_context():
        yield


def process(uri: str, data_dir: Path, *arguments: object) -> subprocess.Popen[str]:
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
        "MONGO_URI": uri,
        "DATA_DIR": str(data_dir),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", "wsgi", *map(str, arguments)],
        cwd=run.ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.long
def test_a_killed_restore_is_completed_by_the_next(
    database: Database[Document],
    own_database: DatabaseServer,
    make_session: MakeSession,
    make_chat: MakeChat,
    file: Path,
    tmp_path: Path,
) -> None:
    owner, chat = make_session(), None
    chat = make_chat(owner, message="Begin")
    for number in range(400):
        messages.send(owner, chat["_id"], f"Message {number} {PASSWORD * 20}")
    saved(database, file)
    with MongoClient[Document](own_database.uri, tz_aware=True) as client:
        there = client.get_default_database()
        killed = process(own_database.uri, tmp_path, "restore", file)
        end = time.monotonic() + 30
        while there["maintenance"].find_one({}) is None:
            assert killed.poll() is None, killed.communicate()[0]
            assert time.monotonic() < end
            time.sleep(0.001)
        killed.send_signal(signal.SIGKILL)
        killed.communicate(timeout=30)
        assert there["maintenance"].find_one({}) is not None
        # What was cut off is not taken for all of the data.
        backup = process(own_database.uri, tmp_path, "backup", tmp_path / "half")
        output, _ = backup.communicate(timeout=60)
        assert backup.returncode == 1
        assert "Restore again first" in output
        # Nothing serves the half that is there.
        start = process(own_database.uri, tmp_path, "init-db")
        output, _ = start.communicate(timeout=60)
        assert start.returncode == 1
        assert "was cut off, so data is missing" in output
        again = process(own_database.uri, tmp_path, "restore", file)
        output, _ = again.communicate(timeout=60)
        assert again.returncode == 0, output
        assert everything(there) == moved_on(everything(database))
        assert_all_chats_are_consistent(there)
