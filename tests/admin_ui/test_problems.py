"""Refusals and failures, as pages and as toasts."""

from __future__ import annotations

import pytest
from flask import Flask
from pymongo.errors import ServerSelectionTimeoutError

from admin_ui import assets
from chatapi.services import chat_lists, sessions
from tests.admin_ui.conftest import FRAGMENT, Browser


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that does not answer."""

    def fail(*_: object) -> None:
        raise ServerSelectionTimeoutError("db.internal.example:27017: refused")

    monkeypatch.setattr(sessions, "open_session", fail)


@pytest.mark.usefixtures("broken")
def test_without_a_database_there_is_still_a_page_that_says_so(agent: Browser) -> None:
    for path in ("/admin", "/admin/users", "/admin/login"):
        response = agent.get(path)
        assert response.status_code == 503
        assert "Back in a moment" in response.text
        assert "internal.example" not in response.text
        assert response.headers["Retry-After"]


@pytest.mark.usefixtures("broken")
def test_without_a_database_htmx_gets_a_toast(agent: Browser) -> None:
    response = agent.fragment("/admin")
    assert response.status_code == 503
    assert response.headers["HX-Retarget"] == "#toasts"
    assert response.headers["HX-Reswap"] == "beforeend"
    assert "<html" not in response.text


def test_a_failure_shows_a_number_and_nothing_of_itself(
    agent: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a secret of ours")

    monkeypatch.setattr(chat_lists, "list_chats", fail)
    response = agent.get("/admin")
    assert response.status_code == 500
    assert "secret" not in response.text
    assert response.headers["X-Request-Id"] in response.text


def test_a_page_that_is_not_there(app: Flask, browser: Browser) -> None:
    for path in ("/admin/nothing", "/nothing"):
        response = browser.get(path)
        assert response.status_code == 404
        assert "<h1>Not found</h1>" in response.text
        assert "script-src 'self'" in response.headers["Content-Security-Policy"]
    assert "the inbox" in browser.get("/admin/nothing").text
    assert browser.client.get("/admin/nothing", headers=FRAGMENT).status_code == 404


def test_a_wrong_method_and_a_body_too_large_are_told(agent: Browser) -> None:
    assert agent.client.put("/admin").status_code == 405
    agent.get("/admin")
    response = agent.post("/admin/chats/bulk", ids="x" * 70_000)
    assert response.status_code == 413


def test_one_module_reads_and_writes_the_headers_of_htmx() -> None:
    texts = {path.name: path.read_text() for path in assets.FOLDER.glob("*.py")}
    assert [name for name, text in texts.items() if '"HX-' in text] == ["htmx.py"]


def test_static_files_are_kept_for_a_year_under_their_release(app: Flask, browser: Browser) -> None:
    with app.test_request_context():
        names = ("console.css", "console.bundle.js", "console.js", "live.js")
        paths = [assets.files.url(name) for name in names]
        release = assets.files.release()
    for path in paths:
        with browser.client.get(path) as response:
            assert response.status_code == 200
            assert "immutable" in response.headers["Cache-Control"]
    with browser.client.get(paths[0].replace(release, "0ld")) as old:
        assert old.headers["Cache-Control"] == "no-cache"
    assert browser.client.get("/admin/static/v/x/../../config.py").status_code == 404
