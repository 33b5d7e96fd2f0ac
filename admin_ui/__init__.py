"""The agents' console: HTMX blueprint at /admin.

Views are named as the services they call. Each answers with a page or, to HTMX, with the
fragment that the page includes.
"""

from __future__ import annotations

from flask import Blueprint

blueprint: Blueprint = Blueprint(
    "admin_ui",
    __name__,
    url_prefix="/admin",
    template_folder="templates",
)

from admin_ui import assets, auth, chats, passwords, users  # noqa: E402, F401 - register the views
from admin_ui.problems import problem_page  # noqa: E402

__all__ = ["blueprint", "problem_page"]
