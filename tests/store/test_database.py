"""Ids, and refusals of unique indexes."""

from __future__ import annotations

import pytest
from bson import ObjectId
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, OperationFailure

from chatapi.store import database as store
from chatapi.store.database import Document

KNOWN = ObjectId("0123456789abcdef01234567")


@pytest.mark.parametrize("text", [KNOWN, str(KNOWN), str(KNOWN).upper()])
def test_an_id_is_understood(text: object) -> None:
    assert store.object_id(text) == KNOWN


@pytest.mark.parametrize(
    "text",
    [
        "",
        "zz",
        "0" * 23,
        "0" * 25,
        "g" * 24,
        "é" * 24,
        b"0" * 12,
        b"0" * 24,
        "0" * 12,
        None,
        5,
        {},
        [],
    ],
)
def test_what_is_no_id_is_none(text: object) -> None:
    assert store.object_id(text) is None


def test_a_refusal_of_a_unique_index_becomes_duplicate() -> None:
    with pytest.raises(store.Duplicate) as refusal, store.translate_duplicate_key():
        raise DuplicateKeyError("index: login")
    assert "login" in refusal.value.index


def test_any_other_failure_stays_what_it_is() -> None:
    with pytest.raises(OperationFailure) as failure, store.translate_duplicate_key():
        raise OperationFailure("no space left")
    assert not isinstance(failure.value, store.Duplicate)


def test_the_collections_are_those_of_the_bound_database(database: Database[Document]) -> None:
    store.bind(database)
    for name, collection in (
        ("users", store.users()),
        ("sessions", store.sessions()),
        ("chatrooms", store.chatrooms()),
        ("messages", store.messages()),
        ("deletions", store.deletions()),
    ):
        assert collection == database[name]
