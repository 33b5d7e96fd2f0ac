"""While a restore is unfinished nothing is served from the database."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pymongo.database import Database
from pymongo.errors import AutoReconnect

from chatapi.domain import clock
from chatapi.http import data_guard
from chatapi.store import maintenance
from chatapi.store.database import Document
from tests.conftest import SignIn


@pytest.fixture
def unfinished(database: Database[Document], app: Flask) -> None:
    """A restore that was cut off before this process started."""
    maintenance.begin_restore({"backup": "2026-01-01T00:00:00.000Z", "startedAt": clock.now()})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/readyz"),
        ("GET", "/api/chat"),
        ("POST", "/api/auth/guest"),
        ("GET", "/admin/login"),
        ("GET", "/admin/"),
    ],
)
def test_a_half_restored_database_is_not_served(
    client: FlaskClient, database: Database[Document], unfinished: None, method: str, path: str
) -> None:
    answer = client.open(path, method=method, json={} if method == "POST" else None)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "30"
    if path.startswith(("/api", "/readyz")):
        assert answer.get_json()["code"] == "restore_unfinished"
    assert database["users"].count_documents({}) == 0


def test_the_process_itself_is_alive_meanwhile(client: FlaskClient, unfinished: None) -> None:
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "path", ["/api/config", "/api/openapi.json", "/api/docs", "/admin/login", "/chat", "/widget.js"]
)
def test_what_needs_no_database_is_served_before_it_was_ever_reached(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def away() -> None:
        raise AutoReconnect

    monkeypatch.setattr(maintenance, "unfinished_restore", away)
    answer = client.get(path)
    assert answer.status_code == 200
    assert "There is no agent yet" not in answer.text


def test_it_is_served_as_soon_as_the_restore_has_ended(
    client: FlaskClient, unfinished: None
) -> None:
    assert client.get("/readyz").status_code == 503
    maintenance.finish_restore()
    assert client.get("/readyz").status_code == 200


def test_a_running_process_refuses_to_write_when_a_restore_begins(
    client: FlaskClient,
    sign_in: SignIn,
    database: Database[Document],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    headers = sign_in()
    assert client.get("/api/chat", headers=headers).status_code == 200
    maintenance.begin_restore({"backup": "2026-01-01T00:00:00.000Z", "startedAt": clock.now()})
    monkeypatch.setattr(data_guard, "RECHECK_SECONDS", 0.0)
    answer = client.post("/api/chat", headers=headers, json={"subject": "Too early"})
    assert answer.status_code == 503
    assert database["chatrooms"].count_documents({}) == 0
    # From then on nothing is read either.
    assert client.get("/api/chat", headers=headers).status_code == 503
