"""Accounts: register, sign in as a guest, upgrade a guest, sign in."""

from __future__ import annotations

from dataclasses import replace

from bson import ObjectId

from chatapi.domain import clock, errors
from chatapi.domain.documents import UserChanges
from chatapi.realtime.hashing_pool import priority_of
from chatapi.realtime.session_cache import session_cache
from chatapi.services import password_rules, passwords
from chatapi.services.quota import quota
from chatapi.services.sessions import ClientInfo, Session, begin_session, end, lifetimes
from chatapi.services.users import by_email, create_user, new_user, normal_email
from chatapi.store import chats, upgrades, users
from chatapi.store.database import Duplicate


def register(name: str, email: str, password: str, client: ClientInfo) -> tuple[Session, str]:
    """Create a user's account and sign in; return the session and its token.

    Takes the same time whether or not the e-mail is known. Raises EmailTaken.
    """
    password_rules.check(password, "user", name, email)
    return begin_session(create_user(name, email, password), client)


def guest(name: str, email: str, client: ClientInfo) -> tuple[Session, str]:
    """Sign in a guest, whose token is their only access.

    The e-mail is not verified: it gives no access to an account or another guest's chats. Raises
    InvalidInput on `email` for an agent's address.
    """
    known = by_email(email)
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
    known = by_email(session.email)
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
    user = by_email(email)
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
        end(session.id)
        raise
    return session, token
