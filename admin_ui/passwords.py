"""The page of a password link, for setting a new password."""

from __future__ import annotations

from flask import Response, request

from admin_ui import blueprint, forms
from admin_ui.views import render_form_errors, render_page_or_fragment
from chatapi.domain.errors import CsrfFailed, InvalidInput, LinkExpired
from chatapi.http import identity
from chatapi.http.limits import rate_limit
from chatapi.schemas.auth import LinkPasswordIn
from chatapi.services import credentials

PAGE, FORM = "auth/password.html", "auth/_password.html"


def show() -> Response:
    """Show the form. A program that only opens the link, such as a scanner, changes nothing."""
    token = request.args.get("token", "")
    user = credentials.link_user(token)
    if user is None:
        return render_form_errors(LinkExpired(), PAGE, FORM, token="", user=None)
    return render_page_or_fragment(PAGE, FORM, token=token, user=user)


def save() -> Response:
    """Set the password."""
    token = request.form.get("token", "")
    try:
        identity.protect()
        given = forms.form(LinkPasswordIn())
        user = credentials.use_link(given["token"], given["password"])
    except (InvalidInput, CsrfFailed) as error:
        return render_form_errors(error, PAGE, FORM, token=token, user=credentials.link_user(token))
    except LinkExpired as error:
        return render_form_errors(error, PAGE, FORM, token="", user=None)
    return render_page_or_fragment(PAGE, FORM, token="", user=user, done=True)


blueprint.add_url_rule("/set-password", "passwords_show", rate_limit(show), methods=["GET"])
blueprint.add_url_rule(
    "/set-password", "passwords_save", rate_limit(save, "register"), methods=["POST"]
)
