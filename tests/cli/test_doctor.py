"""`flask doctor`: what it prints, and that it finds what is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from jinja2 import DictLoader
from pymongo.database import Database
from pymongo.errors import AutoReconnect

from chatapi.cli import doctor as package
from chatapi.cli.doctor.results import Failed, NotApplicable
from chatapi.http import problems
from chatapi.store import migrations
from chatapi.store.database import Document
from config import SECRET_SETTINGS, SETTINGS


def run(app: Flask, *options: str) -> Result:
    return app.test_cli_runner().invoke(args=["doctor", *options])


def report(app: Flask, *options: str) -> Any:
    return json.loads(run(app, "--json", *options).output)


def test_a_finding_says_what_why_and_what_to_do(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bad() -> str:
        raise Failed("the reason", "the remedy")

    def elsewhere() -> str:
        raise NotApplicable("not here")

    def cut_off() -> str:
        raise AutoReconnect("secret")

    def broken() -> str:
        raise KeyError("surprise")

    checks = {"settings": bad, "templates": elsewhere, "database": cut_off, "pool": broken}
    monkeypatch.setattr(package, "CHECKS", {**checks, "plans": lambda: "fine"})
    result = run(app)
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "✗ settings     failed: the reason",
        "               → the remedy",
        "– templates    not applicable: not here",
        "✗ database     not run: The database does not answer (AutoReconnect).",
        "               → Look at the database; docs/troubleshooting.md.",
        "✗ pool         failed: The check broke (KeyError: 'surprise').",
        "✓ plans        fine",
    ]


def test_json_holds_the_configuration_and_no_secret(app: Flask) -> None:
    found = report(app, "--only", "settings")
    assert found["settings"]["APP_ENV"] == "test"
    assert found["settings"]["VERSION"] == app.config["VERSION"]
    assert set(SETTINGS - SECRET_SETTINGS) <= set(found["settings"])
    assert not SECRET_SETTINGS & set(found["settings"])
    assert app.config["SECRET_KEY"] not in json.dumps(found)
    assert "MONGO_URI" in found["defaults"]
    assert "SECRET_KEY" not in found["defaults"]
    assert found["refusedInProduction"]["RATELIMIT_ENABLED"].startswith("RATELIMIT_ENABLED must")
    assert [check["name"] for check in found["checks"]] == ["settings"]
    assert found["checks"][0]["status"] == "not applicable"


def test_checks_can_be_chosen_and_left_out(app: Flask) -> None:
    chosen = report(app, "--only", "errors", "--only", "templates")["checks"]
    assert [check["name"] for check in chosen] == ["templates", "errors"]
    assert {check["status"] for check in chosen} == {"passed"}
    left = [name for name in package.CHECKS if name not in {"templates", "errors"}]
    skipped = report(app, *(part for name in left for part in ("--skip", name)))["checks"]
    assert skipped == chosen


def test_an_exception_that_users_see_is_found(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(problems, "_is_admin", lambda: True)
    result = run(app, "--only", "errors")
    assert result.exit_code == 1
    assert "A user is shown the exception." in result.output


def test_an_exception_that_agents_do_not_see_is_found(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(problems, "_is_admin", lambda: False)
    assert "An agent is not shown the exception." in run(app, "--only", "errors").output


def test_a_template_that_does_not_compile_is_named(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.jinja_env, "loader", DictLoader({"cut.html": "{% if %}"}))
    result = run(app, "--only", "templates")
    assert result.exit_code == 1
    assert "template cut.html" in result.output


def test_a_migration_that_is_missing_is_named(app: Flask, database: Database[Document]) -> None:
    assert run(app, "--only", "migrations").exit_code == 0
    database["migrations"].delete_many({})
    result = run(app, "--only", "migrations")
    assert result.exit_code == 1
    for name in migrations.names():
        assert name in result.output
    assert "init-db" in result.output
