"""Error responses of a database that fails after the caller was found."""

from __future__ import annotations

import pytest
from flask import Flask
from pymongo.errors import AutoReconnect, OperationFailure

from chatapi.domain.enums import Role
from chatapi.store import chats as stored_chats
from tests.conftest import SignIn


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (AutoReconnect("db.internal:27017: connection refused"), 503, "database_unavailable"),
        (OperationFailure("db.internal stepped down", 189), 503, "database_unavailable"),
        (OperationFailure("db.internal has no space", 14031), 503, "storage_full"),
        (OperationFailure("db.internal does not know $this", 2), 500, "internal"),
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
    role: Role,
) -> None:
    def fail(*_: object) -> None:
        raise failure

    app.config["PROPAGATE_EXCEPTIONS"] = False
    headers = sign_in(role)
    monkeypatch.setattr(stored_chats, "newest", fail)
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
