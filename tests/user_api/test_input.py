"""What a body may hold: every field of every route against everything that is none of it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import pytest
from flask.testing import FlaskClient
from marshmallow import fields
from pymongo.database import Database

from chatapi.schemas import field_types
from chatapi.store.database import Document
from tests.user_api.callers import BODIES, WITH_BODY, Answer, Caller, Route, refused, stored

NOT_TEXT: list[Any] = [
    {}, {"$gt": ""}, {"$ne": None}, {"$regex": ".*"}, [], ["a"], [{"$gt": ""}], 0, 7, -1.5, True,
    False,
]  # fmt: skip
NOT_TEXT_OR_NULL: list[Any] = [*NOT_TEXT, None]
BAD_TEXT = [
    "", " ", "\n\t ", "a\x00b", "\x00", "a\x1bb", "a\x7f", "\ud800", "a\udfffb", "x" * 6000,
    "\u200b", "\u2060\u200d", "\u00ad", "\u3164", "\u202e", "\u0301",
]  # fmt: skip
NOT_WHOLE: list[Any] = [
    None, True, False, "1", "", 1.5, 1e300, -1, 10**400, -(10**400), 2**31, 2**63, [], [1], {},
    {"$gt": 0},
]  # fmt: skip
NOT_JSON = (
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/xml",
    "application/jsonp",
    "text/json",
    None,
)
NOT_FLAG: list[Any] = [None, 0, 1, "true", "false", "", [], {}, {"$ne": False}]


@dataclass(frozen=True)
class Target:
    """One field of one route's body."""

    route: Route
    name: str
    field: fields.Field[Any]

    def __str__(self) -> str:
        return f"{self.route} {self.name}"


def targets(kind: type[fields.Field[Any]]) -> list[Target]:
    found = []
    for route in WITH_BODY:
        assert route.contract is not None
        assert route.contract.body is not None
        for name, field in route.contract.body.fields.items():
            if isinstance(field, kind):
                found.append(Target(route, name, field))
    return found


Send = Callable[[Route, Any], Answer]


@pytest.fixture
def send(user: Caller, admin: Caller) -> Send:
    """`send(route, body)` -> the answer to somebody who may; a chat is there."""
    chat = user.open_chat(message="Hello")

    def call(route: Route, body: Any) -> Answer:
        path = route.path(chat_id=chat["_id"], user_id=user.id)
        person = user if route.rule == "/api/chat" else admin
        return person.send_raw(route.method, path, json.dumps(body).encode())

    return call


def test_there_is_a_body_to_try_for_every_route() -> None:
    assert {str(route) for route in WITH_BODY} == set(BODIES)


@pytest.mark.parametrize("target", targets(fields.String), ids=str)
def test_a_text_is_a_string_and_nothing_else(
    target: Target, send: Send, database: Database[Document]
) -> None:
    before = stored(database)
    valid = BODIES[str(target.route)]
    for value in NOT_TEXT if target.field.allow_none else NOT_TEXT_OR_NULL:
        answer = send(target.route, valid | {target.name: value})
        refused(answer, 422, "validation_failed", target.name)
    assert stored(database) == before


@pytest.mark.parametrize(
    "target",
    [
        target
        for target in targets(fields.String)
        if not isinstance(target.field, field_types.Password)
    ],
    ids=str,
)
def test_a_text_that_cannot_be_stored_or_is_empty_or_too_long_is_refused(
    target: Target, send: Send, database: Database[Document]
) -> None:
    before = stored(database)
    valid = BODIES[str(target.route)]
    for value in BAD_TEXT:
        answer = send(target.route, valid | {target.name: value})
        refused(answer, 422, "validation_failed", target.name)
    assert stored(database) == before


@pytest.mark.parametrize("target", targets(field_types.Password), ids=str)
def test_a_password_that_is_too_long_or_no_unicode_is_refused(
    target: Target, send: Send, database: Database[Document]
) -> None:
    before = stored(database)
    valid = BODIES[str(target.route)]
    for value in ("x" * 201, "passwor\ud800d", "x" * 60_000):
        answer = send(target.route, valid | {target.name: value})
        refused(answer, 422, "validation_failed", target.name)
    assert stored(database) == before


@pytest.mark.parametrize("target", targets(field_types.StrictInteger), ids=str)
def test_a_number_is_a_whole_number_in_its_range(
    target: Target, send: Send, database: Database[Document]
) -> None:
    before = stored(database)
    valid = BODIES[str(target.route)]
    for value in NOT_WHOLE:
        answer = send(target.route, valid | {target.name: value})
        refused(answer, 422, "validation_failed", target.name)
    assert stored(database) == before


@pytest.mark.parametrize("target", targets(field_types.StrictBoolean), ids=str)
def test_a_flag_is_true_or_false(target: Target, send: Send, database: Database[Document]) -> None:
    before = stored(database)
    valid = BODIES[str(target.route)]
    for value in NOT_FLAG:
        answer = send(target.route, valid | {target.name: value})
        refused(answer, 422, "validation_failed", target.name)
    assert stored(database) == before


@pytest.mark.parametrize("target", targets(fields.List), ids=str)
def test_a_list_is_a_list_of_texts(
    target: Target, send: Send, database: Database[Document]
) -> None:
    before = stored(database)
    valid = BODIES[str(target.route)]
    values: list[Any] = [None, "a", 1, {}, {"$in": []}, [], ["a"] * 201]
    for value in values:
        answer = send(target.route, valid | {target.name: value})
        refused(answer, 422, "validation_failed", target.name)
    for value in (*NOT_TEXT_OR_NULL, "\ud800", "a\x00", "x" * 101):
        answer = send(target.route, valid | {target.name: ["a", value]})
        refused(answer, 422, "validation_failed", f"{target.name}.1")
    assert stored(database) == before


@pytest.mark.parametrize("route", WITH_BODY, ids=str)
def test_what_is_required_is_named_when_it_is_missing(
    route: Route, send: Send, database: Database[Document]
) -> None:
    before = stored(database)
    assert route.contract is not None
    assert route.contract.body is not None
    for name, field in route.contract.body.fields.items():
        if field.required:
            body = {key: value for key, value in BODIES[str(route)].items() if key != name}
            refused(send(route, body), 422, "validation_failed", name)
    assert stored(database) == before


@pytest.mark.parametrize("route", WITH_BODY, ids=str)
def test_an_unknown_field_is_refused_by_name(
    route: Route, send: Send, database: Database[Document]
) -> None:
    before = stored(database)
    for name in ("$ne", "$where", "_id", "role.", "user.role", "__proto__", "x" * 1000, "a\x00"):
        answer = send(route, BODIES[str(route)] | {name: {"$gt": ""}})
        refused(answer, 422, "validation_failed", name)
    # A name that cannot be written as UTF-8 is named by what can.
    answer = send(route, BODIES[str(route)] | {"a\ud800": 1})
    refused(answer, 422, "validation_failed", "a?")
    assert stored(database) == before


@pytest.mark.parametrize("route", WITH_BODY, ids=str)
def test_a_body_that_is_no_object_is_refused(
    route: Route, send: Send, database: Database[Document]
) -> None:
    before = stored(database)
    bodies: list[Any] = [[], [{}], "text", 1, True, None]
    for body in bodies:
        refused(send(route, body), 422, "validation_failed", "body")
    assert stored(database) == before


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"{", id="cut off"),
        pytest.param(b'{"subject": "Help",}', id="a comma too many"),
        pytest.param(b"{'subject': 'Help'}", id="single quotes"),
        pytest.param(b'{"subject": "Help"} {}', id="two values"),
        pytest.param(b'{"subject": "Help", "subject": "Help"}', id="a name twice"),
        pytest.param(b'{"subject": "Help", "message": {"a": 1, "a": 2}}', id="twice inside"),
        pytest.param(b'{"subject": "\xff\xfe"}', id="not UTF-8"),
        pytest.param(b'{"subject": "\xed\xa0\x80"}', id="a surrogate as bytes"),
        pytest.param('{"subject": "Help"}'.encode("utf-16"), id="UTF-16"),
        pytest.param('{"subject": "Hélp"}'.encode("latin-1"), id="Latin-1"),
        pytest.param(b'{"subject": "a\nb"}', id="a raw line break"),
        pytest.param(b"[" * 65_000, id="brackets"),
        pytest.param(b'{"subject":' + b"[" * 32_000 + b"]" * 32_000 + b"}", id="nested arrays"),
        pytest.param(b'{"a":' * 10_000 + b"1" + b"}" * 10_000, id="nested objects"),
        pytest.param(b'{"subject": ' + b"9" * 5000 + b"}", id="a number of 5,000 digits"),
        # Python reads them, and would write what no browser reads.
        *(
            b'{"subject": [%s]}' % number
            for number in (b"NaN", b"Infinity", b"-Infinity", b"1e400")
        ),
    ],
)
def test_a_body_that_is_no_json_is_400(
    body: bytes, user: Caller, database: Database[Document]
) -> None:
    before = stored(database)
    refused(user.send_raw("POST", "/api/chat", body), 400, "bad_json")
    assert stored(database) == before


def test_a_hundred_thousand_brackets_are_refused_without_an_error(user: Caller) -> None:
    refused(user.send_raw("POST", "/api/chat", b"[" * 100_000), 413, "too_large")
    user.client.application.config["MAX_CONTENT_LENGTH"] = 1_000_000
    refused(user.send_raw("POST", "/api/chat", b"[" * 100_000), 400, "bad_json")
    nested = b"[" * 100_000 + b"]" * 100_000
    refused(user.send_raw("POST", "/api/chat", nested), 400, "bad_json")


def test_a_byte_order_mark_is_passed_over(user: Caller) -> None:
    answer = user.send_raw("POST", "/api/chat", b'\xef\xbb\xbf{"subject": "Help"}')
    assert answer.status_code == 201


@pytest.mark.parametrize("route", WITH_BODY, ids=str)
def test_a_body_under_another_name_than_json_is_415(
    route: Route, user: Caller, admin: Caller, database: Database[Document]
) -> None:
    chat = user.open_chat(message="Hello")
    before = stored(database)
    person = user if route.rule == "/api/chat" else admin
    path = route.path(chat_id=chat["_id"], user_id=user.id)
    body = json.dumps(BODIES[str(route)]).encode()
    for content_type in NOT_JSON:
        refused(person.send_raw(route.method, path, body, content_type), 415, "not_json")
    assert stored(database) == before


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON",
     "application/problem+json"],
)  # fmt: skip
def test_json_may_be_named_in_other_ways(content_type: str, user: Caller) -> None:
    answer = user.send_raw("POST", "/api/chat", b'{"subject": "Help"}', content_type)
    assert answer.status_code == 201


@pytest.mark.parametrize("route", WITH_BODY, ids=str)
def test_a_body_over_64_kb_is_413(
    route: Route, user: Caller, admin: Caller, database: Database[Document]
) -> None:
    chat = user.open_chat(message="Hello")
    before = stored(database)
    person = user if route.rule == "/api/chat" else admin
    path = route.path(chat_id=chat["_id"], user_id=user.id)
    body = json.dumps(BODIES[str(route)]).encode()
    for padded in (body.ljust(64 * 1024 + 1), b"x" * 10_000_000):
        refused(person.send_raw(route.method, path, padded), 413, "too_large")
    assert stored(database) == before


def test_a_body_of_64_kb_is_read(user: Caller) -> None:
    body = b'{"subject": "Help"}'.ljust(64 * 1024)
    assert user.send_raw("POST", "/api/chat", body).status_code == 201


@pytest.mark.parametrize("content_type", ["application/json", None])
def test_an_empty_body_is_an_empty_object(content_type: str | None, user: Caller) -> None:
    answer = user.send_raw("POST", "/api/chat", b"", content_type)
    refused(answer, 422, "validation_failed", "subject")
    refused(user.send_raw("POST", "/api/chat", b"", "text/plain"), 415, "not_json")


def test_a_body_sent_in_chunks_is_read(user: Caller) -> None:
    chunked: dict[str, Any] = {"wsgi.input_terminated": True}

    def send(body: bytes) -> Answer:
        client: FlaskClient = user.client
        answer = client.post(
            "/api/chat",
            input_stream=io.BytesIO(body),
            content_type="application/json",
            headers=user.headers | {"Transfer-Encoding": "chunked"},
            environ_overrides=chunked,
        )
        return cast("Answer", answer)

    assert send(b'{"subject": "Help"}').status_code == 201
    refused(send(b"{"), 400, "bad_json")
    refused(send(b"x" * 100_000), 413, "too_large")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/auth/logout"),
        ("POST", "/api/chat/CHAT/typing"),
        ("DELETE", "/api/auth/sessions/CHAT"),
    ],
)
def test_what_takes_no_body_refuses_one(method: str, path: str, user: Caller) -> None:
    path = path.replace("CHAT", user.open_chat()["_id"])
    for body, content_type, status, code in (
        (b'{"a": 1}', "application/json", 422, "validation_failed"),
        (b"a", "text/plain", 415, "not_json"),
        (b"{", "application/json", 400, "bad_json"),
        (b" " * 100_000, "application/json", 413, "too_large"),
    ):
        refused(user.send_raw(method, path, body, content_type), status, code)
    assert user.send_raw(method, path, b"{}").status_code in {204, 404}


@pytest.mark.parametrize("path", ["/api/auth/me", "/api/auth/sessions", "/api/config"])
def test_what_takes_no_query_refuses_one(path: str, user: Caller) -> None:
    refused(user.get(f"{path}?x=1"), 422, "validation_failed", "x")
