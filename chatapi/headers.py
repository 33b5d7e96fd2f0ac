"""The headers that keep a browser safe, on every answer."""

from __future__ import annotations

from flask import Flask, Response, current_app, request
from flask_cors import CORS

from chatapi import problem

PAGE_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' https: data:",
        "connect-src 'self'",
        "font-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"
ALWAYS = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), microphone=(), geolocation=()"),
)
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
    headers = response.headers
    is_page = response.mimetype == "text/html"
    embeddable = request.path.startswith(EMBEDDABLE)
    # Nobody else sets these, and to add is half of what it costs to set.
    headers.extend(ALWAYS)
    headers.add("Content-Security-Policy", PAGE_POLICY if is_page else DATA_POLICY)
    sharing = "cross-origin" if embeddable else "same-origin"
    headers.add("Cross-Origin-Resource-Policy", sharing)
    headers.add("X-Request-Id", problem.request_id())
    if current_app.config["CORS_ORIGINS"]:
        # Also on answers to other origins, and without any: a cache must not mix them up.
        response.vary.add("Origin")
    if request.is_secure:
        headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
    if "Cache-Control" not in headers:
        # A browser may keep an answer with an ETag, but must ask each time.
        headers["Cache-Control"] = "private, no-cache" if "ETag" in headers else "no-store"
    return response
