"""Errors in the console: a page, a toast, or the sign-in dialog."""

from __future__ import annotations

from flask import Response, make_response, redirect, request, url_for

from admin_ui import blueprint, htmx
from admin_ui.views import render
from chatapi.domain.errors import ChatError
from chatapi.http import identity, problems

# Texts for agents instead of the API's texts for developers.
WORDS = {
    "csrf_failed": "This page was out of date and is up to date now. Please try again.",
    "admin_only": "The console is for support agents, and this account is not one.",
    "bad_json": "The request could not be read. Reload the page and try again.",
    "last_admin": "This is the last active agent. Give another user the agent role first.",
}


NO_COOKIE = (
    "Your browser sent no cookie, and the console needs cookies to keep you signed in. "
    "Please allow cookies for this site, then try again."
)


def words(error: ChatError) -> str:
    """Return the text of an error for the console's users."""
    if error.code == "csrf_failed" and not request.cookies:
        return NO_COOKIE
    return WORDS.get(error.code, error.detail)


def problem_page(error: ChatError) -> Response:
    """Return an error as a page, or to HTMX as a toast; neither needs the database."""
    if error.status == 401 and request.path.startswith(str(blueprint.url_prefix)):
        response = _sign_in()
    elif htmx.wants_fragment():
        response = _toast(error)
    else:
        html = render(
            "problem.html",
            error=error,
            words=words(error),
            request_id=problems.request_id() if error.status >= 500 else None,
            console=request.path.startswith("/admin"),
        )
        response = make_response(html, error.status)
    problems.add_headers(response, error)
    return htmx.vary(response)


def _sign_in() -> Response:
    """Return the sign-in dialog to HTMX, or redirect to the sign-in page."""
    if htmx.wants_fragment():
        html = render("auth/_login_dialog.html", next="", email="", overlay=True)
        return htmx.retarget(make_response(html, 401), "#dialogs", "beforeend")
    asked = request.full_path.rstrip("?") if request.method in identity.SAFE_METHODS else None
    address = url_for("admin_ui.auth_login", next=asked if asked != "/admin" else None)
    if htmx.is_htmx():
        return htmx.redirect(Response(status=401), address)
    return make_response(redirect(address, 303))


def _toast(error: ChatError) -> Response:
    other = error.data.get("chatId") if error.code == "chat_open" else None
    html = render("_toast.html", kind="problem", text=words(error), other=other)
    response = htmx.retarget(make_response(html, error.status), "#toasts", "beforeend")
    if error.code == "csrf_failed":
        htmx.trigger(response, console_csrf={"token": identity.csrf_token()})
    elif error.status in {404, 409}:
        # The page is out of date.
        htmx.trigger(response, console_changed={})
    return response
