"""The headers that keep a browser safe, on every answer."""

from __future__ import annotations

from flask import Flask, Response, current_app
from flask.globals import request_ctx
from flask_cors import CORS

from chatapi.http import images, problems, static_files

# The pictures are those that the pages show: `images.policy`.
PAGE_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src {pictures}",
        "connect-src 'self'",
        "font-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"
PAGE_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), microphone=(), geolocation=()"),
)
# What is no page cannot be framed, opens nothing and asks for no camera.
DATA_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", DATA_POLICY),
)
# A script or style has no policy of its own; a picture opened alone is a document.
STATIC_HEADERS = (("X-Content-Type-Options", "nosniff"),)
PAGES_OF_THE_API = "openapi.docs"
# What a page of another origin may load: the widget and the modules it is made of.
EMBEDDABLE = ("/widget.js", "/chat/static/")
EXPOSED = ["ETag", "Link", "X-Next-Cursor", "X-Unread-Total", "Retry-After", "X-Request-Id"]


def init_app(app: Flask) -> None:
    """Set the headers on every answer, and CORS for exactly the configured origins."""
    if app.config["CORS_ORIGINS"]:
        CORS(
            app,
            resources={
                r"/api/.*": {},
                r"/widget\.js": {},
                r"/chat/static/.*": {},
            },
            origins=list(app.config["CORS_ORIGINS"]),
            supports_credentials=False,
            allow_headers=["Authorization", "Content-Type", "If-None-Match", "Last-Event-ID"],
            expose_headers=EXPOSED,
            methods=["GET", "POST", "PATCH", "DELETE", "OPTIONS"],
            max_age=600,
            vary_header=False,
            always_send=False,
        )
    app.after_request(_protect)


def _protect(response: Response) -> Response:
    headers, asked = response.headers, request_ctx.request
    is_static = static_files.is_static() and response.status_code < 400
    # After a 304 the browser goes on with the headers of the answer that it has.
    if response.status_code != 304:
        # No view sets these, and to add is half of what it costs to set.
        headers.extend(_safety_headers(response, is_static))
        embeddable = asked.path.startswith(EMBEDDABLE)
        sharing = "cross-origin" if embeddable else "same-origin"
        headers.add("Cross-Origin-Resource-Policy", sharing)
    if not is_static:
        headers.add("X-Request-Id", problems.request_id())
    if current_app.config["CORS_ORIGINS"]:
        # Also on answers to other origins, and without any: a cache must not mix them up.
        response.vary.add("Origin")
    if asked.is_secure:
        headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
    if "Cache-Control" not in headers:
        # A browser may keep an answer with an ETag, but must ask each time.
        headers["Cache-Control"] = "private, no-cache" if "ETag" in headers else "no-store"
    return response


def _safety_headers(response: Response, is_static: bool) -> tuple[tuple[str, str], ...]:
    if is_static:
        return DATA_HEADERS if response.mimetype == "image/svg+xml" else STATIC_HEADERS
    # An answer without a body counts as HTML for werkzeug, but the API has one page alone.
    is_html = response.mimetype == "text/html"
    asked = request_ctx.request
    of_the_api = asked.path.startswith("/api/") and asked.endpoint != PAGES_OF_THE_API
    if not is_html or of_the_api:
        return DATA_HEADERS
    policy = PAGE_POLICY.format(pictures=images.policy())
    return *PAGE_HEADERS, ("Content-Security-Policy", policy)
