"""The JSON API for agents only: blueprint `admin_api` at /api/admin."""

from flask import Blueprint

blueprint = Blueprint("admin_api", __name__, url_prefix="/api/admin")

from chatapi.admin_api import chats, realtime, stats, users  # noqa: E402, F401 - register the views
