"""Set the passwords of accounts, and end their sessions."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

import structlog

from chatapi.domain import clock, errors
from chatapi.domain.documents import User, UserChanges
from chatapi.domain.log_events import LogEvent
from chatapi.domain.runtime import PerApp
from chatapi.realtime.hashing_pool import priority_of
from chatapi.realtime.session_cache import session_cache
from chatapi.services import password_rules, passwords
from chatapi.services.sessions import ClientInfo, Session, begin_session
from chatapi.store import password_links, sessions, users
from chatapi.store.database import object_id
from chatapi.store.disk import free_space

log = structlog.get_logger("chat.credentials")

_link_ttl = PerApp(lambda: timedelta(hours=24))


def configure(link_ttl: timedelta) -> None:
    """Set how long a link is valid. The application factory calls it once."""
    _link_ttl.set(link_ttl)


def change_password(
    session: Session, current: str, new: str, renew_for: ClientInfo | None = None
) -> tuple[Session, str] | None:
    """Set a new password and end all the user's other sessions.

    renew_for -- the client that gets a new session; this one ends then, too.
    Return the new session and its token, or None. Raises InvalidInput on `current` when it is
    not the password, Forbidden for guests, ServiceBusy, StorageFull.
    """
    user = users.by_id(session.user_id)
    if user is None or "passwordHash" not in user:
        raise errors.Forbidden("A guest has no password.")
    if not passwords.matches(user["passwordHash"], current, priority_of(user["role"])):
        raise errors.InvalidInput.for_field("current", "This is not the current password.")
    password_rules.check(new, user["role"], user["name"], user["email"], "new")
    password_hash = _hash_to_store(user, new)
    # Before as well: a client that repeats this after a crash finds the new password set, and
    # must not find the sessions alive that it was to end.
    sessions.delete_of_user(session.user_id, keep=session.id)
    _store_hash(user, password_hash)
    renewed = begin_session(user, renew_for) if renew_for else None
    sessions.delete_of_user(session.user_id, keep=renewed[0].id if renewed else session.id)
    session_cache.current.forget(session.user_id)
    return renewed


def end_all_sessions(session: Session) -> None:
    """End all the user's sessions, this one too."""
    sessions.delete_of_user(session.user_id)
    session_cache.current.forget(session.user_id)


def set_password(user: User, new: str) -> None:
    """Set an account's password without knowing the old one, and end all its sessions.

    Raises InvalidInput for a guest, and for a password that the rules refuse; ServiceBusy,
    StorageFull.
    """
    _require_account(user)
    password_rules.check(new, user["role"], user["name"], user["email"])
    _replace_hash(user, _hash_to_store(user, new))


def make_link(session: Session, user_id: object) -> tuple[str, datetime]:
    """Create a token for setting a new password once; return it and its expiry.

    For agents. It replaces the account's earlier token; only its hash is stored. Raises
    AdminOnly, UserNotFound, InvalidInput for a guest.
    """
    session.require_admin()
    key = object_id(user_id)
    user = users.by_id(key) if key else None
    if user is None:
        raise errors.UserNotFound
    _require_account(user)
    token = secrets.token_urlsafe(32)
    expires = clock.now() + _link_ttl.current
    password_links.delete_of_user(user["_id"])
    password_links.insert(_link_key(token), user["_id"], session.user_id, expires)
    log.info(
        LogEvent.PASSWORD_LINK_CREATED, accountId=str(user["_id"]), createdBy=str(session.user_id)
    )
    return token, expires


def link_user(token: str) -> User | None:
    """Return the account whose password a link sets, or None. Changes nothing."""
    link = password_links.by_key(_link_key(token))
    now = clock.now()
    # A later end than a new link's means that the clock was ahead.
    latest = now + _link_ttl.current + clock.TOLERANCE
    if link is None or not now < link["expiresAt"] <= latest:
        return None
    return users.by_id(link["userId"])


def use_link(token: str, new: str) -> User:
    """Set the password of a link's account and end its sessions; return the account.

    Of two concurrent uses one succeeds. A link is still valid after an error.
    Raises LinkExpired, InvalidInput, ServiceBusy, StorageFull.
    """
    user = link_user(token)
    if user is None:
        raise errors.LinkExpired
    # All checks come before the link is used up.
    _require_account(user)
    password_rules.check(new, user["role"], user["name"], user["email"])
    password_hash = _hash_to_store(user, new)
    if not password_links.consume(_link_key(token)):
        raise errors.LinkExpired
    _replace_hash(user, password_hash)
    return user


def _require_account(user: User) -> None:
    if user["role"] == "guest":
        raise errors.InvalidInput.for_field("role", "A guest has no account and no password.")


def _hash_to_store(user: User, new: str) -> str:
    """Return a new password's hash if there is space to store it.

    Call it before any session or link is deleted. Raises ServiceBusy, StorageFull.
    """
    password_hash = passwords.make(new, priority_of(user["role"]))
    free_space.current.require()
    return password_hash


def _replace_hash(user: User, password_hash: str) -> None:
    """Store the hash and end all the account's sessions."""
    # After as well: a sign-in with the old password may have been under way.
    sessions.delete_of_user(user["_id"])
    _store_hash(user, password_hash)
    sessions.delete_of_user(user["_id"])
    session_cache.current.forget(user["_id"])


def _store_hash(user: User, password_hash: str) -> None:
    fields: UserChanges = {"passwordHash": password_hash, "updatedAt": clock.now()}
    # A link made before must not undo the change.
    password_links.delete_of_user(user["_id"])
    users.update(user["_id"], fields)


def _link_key(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
