"""Sessions of signed-in users: begin, find, list and revoke them."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypedDict

from bson import ObjectId

from chatapi.domain import clock, errors
from chatapi.domain.documents import SessionTimes, StoredSession, User
from chatapi.domain.enums import Role, Side, other_side
from chatapi.domain.runtime import PerApp
from chatapi.realtime.session_cache import session_cache
from chatapi.store import sessions
from chatapi.store.database import object_id

# Each use extends a session. Storing that each time would be a third write for each message.
TOUCH_INTERVAL = timedelta(minutes=5)


@dataclass
class Lifetimes:
    """The idle and absolute lifetime of a session, and the maximum number for each user."""

    idle: timedelta = timedelta(days=7)
    absolute: timedelta = timedelta(days=30)
    guest_without_chat: timedelta = timedelta(days=1)
    per_user: int = 50


lifetimes = PerApp(Lifetimes)


@dataclass(frozen=True)
class ClientInfo:
    """The client of a sign-in, for the user's list of sessions."""

    user_agent: str = ""
    address: str = ""


@dataclass(frozen=True)
class Session:
    """A signed-in user. `id` is the SHA-256 of the token, in hex."""

    id: str
    public_id: ObjectId
    user_id: ObjectId
    role: Role
    name: str
    email: str
    image: str | None
    email_verified_at: datetime | None
    created_at: datetime
    expires_at: datetime

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"

    @property
    def side(self) -> Side:
        """The session's side of a chat: "user" or "admin"."""
        return "admin" if self.is_admin else "user"

    @property
    def other_side(self) -> Side:
        return other_side(self.side)

    def require_admin(self) -> None:
        """Raise AdminOnly unless this is an agent."""
        if not self.is_admin:
            raise errors.AdminOnly


def open_session(token: str) -> Session | None:
    """Return the session of a token, or None if it is unknown, expired or revoked."""
    found = session_cache.current.find(session_id(token))
    if found is None:
        return None
    session, user = found
    now = clock.now()
    if user["disabled"] or session["expiresAt"] <= now:
        return None
    since = now - session["lastSeenAt"]
    if since >= min(TOUCH_INTERVAL, lifetimes.current.idle / 10) or since < -clock.TOLERANCE:
        # The absolute end may have been set when the clock was ahead.
        absolute = min(session["absoluteExpiresAt"], now + lifetimes.current.absolute)
        times: SessionTimes = {
            "lastSeenAt": now,
            "expiresAt": _expiry(now, absolute),
            "absoluteExpiresAt": absolute,
        }
        sessions.touch(session["_id"], times)
        session["lastSeenAt"] = times["lastSeenAt"]
        session["expiresAt"] = times["expiresAt"]
        session["absoluteExpiresAt"] = times["absoluteExpiresAt"]
    return session_of(session, user)


def session_for(user: User) -> Session:
    """Return a session that is not stored, to act as a user in a command."""
    now = clock.now()
    row: StoredSession = {
        "_id": "",
        "publicId": ObjectId(),
        "userId": user["_id"],
        "createdAt": now,
        "lastSeenAt": now,
        "expiresAt": now,
        "absoluteExpiresAt": now,
        "userAgent": "",
        "address": "",
    }
    return session_of(row, user)


def logout(session: Session) -> None:
    """End this session."""
    end(session.id)


def revoke_token(token: str) -> None:
    """End the session of a token, if there is one, before its user signs in again."""
    end(session_id(token))


def end(session_id: str) -> None:
    sessions.delete(session_id)
    session_cache.current.forget(session_id)


class ListedSession(TypedDict):
    """A session as its user sees it in a list."""

    _id: ObjectId  # the public one
    createdAt: datetime
    lastSeenAt: datetime
    expiresAt: datetime
    userAgent: str
    address: str
    current: bool  # whether it is the one that asks


def list_sessions(session: Session) -> list[ListedSession]:
    """Return the caller's live sessions, newest first."""
    now = clock.now()
    return [
        {
            "_id": row["publicId"],
            "createdAt": row["createdAt"],
            "lastSeenAt": row["lastSeenAt"],
            "expiresAt": row["expiresAt"],
            "userAgent": row["userAgent"],
            "address": row["address"],
            "current": row["_id"] == session.id,
        }
        for row in sessions.of_user(session.user_id)
        if row["expiresAt"] > now
    ]


def revoke_session(session: Session, public_id: object) -> None:
    """End one of the caller's own sessions. Raises SessionNotFound, for others' too."""
    key = object_id(public_id)
    if key is None or not sessions.delete_public(session.user_id, key):
        raise errors.SessionNotFound
    session_cache.current.forget(session.user_id)


def begin_session(user: User, client: ClientInfo) -> tuple[Session, str]:
    """Create a session for an authenticated user; return session and token."""
    token = secrets.token_urlsafe(32)
    now = clock.now()
    absolute = now + lifetimes.current.absolute
    row: StoredSession = {
        "_id": session_id(token),
        "publicId": ObjectId(),
        "userId": user["_id"],
        "createdAt": now,
        "lastSeenAt": now,
        "expiresAt": _expiry(now, absolute),
        "absoluteExpiresAt": absolute,
        "userAgent": client.user_agent[:300],
        "address": client.address,
    }
    sessions.insert(row)
    for ended in sessions.delete_least_recent(
        user["_id"], lifetimes.current.per_user, keep=row["_id"]
    ):
        session_cache.current.forget(ended)
    return session_of(row, user), token


def _expiry(now: datetime, absolute: datetime) -> datetime:
    return min(now + lifetimes.current.idle, absolute)


def session_id(token: str) -> str:
    """Return the session id of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def session_of(row: StoredSession, user: User) -> Session:
    return Session(
        id=row["_id"],
        public_id=row["publicId"],
        user_id=user["_id"],
        role=user["role"],
        name=user["name"],
        email=user["email"],
        image=user.get("image"),
        email_verified_at=user.get("emailVerifiedAt"),
        created_at=row["createdAt"],
        expires_at=row["expiresAt"],
    )
