"""Serve a folder of static files from memory: bundled and compressed once, kept for a year.

A file's address holds the release, a digest of everything that is served and of what else
decides how a page looks. So an answer never has to be asked for again, and no page mixes files
of two releases: `/chat/static/v/3f0c…/app.bundle.js`. The source files stay readable under
their own names beside the bundles.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import brotli
from flask import Blueprint, Flask, Response, current_app, request, url_for
from flask.globals import request_ctx
from werkzeug.exceptions import NotFound

from chatapi.domain.runtime import PerApp
from chatapi.http.javascript import make_bundles

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

A_YEAR = 31_536_000
# Below this the answer fits one packet anyway.
MIN_COMPRESSED_SIZE = 500
# The first that a client accepts best is taken: brotli's are the smallest.
CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "br": lambda body: brotli.compress(body, quality=11),
    "zstd": lambda body: zstd.compress(body, 19),
    "gzip": lambda body: gzip.compress(body, 9, mtime=0),
}
_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml; charset=utf-8",
    ".map": "application/json",
}
_COMPRESSIBLE = ("text/", "application/json", "image/svg+xml")


@dataclass(frozen=True)
class _File:
    """A file's bytes, and what they are in each content coding that was asked for."""

    body: bytes
    content_type: str
    digest: str
    encoded: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def from_bytes(cls, name: str, body: bytes) -> _File:
        suffix = Path(name).suffix
        content_type = _TYPES.get(suffix) or mimetypes.guess_type(name)[0]
        digest = hashlib.blake2b(body, digest_size=8).hexdigest()
        return cls(body, content_type or "application/octet-stream", digest)

    def in_coding(self, coding: str) -> bytes:
        """Return the body in a coding, compressing it at the first call."""
        if coding not in self.encoded:
            # Two threads may both do it; the result is the same.
            self.encoded[coding] = CODINGS[coding](self.body)
        return self.encoded[coding]

    @property
    def is_compressible(self) -> bool:
        """Tell whether a coding makes the body smaller."""
        return self.content_type.startswith(_COMPRESSIBLE) and len(self.body) >= MIN_COMPRESSED_SIZE


@dataclass(frozen=True)
class _Release:
    """All files of a folder as they are served, and the digest in their addresses."""

    files: dict[str, _File]
    digest: str
    sources: frozenset[str]  # of bundles, and their maps: read by developers only


class StaticFiles:
    """The static files of a blueprint, the same for every app of the process: they are read from
    the disk, and nothing in them is of an app.

    folder -- where they are.
    entries -- the modules in it that begin a bundle; `url("app.bundle.js")` is its address.
    watched -- folders beside it that decide how a page looks, such as its templates.
    """

    def __init__(
        self, folder: Path, *, entries: Iterable[str] = (), watched: Iterable[Path] = ()
    ) -> None:
        self.folder, self.entries, self.watched = folder, tuple(entries), tuple(watched)
        self._endpoint = ""
        self._release: _Release | None = None
        self._signature: object = None

    def register(self, blueprint: Blueprint, path: str) -> None:
        """Serve the files at PATH/v/RELEASE/NAME for a year, and at PATH/NAME without."""
        self._endpoint = f"{blueprint.name}.versioned"
        blueprint.add_url_rule(f"{path}/v/<version>/<path:filename>", "versioned", self._respond)
        blueprint.add_url_rule(f"{path}/<path:filename>", "static", self._respond)

    def url(self, filename: str) -> str:
        """Return the path of a file under the current release."""
        return url_for(self._endpoint, version=self.release(), filename=filename)

    def release(self) -> str:
        """Return the digest of the current release; while debugging it follows every edit."""
        return self._current().digest

    def build(self) -> None:
        """Read and bundle the files now. Raises BundleError for a source it cannot bundle."""
        self._current()

    def compress(self) -> None:
        """Compress what the pages load, so that no request has to wait for it."""
        assert self._release is not None  # noqa: S101 - build() comes first
        for name, file in self._release.files.items():
            if file.is_compressible and name not in self._release.sources:
                for coding in CODINGS:
                    file.in_coding(coding)

    def _current(self) -> _Release:
        if self._release is None or current_app.debug:
            signature = [(path, path.stat().st_mtime_ns) for path in self._paths()]
            if signature != self._signature:
                self._release, self._signature = self._read(), signature
        assert self._release is not None  # noqa: S101 - for mypy: it was just read
        return self._release

    def _paths(self) -> list[Path]:
        folders = (self.folder, *self.watched)
        return sorted(path for folder in folders for path in folder.rglob("*.*") if path.is_file())

    def _read(self) -> _Release:
        bodies = {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in self._paths()
            if path.is_relative_to(self.folder)
        }
        sources: set[str] = set()
        for bundle in make_bundles(self.folder, self.entries):
            bodies |= {bundle.name: bundle.code, bundle.map_name: bundle.map}
            sources |= {bundle.map_name, *bundle.sources}
        digest = hashlib.blake2b(digest_size=6)
        for name, body in bodies.items():
            digest.update(f"{name}\n{len(body)}\n".encode())
            digest.update(body)
        for path in self._paths():
            if not path.is_relative_to(self.folder):
                digest.update(path.name.encode() + path.read_bytes())
        files = {name: _File.from_bytes(name, body) for name, body in bodies.items()}
        return _Release(files, digest.hexdigest(), frozenset(sources))

    def _respond(self, filename: str, version: str | None = None) -> Response:
        current = self._current()
        file = current.files.get(filename)
        if file is None:
            raise NotFound
        coding = choose_coding(CODINGS) if file.is_compressible else None
        response = Response(
            file.in_coding(coding) if coding else file.body, content_type=file.content_type
        )
        response.set_etag(f"{file.digest}-{coding}" if coding else file.digest)
        if coding:
            response.headers["Content-Encoding"] = coding
        response.headers["Cache-Control"] = (
            f"public, max-age={A_YEAR}, immutable" if version == current.digest else "no-cache"
        )
        response.vary.add("Accept-Encoding")
        make_conditional(response)
        response.headers.pop("Date", None)  # the server sends one
        return response


# The modules of both front ends stand in their bundles; a source map leads here.
shared = StaticFiles(Path(__file__).parents[2] / "web" / "static")
blueprint = Blueprint("web", __name__)
shared.register(blueprint, "/web/static")


def choose_coding(offered: Iterable[str]) -> str | None:
    """Return the coding that the client likes best, the first of those it likes equally."""
    accepted = request.accept_encodings
    best = max(offered, key=accepted.quality)
    wanted = accepted.quality(best)
    return best if wanted > 0 and wanted >= accepted.quality("identity") else None


def make_conditional(response: Response) -> None:
    """Answer 304, 412 or a range where the request's conditions ask for it."""
    environ = request.environ
    if environ.get("HTTP_IF_MATCH", "").strip() == "*":
        # It is true of every file there is; Werkzeug compares it with the ETag.
        environ = {name: value for name, value in environ.items() if name != "HTTP_IF_MATCH"}
    response.make_conditional(environ)


def is_static() -> bool:
    """Tell whether the request is for a static file."""
    return (request_ctx.request.endpoint or "").endswith((".static", ".versioned"))


_folders: PerApp[tuple[StaticFiles, ...]] = PerApp(tuple)


def init_app(app: Flask, folders: Iterable[StaticFiles]) -> None:
    """Read and bundle the files of these folders now. Raises BundleError."""
    _folders.set(tuple(folders))
    with app.app_context():
        for files in _folders.current:
            files.build()


def compress_all() -> None:
    """Compress what the pages of the app load, for all the requests to come."""
    for files in _folders.current:
        files.compress()
