"""What the checks learn of the product from its commands."""

from __future__ import annotations

import pytest

from acceptance import product
from acceptance.people import Person
from acceptance.product import CommandFailed, Product, Route
from acceptance.results import Failed, NotApplicable, NotRun

TABLE = """\
Endpoint               Methods    Rule
---------------------  ---------  -------------------------------
user_api.chats         GET, POST  /api/chat
admin_ui.static        GET        /admin/static/<path:filename>
"""


def reporting(status: str) -> Product:
    known = Product({})
    check = {"name": "plans", "status": status, "detail": "the detail", "remedy": "the remedy"}
    known.flask = lambda *_, **__: f'a warning\n{{"checks": [{_json(check)}]}}\n'  # type: ignore[method-assign]
    return known


def _json(check: dict[str, str]) -> str:
    return "{" + ", ".join(f'"{name}": "{value}"' for name, value in check.items()) + "}"


def test_the_table_of_routes_is_read() -> None:
    assert product._routes(TABLE) == [
        Route("GET", "/api/chat", is_static=False),
        Route("POST", "/api/chat", is_static=False),
        Route("GET", "/admin/static/<path:filename>", is_static=True),
    ]


def test_the_doctors_status_becomes_the_checks() -> None:
    assert reporting("passed").doctor("plans") == "the detail"
    for status, kind in (
        ("failed", Failed),
        ("not run", NotRun),
        ("not applicable", NotApplicable),
    ):
        with pytest.raises(kind, match="the detail") as caught:
            reporting(status).doctor("plans")
        assert getattr(caught.value, "remedy", "the remedy") == "the remedy"
    with pytest.raises(Failed) as failed:
        reporting("a new status").doctor("plans")
    assert type(failed.value) is Failed


def test_a_command_that_prints_no_json_has_failed() -> None:
    known = Product({})
    known.flask = lambda *_, **__: "not json"  # type: ignore[method-assign]
    with pytest.raises(CommandFailed, match="doctor printed no JSON"):
        known.doctor("plans")


def test_a_database_that_is_not_given_is_not_run() -> None:
    with pytest.raises(NotRun, match="MONGO_URI is not set"):
        _ = Product({}).database


def test_each_session_of_a_person_is_used_once() -> None:
    person = Person("1", "Ada", "ada@verify.invalid", "user", "first", None, ["a", "b"], "over")
    assert [person.again().token, person.again().token] == ["b", "a"]
    assert person.expired().token == "over"
    assert person.token == "first"
    with pytest.raises(IndexError):
        person.again()
