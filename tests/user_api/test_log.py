"""The log: who did what, never what was said, nor a password, a token or a cookie."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from typing import Any, cast

import pytest
import structlog
from flask import Flask
from pymongo.errors import OperationFailure, ServerSelectionTimeoutError

from chatapi.domain.enums import Role
from tests.conftest import PASSWORD, MakeApp
from tests.user_api.callers import Answer, Caller, caller_on, refused

SECRETS = {
    "password": "hunter2-password-of-ana",
    "new password": "hunter3-password-of-ana",
    "message": "Message-nobody-may-log",
    "first message": "First-message-nobody-may-log",
    "subject": "Subject-nobody-may-log",
    "search": "Search-nobody-may-log",
}


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """An app that logs everything it can."""
    return make_app(LOG_LEVEL="DEBUG")


Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Lines:
    """`lines()` -> what was logged since the last call, parsed."""

    def read() -> list[dict[str, Any]]:
        captured = capsys.readouterr()
        assert captured.err == ""
        return [json.loads(line) for line in captured.out.splitlines()]

    return read


def test_a_request_is_one_line_with_its_id_and_its_user(user: Caller, lines: Lines) -> None:
    lines()
    answer = user.get("/api/chat?q=secret")
    (line,) = lines()
    assert line["event"] == "request_finished"
    assert (line["method"], line["path"], line["status"]) == ("GET", "/api/chat", 200)
    assert line["requestId"] == answer.headers["X-Request-Id"]
    assert line["userId"] == user.id
    assert isinstance(line["ms"], float)


def test_a_refusal_is_logged_with_its_code(user: Caller, lines: Lines) -> None:
    lines()
    answer = user.get("/api/chat/x")
    found = lines()
    assert {line["requestId"] for line in found} == {answer.headers["X-Request-Id"]}
    assert {line.get("code") for line in found} == {"not_found"}


def test_nothing_secret_is_ever_logged(
    app: Flask,
    admin: Caller,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    browser = app.test_client()
    secrets = dict(SECRETS)
    body = {"name": "Ana", "email": "ana@example.org", "password": secrets["password"]}
    signed = cast("Answer", browser.post("/api/auth/register", json=body | {"cookie": True}))
    token = secrets["token"] = signed.json["token"]
    secrets["csrf"] = cast("Answer", browser.get("/api/auth/csrf")).json["csrfToken"]
    user = caller_on(app, None, None)
    user.headers["Authorization"] = f"Bearer {token}"
    user.post("/api/auth/register", body)
    user.post("/api/auth/login", body)
    user.post("/api/auth/login", {"email": "ana@example.org", "password": secrets["password"]})
    user.post("/api/auth/login", {"email": secrets["password"], "password": secrets["password"]})
    chat = user.open_chat(subject=secrets["subject"], message=secrets["first message"])
    user.say(chat, secrets["message"])
    path = f"/api/chat/{chat['_id']}"
    user.get(f"/api/chat?q={secrets['search']}")
    user.post(f"{path}/messages", {"content": {secrets["message"]: 1}})
    user.send_raw("POST", f"{path}/messages", f'{{"content": "{secrets["message"]}'.encode())
    user.patch(path, {"message": secrets["message"], secrets["message"]: True})
    browser.post(
        f"{path}/messages",
        json={"content": secrets["message"]},
        headers={"X-CSRF-Token": secrets["csrf"]},
    )
    user.post(
        "/api/auth/password",
        {"current": secrets["password"], "new": secrets["new password"]},
    )

    def fail(*_: Any, **__: Any) -> Any:
        raise OperationFailure(
            "E11000 duplicate key error collection: chat.messages index: order dup key: "
            f'{{ content: "{secrets["message"]}" }}',
            11000,
            {"keyValue": {"content": secrets["message"]}},
        )

    monkeypatch.setattr("chatapi.store.messages.insert", fail)
    assert user.post(f"{path}/messages", {"content": secrets["message"]}).status_code == 500
    captured = capsys.readouterr()
    logged = captured.out + captured.err
    assert "OperationFailure" in logged
    for name, secret in secrets.items():
        assert secret not in logged, name
    assert "Authorization" not in logged
    assert "chat_session" not in logged


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of chats fails, for a reason that tells too much."""

    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("mongodb://chat:secret@db.internal:27017 said no")

    monkeypatch.setattr("chatapi.store.chats.newest", fail)


@pytest.mark.usefixtures("broken")
def test_an_error_tells_a_user_nothing_and_the_log_everything(user: Caller, lines: Lines) -> None:
    lines()
    answer = user.get("/api/chat")
    body = refused(answer, 500, "internal")
    assert "debug" not in body
    assert "mongodb" not in answer.text
    assert "Traceback" not in answer.text
    (error,) = (line for line in lines() if line["event"] == "request_failed")
    assert error["requestId"] == body["requestId"]
    assert "RuntimeError" in error["exception"]
    assert "store" in error["exception"] or "services" in error["exception"]


@pytest.mark.usefixtures("broken")
def test_an_agent_sees_the_exception_of_an_error(admin: Caller) -> None:
    body = refused(admin.get("/api/chat"), 500, "internal")
    assert body["debug"]["exception"] == "RuntimeError"
    assert "Traceback" not in body["debug"]["message"]


@pytest.mark.parametrize("role", ["user", "admin"])
def test_a_database_that_does_not_answer_is_503_with_retry_after(
    role: Role, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    person: Caller = request.getfixturevalue(role)

    def fail(*_: Any, **__: Any) -> Any:
        raise ServerSelectionTimeoutError("db.internal:27017: connection refused")

    monkeypatch.setattr("chatapi.store.chats.newest", fail)
    answer = person.get("/api/chat")
    body = refused(answer, 503, "database_unavailable")
    assert int(answer.headers["Retry-After"]) == body["retryAfter"] >= 1
    assert ("debug" in body) == (role == "admin")
    if role == "user":
        assert "db.internal" not in answer.text


def test_a_database_that_does_not_even_know_the_session_is_503(
    user: Caller, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise ServerSelectionTimeoutError("db.internal:27017: connection refused")

    monkeypatch.setattr("chatapi.store.sessions.with_user", fail)
    for person in (user, admin):
        answer = person.get("/api/chat")
        assert "debug" not in refused(answer, 503, "database_unavailable")


def test_the_password_of_the_tests_is_not_in_this_log(user: Caller, lines: Lines) -> None:
    user.post("/api/auth/login", {"email": user.email, "password": PASSWORD})
    assert PASSWORD not in json.dumps(lines())


def test_a_log_that_cannot_be_written_stops_nobody(
    user: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())
    assert user.get("/api/auth/me").status_code == 200


def its_own_cause() -> Exception:
    error = ValueError("first")
    error.__cause__ = error
    return error


def in_a_circle() -> Exception:
    error, other = ValueError("first"), KeyError("second")
    error.__cause__, other.__cause__ = other, error
    return error


def without_a_text() -> Exception:
    class Mute(ValueError):
        def __str__(self) -> str:
            raise RuntimeError

    return Mute()


@pytest.mark.parametrize("make", [its_own_cause, in_a_circle, without_a_text])
def test_whatever_an_error_looks_like_it_can_be_logged(
    app: Flask, lines: Lines, make: Callable[[], Exception]
) -> None:
    error = make()
    structlog.get_logger("chat").error("it_failed", exc_info=error)
    (line,) = lines()
    assert line["event"] == "it_failed"
    assert type(error).__name__ in line["exception"]
    assert line["exception"].count("first") <= 1


def test_the_causes_of_an_error_stand_before_it(app: Flask, lines: Lines) -> None:
    try:
        try:
            raise KeyError("why")
        except KeyError as cause:
            raise ValueError("what") from cause
    except ValueError as error:
        structlog.get_logger("chat").error("it_failed", exc_info=error)
    (line,) = lines()
    assert line["exception"].index("why") < line["exception"].index("then:")
    assert line["exception"].index("then:") < line["exception"].index("ValueError: what")


def test_a_value_that_cannot_be_written_does_not_stop_what_is_logged(
    app: Flask, lines: Lines
) -> None:
    class Mute:
        def __repr__(self) -> str:
            raise RuntimeError

    circle: dict[str, Any] = {}
    circle["self"] = circle
    for value in (Mute(), circle):
        structlog.get_logger("chat").error("it_happened", value=value)
        (line,) = lines()
        assert (line["event"], line["level"]) == ("it_happened", "error")
