"""Every method at every address, for everybody: served, or 405 with the methods that are."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from tests.conftest import SignIn

# Streams never end, and a WebSocket has no body to leave out.
WITHOUT_HEAD = {"user_api.chat_events", "user_api.inbox_events", "user_api.websocket"}
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"}
FOR_PROGRAMS = ("/api/", "/healthz", "/readyz")


@pytest.fixture(params=["anonymous", "guest", "user", "admin"])
def visitor(request: pytest.FixtureRequest, app: Flask, sign_in: SignIn) -> FlaskClient:
    """A browser of each role. It sends a cookie: the case that CSRF could get in the way of."""
    client = app.test_client()
    if request.param != "anonymous":
        token = sign_in(request.param)["Authorization"].removeprefix("Bearer ")
        client.set_cookie(app.config["AUTH_COOKIE_NAME"], token)
    return client


def served(app: Flask) -> dict[str, dict[str, str]]:
    """Return one path of every rule, with the methods that are served there: {method: endpoint}.

    An address may belong to several rules: /admin/chats/bulk is a chat's address as well.
    """
    urls = app.url_map.bind("localhost")
    found: dict[str, dict[str, str]] = {}
    for rule in app.url_map.iter_rules():
        values = {name: 1 if name == "seq" else "0" * 24 for name in rule.arguments}
        path = urls.build(rule.endpoint, values)
        for method in METHODS:
            try:
                endpoint, _ = urls.match(path, method=method)
            except RequestRedirect:
                raise
            except HTTPException:
                continue
            found.setdefault(path, {})[method] = endpoint
    return found


def test_a_method_that_is_not_served_is_405_and_names_those_that_are(
    app: Flask, visitor: FlaskClient
) -> None:
    refused = 0
    for path, known in served(app).items():
        for method in METHODS - known.keys():
            answer = visitor.open(path, method=method)
            where = (method, path, answer.status_code, answer.headers.get("Allow"))
            assert answer.status_code == 405, where
            assert sorted(answer.headers["Allow"].split(", ")) == sorted(known), where
            if method == "HEAD":
                assert answer.data == b"", where
            elif path.startswith(FOR_PROGRAMS):
                assert answer.mimetype == "application/problem+json", where
                assert answer.get_json()["code"] == "method_not_allowed", where
            else:
                assert answer.mimetype == "text/html", where
                assert "<h1" in answer.text, where
            refused += 1
    assert refused > 300


def test_head_answers_like_get_without_a_body_and_options_names_the_methods(
    app: Flask, visitor: FlaskClient
) -> None:
    asked = 0
    for path, known in served(app).items():
        options = visitor.options(path)
        assert options.status_code == 200, (path, options.status_code)
        assert options.data == b"", path
        assert sorted(options.headers["Allow"].split(", ")) == sorted(known), path
        if "GET" not in known or known["GET"] in WITHOUT_HEAD:
            continue
        whole, head = visitor.get(path), visitor.head(path)
        assert head.data == b"", path
        assert head.status_code == whole.status_code < 500, (path, head.status_code)
        asked += 1
    assert asked > 20
