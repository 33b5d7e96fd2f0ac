"""People who call the API, what they send to each route, and how its refusals look."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import mongomock
from bson import ObjectId
from flask import Flask
from flask.testing import FlaskClient
from pymongo.database import Database
from werkzeug.test import TestResponse

from chatapi import create_app
from chatapi.http.endpoint import EndpointSpec
from chatapi.store.database import Document
from config import TestConfig
from tests.conftest import PASSWORD
from tests.user_api import conformance

MakeCaller = Callable[..., "Caller"]
UNKNOWN_ID = "0123456789abcdef01234567"
MALFORMED_IDS = ("x", "123", "z" * 24, "0" * 25, "undefined", "$ne", "0123456789abcdef0123456é")


class Answer(TestResponse):
    """An answer whose JSON a test takes as it comes."""

    @property
    def json(self) -> Any:
        """The body, read as JSON."""
        return super().json


@dataclass
class Caller:
    """Somebody with a Bearer token, or nobody."""

    client: FlaskClient
    headers: dict[str, str]
    id: str | None = None
    email: str | None = None
    role: str | None = None

    def call(self, method: str, path: str, json: Any = None, **options: Any) -> Answer:
        """Send a request; `headers` among the options are added to the caller's own."""
        headers = self.headers | options.pop("headers", {})
        answer = self.client.open(path, method=method, json=json, headers=headers, **options)
        if method != "HEAD":
            conformance.check(self.client.application, method, path, answer)
        if answer.mimetype == "text/event-stream":
            answer.close()
        return cast("Answer", answer)

    def get(self, path: str, **options: Any) -> Answer:
        return self.call("GET", path, **options)

    def post(self, path: str, json: Any = None, **options: Any) -> Answer:
        return self.call("POST", path, json, **options)

    def patch(self, path: str, json: Any = None, **options: Any) -> Answer:
        return self.call("PATCH", path, json, **options)

    def delete(self, path: str, **options: Any) -> Answer:
        return self.call("DELETE", path, **options)

    def send_raw(
        self, method: str, path: str, body: bytes, content_type: str | None = "application/json"
    ) -> Answer:
        """Send a body as it is."""
        answer = self.client.open(
            path, method=method, data=body, content_type=content_type, headers=self.headers
        )
        conformance.check(self.client.application, method, path, answer)
        return cast("Answer", answer)

    def open_chat(self, **fields: Any) -> Any:
        """Open a chat and return it as the API shows it."""
        answer = self.post("/api/chat", {"subject": "Help", **fields})
        assert answer.status_code == 201, answer.text
        return answer.json

    def say(self, chat: Any, content: str = "Hello", **fields: Any) -> Any:
        """Send a message to a chat and return it as the API shows it."""
        path = f"/api/chat/{chat['_id']}/messages"
        answer = self.post(path, {"content": content, **fields})
        assert answer.status_code == 201, answer.text
        return answer.json


def caller_on(app: Flask, user: Mapping[str, Any] | None, token: str | None) -> Caller:
    """Return somebody who keeps no cookies."""
    client = app.test_client(use_cookies=False)
    if user is None:
        return Caller(client, {})
    headers = {"Authorization": f"Bearer {token}"}
    return Caller(client, headers, str(user["_id"]), user["email"], user["role"])


def refused(answer: TestResponse, status: int, code: str, field: str | None = None) -> Any:
    """Check that an answer is a refusal of the right form; return its body."""
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "application/problem+json"
    body: Any = answer.json
    assert body["code"] == code
    assert body["status"] == status
    assert body["type"] == f"/api/docs#{code}"
    assert body["title"]
    assert body["detail"] == body["error"]
    assert body["requestId"] == answer.headers["X-Request-Id"]
    if field is not None:
        assert field in body["fields"], body["fields"]
        assert all(isinstance(text, str) and text for text in body["fields"][field])
    return body


def stored(database: Database[Document]) -> dict[str, list[Document]]:
    """Return all that is in the database, to compare. When a session was seen is left out."""
    return {
        name: [
            {key: value for key, value in row.items() if key != "lastSeenAt"}
            for row in database[name].find().sort("_id")
        ]
        for name in ("users", "sessions", "chatrooms", "messages", "deletions")
    }


@dataclass(frozen=True)
class Route:
    """One route of the API with what it declares; None for those without a declaration."""

    method: str
    rule: str
    contract: EndpointSpec | None

    def __str__(self) -> str:
        return f"{self.method} {self.rule}"

    def path(self, **parts: object) -> str:
        """Return the route's address; parts that are not given stand for what is unknown."""

        def part(found: re.Match[str]) -> str:
            default = 1 if found[1] == "int:" else UNKNOWN_ID
            return str(parts.get(found[2], default))

        return re.sub(r"<(\w+:)?(\w+)>", part, self.rule)


def _routes() -> list[Route]:
    app = create_app(TestConfig, database=mongomock.MongoClient(tz_aware=True)["routes"])
    found = []
    for rule in app.url_map.iter_rules():
        # A WebSocket's address has a second rule, for requests without an upgrade.
        if rule.rule.startswith(("/api/", "/healthz", "/readyz")) and not rule.websocket:
            contract = getattr(app.view_functions[rule.endpoint], "contract", None)
            found += [
                Route(method, rule.rule, contract)
                for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
            ]
    return sorted(found, key=str)


ROUTES = _routes()
WITH_BODY = [route for route in ROUTES if route.contract and route.contract.body is not None]

# A body that each route takes.
BODIES: dict[str, dict[str, Any]] = {
    "POST /api/auth/register": {"name": "New", "email": "new@example.org", "password": PASSWORD},
    "POST /api/auth/login": {"email": "new@example.org", "password": PASSWORD},
    "POST /api/auth/guest": {"name": "Guest", "email": "guest@example.org"},
    "POST /api/auth/password": {"current": PASSWORD, "new": "another password"},
    "POST /api/auth/password/link": {"token": "x", "password": "another password"},
    "POST /api/auth/upgrade": {"password": PASSWORD},
    "POST /api/chat": {"subject": "Help"},
    "PATCH /api/chat/<chat_id>": {"message": "Hello"},
    "POST /api/chat/<chat_id>/messages": {"content": "Hello"},
    "POST /api/chat/<chat_id>/read": {"seq": 1},
    "PATCH /api/admin/users/<user_id>": {"name": "Renamed"},
    "POST /api/admin/chats/bulk": {"ids": [UNKNOWN_ID], "priority": "high"},
}


def object_id(text: str) -> ObjectId:
    """Return the id that the API showed as a text."""
    return ObjectId(text)
