"""`flask doctor` on a real database: one as it should be, and some with faults."""

from __future__ import annotations

import pytest
from click.testing import Result
from flask import Flask
from pymongo.database import Database

from chatapi.store import indexes
from chatapi.store.database import Document
from tests.conftest import MakeChat


def checked(app: Flask, name: str) -> Result:
    return app.test_cli_runner().invoke(args=["doctor", "--only", name])


def test_a_database_as_it_should_be_passes(app: Flask, database: Database[Document]) -> None:
    for name in ("connection", "collections", "indexes", "plans"):
        result = checked(app, name)
        assert result.exit_code == 0, result.output
        assert result.output.startswith(f"✓ {name}")


@pytest.mark.parametrize(
    "index", ["user_created", "admin_created", "status", "one_open_chat", "recent"]
)
def test_a_missing_index_is_named(app: Flask, database: Database[Document], index: str) -> None:
    database["chatrooms"].drop_index(index)
    try:
        result = checked(app, "indexes")
    finally:
        indexes.ensure(database)
    assert result.exit_code == 1
    assert f"chatrooms has no index {index}" in result.output
    assert "init-db" in result.output
    assert checked(app, "indexes").exit_code == 0


def test_an_index_that_is_not_unique_any_more_is_named(
    app: Flask, database: Database[Document]
) -> None:
    database["messages"].drop_index("order")
    database["messages"].create_index([("chatId", 1), ("seq", 1)], name="order")
    try:
        result = checked(app, "indexes")
    finally:
        database["messages"].drop_index("order")
        indexes.ensure(database)
    assert result.exit_code == 1
    assert "The index order of messages is another than the declared one" in result.output


def test_a_dropped_validator_is_named(app: Flask, database: Database[Document]) -> None:
    database.command("collMod", "chatrooms", validator={})
    try:
        result = checked(app, "collections")
    finally:
        indexes.ensure(database)
    assert result.exit_code == 1
    assert "chatrooms has no validator" in result.output


def test_a_missing_collection_is_named(app: Flask, database: Database[Document]) -> None:
    database.drop_collection("presence")
    try:
        result = checked(app, "collections")
    finally:
        indexes.ensure(database)
    assert result.exit_code == 1
    assert "There is no collection presence" in result.output


def test_a_chat_that_differs_from_its_history_is_named(
    app: Flask, database: Database[Document], make_chat: MakeChat
) -> None:
    chat = make_chat(message="One")
    make_chat(message="Another")
    result = checked(app, "consistency")
    assert result.exit_code == 0, result.output
    database["messages"].delete_one({"chatId": chat["_id"]})
    result = checked(app, "consistency")
    assert result.exit_code == 1
    assert f"chat {chat['_id']}: its history has 0 of the messages 1 to 1" in result.output
