"""Accounts and sessions."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypedDict, cast

from bson import ObjectId

from chatapi.domain import clock, errors, paging, spelling
from chatapi.domain.documents import ChatChanges, SessionTimes, StoredSession, User, UserChanges
from chatapi.domain.enums import Role, Side, other_side
from chatapi.domain.runtime import PerApp
from chatapi.realtime.session_cache import session_cache
from chatapi.services import assignment, password_rules, passwords, search
from chatapi.services.hashing_pool import priority_of
from chatapi.services.quota import quota
from chatapi.store import chats, sessions, unassignments, upgrades, users
from chatapi.store.database import Duplicate, object_id

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


def register(name: str, email: str, password: str, client: ClientInfo) -> tuple[Session, str]:
    """Create a user's account and sign in; return the session and its token.

    Takes the same time whether or not the e-mail is known. Raises EmailTaken.
    """
    password_rules.check(password, "user", name, email)
    return begin_session(create_user(name, email, password), client)


def create_user(
    name: str, email: str, password: str | None, role: Role = "user", image: str | None = None
) -> User:
    """Create an account without signing in. Raises EmailTaken.

    password -- None for an account without sign-in, such as an imported one.
    """
    user = new_user(name, email, role, image)
    quota.current.account(user)
    password_hash = passwords.make(password) if password is not None else None
    if password_hash is not None:
        user["passwordHash"] = password_hash
    known = _by_email(email)
    if known is not None:
        raise errors.EmailTaken
    try:
        users.insert(user)
    except Duplicate:
        raise errors.EmailTaken from None
    return user


def create_admin(name: str, email: str, password: str) -> User:
    """Create a support agent's account. Raises EmailTaken."""
    password_rules.check(password, "admin", name, email)
    return create_user(name, email, password, role="admin")


def guest(name: str, email: str, client: ClientInfo) -> tuple[Session, str]:
    """Sign in a guest, whose token is their only access.

    The e-mail is not verified: it gives no access to an account or another guest's chats. Raises
    InvalidInput on `email` for an agent's address.
    """
    known = _by_email(email)
    if known is not None and known["role"] == "admin":
        # A guest's messages must not look like an agent's.
        raise errors.InvalidInput.for_field("email", "This address cannot be used here.")
    user = new_user(name, email, "guest", None)
    user["expiresAt"] = clock.now() + lifetimes.current.guest_without_chat
    quota.current.account(user)
    users.insert_guest(user)
    return begin_session(user, client)


def upgrade_guest(session: Session, password: str) -> Session:
    """Turn the caller, a guest, into a user with a password; return the updated session.

    The id, the chats and the session stay the same. From now on the user can sign in with e-mail
    and password. Raises Forbidden for users and agents, EmailTaken.
    """
    if session.role != "guest":
        # A crash may have interrupted the upgrade, and the client repeats it.
        finish_upgrades(session.user_id)
        raise errors.Forbidden("You have an account already.")
    password_rules.check(password, "user", session.name, session.email)
    login_key = normal_email(session.email)
    quota.current.account({"loginKey": login_key})
    fields: UserChanges = {
        "role": "user",
        "loginKey": login_key,
        "passwordHash": passwords.make(password),
        "updatedAt": clock.now(),
    }
    known = _by_email(session.email)
    if known is not None and known["_id"] != session.user_id:
        raise errors.EmailTaken
    # Before the role changes, so that `init-db` updates the chats after a crash in between.
    upgrades.begin(session.user_id)
    try:
        user = users.upgrade_guest(session.user_id, fields)
    except Duplicate:
        raise errors.EmailTaken from None
    if user is None:
        # A concurrent request of the same guest was first.
        raise errors.Forbidden("You have an account already.")
    session_cache.current.forget(session.user_id)
    finish_upgrades(session.user_id)
    return replace(session, role="user")


def finish_upgrades(only: ObjectId | None = None) -> int:
    """Update the chats of guests who have become users; return the number of users.

    For `init-db`, or for one user, because a crash may have interrupted this.
    """
    finished = 0
    for user_id in upgrades.unfinished(only):
        user = users.by_id(user_id)
        if user is not None and user["role"] != "guest":
            chats.rename_user(user_id, {"userRole": "user"}, ())
            finished += 1
        upgrades.finish(user_id)
    return finished


def login(
    email: str, password: str, client: ClientInfo, *, is_known_device: bool = False
) -> tuple[Session, str]:
    """Sign in and return the session and its token.

    When many sign in at once, known devices are served first, then agents. Raises
    ServiceBusy when too many wait.

    Takes the same time for an unknown account as for a wrong password. Raises
    WrongCredentials, for a disabled account too.
    """
    user = _by_email(email)
    known_hash = user.get("passwordHash") if user else None
    priority = priority_of(user["role"] if user else None, is_known_device=is_known_device)
    form = passwords.matched_form(known_hash, password, priority)
    if form is None or user is None or user["disabled"]:
        raise errors.WrongCredentials
    if known_hash and (passwords.is_outdated(known_hash) or form != passwords.canonical(password)):
        users.rehash(user["_id"], known_hash, passwords.make(password, priority))
    session, token = begin_session(user, client)
    # If the password was changed meanwhile, or cannot be checked again, the new session ends.
    try:
        now = users.by_id(user["_id"])
        stored = now.get("passwordHash") if now else None
        if now is None or not passwords.matches_now(stored, password, known_hash, priority):
            raise errors.WrongCredentials
    except errors.ChatError:
        _end(session.id)
        raise
    return session, token


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
    return _session(session, user)


def find(email: str) -> User | None:
    """Return the account with this e-mail, or None. For commands; guests have no account."""
    return _by_email(email)


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
    return _session(row, user)


def logout(session: Session) -> None:
    """End this session."""
    _end(session.id)


def revoke_token(token: str) -> None:
    """End the session of a token, if there is one, before its user signs in again."""
    _end(session_id(token))


def _end(session_id: str) -> None:
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


def list_users(
    session: Session,
    role: str | None = None,
    disabled: bool | None = None,
    q: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> paging.Page[User]:
    """Return a page of all users, the newest first. For agents; raises AdminOnly."""
    session.require_admin()
    rows = users.newest(
        limit + 1, paging.decode(cursor), role, disabled, terms=search.query_terms(q)
    )
    return paging.page(rows, limit, "createdAt")


def list_admins() -> list[User]:
    """Return the agents a chat can be assigned to, by name."""
    return users.active_admins()


def update_user(
    session: Session,
    user_id: object,
    changes: UserChanges,
    is_shown: Callable[[str], bool] = lambda _: True,
) -> User:
    """Apply role, disabled, name, image to a user and return it.

    is_shown -- tells whether the pages show the picture at an address; a new one has to be.

    A new name or image is shown on the user's chats and new messages; messages already
    sent keep theirs. A disabled user's sessions end at once; the open chats of an agent who
    is disabled or demoted become unassigned. Raises AdminOnly, UserNotFound, LastAdmin, and
    InvalidInput for making a guest anything else or the reverse, for disabling or demoting
    oneself, or for an image that is not shown.
    """
    session.require_admin()
    key = object_id(user_id)
    before = users.by_id(key) if key else None
    if before is None:
        raise errors.UserNotFound
    role = changes.get("role", before["role"])
    if role != before["role"] and before["role"] == "guest":
        raise errors.InvalidInput.for_field("role", "A guest has no account and stays a guest.")
    if role != before["role"] and role == "guest":
        raise errors.InvalidInput.for_field("role", "A user with an account cannot become a guest.")
    image = changes.get("image")
    if image and image != before.get("image") and not is_shown(image):
        raise errors.InvalidInput.for_field(
            "image", "Must be on this server or on a host that the setting IMAGE_HOSTS names."
        )
    loses_access = assignment.is_agent(before) and not assignment.is_agent({**before, **changes})
    if loses_access and users.count_active_admins() == 1:
        raise errors.LastAdmin
    if loses_access and key == session.user_id:
        _refuse_own_removal(changes)
    if loses_access:
        # Before the account changes, so that `init-db` unassigns the chats after a crash.
        unassignments.begin(before["_id"])
    after = _apply_changes(before, changes)
    if loses_access and users.count_active_admins() == 0:
        # Two agents demoted each other concurrently: both changes are undone.
        _apply_changes(after, cast("UserChanges", {name: before.get(name) for name in changes}))
        raise errors.LastAdmin
    if after["disabled"]:
        sessions.delete_of_user(after["_id"])
        session_cache.current.forget(after["_id"])
    if not changes.keys().isdisjoint({"role", "disabled"}) and not assignment.is_agent(after):
        # Also if the agent had no access before: a crash may have interrupted this.
        assignment.unassign_all(after["_id"])
    if not changes.keys().isdisjoint({"name", "image"}):
        # Also if the user had them already: a crash may have interrupted this.
        _update_chats_of(after)
    return after


def _refuse_own_removal(changes: UserChanges) -> None:
    """Raise InvalidInput, because agents cannot undo the removal of their own access."""
    if changes.get("disabled"):
        raise errors.InvalidInput.for_field(
            "disabled", "You cannot disable your own account. Ask another agent to do it."
        )
    raise errors.InvalidInput.for_field(
        "role", "You cannot take your own agent role. Ask another agent to do it."
    )


def _apply_changes(user: User, changes: UserChanges) -> User:
    """Store the differing fields and return the updated user."""
    changed = {name: value for name, value in changes.items() if user.get(name) != value}
    if not changed:
        return user
    fields = cast("UserChanges", changed)
    if "name" in fields:
        fields["searchTerms"] = search.terms([fields["name"], user["email"]])
    fields["updatedAt"] = clock.now()
    after = users.update(user["_id"], fields)
    session_cache.current.forget(user["_id"])
    if after is None:
        raise errors.UserNotFound
    return after


def _update_chats_of(user: User) -> None:
    """Set a user's name and image on their chats, again if they change meanwhile."""
    now: User | None = user
    while now is not None:
        name, image = now["name"], now.get("image")
        shown: ChatChanges = {"userName": name, "userImage": image}
        chats.rename_user(user["_id"], shown, search.terms([name]))
        chats.rename_admin(user["_id"], {"adminName": name, "adminImage": image})
        now = users.by_id(user["_id"])
        if now is not None and (now["name"], now.get("image")) == (name, image):
            break


def new_user(name: str, email: str, role: Role, image: str | None) -> User:
    """Return the document of a new user, without inserting it and without a password."""
    now = clock.now()
    user_id, address = ObjectId(), normal_email(email)
    return {
        "_id": user_id,
        "name": name,
        "email": address,
        # The time of verification by mail. No mail is sent yet.
        "emailVerifiedAt": None,
        "loginKey": f"guest:{user_id}" if role == "guest" else address,
        "role": role,
        "image": image,
        "disabled": False,
        "createdAt": now,
        "updatedAt": now,
        "searchTerms": search.terms([name, address]),
    }


def normal_email(email: str) -> str:
    """Return the normalized address, which is unique for each account."""
    return spelling.canonical_email(email)


def _by_email(email: str) -> User | None:
    """Return the account with this address, also one stored in another spelling by 0.1.0."""
    found = users.by_login_key(normal_email(email))
    for older in spelling.older_emails(email) if found is None else ():
        found = found or users.by_login_key(older)
    return found


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
    return _session(row, user), token


def _expiry(now: datetime, absolute: datetime) -> datetime:
    return min(now + lifetimes.current.idle, absolute)


def session_id(token: str) -> str:
    """Return the session id of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def _session(row: StoredSession, user: User) -> Session:
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
