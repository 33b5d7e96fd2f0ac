"""The JSON API for users, guests and agents: blueprint `user_api` at /api."""

from flask import Blueprint

blueprint = Blueprint("user_api", __name__, url_prefix="/api")

from chatapi.user_api import auth, chats, events, messages, meta, sockets  # noqa: E402, F401 - register the views
