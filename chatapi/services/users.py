"""Users: create, find, list and change them."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from bson import ObjectId

from chatapi.domain import clock, errors, paging, spelling
from chatapi.domain.documents import ChatChanges, User, UserChanges
from chatapi.domain.enums import Role
from chatapi.realtime.session_cache import session_cache
from chatapi.services import assignment, password_rules, passwords, search
from chatapi.services.quota import quota
from chatapi.services.sessions import Session
from chatapi.store import chats, sessions, unassignments, users
from chatapi.store.database import Duplicate, object_id


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
    known = by_email(email)
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


def find(email: str) -> User | None:
    """Return the account with this e-mail, or None. For commands; guests have no account."""
    return by_email(email)


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
    after = apply_changes(before, changes)
    if loses_access and users.count_active_admins() == 0:
        # Two agents demoted each other concurrently: both changes are undone.
        apply_changes(after, cast("UserChanges", {name: before.get(name) for name in changes}))
        raise errors.LastAdmin
    if after["disabled"]:
        sessions.delete_of_user(after["_id"])
        session_cache.current.forget(after["_id"])
    if not changes.keys().isdisjoint({"role", "disabled"}) and not assignment.is_agent(after):
        # Also if the agent had no access before: a crash may have interrupted this.
        assignment.unassign_all(after["_id"])
    if not changes.keys().isdisjoint({"name", "image"}):
        # Also if the user had them already: a crash may have interrupted this.
        update_chats_of(after)
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


def apply_changes(user: User, changes: UserChanges) -> User:
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


def update_chats_of(user: User) -> None:
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


def by_email(email: str) -> User | None:
    """Return the account with this address, also one stored in another spelling by 0.1.0."""
    found = users.by_login_key(normal_email(email))
    for older in spelling.older_emails(email) if found is None else ():
        found = found or users.by_login_key(older)
    return found
