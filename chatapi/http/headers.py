"""The security headers of every response."""

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
# Responses other than pages need no policies for frames, openers and features.
DATA_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", DATA_POLICY),
)
# A script or style has no policy of its own; a picture opened alone is a document.
STATIC_HEADERS = (("X-Content-Type-Options", "nosniff"),)
PAGES_OF_THE_API = "openapi.docs"
# Pages of other origins may load the widget and its modules.
EMBEDDABLE = ("/widget.js", "/chat/static/")
EXPOSED = ["ETag", "Link", "X-Next-Cursor", "X-Unread-Total", "Retry-After", "X-Request-Id"]


def init_app(app: Flask) -> None:
    """Set the headers on every response, and CORS for the configured origins only."""
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
    app.after_request(_set_headers)


def _set_headers(response: Response) -> Response:
    headers, asked = response.headers, request_ctx.request
    is_static = static_files.is_static() and response.status_code < 400
    # After a 304 the browser uses the headers of its cached response.
    if response.status_code != 304:
        # No view sets these, and `add` costs half as much as `set`.
        headers.extend(_safety_headers(response, is_static))
        embeddable = asked.path.startswith(EMBEDDABLE)
        sharing = "cross-origin" if embeddable else "same-origin"
        headers.add("Cross-Origin-Resource-Policy", sharing)
    if not is_static:
        headers.add("X-Request-Id", problems.request_id())
    if current_app.config["CORS_ORIGINS"]:
        # Also for other origins and without one, because a cache must not mix them up.
        response.vary.add("Origin")
    if asked.is_secure:
        headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
    if "Cache-Control" not in headers:
        # A browser may cache a response with an ETag, but must revalidate it each time.
        headers["Cache-Control"] = "private, no-cache" if "ETag" in headers else "no-store"
    return response


def _safety_headers(response: Response, is_static: bool) -> tuple[tuple[str, str], ...]:
    if is_static:
        return DATA_HEADERS if response.mimetype == "image/svg+xml" else STATIC_HEADERS
    # Werkzeug sets HTML on a response without a body, but the API has only one page.
    is_html = response.mimetype == "text/html"
    asked = request_ctx.request
    of_the_api = asked.path.startswith("/api/") and asked.endpoint != PAGES_OF_THE_API
    if not is_html or of_the_api:
        return DATA_HEADERS
    policy = PAGE_POLICY.format(pictures=images.policy())
    return *PAGE_HEADERS, ("Content-Security-Policy", policy)
