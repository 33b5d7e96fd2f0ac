"""Signing in and out of the console."""

from __future__ import annotations

from flask import Response, make_response, redirect, request, url_for
from pymongo.errors import PyMongoError

from admin_ui import blueprint, forms, htmx, problems
from admin_ui.views import render_form_errors, render_page_or_fragment
from chatapi.domain import errors
from chatapi.domain.errors import ChatError
from chatapi.http import data_guard, devices, identity
from chatapi.http.limits import rate_limit
from chatapi.http.login_limits import login_attempts
from chatapi.services import accounts, sessions, users
from chatapi.services.sessions import Session

PAGE, FORM, DIALOG = "auth/login.html", "auth/_login.html", "auth/_login_dialog.html"
SIGN_IN_ERRORS = (
    errors.InvalidInput,
    errors.WrongCredentials,
    errors.Forbidden,
    errors.TooManyAttempts,
)


def login() -> Response:
    """Show the sign-in page, or redirect an agent who is signed in."""
    session = identity.optional()
    target = forms.redirect_target(request.args.get("next"))
    if session is not None and session.is_admin and not htmx.is_htmx():
        return make_response(redirect(target, 303))
    overlay = htmx.wants_fragment()
    no_agent = not overlay and _has_no_agent()
    return render_page_or_fragment(
        PAGE, DIALOG, next=target, email="", overlay=overlay, no_agent=no_agent
    )


def _has_no_agent() -> bool:
    """Return whether there is no agent yet; False if the database does not respond."""
    try:
        data_guard.check()
        return not users.list_admins()
    except PyMongoError:
        return False  # the page itself needs no database


def sign_in() -> Response:
    """Sign an agent in, on the page or in the dialog over an open page."""
    email = request.form.get("email", "")
    try:
        identity.protect()
        session, token = _agent(forms.form(forms.LoginForm()))
    except SIGN_IN_ERRORS as error:
        return _render_login(error, email)
    if htmx.wants_fragment():
        # The open page stays; its forms need the CSRF token of the new session.
        response = identity.sign_in(Response(), session, token)
        detail = {"token": identity.csrf_token(), "agent": str(session.user_id)}
        return htmx.trigger(response, console_signedin=detail)
    target = forms.redirect_target(request.form.get("next"))
    return identity.sign_in(make_response(redirect(target, 303)), session, token)


def logout() -> Response:
    """End the session, if there is one, and go to the sign-in page."""
    session = identity.optional()
    identity.protect()
    if session is not None:
        sessions.logout(session)
    address = url_for("admin_ui.auth_login")
    return identity.sign_out(make_response(redirect(address, 303)))


def _agent(given: dict[str, str]) -> tuple[Session, str]:
    """Sign in, agents only: the session of another user ends immediately."""
    email = given["email"]
    device = devices.known_device(email)
    with login_attempts.current.sign_in(users.normal_email(email), identity.network(), device):
        session, token = accounts.login(
            email, given["password"], identity.client(), is_known_device=device is not None
        )
    if not session.is_admin:
        sessions.revoke_token(token)
        raise errors.AdminOnly("This account has no access: the console is for support agents.")
    return session, token


def _render_login(error: ChatError, email: str) -> Response:
    target = forms.redirect_target(request.form.get("next"))
    said = problems.words(error) if error.code == "csrf_failed" else error.detail
    overlay = htmx.wants_fragment()
    return render_form_errors(
        error, PAGE, FORM, next=target, email=email, said=said, overlay=overlay
    )


blueprint.add_url_rule("/login", "auth_login", rate_limit(login), methods=["GET"])
blueprint.add_url_rule("/login", "auth_sign_in", rate_limit(sign_in), methods=["POST"])
blueprint.add_url_rule("/logout", "auth_logout", rate_limit(logout), methods=["POST"])
