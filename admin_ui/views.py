"""Shared by all views of the console: the session check, and page or fragment."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from flask import Response, current_app, g, make_response, redirect, url_for

from admin_ui import assets, blueprint, htmx, links, texts
from chatapi.domain import lengths
from chatapi.domain.enums import OPEN_STATUSES, PRIORITIES, STATUSES
from chatapi.domain.errors import ChatError
from chatapi.http import identity, images
from chatapi.http.limits import rate_limit
from chatapi.schemas import field_types
from chatapi.services import messages, storage
from chatapi.services.sessions import Session

Document = dict[str, Any]
View = Callable[..., Response]
FILTERS = ("status", "priority", "category", "assigned", "unread", "solved", "q")
NARROWING = (*FILTERS, "limit", "cursor")


def agents_only(*rules: str, method: str = "GET", limit: str = "default") -> Callable[[View], View]:
    """Register a view that takes (session, path parts), for agents only."""

    def register(view: View) -> View:
        @functools.wraps(view)
        def handle(**parts: Any) -> Response:
            session = identity.required()
            session.require_admin()
            g.agent = session
            return view(session, **parts)

        # chats.show and users.show are two views.
        endpoint = f"{view.__module__.rpartition('.')[2]}_{view.__name__}"
        wrapped = rate_limit(handle, limit)
        for rule in rules:
            blueprint.add_url_rule(rule, endpoint, wrapped, methods=[method])
        return view

    return register


@blueprint.after_request
def set_storage_header(response: Response) -> Response:
    """Set a header for open pages that writes are rejected, also on 304."""
    if storage.is_full():
        response.headers["X-Storage-Full"] = "true"
    return response


def render(template: str, **context: Any) -> str:
    """Render a template with the variables that every template of the console uses.

    Flask's context processors are left out: Flask-Login's asks the database who is here,
    also for the page that says that the database does not answer.
    """
    agent: Session | None = g.get("agent")
    helpers = {
        "agent": agent,
        "asset": assets.files.url,
        "csrf_token": identity.csrf_token,
        "days": texts.days,
        "hue": texts.hue,
        "inbox_url": lambda: url_for("admin_ui.chats_index"),
        # What the scripts know of the rules stands in the page, from here.
        "filter_names": FILTERS,
        "max_email_length": field_types.MAX_EMAIL_LENGTH,
        "max_image_length": lengths.MAX_IMAGE_LENGTH,
        "max_message_length": lengths.MAX_MESSAGE_LENGTH,
        "max_name_length": lengths.MAX_NAME_LENGTH,
        "max_search_length": lengths.MAX_SEARCH_LENGTH,
        "open_statuses": OPEN_STATUSES,
        "password_length": field_types.PASSWORD_LENGTH,
        "tombstone": messages.TOMBSTONE,
        "initials": texts.initials,
        "links": links.split,
        "mailto": texts.mailto,
        "priorities": PRIORITIES,
        "storage_is_full": storage.is_full(),
        "is_shown": images.is_shown,
        "stamp": texts.stamp,
        "statuses": STATUSES,
    }
    found = current_app.jinja_env.get_template(f"admin_ui/{template}")
    return found.render(**helpers, **context)


def render_page_or_fragment(
    page: str,
    fragment: str,
    etag: str | None = None,
    status: int = 200,
    toast: str | None = None,
    undo: Document | None = None,
    **context: Any,
) -> Response:
    """Return the page, or its fragment if HTMX requested it.

    etag -- of the fragment; a page is never kept. toast -- said over the page; undo -- the
    change that it offers to take back.
    """
    partial = htmx.wants_fragment()
    html = render(fragment if partial else page, etag=etag, **context)
    if toast and partial:
        html += render("_toast.html", kind="ok", text=toast, undo=undo)
    response = htmx.vary(make_response(html, status))
    if partial and etag:
        response.set_etag(etag)
    return response


def redirect_or_toast(toast: str, otherwise: str, **events: dict[str, Any]) -> Response:
    """Return a toast about a finished action, or without HTMX a redirect to its result.

    events -- fired in the page; `console_changed` makes it fetch what it shows again.
    """
    if not htmx.is_htmx():
        return make_response(redirect(otherwise, 303))
    response = make_response(render("_toast.html", kind="ok", text=toast))
    return htmx.trigger(htmx.vary(response), **{**events, "console_changed": {}})


def fragment_etag(etag: str, *more: object) -> str:
    """Return the ETag of a fragment from the ETag of its data."""
    return "-".join([etag, assets.files.release(), *(str(part) for part in more)])


def render_form_errors(error: ChatError, page: str, fragment: str, **context: Any) -> Response:
    """Return a form with its errors."""
    response = render_page_or_fragment(page, fragment, status=error.status, error=error, **context)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


blueprint.add_app_template_filter(texts.label, "label")
blueprint.add_app_template_filter(texts.zip_labels, "zip_labels")
blueprint.add_app_template_filter(texts.with_stored, "with_stored")
