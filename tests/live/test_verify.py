"""`flask verify` against running instances: healthy ones, and some with planted faults."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from chatapi.services import messages
from chatapi.store import indexes
from chatapi.store.database import Document
from deploy import run
from tests.conftest import MakeChat, MakeSession
from tests.servers import AppServer, DatabaseServer, start_app
from tests.waiting import eventually

STRONG = secrets.token_urlsafe(48)  # not in any file, or it would be found there
# The tests' machine may be slow; the time is tried by itself below.
PATIENT = ("--response-ms", "10000")
KEPT = ("users", "chatrooms", "messages", "sessions", "deletions")
PLANTED = '''\
"""The product, with faults."""
from flask import Blueprint, jsonify, request
from chatapi import create_app, identity
from chatapi.http.endpoint import endpoint
from chatapi.services import access, accounts
from chatapi.store import chats
from chatapi.store.database import object_id

identity.protect = lambda: None
accounts.Session.require_admin = lambda self: None
admit = access._admit
access._admit = lambda session, chat: chat or admit(session, chat)
planted = Blueprint("planted", __name__, url_prefix="/api")


@planted.get("/leak")
def leak():
    return jsonify([])


def declared(body=None):
    """Answer anyone."""
    return None


declared.__module__ = "chatapi.user_api.meta"
endpoint(planted, "POST", "/open", auth="anyone", returns={204: None})(declared)
app = create_app()
app.register_blueprint(planted)


@app.before_request
def talk_too_much():
    print("token", request.headers.get("Authorization"), flush=True)


inner = app.wsgi_app


def careless(environ, start_response):
    def start(status, headers, *more):
        headers = [each for each in headers if each[0].lower() != "content-security-policy"]
        headers.append(("Content-Security-Policy", "script-src 'self' 'unsafe-inline'"))
        headers.append(("Access-Control-Allow-Origin", environ.get("HTTP_ORIGIN", "*")))
        return start_response(status, headers, *more)
    return inner(environ, start)


app.wsgi_app = careless
'''
FOUND_BY = {
    "Authorization checks in all API routes": "POST /api/open is described as open to anyone",
    "Authentication required for all routes": "GET /api/leak answered 200",
    "CORS configured correctly": "Access-Control-Allow-Origin is https://strange-origin.invalid",
    "XSS protection enabled (Next.js default)": "'unsafe-inline'",
    "CSRF tokens working (if needed)": "without a CSRF token is answered 204",
    "Users can only access their own chats": "to another user, not 403",
    "User cannot access other user's chats": "to another user, not 403",
    "Users cannot modify status/priority/category": "A user who sets status is answered 200",
    "User cannot change chat properties (status, priority)": "answered 200",
    "Only admins can change status": "answered 200",
    "Only admins can assign chats": "A user who sets adminId is answered 200",
    "Role-based access control tested:": "to a user, not 403",
    "Rate limiting considered for API": "did not count a wrong sign-in",
    "Sensitive data not logged": "The log holds a token",
    "API documentation complete": "does not describe GET /api/leak",
    "User/Admin separation maintained": "not 403",
}


class Planted(AppServer):
    """An instance of another module than wsgi.py."""

    def __init__(self, mongo_uri: str, folder: Path, env: dict[str, str]) -> None:
        super().__init__(mongo_uri, env=env)
        self.environment["PYTHONPATH"] = str(folder)
        command = [*run.web_command()[:-1], "planted:app"]
        self._child = run.Child("web server", command, self.environment, stop_seconds=30)


@pytest.fixture(scope="module")
def healthy(database_server: DatabaseServer) -> Iterator[AppServer]:
    """gunicorn with its limits on, as in production."""
    with start_app(database_server.uri, env={"SECRET_KEY": STRONG}) as server:
        yield server


def started(server: AppServer, *options: str, **env: str) -> subprocess.Popen[str]:
    app = "planted" if isinstance(server, Planted) else "wsgi"
    return subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", app, "verify", *options],
        cwd=run.ROOT,
        env=server.environment | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def verified(server: AppServer, *options: str, **env: str) -> tuple[int, str]:
    """Run the command as an operator does, and return its exit status and output."""
    with started(server, *options, **env) as process:
        output, _ = process.communicate(timeout=120)
    return process.returncode, output


def findings(output: str) -> dict[str, dict[str, str]]:
    return {item["title"]: item for item in json.loads(output)["items"]}


def stored(database: Database[Document]) -> dict[str, list[Document]]:
    return {name: list(database[name].find().sort("_id")) for name in KEPT}


def test_a_healthy_instance_passes_and_nothing_is_left_behind(
    database: Database[Document],
    healthy: AppServer,
    make_session: MakeSession,
    make_chat: MakeChat,
) -> None:
    owner = make_session()
    chat = make_chat(owner, message="A real chat")
    messages.send(make_session("admin"), chat["_id"], "with an answer")
    before = stored(database)
    code, output = verified(healthy, *PATIENT)
    assert code == 0, output
    assert "Nothing failed." in output
    assert "✗" not in output
    assert " 2 not applicable" in output
    assert stored(database) == before
    assert STRONG not in output
    assert "mongodb://" not in output


@pytest.mark.long
def test_a_production_instance_passes_with_nothing_left_out_for_the_environment(
    database: Database[Document], database_server: DatabaseServer
) -> None:
    settings = {
        "APP_ENV": "production",
        "SECRET_KEY": STRONG,
        "PUBLIC_URL": "https://chat.example.org",
        "PASSWORD_TIME_COST": "1",
        "PASSWORD_MEMORY_KIB": "19456",
        "CORS_ORIGINS": "https://shop.example.org",
    }
    with start_app(database_server.uri, env=settings) as server:
        code, output = verified(server, "--url", server.url, "--json", *PATIENT)
        found = json.loads(output)
    failed = [item["title"] for item in found["items"] if item["status"] in {"failed", "not run"}]
    # The embedded database is no production database, and that is all there is to say.
    assert failed == ["MongoDB Atlas or production database set up"], output
    assert code == 1
    assert found["counts"]["not applicable"] == 0
    assert database["users"].count_documents({}) == 0


def test_production_does_not_even_start_with_a_weak_secret(
    database: Database[Document], healthy: AppServer
) -> None:
    env = {"APP_ENV": "production", "SECRET_KEY": "changeme", "PUBLIC_URL": "https://a.example"}
    code, output = verified(healthy, **env)
    assert code == 1
    assert "SECRET_KEY must be a random value" in output


@pytest.mark.long
def test_planted_faults_are_found_and_named(
    database: Database[Document], database_server: DatabaseServer, tmp_path: Path
) -> None:
    (tmp_path / "planted.py").write_text(PLANTED)
    env = {"RATELIMIT_ENABLED": "false", "SECRET_KEY": STRONG}
    with Planted(database_server.uri, tmp_path, env) as server:
        server.start()
        code, output = verified(server, "--json", *PATIENT, RATELIMIT_ENABLED="true")
    found = findings(output)
    assert code == 1
    for title, said in FOUND_BY.items():
        assert found[title]["status"] == "failed", (title, found[title])
        assert said in found[title]["detail"], (title, found[title])
    # What is not broken is not blamed.
    for title in (
        "All files compile without errors",
        "Indices created on production database:",
        "Session validation working for all roles (user, admin)",
        "Chat becomes readonly when closed",
        "Messages persist correctly",
        "Invalid database IDs return 404",
        "No data corruption",
    ):
        assert found[title]["status"] == "passed", found[title]
    assert database["users"].count_documents({}) == 0


def test_slow_answers_are_found(database: Database[Document], healthy: AppServer) -> None:
    code, output = verified(healthy, "--only", "response times", "--response-ms", "0.01")
    assert code == 1
    assert "The 99th percentile of" in output


def test_an_instance_of_another_database_is_recognised(
    database: Database[Document], healthy: AppServer
) -> None:
    elsewhere = healthy.environment["MONGO_URI"].replace("/livechat?", "/elsewhere?")
    code, output = verified(healthy, "--only", "Smoke Tests", MONGO_URI=elsewhere)
    assert code == 1
    assert "does not know an account" in output
    with MongoClient[dict[str, Any]](elsewhere) as client:
        assert client["elsewhere"]["users"].count_documents({}) == 0
        client.drop_database("elsewhere")


def test_something_else_at_the_address_is_recognised(
    database: Database[Document], healthy: AppServer
) -> None:
    code, output = verified(healthy, "--only", "Smoke", "--url", healthy.url + "/api")
    assert code == 1
    assert "is not this product" in output


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_stopped_leaves_nobody_behind(
    database: Database[Document], healthy: AppServer, number: int
) -> None:
    with started(healthy, *PATIENT) as process:
        end = time.monotonic() + 30
        while database["messages"].count_documents({}) < 3:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < end
            time.sleep(0.01)
        os.kill(process.pid, number)
        output, _ = process.communicate(timeout=30)
    assert process.returncode != 0
    if number == signal.SIGKILL:
        assert database["users"].count_documents({}) == 3
        assert verified(healthy, "--only", "Smoke")[0] == 0
    else:
        assert "Aborted!" in output
    assert all(not rows for rows in stored(database).values())


def test_one_run_at_a_time(database: Database[Document], healthy: AppServer) -> None:
    with started(healthy, *PATIENT) as first:
        eventually(lambda: database["users"].count_documents({}) > 0, 30)
        code, output = verified(healthy, "--only", "Smoke")
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=30)
    assert code == 1
    assert "Another verify is running" in output


@pytest.mark.parametrize(
    ("index", "named"), [("user_created", "userId"), ("admin_created", "adminId")]
)
def test_a_missing_index_of_the_checklist_is_named(
    database: Database[Document], healthy: AppServer, index: str, named: str
) -> None:
    item = ("--offline", "--only", "Indices created on production database")
    assert verified(healthy, *item)[0] == 0
    database["chatrooms"].drop_index(index)
    try:
        code, output = verified(healthy, *item)
    finally:
        indexes.ensure(database)
    assert code == 1
    assert f"chatrooms has no index on {{'{named}': 1, 'createdAt': -1}}" in output
    assert "init-db" in output


def test_what_the_doctor_finds_fails_the_item(
    database: Database[Document], healthy: AppServer, make_chat: MakeChat
) -> None:
    chat = make_chat(message="One")
    database["messages"].delete_one({"chatId": chat["_id"]})
    code, output = verified(healthy, "--offline", "--only", "No data corruption")
    assert code == 1
    assert f"chat {chat['_id']}: its history has 0 of the messages 1 to 1" in output


def test_a_database_that_does_not_answer_is_not_run_and_that_fails(healthy: AppServer) -> None:
    gone = "mongodb://127.0.0.1:1/livechat?serverSelectionTimeoutMS=300"
    code, output = verified(healthy, "--only", "Smoke", MONGO_URI=gone, DATABASE_TIMEOUT_MS="300")
    assert code == 1
    assert output.count("not run: The database does not answer") == 3
