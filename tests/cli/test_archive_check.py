"""A backup with a right checksum whose documents no database would take is refused as a whole."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId, encode
from bson.raw_bson import RawBSONDocument

from chatapi.cli import archive, archive_check
from chatapi.store.database import Document

NOW = datetime(2026, 1, 1, tzinfo=UTC)
USER, CHAT, MESSAGE = ObjectId(), ObjectId(), ObjectId()
Edit = Callable[[list[tuple[str, Document]]], object]


def good() -> list[tuple[str, Document]]:
    """Return a user, their chat and its message, as the product stores them."""
    user = {
        "_id": USER,
        "name": "Ana",
        "email": "ana@example.com",
        "loginKey": "ana@example.com",
        "role": "user",
        "disabled": False,
        "createdAt": NOW,
    }
    chat = {
        "_id": CHAT,
        "userId": USER,
        "subject": "Parcel",
        "status": "active",
        "priority": "medium",
        "category": "general",
        "isOpen": True,
        "lastSeq": 1,
        "version": 1,
        "epoch": 0,
        "createdAt": NOW,
        "lastMessageAt": NOW,
    }
    message = {
        "_id": MESSAGE,
        "chatId": CHAT,
        "seq": 1,
        "idempotencyKey": "m-1",
        "senderId": USER,
        "senderRole": "user",
        "content": "Where is it?",
        "timestamp": NOW,
    }
    return [("messages", message), ("chatrooms", chat), ("users", user)]


def write(path: Path, documents: list[tuple[str, Document]], *, again: int = 0) -> Path:
    """Write a backup; the last `again` documents replace earlier ones."""
    with archive.new(path) as writer:
        for number, (name, document) in enumerate(documents):
            raw = RawBSONDocument(encode(document))
            writer.add(name, raw, again=number >= len(documents) - again)
        writer.close({"createdAt": "2026-01-01T00:00:00.000Z"})
    return path


def with_body(path: Path, body: bytes, **header: Any) -> Path:
    """Write a file whose checksum is right and whose compressed part is these bytes."""
    facts = {
        "format": archive.FORMAT,
        "version": archive.VERSION,
        "createdAt": "2026-01-01T00:00:00.000Z",
        "collections": [{"name": "users", "count": 1}],
        "sha256": hashlib.sha256(body).hexdigest(),
        "length": len(body),
    }
    path.write_bytes(archive._member(facts | header) + body)
    return path


def test_a_good_backup_passes(tmp_path: Path) -> None:
    read: list[int] = []
    path = write(tmp_path / "good", good())
    header = archive_check.check(path, read.append)
    assert {row["name"]: row["count"] for row in header["collections"]} == {
        "messages": 1,
        "chatrooms": 1,
        "users": 1,
    }
    # The progress bar gets to its end: each byte is read once for the checksum, once decoded.
    assert sum(read) == 2 * (path.stat().st_size - archive._HEADER_SIZE)


def test_a_chat_that_a_later_entry_closes_is_not_a_second_open_one(tmp_path: Path) -> None:
    documents = good()
    chat = documents[1][1]
    second = chat | {"_id": ObjectId()}
    closed = chat | {"isOpen": False, "status": "closed"}
    path = write(
        tmp_path / "settled", [*documents, ("chatrooms", second), ("chatrooms", closed)], again=1
    )
    archive_check.check(path)


def _set(number: int, **fields: Any) -> Edit:
    return lambda documents: documents[number][1].update(fields)


def _without(number: int, field: str) -> Edit:
    return lambda documents: documents[number][1].pop(field)


def _more(number: int, **fields: Any) -> Edit:
    return lambda documents: documents.append((documents[number][0], documents[number][1] | fields))


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (_without(1, "version"), "document 2 (of chatrooms) has no version"),
        (_without(1, "epoch"), "document 2 (of chatrooms) has no epoch"),
        (_set(1, epoch="first"), "has a epoch that the product does not take"),
        (_set(1, version=0), "has a version that the product does not take"),
        (_set(1, version=True), "has a version that the product does not take"),
        (_set(1, status="lost"), "has a status that the product does not take"),
        (_set(1, status={"$gt": ""}), "has a status that the product does not take"),
        (_set(0, timestamp="yesterday"), "has a timestamp that the product does not take"),
        (_set(0, chatId=str(CHAT)), "has a chatId that the product does not take"),
        (_without(2, "_id"), "document 3 (of users) has no usable _id"),
        (_set(2, _id=[1]), "document 3 (of users) has no usable _id"),
        (_more(2), "document 4 (of users) is there twice"),
        (_more(2, _id=ObjectId()), "document 4 (of users) is there twice"),
        (_more(0, _id=ObjectId(), idempotencyKey="m-2"), "document 4 (of messages) is there twice"),
        (_more(1, _id=ObjectId()), "two open chats of one user"),
        (lambda all_: all_.append(("system.users", {"_id": 1})), "'system.users'"),
        (lambda all_: all_.append(("maintenance", {"_id": "restore"})), "'maintenance'"),
        (lambda all_: all_.append(("a$b", {"_id": 1})), "'a$b'"),
        (lambda all_: all_.append(("", {"_id": 1})), "''"),
    ],
)
def test_a_document_that_no_database_takes_is_named(
    tmp_path: Path, edit: Edit, reason: str
) -> None:
    documents = good()
    edit(documents)
    with pytest.raises(archive.BadArchive) as refused:
        archive_check.check(write(tmp_path / "bad", documents))
    assert reason in str(refused.value)


def _entry(document: bytes, kind: bytes = b"N", place: int = 0) -> bytes:
    return kind + bytes([place]) + document


USER_BSON = encode(good()[2][1])
BAD_TEXT = USER_BSON.replace(b"Ana\0", b"\xff\xfe\xfd\0")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"no gzip at all", "is not compressed data"),
        (gzip.compress(_entry(USER_BSON))[:-12], "is not compressed data"),
        (gzip.compress(_entry(USER_BSON)[:-5]), "is cut off"),
        (gzip.compress(_entry(USER_BSON) + b"N\0\x05"), "no document of a collection"),
        (gzip.compress(_entry(USER_BSON, kind=b"X")), "no document of a collection"),
        (gzip.compress(_entry(USER_BSON, place=7)), "no document of a collection"),
        (gzip.compress(_entry(b"\xff\xff\xff\x7f" + bytes(40))), "no document of a collection"),
        (gzip.compress(_entry(b"\x00\x00\x00\x00" + bytes(40))), "no document of a collection"),
        (gzip.compress(_entry(b"\x2c\x00\x00\x00" + b"\xee" * 40)), "no BSON document"),
        (gzip.compress(_entry(BAD_TEXT)), "no BSON document"),
        (gzip.compress(b""), "promises 1 documents of users, and it has 0"),
        (gzip.compress(_entry(USER_BSON) * 2), "is there twice"),
    ],
    ids=map(str, range(12)),
)
def test_a_body_that_is_no_row_of_documents_is_refused(
    tmp_path: Path, body: bytes, reason: str
) -> None:
    with pytest.raises(archive.BadArchive) as refused:
        archive_check.check(with_body(tmp_path / "bad", body))
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    "collections",
    [
        [{"name": "users", "count": 1}, {"name": "users", "count": 0}],
        [{"name": "users", "count": 2}],
        [{"name": {"$gt": ""}, "count": 1}],
        [{"name": "users", "count": None}],
        "users",
        None,
    ],
)
def test_a_header_that_contradicts_its_documents_is_refused(
    tmp_path: Path, collections: object
) -> None:
    body = gzip.compress(_entry(USER_BSON))
    path = with_body(tmp_path / "bad", body, collections=collections)
    with pytest.raises(archive.BadArchive):
        archive_check.check(path)


def test_the_header_stays_readable_with_zcat(tmp_path: Path) -> None:
    with gzip.open(write(tmp_path / "good", good()), "rb") as stream:
        assert json.loads(stream.readline())["format"] == archive.FORMAT
