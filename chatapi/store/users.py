"""The `users` collection: accounts and guests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bson import ObjectId
from pymongo import DESCENDING

from chatapi.domain.documents import User, UserChanges
from chatapi.domain.paging import Position
from chatapi.store import expiry
from chatapi.store.database import Document, translate_duplicate_key, users

_ORDER = [("createdAt", DESCENDING), ("_id", DESCENDING)]
# The number of extra users read with a page, because several may have the position's time.
TIE_ROWS = 20


def insert(user: User) -> None:
    """Insert a user. Raises Duplicate if the login key is taken."""
    with translate_duplicate_key():
        users().insert_one(user)


def by_id(user_id: ObjectId) -> User | None:
    return users().find_one({"_id": user_id})


def by_login_key(login_key: str) -> User | None:
    return users().find_one({"loginKey": login_key})


def update(user_id: ObjectId, fields: UserChanges) -> User | None:
    """Set fields and return the updated user, or None if there is none."""
    if not users().update_one({"_id": user_id}, {"$set": fields}).matched_count:
        return None
    return by_id(user_id)


def insert_guest(guest: User) -> None:
    """Insert a guest, who expires at `expiresAt` unless `keep_guest` is called before."""
    insert(guest)
    expiry.purge_expired(users())


def keep_guest(user_id: ObjectId) -> bool:
    """Remove a guest's expiry; return False if the guest has expired already."""
    return bool(users().update_one({"_id": user_id}, {"$unset": {"expiresAt": ""}}).matched_count)


def upgrade_guest(user_id: ObjectId, fields: UserChanges) -> User | None:
    """Set fields of a guest and return the user, or None if it is no guest. Raises Duplicate."""
    with translate_duplicate_key():
        found = users().update_one(
            {"_id": user_id, "role": "guest"}, {"$set": fields, "$unset": {"expiresAt": ""}}
        )
    return by_id(user_id) if found.matched_count else None


def rehash(user_id: ObjectId, before: str, after: str) -> None:
    """Store a password's new hash, unless the password was changed in the meantime."""
    users().update_one({"_id": user_id, "passwordHash": before}, {"$set": {"passwordHash": after}})


def active_admins(limit: int = 200) -> list[User]:
    """Return agents who can sign in, by name."""
    found = users().find({"role": "admin", "disabled": False}, {"passwordHash": 0}).limit(limit)
    return sorted(found, key=lambda user: str(user["name"]).casefold())


def disabled_admins() -> list[ObjectId]:
    """Return the ids of agents who cannot sign in."""
    return [row["_id"] for row in users().find({"role": "admin", "disabled": True}, {"_id": 1})]


def count_active_admins() -> int:
    return users().count_documents({"role": "admin", "disabled": False})


def newest(
    limit: int,
    after: Position | None = None,
    role: str | None = None,
    disabled: bool | None = None,
    terms: Sequence[str] = (),
) -> list[User]:
    """Return up to `limit` users after a position, the newest first."""
    where: dict[str, Any] = {}
    if role is not None:
        where["role"] = role
    if disabled is not None:
        where["disabled"] = disabled
    if terms:
        where["searchTerms"] = {"$all": list(terms)}
    if after is None:
        return _read(where, limit)
    # A range of the index. It includes users with the position's time that belong to earlier
    # pages; these are dropped here.
    where = {"createdAt": {"$lte": after.at}} | where
    extra = TIE_ROWS
    while True:
        rows = _read(where, limit + extra)
        left = [row for row in rows if (row["createdAt"], row["_id"]) < (after.at, after.id)]
        if len(left) >= limit or len(rows) < limit + extra:
            return left[:limit]
        extra *= 8


def _read(where: Document, limit: int) -> list[User]:
    return list(users().find(where, {"passwordHash": 0}).sort(_ORDER).limit(limit))
