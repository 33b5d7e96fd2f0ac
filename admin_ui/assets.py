"""The console's static files, under an address that changes with their content."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from flask import Response, current_app, url_for

from admin_ui import blueprint

FOLDER = Path(__file__).parent
A_YEAR = 31_536_000


@blueprint.get("/static/v/<version>/<path:filename>")
def versioned(version: str, filename: str) -> Response:
    """Answer a static file. The modules import each other relatively: one release only."""
    response = blueprint.send_static_file(filename)
    response.headers.pop("Expires", None)
    current = version == release()
    keep = f"public, max-age={A_YEAR}, immutable" if current else "no-cache"
    response.headers["Cache-Control"] = keep
    return response


def asset_url(filename: str) -> str:
    """Return the path of a static file under the current release."""
    return url_for("admin_ui.versioned", version=release(), filename=filename)


@functools.lru_cache(maxsize=1)
def modules() -> tuple[str, ...]:
    """Return the names of the script modules, for the page to load in one round."""
    return tuple(sorted(path.name for path in (FOLDER / "static").glob("*.js")))


def release() -> str:
    """Return a digest of all that decides how a page looks; debugging, it follows edits.

    It is part of each ETag: after an update no page keeps what the old one made.
    """
    return _digest() if current_app.debug else _digest_once()


def _digest() -> str:
    digest = hashlib.blake2b(digest_size=6)
    for folder in ("static", "templates"):
        for path in sorted((FOLDER / folder).rglob("*.*")):
            digest.update(path.relative_to(FOLDER).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


_digest_once = functools.lru_cache(maxsize=1)(_digest)
