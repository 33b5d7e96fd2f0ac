"""The `sessions` collection. The key is the SHA-256 of the token."""

from __future__ import annotations

import contextlib
from datetime import datetime
from typing import Any

from bson import ObjectId
from pymongo import DESCENDING

from chatapi.domain import clock
from chatapi.domain.documents import SessionTimes, StoredSession, User
from chatapi.store import expiry
from chatapi.store.database import Document, aggregate, sessions, users
from chatapi.store.disk import StorageFull


def insert(session: StoredSession) -> None:
    sessions().insert_one(session)
    expiry.purge_expired(sessions())


def with_user(session_id: str) -> tuple[StoredSession, User] | None:
    """Return a session and its user, read in one round trip, or None.

    The user comes without the password's hash, which does not leave the database.
    """
    found = aggregate(
        sessions(),
        [
            {"$match": {"_id": session_id}},
            {
                "$lookup": {
                    "from": "users",
                    "localField": "userId",
                    "foreignField": "_id",
                    "as": "user",
                }
            },
            # Before `$project`, because the embedded server excludes no field of documents in an
            # array (`store.server`).
            {"$unwind": "$user"},
            {"$project": {"user.passwordHash": 0, "user.searchTerms": 0}},
        ],
    )
    for row in found:
        user: User = row.pop("user")
        session: Any = row
        return session, user
    return None


def touch(session_id: str, times: SessionTimes) -> None:
    """Store when a session was used and when it expires.

    On a full disk the session still works, because reads do.
    """
    with contextlib.suppress(StorageFull):
        sessions().update_one({"_id": session_id}, {"$set": times})


def of_user(user_id: ObjectId) -> list[StoredSession]:
    return list(sessions().find({"userId": user_id}).sort("createdAt", DESCENDING))


def delete(session_id: str) -> bool:
    return sessions().delete_one({"_id": session_id}).deleted_count > 0


def delete_public(user_id: ObjectId, public_id: ObjectId) -> bool:
    """Delete one of a user's sessions by its public id."""
    where = {"userId": user_id, "publicId": public_id}
    return sessions().delete_one(where).deleted_count > 0


def delete_of_user(user_id: ObjectId, keep: str | None = None) -> None:
    """Delete a user's sessions, except the one to keep."""
    where: Document = {"userId": user_id}
    if keep is not None:
        where["_id"] = {"$ne": keep}
    sessions().delete_many(where)


def delete_least_recent(user_id: ObjectId, most: int, keep: str) -> list[str]:
    """Delete a user's sessions above a maximum, the least recently used first; return their ids.

    keep -- the session that was just created.
    """
    rows = list(sessions().find({"userId": user_id}, {"lastSeenAt": 1, "createdAt": 1}))
    others = [row for row in rows if row["_id"] != keep]
    too_many = len(rows) - most
    if too_many <= 0:
        return []
    now = clock.now()  # a use in the future is a clock that was ahead
    others.sort(key=lambda row: (min(row["lastSeenAt"], now), row["createdAt"]))
    ended = [str(row["_id"]) for row in others[:too_many]]
    sessions().delete_many({"_id": {"$in": ended}})
    return ended


def live_roles(session_ids: set[str], now: datetime) -> dict[str, str]:
    """Return the user's role for each of these sessions that may still be used."""
    where = {"_id": {"$in": list(session_ids)}, "expiresAt": {"$gt": now}}
    rows = list(sessions().find(where, {"userId": 1}))
    owners = {row["userId"] for row in rows}
    active = {
        user["_id"]: user["role"]
        for user in users().find({"_id": {"$in": list(owners)}}, {"role": 1, "disabled": 1})
        if not user["disabled"]
    }
    return {row["_id"]: active[row["userId"]] for row in rows if row["userId"] in active}
