"""The pages for users, their roles and access."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlencode

from flask import Response, request, url_for

from admin_ui import forms, htmx
from admin_ui.views import (
    agents_only,
    redirect_or_toast,
    render_form_errors,
    render_page_or_fragment,
)
from chatapi.domain.documents import User, UserChanges
from chatapi.domain.errors import InvalidInput
from chatapi.domain.paging import Page
from chatapi.http import identity, images
from chatapi.schemas.users import UsersQuery
from chatapi.services import chat_lists, credentials, users
from chatapi.services.sessions import Session

EDIT = ("users/edit.html", "users/_edit_dialog.html")
LINK = ("users/link.html", "users/_link_dialog.html")
CONFIRM = ("users/confirm.html", "users/_confirm_dialog.html")


@agents_only("/users")
def index(session: Session) -> Response:
    """List users, the newest first."""
    query = forms.query(UsersQuery())
    page = users.list_users(session, **query)
    shown = _list(query, page) | {"unread_messages": chat_lists.unread(session)[1]}
    return render_page_or_fragment("users/list.html", "users/_rows.html", **shown)


@agents_only("/users/<user_id>")
def show(session: Session, user_id: str) -> Response:
    """Show the form for editing a user."""
    return render_page_or_fragment(*EDIT, user=_user(session, user_id), given={})


@agents_only("/users/<user_id>", method="POST")
def update(session: Session, user_id: str) -> Response:
    """Update a user's name, image, role or access."""
    try:
        changes = cast("UserChanges", forms.form(forms.UserForm()))
        user = users.update_user(session, user_id, changes, images.is_shown)
    except InvalidInput as error:
        return _beside_fields(session, user_id, error)
    return _shown(user)


@agents_only("/users/<user_id>/confirm")
def confirm(session: Session, user_id: str) -> Response:
    """Show the confirmation of changing a user's role or access."""
    changes = forms.query(forms.UserForm(only=("role", "disabled")))
    return render_page_or_fragment(*CONFIRM, user=_user(session, user_id), changes=changes)


@agents_only("/users/<user_id>/password-link")
def password_link(session: Session, user_id: str) -> Response:
    """Show the confirmation of creating a password link."""
    return render_page_or_fragment(*LINK, user=_user(session, user_id), link=None)


@agents_only("/users/<user_id>/password-link", method="POST")
def make_password_link(session: Session, user_id: str) -> Response:
    """Create a password link and show it once."""
    token, expires = credentials.make_link(session, user_id)
    link = identity.password_link(token)
    return render_page_or_fragment(*LINK, user=_user(session, user_id), link=link, expires=expires)


def _user(session: Session, user_id: str) -> User:
    # An update without changes returns the user, or raises like any update.
    return users.update_user(session, user_id, {})


def _list(query: dict[str, Any], page: Page[User]) -> dict[str, Any]:
    given = {name: query[name] for name in ("role", "q") if query[name]}
    if query["disabled"] is not None:
        given["disabled"] = str(query["disabled"]).lower()
    here = given | ({"limit": query["limit"]} if "limit" in request.args else {})
    return {
        "users": page.items,
        "query": query,
        "narrowed": bool(given),
        "newest_query": "?" + urlencode(here) if query["cursor"] else None,
        "older_query": "?" + urlencode(here | {"cursor": page.next_cursor})
        if page.next_cursor
        else None,
    }


def _beside_fields(session: Session, user_id: str, error: InvalidInput) -> Response:
    user, given = _user(session, user_id), request.form
    if not {"name", "image"} & given.keys():
        raise error
    return render_form_errors(error, *EDIT, user=user, given=given)


def _shown(user: User) -> Response:
    """Return the user's row of the list after a change."""
    toast = f"{user['name']} is saved."
    if not htmx.wants_fragment():
        return redirect_or_toast("", url_for("admin_ui.users_index"))
    response = render_page_or_fragment("users/list.html", "users/_row.html", user=user, toast=toast)
    htmx.retarget(response, f"#user-{user['_id']}", "outerMorph")
    return htmx.trigger(response, console_dismiss={})
