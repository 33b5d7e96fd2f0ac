"""Check that every document of a backup can be restored, before anything is changed.

A checksum says that a file is what `backup` wrote, not that a database takes it: a file may have
been made or changed by other means. So each document is decoded and held against the rules that the
database will apply to it (`store.indexes`): the required fields and their types, and the unique
indexes. Fields of an older release are checked under their new names, since `restore` renames them.
Whether a chat agrees with its history is not asked here: a backup of a damaged database is restored
as it is, and `restore` then names what is wrong.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from bson import ObjectId, decode, encode
from bson.errors import BSONError
from bson.int64 import Int64

from chatapi.cli import archive
from chatapi.cli.archive import BadArchive, Header
from chatapi.store import indexes, maintenance, migrations
from chatapi.store.database import AWARE, Document

# What restoring reads of a document, besides what the validators require.
_READ: dict[str, dict[str, Any]] = {"chatrooms": {"epoch": {"bsonType": ["int", "long"]}}}
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "bool": (bool,),
    "date": (datetime,),
    "objectId": (ObjectId,),
    "int": (int,),
    "long": (int, Int64),
    "object": (dict,),
}


def check(path: Path, seen: Callable[[int], None] = lambda _: None) -> Header:
    """Read a backup twice, bytes and then documents, and return its header.

    seen -- called with the number of bytes read since the last call; each byte counts twice.
    Raises BadArchive saying which document is wrong, and how.
    """
    header = archive.check(path, seen)
    names = [str(row["name"]) for row in header["collections"]]
    for name in names:
        _check_name(name)
    if len(set(names)) < len(names):
        raise BadArchive("its header names a collection twice")
    counts = dict.fromkeys(names, 0)
    unique = _UniqueKeys()
    for number, (again, name, saved) in enumerate(archive.entries(path, header, seen), start=1):
        where = f"document {number:,} (of {name})"
        try:
            document = decode(saved.raw, AWARE)
        except (BSONError, ValueError, OverflowError, RecursionError) as error:
            raise BadArchive(f"{where} is no BSON document ({error})") from None
        document = migrations.renamed(name, document)
        _check_fields(name, document, where)
        unique.add(name, document, again=again, where=where)
        counts[name] += not again
    for row in header["collections"]:
        if counts[row["name"]] != int(row["count"]):
            raise BadArchive(
                f"its header promises {int(row['count']):,} documents of {row['name']}, "
                f"and it has {counts[row['name']]:,}"
            )
    unique.check_open_chats()
    return header


def _check_name(name: str) -> None:
    """Raise BadArchive for an invalid collection name, or one that no backup contains."""
    odd = not name or len(name) > 120 or name.startswith("system.") or set(name) & {"$", "\0"}
    if odd or name in maintenance.SHORT_LIVED:
        raise BadArchive(f"it holds a collection {name!r}, which no backup has")


def _check_fields(name: str, document: Document, where: str) -> None:
    """Check a document with its collection's validator."""
    if "_id" not in document or isinstance(document["_id"], list):
        raise BadArchive(f"{where} has no usable _id")
    schema = indexes.VALIDATORS.get(name, {}).get("$jsonSchema", {}).get("properties", {})
    for field, rule in (schema | _READ.get(name, {})).items():
        if field not in document:
            raise BadArchive(f"{where} has no {field}")
        if not _fits(document[field], rule):
            raise BadArchive(f"{where} has a {field} that the product does not take")


def _fits(value: object, rule: dict[str, Any]) -> bool:
    """Return whether a value satisfies a rule of `indexes.VALIDATORS`, which use three keywords."""
    if "enum" in rule and value not in rule["enum"]:
        return False
    if "bsonType" in rule:
        named = rule["bsonType"] if isinstance(rule["bsonType"], list) else [rule["bsonType"]]
        types = tuple(each for name in named for each in _TYPES[name])
        # For Python True is a number, for BSON it is not.
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            return False
    return not ("minimum" in rule and value < rule["minimum"])


class _UniqueKeys:
    """The keys of all unique indexes, in a temporary file: memory stays small for any backup."""

    def __init__(self) -> None:
        self._keys = sqlite3.connect("")
        self._keys.execute("CREATE TABLE keys (key BLOB PRIMARY KEY, document BLOB) WITHOUT ROWID")
        # The open chats of each user, since a later entry may close one again.
        self._open: dict[bytes, set[bytes]] = {}

    def add(self, name: str, document: Document, *, again: bool, where: str) -> None:
        """Store a document's keys. Raises BadArchive if another document has one of them."""
        identity = _digest(name, "_id", document["_id"])
        if name == "chatrooms":
            chats = self._open.setdefault(_digest(document["userId"]), set())
            (chats.add if document["isOpen"] else chats.discard)(identity)
        keys = [identity]
        for model in indexes.INDEXES.get(name, []):
            facts = model.document
            if facts.get("unique") and "partialFilterExpression" not in facts:
                values = [document.get(field) for field in facts["key"]]
                keys.append(_digest(name, facts["name"], *values))
        for key in keys:
            row = (key, identity)
            if self._keys.execute("INSERT OR IGNORE INTO keys VALUES (?, ?)", row).rowcount:
                continue
            found = self._keys.execute("SELECT document FROM keys WHERE key = ?", (key,)).fetchone()
            if not again or found[0] != identity:
                raise BadArchive(f"{where} is there twice")

    def check_open_chats(self) -> None:
        """Raise BadArchive if a user has two open chats."""
        if any(len(chats) > 1 for chats in self._open.values()):
            raise BadArchive("it has two open chats of one user")


def _digest(*values: object) -> bytes:
    return hashlib.blake2b(encode({"": list(values)}), digest_size=16).digest()
