"""Users over JSON, for agents."""

from __future__ import annotations

from typing import Any

from chatapi.admin_api import blueprint
from chatapi.domain import errors
from chatapi.domain.documents import UserChanges
from chatapi.http import identity, images
from chatapi.http.endpoint import endpoint
from chatapi.schemas.auth import PasswordLinkOut
from chatapi.schemas.users import UserOut, UserPatch, UsersQuery
from chatapi.services import credentials, users
from chatapi.services.sessions import Session


@endpoint(
    blueprint,
    "GET",
    "/users",
    auth="admin",
    query=UsersQuery(),
    returns={200: UserOut(many=True)},
    headers={"X-Next-Cursor": "The cursor of the next page."},
)
def list_users(session: Session, query: dict[str, Any]) -> Any:
    """List users, the newest first."""
    page = users.list_users(session, **query)
    headers = {"X-Next-Cursor": page.next_cursor} if page.next_cursor else {}
    return page.items, 200, headers


@endpoint(
    blueprint,
    "PATCH",
    "/users/<user_id>",
    auth="admin",
    body=UserPatch(),
    returns={200: UserOut()},
    errors=[errors.UserNotFound, errors.LastAdmin],
)
def update_user(session: Session, body: UserChanges, user_id: str) -> Any:
    """Change a user's role, name, image, or whether they may sign in."""
    return users.update_user(session, user_id, body, images.is_shown)


@endpoint(
    blueprint,
    "POST",
    "/users/<user_id>/password-link",
    auth="admin",
    returns={201: PasswordLinkOut()},
    errors=[errors.UserNotFound],
)
def make_password_link(session: Session, user_id: str) -> Any:
    """Create a link for setting a new password, once."""
    token, expires = credentials.make_link(session, user_id)
    return {"url": identity.password_link(token), "expiresAt": expires}
