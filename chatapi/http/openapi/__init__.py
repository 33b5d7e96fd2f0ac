"""The OpenAPI 3.1 document, made of the endpoints' own declarations, and its page.

Both are built on the first request for them and kept; nothing in them depends on the caller.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, current_app

from chatapi.domain import errors
from chatapi.domain.runtime import PerApp
from chatapi.http.limits import rate_limit
from chatapi.http.openapi import reference
from chatapi.http.openapi.document import build_document
from chatapi.http.openapi.examples import error_responses, problem_example
from chatapi.http.openapi.texts import ADVICE, EXTRAS
from chatapi.http.static_files import StaticFiles, make_conditional

blueprint = Blueprint(
    "openapi",
    __name__,
    url_prefix="/api",
    template_folder="templates",
)
files = StaticFiles(Path(__file__).parent / "static")
files.register(blueprint, "/docs/static")


@dataclass(frozen=True)
class CachedBody:
    """A body that is always the same, and the ETag that says so."""

    body: bytes
    etag: str
    mimetype: str

    @classmethod
    def from_bytes(cls, body: bytes, mimetype: str) -> CachedBody:
        """Return a body with its ETag."""
        return cls(body, hashlib.blake2b(body, digest_size=16).hexdigest(), mimetype)

    def response(self) -> Response:
        """Return the answer, 304 for a client that has it."""
        response = Response(self.body, mimetype=self.mimetype)
        response.set_etag(self.etag)
        make_conditional(response)
        return response


def openapi_json() -> Response:
    """Give this document."""
    return _kept("document").response()


def docs() -> Response:
    """Show the document as a page."""
    return _kept("page").response()


blueprint.add_url_rule("/openapi.json", view_func=rate_limit(openapi_json))
blueprint.add_url_rule("/docs", view_func=rate_limit(docs))


_built: PerApp[dict[str, CachedBody]] = PerApp(dict)


def _kept(name: str) -> CachedBody:
    kept = _built.current
    if name not in kept:
        kept[name] = _build(name)
    return kept[name]


def _build(name: str) -> CachedBody:
    made = build_document(current_app)
    if name == "page":
        page = reference.render(made, _advice(), files.url("page.css"), files.url("page.js"))
        return CachedBody.from_bytes(page.encode(), "text/html")
    text = json.dumps(made, ensure_ascii=False, separators=(",", ":"))
    return CachedBody.from_bytes(text.encode(), "application/json")


def _advice() -> dict[str, dict[str, Any]]:
    """Return, for each code, its title, status, text, extra members and what to do."""
    return {
        kind.code: {
            "status": kind.status,
            "title": kind.title,
            "detail": kind.default_detail,
            "extras": EXTRAS.get(kind.code, {}),
            "advice": ADVICE.get(kind.code, ""),
            "example": problem_example(kind),
        }
        for kind in sorted(error_responses().values(), key=lambda kind: (kind.status, kind.code))
        if "code" in vars(kind) and kind is not errors.Conflict
    }
