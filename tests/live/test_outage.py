"""The database goes away and comes back: quick and honest answers, and no restart needed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from tests.conftest import PASSWORD
from tests.consistency import assert_all_chats_are_consistent, assert_chat_is_consistent
from tests.live.clients import Answer, Client, at_once, register, register_agent
from tests.servers import AppServer, DatabaseServer, descendants, start_app, start_database
from tests.waiting import eventually

# Server selection gives up after this; a request must not wait for it twice.
TIMEOUT_MS = 1500
QUICK = 1.8 * TIMEOUT_MS / 1000
# A request that has been sent is waited for twice as long, once.
HANGING = 2 * TIMEOUT_MS / 1000 + 1.5


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
        ("GET", "/api/auth/sessions", None),
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


@pytest.mark.long
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


def has_stopped(pid: int) -> bool:
    """Return whether every thread of a process stands still."""
    stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)


@contextmanager
def frozen(database: DatabaseServer) -> Iterator[None]:
    """Let the database's processes stand still inside the block: they take, and do not answer."""
    pids = [database.pid, *descendants(database.pid)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    # A thread on another core goes on until it enters the kernel.
    eventually(lambda: all(has_stopped(pid) for pid in pids))
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.long
def test_a_database_that_hangs_is_answered_503_in_time_and_loses_nothing(running: Outage) -> None:
    here, workers = f"/api/chat/{running.chat_id}", running.server.worker_pids()
    acknowledged = [running.user.send(running.chat_id, f"{n}", f"hang {n}")[2] for n in range(3)]
    requests: list[tuple[str, str, Any]] = [
        ("GET", "/api/chat", None),
        ("GET", f"{here}/messages", None),
        ("POST", f"{here}/messages", {"content": "Hello?", "clientMessageId": "hanging"}),
        ("PATCH", here, {"message": "Anybody?", "clientMessageId": "hanging, too", "read": True}),
        ("POST", f"{here}/read", {"seq": 1}),
        ("GET", "/readyz", None),
        ("GET", f"{here}/events", None),
    ]

    def ask(method: str, path: str, body: Any) -> tuple[Answer, float]:
        return timed(running.server, method, path, running.user.token, body)

    with frozen(running.database):
        # At first nobody knows; then it is known that the database does not answer.
        for _ in range(2):
            answers = at_once([partial(ask, *each) for each in requests])
            for (status, headers, problem), seconds in answers:
                assert (status, problem["code"]) == (503, "database_unavailable")
                assert headers["content-type"] == "application/problem+json"
                assert int(headers["retry-after"]) >= 1
                assert_tells_nothing(str(problem) + str(headers), running)
                assert seconds < HANGING
        (status, _, _), seconds = timed(running.server, "GET", "/healthz")
        assert status == 200
        assert seconds < 0.5
    started = time.monotonic()
    for text, key in (("Hello?", "hanging"), ("Anybody?", "hanging, too")):
        answer, _ = running.user.insist(partial(running.user.send, running.chat_id, text, key))
        assert answer[0] in {200, 201}
        acknowledged.append(answer[2])
    assert time.monotonic() - started < 10
    assert running.server.request("GET", "/readyz")[0] == 200
    assert running.server.worker_pids() == workers
    client: MongoClient[dict[str, Any]] = MongoClient(running.database.uri, tz_aware=True)
    with client:
        history = assert_chat_is_consistent(client.get_default_database(), running.chat_id)
    for message in acknowledged:
        assert [row["seq"] for row in history if row["content"] == message["content"]] == [
            message["seq"]
        ]


@pytest.mark.long
def test_limits_that_are_counted_in_the_database_make_nobody_wait_longer(running: Outage) -> None:
    settings = {
        "DATABASE_TIMEOUT_MS": str(TIMEOUT_MS),
        "RATELIMIT_STORAGE_URI": running.database.uri,
    }
    with start_app(running.database.uri, 1, settings) as server:
        who = register(server)
        guest = {"name": "Gil", "email": "gil@example.org"}
        requests: list[tuple[str, str, str | None, Any]] = [
            ("POST", "/api/auth/guest", None, guest),
            ("POST", "/api/auth/login", None, {"email": "a@example.org", "password": PASSWORD}),
            ("POST", f"/api/chat/{running.chat_id}/messages", who.token, {"content": "Hello"}),
            ("GET", "/api/chat", who.token, None),
        ]

        def ask() -> list[tuple[int, float]]:
            answers = at_once([partial(timed, server, *each) for each in requests])
            return [(answer[0], seconds) for answer, seconds in answers]

        assert [status for status, _ in ask()] == [201, 401, 403, 200]
        with frozen(running.database):
            for status, seconds in ask():
                assert status == 503
                assert seconds < HANGING
        end = time.monotonic() + 10
        while [status for status, _ in ask()] != [201, 401, 403, 200]:
            assert time.monotonic() < end
        running.database.kill()
        try:
            for status, seconds in ask() + ask():
                assert status == 503
                assert seconds < QUICK
        finally:
            running.database.start()
