"""Requests that schemathesis makes up from the OpenAPI document, against a real server.

Whatever is sent: never a 5xx, and every answer as the document says. What is sent is the
same in every run.
"""

from __future__ import annotations

import itertools
from typing import Any, cast

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS

from tests.conftest import PASSWORD, MakeUser
from tests.servers import AppServer

pytestmark = pytest.mark.long

# Streams do not end, and a WebSocket is no request and answer.
LEFT_OUT = {"chatEvents", "inboxEvents", "websocket"}
EXAMPLES = 12
NAMES = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)


class Stage:
    """A server with a user, an agent and a chat, made anew when a request took one away."""

    def __init__(self, server: AppServer, make_user: MakeUser) -> None:
        self.server = server
        self.people = {"user": make_user(), "admin": make_user(role="admin")}
        make_user(role="admin")

    def ask(self, method: str, path: str, token: str | None = None, json: Any = None) -> Any:
        status, _, body = self.server.request(method, path, token, json)
        return status, body

    def token(self, role: str) -> str:
        """Return a token that works, whatever was done to the account."""
        email = self.people[role]["email"]
        status, body = self.ask(
            "POST", "/api/auth/login", json={"email": email, "password": PASSWORD}
        )
        assert status == 200, body
        return str(body["token"])

    def chat_id(self) -> str:
        """Return the id of a chat of the user that has messages."""
        token = self.token("user")
        body = {"subject": "Help", "message": "Hello"}
        status, answer = self.ask("POST", "/api/chat", token, body)
        return str(answer["_id"] if status == 201 else answer["chatId"])


@pytest.fixture
def stage(live_server: AppServer, make_user: MakeUser) -> Stage:
    """A server with people and a chat."""
    return Stage(live_server, make_user)


@pytest.fixture
def operations(live_server: AppServer) -> list[Any]:
    """The operations that the server says it has."""
    schema = schemathesis.openapi.from_url(f"{live_server.url}/api/openapi.json")
    found: list[Any] = [cast("Any", result).ok() for result in schema.get_all_operations()]
    return [each for each in found if each.definition.raw["operationId"] not in LEFT_OUT]


@pytest.mark.parametrize("role", ["user", "admin"])
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_made_up_requests_are_answered_as_documented(
    role: str, mode: GenerationMode, stage: Stage, operations: list[Any]
) -> None:
    for operation in operations:
        ask_about(operation, mode, stage.token(role), stage.chat_id())


def ask_about(operation: Any, mode: GenerationMode, token: str, chat_id: str) -> None:
    """Send made-up requests to one operation and check the answers."""
    checks = CHECKS.get_by_names(NAMES)
    number = itertools.count()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        # Made-up ids name nothing; every other request is about a chat that is there.
        if "chatId" in (case.path_parameters or {}) and next(number) % 2:
            case.path_parameters["chatId"] = chat_id
        if case.query:
            case.query.pop("wait", None)  # It waits up to 25 seconds.
        answer = case.call(headers={"Authorization": f"Bearer {token}"}, timeout=20)
        # A line or a header that is too long does not come past the web server.
        if answer.status_code not in {414, 431}:
            case.validate_response(answer, checks=checks)

    try:
        ask()
    except Unsatisfiable:
        # Where nothing is sent, nothing can be wrong about it. All else has to be asked.
        if takes_something(operation) or mode is not GenerationMode.NEGATIVE:
            raise


def takes_something(operation: Any) -> bool:
    """Tell whether the document names anything that a request of this operation carries."""
    described = operation.definition.raw
    return bool(
        described.get("parameters") or described.get("requestBody") or described.get("security")
    )
