"""Requests that are wrong as HTTP: each keeps its status, and none is the server's fault."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, abort
from flask.testing import FlaskClient
from gunicorn.http.errors import ChunkMissingTerminator, InvalidChunkSize, NoMoreData

from tests.user_api.callers import Caller, refused


@pytest.fixture
def chat_path(user: Caller) -> str:
    """The address of a chat."""
    return f"/api/chat/{user.open_chat(message='One')['_id']}"


@pytest.mark.parametrize("status", [400, 406, 408, 409, 412, 416, 417, 422, 431, 501, 502])
def test_every_http_error_keeps_its_status(app: Flask, status: int) -> None:
    app.add_url_rule("/api/broken", "broken", lambda: abort(status))
    answer = app.test_client().get("/api/broken")
    assert answer.status_code == status
    assert answer.mimetype == "application/problem+json"
    assert answer.get_json()["status"] == status
    assert answer.get_json()["code"] == ("bad_request" if status < 500 else "internal")


@pytest.mark.parametrize(
    "error", [InvalidChunkSize(b"x"), ChunkMissingTerminator(b"x"), NoMoreData()]
)
@pytest.mark.parametrize("path", ["/api/auth/login", "/admin/login"])
def test_a_body_that_is_not_well_formed_is_the_clients_fault(
    client: FlaskClient, error: Exception, path: str
) -> None:
    class Broken:
        def read(self, *_: Any) -> bytes:
            raise error

        readline = readinto = read

    answer = client.post(
        path,
        content_type="application/json" if "/api/" in path else "application/x-www-form-urlencoded",
        environ_overrides={"wsgi.input": Broken(), "wsgi.input_terminated": True},
    )
    assert answer.status_code == 400
    if "/api/" in path:
        refused(answer, 400, "bad_request")


@pytest.mark.parametrize(
    "path",
    [
        "/api/chat?q=%ff%fe",
        "/api/chat?q=%00",
        "/api/chat?status=%ed%a0%80",
        "/api/chat?%ff=1",
        "/api/chat/%ff",
        "/api/chat/%00",
        "/api/chat/%zz",
        "/api/chat?cursor=%00",
        "/admin/chats/%ff",
        "/chat/static/%ff",
        "/chat/static/v/%00/%00",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "NONSENSE"])
def test_no_address_is_the_servers_fault(user: Caller, path: str, method: str) -> None:
    assert user.call(method, path).status_code < 500


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Range", "bytes=9-1"),
        ("Range", "bytes=999999-"),
        ("Range", "lines=x"),
        ("If-Modified-Since", "yesterday"),
        ("If-Unmodified-Since", "Mon, 99 Foo 9999 99:99:99 GMT"),
        ("If-Range", "nonsense"),
        ("If-None-Match", 'W/"'),
        ("Content-Length", "nonsense"),
        ("Content-Length", "-1"),
        ("Accept-Encoding", "gzip;q=nonsense"),
        ("Accept", "\xff"),
        ("Cookie", "chat_session=" + "x" * 50_000),
        ("Cookie", "=;;\xff=\x01"),
        ("Content-Type", "application/json; charset=nonsense"),
        ("Host", "exam ple"),
        ("Origin", "http://[::1"),
        ("Expect", "nonsense"),
    ],
)
@pytest.mark.parametrize(
    "path", ["/api/chat", "/api/config", "/chat", "/widget.js", "/admin/login", "/api/openapi.json"]
)
def test_no_header_is_the_servers_fault(user: Caller, path: str, name: str, value: str) -> None:
    assert user.get(path, headers={name: value}).status_code < 500


@pytest.mark.parametrize(
    "text", [b'{"email": "\\ud800", "password": "x"}', b'{"\\udfff": 1}', b"\xff"]
)
def test_halves_of_characters_are_the_clients_fault(anonymous: Caller, text: bytes) -> None:
    assert 400 <= anonymous.send_raw("POST", "/api/auth/login", text).status_code < 500


@pytest.mark.parametrize("sent", ["*", '"other", {}', "W/{}", '{}, "other"'])
def test_every_form_of_if_none_match_is_understood(user: Caller, chat_path: str, sent: str) -> None:
    for path in (
        "/api/chat",
        chat_path,
        f"{chat_path}/messages",
        "/api/openapi.json",
        "/widget.js",
    ):
        etag = user.get(path).headers.get("ETag")
        if etag:
            answer = user.get(path, headers={"If-None-Match": sent.format(etag)})
            assert (path, answer.status_code, answer.data) == (path, 304, b"")


def test_another_etag_is_answered_whole(user: Caller, chat_path: str) -> None:
    assert user.get(chat_path, headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize("path", ["/api/chat", "/api/config", "/chat", "/widget.js", "/healthz"])
def test_head_is_get_without_a_body_and_options_names_the_methods(user: Caller, path: str) -> None:
    whole, head = user.get(path), user.call("HEAD", path)
    assert (head.status_code, head.data) == (whole.status_code, b"")
    assert head.headers.get("ETag") == whole.headers.get("ETag")
    assert head.headers["Content-Length"] == whole.headers["Content-Length"]
    options = user.call("OPTIONS", path)
    assert options.status_code < 300
    assert {"GET", "HEAD", "OPTIONS"} <= {
        each.strip() for each in options.headers["Allow"].split(",")
    }
