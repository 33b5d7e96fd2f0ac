"""The database goes away and comes back: quick and honest answers, and no restart needed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from flask import Flask
from pymongo import MongoClient
from pymongo.errors import AutoReconnect, OperationFailure

from chatapi.store import chats as stored_chats
from tests.conftest import SignIn
from tests.consistency import assert_all_chats_are_consistent
from tests.live.clients import Answer, Client, at_once, register, register_agent
from tests.servers import AppServer, DatabaseServer, start_app, start_database

# Server selection gives up after this; a request must not wait for it twice.
TIMEOUT_MS = 1500
QUICK = 1.8 * TIMEOUT_MS / 1000


@dataclass
class Outage:
    """A product whose database has just been killed."""

    server: AppServer
    database: DatabaseServer
    user: Client
    agent: Client
    chat_id: str


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outage]:
    """The product with a database of its own, and people in a chat."""
    settings = {"RATELIMIT_ENABLED": "false", "DATABASE_TIMEOUT_MS": str(TIMEOUT_MS)}
    with (
        start_database(tmp_path_factory.mktemp("outage") / "db") as database,
        start_app(database.uri, 2, settings) as server,
    ):
        user, agent = register(server), register_agent(server)
        chat_id = user.open_chat()
        assert user.send(chat_id, "before", "before")[0] == 201
        yield Outage(server, database, user, agent, chat_id)


@pytest.fixture
def outage(running: Outage) -> Iterator[Outage]:
    """The same without its database, which comes back behind the test."""
    running.database.kill()
    yield running
    running.database.start()


def timed(
    server: AppServer, method: str, path: str, *args: Any, **options: Any
) -> tuple[Answer, float]:
    started = time.monotonic()
    answer = server.request(method, path, *args, **options)
    return answer, time.monotonic() - started


def assert_tells_nothing(text: str, outage: Outage) -> None:
    """Nobody outside learns where the database is or what the code looks like."""
    secrets = ("127.0.0.1", str(outage.database.port), "Traceback", "pymongo", ".py", "mongodb")
    assert not [secret for secret in secrets if secret in text], text


def test_requests_are_answered_503_quickly_and_say_nothing_of_the_inside(outage: Outage) -> None:
    here = f"/api/chat/{outage.chat_id}"
    requests: list[tuple[str, str, Any]] = [
        ("GET", "/api/chat", None),
        ("GET", here, None),
        ("GET", f"{here}/messages", None),
        ("POST", f"{here}/messages", {"content": "Hello"}),
        ("PATCH", here, {"message": "Hello"}),
        ("POST", f"{here}/read", {"seq": 1}),
        ("POST", "/api/chat", {"subject": "Help"}),
        ("GET", "/api/auth/me", None),
        ("GET", "/api/admin/stats", None),
        ("GET", f"{here}/events", None),
    ]

    def ask(method: str, path: str, body: Any) -> tuple[Answer, float]:
        return timed(outage.server, method, path, outage.user.token, body)

    answers = at_once([partial(ask, *each) for each in requests])
    for (status, headers, problem), seconds in answers:
        assert (status, problem["code"], problem["status"]) == (503, "database_unavailable", 503)
        assert headers["content-type"] == "application/problem+json"
        assert int(headers["retry-after"]) >= 1
        assert problem["requestId"] == headers["x-request-id"]
        assert problem["detail"] == problem["error"]
        assert "debug" not in problem
        assert_tells_nothing(str(problem) + str(headers), outage)
        assert seconds < QUICK
    # What went wrong stands in the log, under the same id.
    assert answers[0][0][2]["requestId"] in outage.server.log.read_text()


def test_signing_in_is_answered_503_and_no_attempt_is_lost_on_the_way(outage: Outage) -> None:
    for path, body in (
        ("/api/auth/login", {"email": "live@example.org", "password": "a password"}),
        ("/api/auth/register", {"name": "A", "email": "a@example.org", "password": "a password"}),
        ("/api/auth/guest", {"name": "A", "email": "a@example.org"}),
    ):
        (status, _, problem), seconds = timed(outage.server, "POST", path, json=body)
        assert (status, problem["code"]) == (503, "database_unavailable")
        assert_tells_nothing(str(problem), outage)
        assert seconds < QUICK


def test_the_process_says_that_it_lives_and_is_not_ready(outage: Outage) -> None:
    (status, _, _), seconds = timed(outage.server, "GET", "/healthz")
    assert status == 200
    assert seconds < 0.5
    (status, headers, problem), seconds = timed(outage.server, "GET", "/readyz")
    assert (status, problem["code"]) == (503, "database_unavailable")
    assert "retry-after" in headers
    assert seconds < QUICK
    assert len(outage.server.worker_pids()) == 2


def test_pages_are_answered_503_as_pages(outage: Outage) -> None:
    paths = ("/admin", "/admin/users", f"/admin/chats/{outage.chat_id}")

    def ask(path: str, headers: dict[str, str]) -> tuple[Answer, float]:
        return timed(outage.server, "GET", path, outage.agent.token, headers=headers)

    kinds: list[dict[str, str]] = [{}, {"HX-Request": "true"}]
    answers = at_once([partial(ask, path, headers) for path in paths for headers in kinds])
    for (status, sent, page), seconds in answers:
        assert status == 503
        assert sent["content-type"].startswith("text/html")
        assert int(sent["retry-after"]) >= 1
        assert "<" in page
        assert_tells_nothing(page, outage)
        assert seconds < QUICK


def test_what_needs_no_database_is_still_served(outage: Outage) -> None:
    for path in ("/chat", "/widget.js", "/api/config", "/api/openapi.json", "/admin/login"):
        (status, _, _), seconds = timed(outage.server, "GET", path)
        assert status == 200, path
        assert seconds < QUICK


def test_everything_recovers_by_itself_when_the_database_comes_back(running: Outage) -> None:
    workers = running.server.worker_pids()
    for number in range(2):
        running.database.kill()
        assert running.user.send(running.chat_id, "lost", f"key {number}")[0] == 503
        running.database.start()
        started = time.monotonic()
        answer, _ = running.user.insist(
            partial(running.user.send, running.chat_id, "kept", f"key {number}")
        )
        assert answer[0] == 201
        assert time.monotonic() - started < 10
        assert running.server.request("GET", "/readyz")[0] == 200
        assert running.agent.call("GET", "/admin")[0] == 200
        assert running.agent.call("GET", f"/api/chat/{running.chat_id}")[2]["lastSeq"] == number + 2
    assert running.server.worker_pids() == workers
    client: MongoClient[dict[str, Any]] = MongoClient(running.database.uri, tz_aware=True)
    with client:
        assert_all_chats_are_consistent(client.get_default_database())


# Who is told what: the database fails when it is already known who asks.


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (AutoReconnect("db.internal:27017: connection refused"), 503, "database_unavailable"),
        (OperationFailure("db.internal stepped down", 189), 503, "database_unavailable"),
        (OperationFailure("db.internal has no space", 14031), 500, "internal"),
        (RuntimeError("db.internal is odd"), 500, "internal"),
    ],
)
@pytest.mark.parametrize("role", ["admin", "user", "guest"])
def test_an_agent_is_told_what_failed_and_nobody_else(
    app: Flask,
    sign_in: SignIn,
    monkeypatch: pytest.MonkeyPatch,
    failure: Exception,
    status: int,
    code: str,
    role: str,
) -> None:
    def fail(*_: object) -> None:
        raise failure

    app.config["PROPAGATE_EXCEPTIONS"] = False
    headers = sign_in(role)
    monkeypatch.setattr(stored_chats, "newest_versions", fail)
    answer = app.test_client().get("/api/chat", headers=headers)
    problem = answer.get_json()
    assert (answer.status_code, problem["code"]) == (status, code)
    assert ("Retry-After" in answer.headers) == (status == 503)
    if role == "admin":
        assert problem["debug"] == {"exception": type(failure).__name__, "message": str(failure)}
    else:
        assert "debug" not in problem
        assert "db.internal" not in answer.get_data(as_text=True)
    assert "Traceback" not in answer.get_data(as_text=True)
