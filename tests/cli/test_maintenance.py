"""What `init-db` mends: deletions that were cut off and, asked to, messages of no chat."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import time_machine
from bson import ObjectId
from click.testing import Result
from flask import Flask
from pymongo.database import Database

from chatapi.cli import consistency
from chatapi.domain import errors
from chatapi.domain.documents import Message
from chatapi.services import chats, messages
from chatapi.store import chats as stored_chats
from chatapi.store import indexes, maintenance
from chatapi.store import messages as stored_messages
from chatapi.store.database import Document
from tests.conftest import MakeChat, MakeSession
from tests.consistency import assert_chat_is_consistent
from tests.services.conftest import Killed, die

LATER = timedelta(hours=2)


@pytest.fixture(autouse=True)
def _without_validators(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `init-db` do on mongomock all but what that lacks."""
    monkeypatch.setattr(indexes, "ensure", partial(indexes.ensure, validators=False))


@pytest.fixture
def killed_before(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`killed_before(store.chats, "insert", f)`: f, which dies before that call."""

    def attempt(module: Any, name: str, act: Callable[[], object]) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(module, name, lambda *_: die())
            with pytest.raises(Killed):
                act()

    return attempt


@pytest.fixture
def stray(
    make_session: MakeSession, killed_before: Callable[..., None], database: Database[Document]
) -> Document:
    """The message of a chat that its user was just opening."""
    owner = make_session()
    killed_before(
        stored_chats, "insert", lambda: chats.create(owner, "Help", message="Left behind")
    )
    (row,) = database["messages"].find({"senderId": owner.user_id})
    return row


def swept(app: Flask, after: timedelta = LATER) -> Result:
    with time_machine.travel(datetime.now(UTC) + after, tick=True):
        return app.test_cli_runner().invoke(args=["init-db", "--delete-orphans"])


def verified(app: Flask, tmp_path: Path, after: timedelta = LATER) -> Result:
    app.config["DATA_DIR"] = str(tmp_path)
    with time_machine.travel(datetime.now(UTC) + after, tick=True):
        return app.test_cli_runner().invoke(args=["doctor", "--only", "consistency"])


def test_the_first_message_of_a_chat_that_never_came_is_removed(
    app: Flask, database: Database[Document], make_chat: MakeChat, stray: Document
) -> None:
    chat = make_chat(message="Stays")
    assert "Removed 1 messages" in swept(app).output
    assert database["messages"].find_one({"_id": stray["_id"]}) is None
    assert len(assert_chat_is_consistent(database, chat["_id"])) == 1
    assert "Removed 0 messages" in swept(app).output


def test_the_message_of_a_sender_who_was_killed_after_the_chat_went_is_removed(
    app: Flask,
    database: Database[Document],
    make_chat: MakeChat,
    make_session: MakeSession,
    killed_before: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    owner, agent = make_session(), make_session("admin")
    chat = make_chat(owner, message="Hello")
    insert = stored_messages.insert

    def too_late(message: Message) -> None:
        chats.delete(agent, chat["_id"])
        insert(message)

    monkeypatch.setattr(stored_messages, "insert", too_late)
    killed_before(stored_chats, "replace", lambda: messages.send(owner, chat["_id"], "Still?"))
    assert database["messages"].count_documents({}) == 1
    assert "Removed 1 messages" in swept(app).output
    assert database["messages"].count_documents({}) == 0


@pytest.mark.parametrize("form", ["lost", "earlier"])
def test_a_chat_that_no_search_finds_is_found_after_init_db(
    app: Flask, database: Database[Document], make_chat: MakeChat, form: str
) -> None:
    chat = make_chat(subject="Parcel", message="Hello")
    database["chat_terms"].delete_many({})
    if form == "earlier":
        database["chatrooms"].create_index("searchTerms", name="search")
        result = app.test_cli_runner().invoke(args=["init-db"])
        assert result.exit_code == 0, result.output
        assert "search" not in database["chatrooms"].index_information()
    else:
        assert swept(app).exit_code == 0
    assert_chat_is_consistent(database, chat["_id"])


def test_what_was_written_this_hour_may_still_get_its_chat(
    app: Flask, database: Database[Document], stray: Document, tmp_path: Path
) -> None:
    for after in (timedelta(0), timedelta(minutes=58)):
        assert "Removed 0 messages" in swept(app, after).output
        assert verified(app, tmp_path, after).exit_code == 0
    assert "Removed 1 messages" in swept(app).output


def test_verify_names_messages_of_no_chat_and_what_to_do(
    app: Flask, stray: Document, tmp_path: Path
) -> None:
    result = verified(app, tmp_path)
    assert result.exit_code == 1
    assert "1 messages belong to no chat" in result.output
    assert "init-db --delete-orphans" in result.output
    assert swept(app).exit_code == 0
    assert verified(app, tmp_path).exit_code == 0


def test_a_history_whose_chat_is_lost_is_named_and_not_touched(
    app: Flask,
    database: Database[Document],
    make_chat: MakeChat,
    make_session: MakeSession,
    stray: Document,
    tmp_path: Path,
) -> None:
    chat = make_chat(message="One")
    messages.send(make_session("admin"), chat["_id"], "Two")
    database["chatrooms"].delete_one({"_id": chat["_id"]})
    for result in (swept(app), verified(app, tmp_path)):
        assert result.exit_code == 1
        assert "3 messages belong to no chat" in result.output
        assert "Keep a copy" in result.output
    assert database["messages"].count_documents({}) == 3


def test_very_many_are_not_touched_either(
    app: Flask, database: Database[Document], make_chat: MakeChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consistency, "_MAX_LEFT", 4)
    for _ in range(5):
        make_chat(message="Hello")
    database["chatrooms"].delete_many({})
    assert "5 messages belong to no chat" in swept(app).output
    assert database["messages"].count_documents({}) == 5


def test_nothing_is_removed_while_a_restore_is_under_way(
    app: Flask, database: Database[Document], stray: Document
) -> None:
    maintenance.begin_restore({})
    result = swept(app)
    assert result.exit_code == 1
    assert "Restore again first" in result.output
    assert database["messages"].count_documents({}) == 1


def test_a_chat_deleted_while_it_looks_is_no_loss(
    app: Flask,
    database: Database[Document],
    make_chat: MakeChat,
    make_session: MakeSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    agent, existing_ids = make_session("admin"), maintenance.existing_ids
    going, gone = (make_chat(message="Hello") for _ in range(2))
    messages.send(agent, gone["_id"], "Good day")

    def late(name: str, ids: list[ObjectId]) -> set[ObjectId]:
        monkeypatch.setattr(maintenance, "existing_ids", existing_ids)
        chats.delete(agent, gone["_id"])
        database["deletions"].insert_one({"_id": going["_id"]})
        database["chatrooms"].delete_one({"_id": going["_id"]})
        return existing_ids(name, ids)

    monkeypatch.setattr(maintenance, "existing_ids", late)
    assert "Removed 0 messages" in swept(app).output


def test_deletions_that_were_cut_off_are_finished_and_counted(
    app: Flask,
    database: Database[Document],
    make_chat: MakeChat,
    make_session: MakeSession,
    killed_before: Callable[..., None],
) -> None:
    agent = make_session("admin")
    one, other = make_chat(message="My number is 4711"), make_chat(message="Hello")
    killed_before(stored_messages, "redact", lambda: messages.delete(agent, one["_id"], 1))
    killed_before(stored_chats, "delete", lambda: chats.delete(agent, other["_id"]))
    result = app.test_cli_runner().invoke(args=["init-db"])
    assert "Finished 2 deletions" in result.output
    (row,) = assert_chat_is_consistent(database, one["_id"])
    assert row["content"] == messages.TOMBSTONE
    with pytest.raises(errors.ChatNotFound):
        chats.get(agent, other["_id"])


def test_the_option_of_release_0_1_0_still_deletes_orphans(app: Flask) -> None:
    found = app.test_cli_runner().invoke(args=["init-db", "--sweep"])
    assert found.exit_code == 0
    assert "Removed 0 messages" in found.output
