"""Static files: compressed once, in the coding the client likes, with few headers."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import brotli
import pytest
from flask import Flask
from flask.testing import FlaskClient
from pymongo.database import Database
from werkzeug.test import TestResponse

import admin_ui
import chat_ui
from chatapi import create_app
from chatapi.http import openapi, static_files
from chatapi.http.static_files import StaticFiles, compress_all
from chatapi.store.database import Document
from config import TestConfig
from tests.conftest import SignIn
from tests.recording import recorded

ROOT = Path(__file__).parents[2]
FOLDERS = {
    "console": admin_ui.assets.files,
    "chat": chat_ui.files,
    "documentation": openapi.files,
    "both front ends": static_files.shared,
}
PAGES = {"console": "/admin/login", "chat": "/chat", "documentation": "/api/docs"}


def address(app: Flask, files: StaticFiles, name: str) -> str:
    with app.test_request_context():
        return files.url(name)


def ask(client: FlaskClient, path: str, accept: str) -> TestResponse:
    return client.get(path, headers={"Accept-Encoding": accept})


@pytest.mark.parametrize("part", PAGES)
@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_every_file_of_a_page_is_compressed_in_each_coding(
    client: FlaskClient, part: str, coding: str
) -> None:
    names = re.findall(r'(?:href|src)="(/[^"]*static/[^"]+)"', client.get(PAGES[part]).text)
    assert names
    for path in names:
        plain = ask(client, path, "identity")
        packed = ask(client, path, coding)
        assert plain.status_code == packed.status_code == 200
        if len(plain.data) < static_files.MIN_COMPRESSED_SIZE:
            continue
        assert packed.headers["Content-Encoding"] == coding
        assert len(packed.data) < 0.7 * len(plain.data)
        assert plain.headers["ETag"] != packed.headers["ETag"]
        if coding == "gzip":
            assert gzip.decompress(packed.data) == plain.data
        if coding == "br":
            assert brotli.decompress(packed.data) == plain.data


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip, zstd", "zstd"),
        ("gzip", "gzip"),
        ("gzip;q=1, br;q=0.5", "gzip"),
        ("br;q=0, gzip;q=0", None),
        ("identity, gzip;q=0.5", None),
        ("deflate", None),
        ("", None),
        ("*", "br"),
        ("gzip;q=nonsense", None),
    ],
)
def test_the_coding_is_one_that_the_client_accepts(
    app: Flask, client: FlaskClient, accept: str, coding: str | None
) -> None:
    answer = ask(client, address(app, chat_ui.files, "chat.css"), accept)
    assert answer.headers.get("Content-Encoding") == coding
    assert answer.headers["Vary"] == "Accept-Encoding"


def test_a_file_is_compressed_once_and_never_by_a_request(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.extensions["chat"].run(compress_all)
    packed: list[object] = []
    for coding in static_files.CODINGS:
        monkeypatch.setitem(static_files.CODINGS, coding, recorded(packed, lambda _: b""))
    for path in (
        address(app, chat_ui.files, "app.bundle.js"),
        address(app, admin_ui.assets.files, "console.css"),
        address(app, admin_ui.assets.files, "vendor/htmx-4.0.1.min.js"),
        address(app, openapi.files, "page.css"),
    ):
        for coding in ("br", "gzip", "zstd"):
            assert ask(client, path, coding).headers["Content-Encoding"] == coding
    assert packed == []


@pytest.mark.parametrize("files", FOLDERS.values(), ids=FOLDERS)
def test_every_file_is_kept_for_a_year_under_its_release_and_asked_for_without(
    app: Flask, client: FlaskClient, files: StaticFiles
) -> None:
    for path in files.folder.rglob("*.*"):
        name = path.relative_to(files.folder).as_posix()
        fragment_etag = address(app, files, name)
        answer = client.get(fragment_etag)
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.data == path.read_bytes()
        for old in (
            re.sub(r"/v/[0-9a-f]+/", "/v/0123456789ab/", fragment_etag),
            re.sub(r"/v/[0-9a-f]+/", "/", fragment_etag),
        ):
            answer = client.get(old)
            assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-cache")
            again = client.get(old, headers={"If-None-Match": answer.headers["ETag"]})
            assert (again.status_code, again.data) == (304, b"")


def test_the_sources_of_a_bundle_are_where_its_map_says(app: Flask, client: FlaskClient) -> None:
    for files, bundle in (
        (chat_ui.files, "app.bundle.js"),
        (chat_ui.files, "page.bundle.js"),
        (chat_ui.files, "embed.bundle.js"),
        (admin_ui.assets.files, "console.bundle.js"),
    ):
        path = address(app, files, bundle)
        name = re.findall(r"^//# sourceMappingURL=(.+)$", client.get(path).text, re.MULTILINE)[-1]
        folder = path.rpartition("/")[0]
        found = json.loads(client.get(f"{folder}/{name}").data)
        assert found["file"] == bundle
        for source in found["sources"]:
            # What both front ends share has one address, from the root.
            shared = source.startswith("/")
            text = client.get(source if shared else f"{folder}/{source}").text
            assert text == (ROOT / source[1:] if shared else files.folder / source).read_text()
        assert any(source.startswith("/web/static/") for source in found["sources"])


@pytest.mark.parametrize("name", ["../views.py", "%2e%2e/views.py", "views", "nothing.js", "v"])
def test_nothing_outside_the_folder_is_served(client: FlaskClient, name: str) -> None:
    assert client.get(f"/chat/static/{name}").status_code == 404
    assert client.get(f"/chat/static/v/0123456789ab/{name}").status_code == 404


def test_an_edit_is_seen_while_debugging(
    database: Database[Document], tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(TestConfig, database=database, DEBUG=True)
    folder = chat_ui.files.folder.__class__(str(tmp_path))
    (folder / "a.css").write_text("a {}")
    files = StaticFiles(folder)
    with app.app_context():
        before = files.release()
        (folder / "a.css").write_text("b {} ")
        (folder / "b.css").write_text("c {}")
        assert files.release() != before


def test_headers_of_a_static_file_are_few(app: Flask, client: FlaskClient, sign_in: SignIn) -> None:
    path = address(app, chat_ui.files, "app.bundle.js")
    client.set_cookie("chat_session", "somebody")
    answer = ask(client, path, "br")
    assert set(answer.headers.keys()) == {
        "Cache-Control",
        "Content-Encoding",
        "Content-Length",
        "Content-Type",
        "Cross-Origin-Resource-Policy",
        "ETag",
        "Vary",
        "X-Content-Type-Options",
    }
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert len(str(answer.headers)) < 350


def test_a_picture_that_is_opened_alone_runs_nothing(app: Flask, client: FlaskClient) -> None:
    answer = client.get(address(app, chat_ui.files, "icon.svg"))
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
