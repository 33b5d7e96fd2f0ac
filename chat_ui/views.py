"""Serve the chat page, the widget's loader and the component's modules."""

from __future__ import annotations

from pathlib import Path

from flask import (
    Blueprint,
    Response,
    current_app,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue

from chatapi.http.static_files import StaticFiles, shared

blueprint = Blueprint("chat_ui", __name__, template_folder="templates")
# embed.js is the widget's closed button, app.js what it opens, page.js all of the page /chat.
files = StaticFiles(
    Path(__file__).parent / "static",
    entries=("embed.js", "app.js", "page.js"),
    watched=(shared.folder,),
)
files.register(blueprint, "/chat/static")


@blueprint.get("/")
def home() -> ResponseReturnValue:
    """Redirect / to the chat."""
    return redirect(url_for("chat_ui.page"))


@blueprint.get("/chat", strict_slashes=False)
def page() -> Response:
    """Return the chat page, whose script loads the content from the API."""
    response = make_response(
        render_template(
            "chat_ui/page.html",
            # A request for the caller without a session would log a 401 in every new
            # visitor's console, so the page contains whether there is a cookie.
            has_session=current_app.config["AUTH_COOKIE_NAME"] in request.cookies,
            asset=files.url,
        )
    )
    response.headers["Cache-Control"] = "private, no-cache"
    response.vary.add("Cookie")
    return response


@blueprint.get("/widget.js")
def widget() -> Response:
    """Return the loader that another site includes with one script element.

    Kept for an hour and then asked for again by its ETag. A kept copy may name the
    files of an older release: those are answered with the current ones.
    """
    script = render_template(
        "chat_ui/widget.js",
        module_path=files.url("embed.bundle.js"),
        public_url=current_app.config["PUBLIC_URL"],
    )
    response = Response(script, content_type="text/javascript; charset=utf-8")
    response.cache_control.public = True
    response.cache_control.max_age = 3600
    response.cache_control.must_revalidate = True
    response.vary.add("Origin")
    response.add_etag()
    response.make_conditional(request)
    return response
