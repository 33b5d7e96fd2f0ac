"""The database that release 0.1.0 wrote, and what its API answered: `tests/data/release_0_1_0`."""

from __future__ import annotations

import functools
import gzip
import json
from pathlib import Path
from typing import Any

from bson import CodecOptions, json_util
from flask.testing import FlaskClient
from pymongo.database import Database

from chatapi.store.database import Document

FOLDER = Path(__file__).parent / "data" / "release_0_1_0"
BACKUP = FOLDER / "livechat.backup"
PASSWORD = "a password of release 0.1.0"
# What the API has added to a chat or an account since 0.1.0.
ADDED = {"emailVerified", "userEmailVerified", "solvedAt"}
# A session that is used moves these on.
MOVING = {"lastSeenAt", "expiresAt"}


def _read(name: str) -> str:
    return gzip.decompress((FOLDER / name).read_bytes()).decode()


RECORDED: dict[str, Any] = json.loads(_read("answers.json.gz"))


@functools.cache
def _stored() -> dict[str, Any]:
    found: dict[str, Any] = json_util.loads(_read("database.json.gz"))
    return found


def load(database: Database[Document], *, validators: bool = True) -> None:
    """Fill an empty database with all that release 0.1.0 stored, with its indexes.

    validators -- False where the server has none (mongomock).
    """
    for name, stored in _stored().items():
        if validators:
            database.create_collection(name, **stored["options"])
        for index, facts in stored["indexes"].items():
            if index != "_id_":
                known = ("unique", "partialFilterExpression", "expireAfterSeconds")
                options = {option: facts[option] for option in known if option in facts}
                database[name].create_index(
                    [(field, way) for field, way in facts["key"]], name=index, **options
                )
        if stored["documents"]:
            database[name].insert_many(stored["documents"])


def everything(database: Database[Document]) -> dict[str, list[Document]]:
    """Return all documents of the collections that a migration changes, in order."""
    options: CodecOptions[Document] = CodecOptions(tz_aware=True)
    return {
        name: list(database.get_collection(name, options).find().sort("_id"))
        for name in ("chatrooms", "messages", "users", "sessions", "deletions")
    }


def headers(name: str) -> dict[str, str]:
    """Return the headers with which a user of 0.1.0 is still signed in."""
    return {"Authorization": f"Bearer {RECORDED['tokens'][name]}"}


def changed_answers(client: FlaskClient) -> list[str]:
    """Ask all that was asked of release 0.1.0; return a sentence for each other answer."""
    found = []
    for row in RECORDED["answers"]:
        answer = client.get(row["path"], headers=headers(row["as"]))
        place = f"{row['as']} GET {row['path']}"
        found += _differences(row["answer"], answer.json, place)
    return found


def _differences(before: Any, now: Any, place: str) -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        added = now.keys() - before.keys() - ADDED
        return [f"{place}: {name} is new" for name in sorted(added)] + [
            each
            for name in before.keys() - MOVING
            for each in _differences(before[name], now.get(name, "nothing"), f"{place} {name}")
        ]
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        return [
            each
            for number, pair in enumerate(zip(before, now, strict=True))
            for each in _differences(*pair, f"{place} {number}")
        ]
    return [] if before == now else [f"{place}: {before!r} is {now!r}"]
