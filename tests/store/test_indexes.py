"""What the declarations promise, whatever the server."""

from __future__ import annotations

import mongomock
import pytest
from pymongo.database import Database

from chatapi.store import indexes
from chatapi.store.database import Document


def test_preparing_the_database_twice_changes_nothing(database: Database[Document]) -> None:
    before = {name: database[name].index_information() for name in indexes.INDEXES}
    indexes.ensure(database, validators=False)
    assert {name: database[name].index_information() for name in indexes.INDEXES} == before


def test_what_is_declared_is_made() -> None:
    database: Database[Document] = mongomock.MongoClient()["test"]
    indexes.ensure(database, validators=False)
    for name, models in indexes.INDEXES.items():
        made = set(database[name].index_information()) - {"_id_"}
        polled = {"changes"} if name == "chatrooms" else set()  # The stand-in reports no changes.
        assert made == {model.document["name"] for model in models} | polled


def test_indexes_of_an_earlier_release_are_dropped() -> None:
    database: Database[Document] = mongomock.MongoClient()["test"]
    database["chatrooms"].create_index(
        [("category", 1), ("lastMessageAt", -1)], name="category_recent"
    )
    database["chatrooms"].create_index([("status", 1), ("priority", 1)], name="counts")
    database["chatrooms"].create_index([("subject", 1)], name="of_the_operator")
    indexes.ensure(database, validators=False)
    left = set(database["chatrooms"].index_information())
    assert left.isdisjoint(indexes.DROPPED)
    assert "of_the_operator" in left


def test_the_stand_in_keeps_the_condition_of_the_partial_index(
    database: Database[Document],
) -> None:
    index = database["chatrooms"].index_information()["one_open_chat"]
    assert index["partialFilterExpression"] == {"isOpen": True}


@pytest.mark.parametrize("name", ["users", "sessions", "chatrooms", "messages"])
def test_what_lasts_has_a_validator(name: str) -> None:
    assert indexes.VALIDATORS[name]["$jsonSchema"]["required"]


@pytest.mark.parametrize("name", indexes.INDEXES)
def test_no_two_indexes_of_a_collection_have_one_name(name: str) -> None:
    names = [model.document["name"] for model in indexes.INDEXES[name]]
    assert len(names) == len(set(names))


def test_no_index_answers_queries_only_under_a_condition() -> None:
    # Not every planner uses partial indexes; the one there is guards and does nothing else.
    partial = [
        model.document["name"]
        for models in indexes.INDEXES.values()
        for model in models
        if "partialFilterExpression" in model.document
    ]
    assert partial == ["one_open_chat"]
