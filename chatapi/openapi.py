"""The OpenAPI 3.1 document, made of the endpoints' own declarations, and its page."""

from __future__ import annotations

from flask import Blueprint

blueprint = Blueprint("openapi", __name__, url_prefix="/api")
