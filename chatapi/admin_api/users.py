"""Users over JSON, for agents."""

from __future__ import annotations

from typing import Any

from chatapi import errors
from chatapi.admin_api import blueprint
from chatapi.endpoint import endpoint
from chatapi.schemas import UserOut, UserPatch, UsersQuery
from chatapi.services import accounts
from chatapi.services.accounts import Session


@endpoint(
    blueprint,
    "GET",
    "/users",
    who="admin",
    query=UsersQuery(),
    returns={200: UserOut(many=True)},
    headers={"X-Next-Cursor": "The cursor of the next page."},
)
def list_users(session: Session, query: dict[str, Any]) -> Any:
    """List users, the newest first."""
    page = accounts.list_users(session, **query)
    headers = {"X-Next-Cursor": page.next_cursor} if page.next_cursor else {}
    return page.items, 200, headers


@endpoint(
    blueprint,
    "PATCH",
    "/users/<user_id>",
    who="admin",
    body=UserPatch(),
    returns={200: UserOut()},
    refuses=[errors.UserNotFound, errors.LastAdmin],
)
def update_user(session: Session, body: dict[str, Any], user_id: str) -> Any:
    """Change a user's role, name, image, or whether they may sign in."""
    return accounts.update_user(session, user_id, body)
