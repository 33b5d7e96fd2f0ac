"""Serve the chat page, the widget's loader and the component's modules."""

from __future__ import annotations

import functools
import hashlib
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

STATIC = Path(__file__).parent / "static"
A_YEAR = 31_536_000

blueprint = Blueprint(
    "chat_ui",
    __name__,
    static_folder="static",
    static_url_path="/chat/static",
    template_folder="templates",
)


@blueprint.get("/")
def home() -> ResponseReturnValue:
    """Send whoever opens the bare address to the chat."""
    return redirect(url_for("chat_ui.page"))


@blueprint.get("/chat", strict_slashes=False)
def page() -> Response:
    """Answer the chat page; it is empty until its script has asked the API."""
    response = make_response(
        render_template(
            "chat_ui/page.html",
            # Asking the API who is here without a session would be a 401 in every new
            # visitor's console, so the page says whether there is a cookie to ask about.
            has_session=current_app.config["AUTH_COOKIE_NAME"] in request.cookies,
            asset=asset_url,
            modules=[name for name in module_names() if name != "embed.js"],
        )
    )
    response.headers["Cache-Control"] = "private, no-cache"
    response.vary.add("Cookie")
    return response


@blueprint.get("/widget.js")
def widget() -> Response:
    """Answer the loader that another site includes with one script tag.

    Kept for an hour and then asked for again by its ETag. A kept copy may name the
    modules of an older release: `versioned` answers those with the current ones.
    """
    script = render_template(
        "chat_ui/widget.js",
        module_path=asset_url("embed.js"),
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


@blueprint.get("/chat/static/v/<version>/<path:filename>")
def versioned(version: str, filename: str) -> Response:
    """Answer a static file under an address that changes when any of them changes.

    The modules import each other by relative address, so all of them come from the same
    release, and a browser that has them asks for none of them again.
    """
    response = blueprint.send_static_file(filename)
    # Kept by the browser for the chat's own page, it must not be taken for another origin's.
    response.vary.add("Origin")
    response.headers.pop("Expires", None)
    current = version == release()
    response.headers["Cache-Control"] = (
        f"public, max-age={A_YEAR}, immutable" if current else "no-cache"
    )
    return response


def asset_url(filename: str) -> str:
    """Return the path of a static file under the current release."""
    return url_for("chat_ui.versioned", version=release(), filename=filename)


def module_names() -> list[str]:
    """List the JavaScript modules, so that the page can load them in one round."""
    return sorted(path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*.js"))


def release() -> str:
    """Return a short digest of all static files; while debugging it follows every edit."""
    return _digest() if current_app.debug else _digest_once()


def _digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(STATIC.rglob("*.*")):
        digest.update(path.relative_to(STATIC).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


_digest_once = functools.lru_cache(maxsize=1)(_digest)
