"""The `passwordLinks` collection: links to set a new password. The key is the SHA-256 of the token
in the link."""

from __future__ import annotations

from datetime import datetime

from bson import ObjectId

from chatapi.domain.documents import PasswordLink
from chatapi.store import expiry
from chatapi.store.database import password_links


def insert(key: str, user_id: ObjectId, made_by: ObjectId, expires: datetime) -> None:
    password_links().insert_one(
        {"_id": key, "userId": user_id, "madeBy": made_by, "expiresAt": expires}
    )
    expiry.purge_expired(password_links())


def by_key(key: str) -> PasswordLink | None:
    return password_links().find_one({"_id": key})


def consume(key: str) -> bool:
    """Delete a link; return whether this call deleted it, so that it is used only once."""
    return password_links().delete_one({"_id": key}).deleted_count > 0


def delete_of_user(user_id: ObjectId) -> None:
    password_links().delete_many({"userId": user_id})
