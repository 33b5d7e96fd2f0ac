"""Forms and query strings, validated by the API's schemas."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

from flask import request, url_for
from marshmallow import Schema, fields, validate

from chatapi.domain.enums import OPEN_STATUSES
from chatapi.domain.errors import InvalidInput
from chatapi.domain.lengths import MAX_SEQ
from chatapi.http.endpoint import check
from chatapi.schemas import categories, field_types
from chatapi.schemas.auth import LoginIn
from chatapi.schemas.base import Input
from chatapi.schemas.chats import ChatsQuery
from chatapi.schemas.users import UserPatch
from chatapi.services import chat_lists
from chatapi.services.chat_lists import ChatFilters
from chatapi.services.sessions import Session

MAX_NEXT = 1000


class InboxQuery(ChatsQuery):
    """The filters of the list; an empty one, as a form sends it, is ignored.

    keep -- the open chat, whose row stays in the list although the filters leave it out.
    """

    keep = field_types.ObjectIdString(load_default=None)


class ConversationQuery(InboxQuery):
    """A conversation beside a list.

    first -- the first message of the part that is open in the page. new -- the first
    message that had not been read when it was opened.
    """

    first = field_types.StrictInteger(1, MAX_SEQ, load_default=None)
    new = field_types.StrictInteger(0, MAX_SEQ, load_default=None)


class LoginForm(LoginIn):
    next = fields.String(load_default="")


class ReadForm(Input):
    seq = field_types.StrictInteger(0, MAX_SEQ, required=True)


class UndoForm(Input):
    """An undo: for each chat in `ids` the old value at the same index in `before`."""

    name = field_types.Choice(("status", "adminId"), required=True)
    after = fields.String(required=True)
    ids = fields.List(fields.String(), required=True, validate=validate.Length(1, 200))
    before = fields.List(fields.String(), required=True)


class UserForm(UserPatch):
    """The API's input, as a form sends it."""

    disabled = field_types.QueryFlag()  # type: ignore[assignment]


def query(schema: Schema) -> dict[str, Any]:
    """Return the query string as loaded by the schema; unknown parameters are ignored.

    Raises InvalidInput.
    """
    given: dict[str, Any] = {}
    for name, field in schema.fields.items():
        values = [value for value in request.args.getlist(name) if value.strip()]
        if name == "status" and "open" in values:
            values = [*OPEN_STATUSES, *(value for value in values if value != "open")]
        if values:
            given[name] = values if isinstance(field, fields.List) else values[-1]
    return dict(check(schema, given))


def form(schema: Schema) -> dict[str, Any]:
    """Return the form's fields as loaded by the schema. Raises InvalidInput."""
    given: dict[str, Any] = {}
    for name, field in schema.fields.items():
        # An empty field is None if the field allows it.
        empty = None if field.allow_none else ""
        values = [_normalize_line_breaks(value) or empty for value in request.form.getlist(name)]
        if values:
            given[name] = values if isinstance(field, fields.List) else values[-1]
    return dict(check(schema, given))


def changes(schema: Schema, session: Session) -> dict[str, Any]:
    """Return the form's changes with the parameter names of the chat services.

    The agent "me" is who asks. Raises InvalidInput, also when there is nothing to change.
    """
    loaded = form(schema)
    if "adminId" in loaded:
        chosen = loaded.pop("adminId")
        loaded["admin_id"] = str(session.user_id) if chosen == "me" else chosen
    if not loaded.keys() - {"ids"}:
        raise InvalidInput.for_field("status", "Choose what to change.")
    return loaded


def filters(found: dict[str, Any]) -> ChatFilters:
    """Return the filters of a loaded query.

    Raises InvalidInput for a category that is neither offered nor stored.
    """
    chat_lists.check_categories(found["category"], categories.offered())
    names = ("status", "priority", "category", "assigned", "unread", "solved", "q")
    return ChatFilters(**{name: found[name] for name in names})


def redirect_target(target: str | None) -> str:
    """Return the URL to redirect to after signing in, always a page of the console.

    A URL that browsers may interpret differently is not used.
    """
    inbox = url_for("admin_ui.chats_index")
    if not target or len(target) > MAX_NEXT or not target.isascii():
        return inbox
    plain = unquote(unquote(target.partition("?")[0]))
    if not target.isprintable() or not plain.isprintable() or set(" \\") & set(target + plain):
        return inbox
    parts = urlsplit(target)
    steps = plain.split("/")
    if parts.scheme or parts.netloc or steps[:2] != ["", "admin"] or "" in steps[2:]:
        return inbox
    if {".", ".."} & set(steps) or steps[2:3] in (["login"], ["logout"], ["static"]):
        return inbox
    return target


def _normalize_line_breaks(text: str) -> str:
    # A form submission without a script has CR LF line breaks.
    return text.replace("\r\n", "\n")
