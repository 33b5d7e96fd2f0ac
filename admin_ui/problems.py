"""Refusals as a person meets them: a page that stands by itself, a toast, or the sign-in."""

from __future__ import annotations

from flask import Response, make_response, redirect, request, url_for

from admin_ui import blueprint, htmx
from admin_ui.views import render
from chatapi.domain.errors import ChatError
from chatapi.http import identity, problems

# What the API says to programmers, said to agents.
WORDS = {
    "csrf_failed": "This page was out of date. It is fresh again now: please try once more.",
    "admin_only": "The console is for support agents, and this account is not one.",
    "bad_json": "The request could not be read. Reload the page and try again.",
    "last_admin": "This is the last active agent. Make somebody else an agent first.",
}


NO_COOKIE = (
    "Your browser sent no cookie, and the console needs cookies to keep you signed in. "
    "Please allow cookies for this site, then try once more."
)


def words(error: ChatError) -> str:
    """Return a refusal's text for a person."""
    if error.code == "csrf_failed" and not request.cookies:
        return NO_COOKIE
    return WORDS.get(error.code, error.detail)


def problem_page(error: ChatError) -> Response:
    """Return a refusal as a page, or to HTMX as a toast; neither asks the database."""
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
    """Ask to sign in: over the page where a script can, else on a page of its own."""
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
        # What the page shows is not so any more.
        htmx.trigger(response, console_changed={})
    return response
