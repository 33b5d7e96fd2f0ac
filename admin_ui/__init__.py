"""The agents' console: HTMX blueprint at /admin."""

from __future__ import annotations

from flask import Blueprint, Response

from chatapi import problem
from chatapi.errors import ChatError

blueprint = Blueprint("admin_ui", __name__, url_prefix="/admin")


def problem_page(error: ChatError) -> Response:
    """Return a refusal as a page."""
    response = Response(error.detail, status=error.status, mimetype="text/plain")
    problem.add_headers(response, error)
    return response
