"""The OpenAPI document and its page: complete, valid, and true.

That every answer has the form that the document says is checked wherever a test calls the
API (tests/user_api/conformance.py).
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any, cast

import jsonschema_rs
import mongomock
import pytest
from flask import Flask
from flask.testing import FlaskClient
from pymongo.database import Database
from schemathesis.specs.openapi.definitions import OPENAPI_31

from chatapi import create_app
from chatapi.domain.enums import PRIORITIES, STATUSES
from chatapi.domain.lengths import MAX_MESSAGE_LENGTH, MAX_SEQ, MAX_SUBJECT_LENGTH
from chatapi.http.openapi.examples import error_responses
from chatapi.http.openapi.texts import ADVICE
from chatapi.store.database import Document
from config import TestConfig
from tests.user_api.callers import ROUTES, WITH_BODY, Route

Json = dict[str, Any]
# The page and its stylesheet are for people.
PAGES = {
    "GET /api/docs",
    "GET /api/docs/static/<path:filename>",
    "GET /api/docs/static/v/<version>/<path:filename>",
}


@pytest.fixture(scope="module")
def reader() -> FlaskClient:
    """Somebody who reads; the document and the page of one app are made once."""
    database: Database[Document] = mongomock.MongoClient(tz_aware=True)["documentation"]
    return create_app(TestConfig, database=database).test_client()


@pytest.fixture(scope="module")
def document(reader: FlaskClient) -> Json:
    """The document as it is served."""
    answer = reader.get("/api/openapi.json")
    assert answer.status_code == 200
    assert answer.mimetype == "application/json"
    return cast("Json", answer.json)


def operation_of(document: Json, route: Route) -> Json:
    path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route.rule)
    path = re.sub(r"_(\w)", lambda found: found[1].upper(), path)
    found: Json = document["paths"][path][route.method.lower()]
    return found


def operations(document: Json) -> list[Json]:
    return [each for methods in document["paths"].values() for each in methods.values()]


def validator(document: Json, schema: Json) -> Any:
    """Return what checks a value; strict about members that have no description."""
    whole = {**schema, "components": document["components"]}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)


def test_the_document_is_valid_openapi(document: Json) -> None:
    assert document["openapi"] == "3.1.0"
    errors = jsonschema_rs.Draft202012Validator(OPENAPI_31).iter_errors(document)
    assert [error.message for error in errors] == []
    for name, schema in document["components"]["schemas"].items():
        jsonschema_rs.meta.validate(schema)
        assert schema["type"] == "object", name


def test_every_reference_leads_somewhere(document: Json) -> None:
    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return own + [each for inner in value.values() for each in references(inner)]
        if isinstance(value, list):
            return [each for inner in value for each in references(inner)]
        return []

    found = references(document)
    assert len(found) > 100
    for reference in found:
        place: Any = document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


def test_every_route_is_described_and_nothing_else(document: Json) -> None:
    described = [route for route in ROUTES if str(route) not in PAGES]
    for route in described:
        assert operation_of(document, route)
    assert len(operations(document)) == len(described)


def test_every_operation_says_what_it_is_for(document: Json) -> None:
    tags = {tag["name"] for tag in document["tags"]}
    ids = [operation["operationId"] for operation in operations(document)]
    assert len(set(ids)) == len(ids)
    for operation in operations(document):
        assert operation["summary"]
        assert operation["description"]
        assert set(operation["tags"]) <= tags
        for parameter in operation.get("parameters", ()):
            assert (
                parameter.get("description")
                or parameter["schema"].get("enum")
                or parameter["name"] in {"limit", "status", "priority", "category"}
            ), parameter


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.contract is not None], ids=str
)
def test_every_refusal_of_a_route_is_described(route: Route, document: Json) -> None:
    contract = route.contract
    assert contract is not None
    operation = operation_of(document, route)
    statuses = set(operation["responses"])
    private = contract.auth != "anyone"
    changing = route.method != "GET"
    assert ("401" in statuses) == (private or route.rule == "/api/auth/login")
    assert bool(operation["security"]) == private
    assert "500" in statuses
    assert ("429" in statuses) == (not route.rule.startswith(("/healthz", "/readyz")))
    if route.rule not in {"/healthz", "/api/ws"}:
        assert "503" in statuses
    if contract.body is not None:
        assert {"400", "413", "415", "422"} <= statuses
        assert "application/json" in operation["requestBody"]["content"]
    if contract.query is not None:
        assert "422" in statuses
    if "<" in route.rule:
        assert "404" in statuses
    if private and changing:
        assert {"cookie": [], "csrf": []} in operation["security"]
        assert "csrf_failed" in examples(operation, "403")
    if contract.auth == "admin":
        assert "admin_only" in examples(operation, "403")
    if "<chat_id>" in route.rule and contract.auth != "admin":
        assert "not_your_chat" in examples(operation, "403")
    for status in statuses - {"101"}:
        assert "X-Request-Id" in operation["responses"][status]["headers"]
    for status in statuses & {"429", "503"}:
        assert "Retry-After" in operation["responses"][status]["headers"]


def examples(operation: Json, status: str) -> set[str]:
    content = operation["responses"][status]["content"]["application/problem+json"]
    return set(content["examples"])


def test_every_refusal_there_is_has_an_example_that_is_a_problem(document: Json) -> None:
    problem = validator(document, {"$ref": "#/components/schemas/Problem"})
    found = document["components"]["examples"]
    codes = document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]
    for name, kind in error_responses().items():
        example = found[name]["value"]
        assert list(problem.iter_errors(example)) == [], name
        assert (example["code"], example["status"]) == (kind.code, kind.status)
        assert kind.code in codes
        assert ADVICE[kind.code], kind.code
    assert found["chat_open"]["value"]["chatId"]
    assert found["validation_failed"]["value"]["fields"]


def test_every_example_of_an_answer_has_the_form_it_stands_for(document: Json) -> None:
    checked = 0
    for operation in operations(document):
        for status, response in operation["responses"].items():
            for media in response.get("content", {}).values():
                if "example" in media:
                    errors = validator(document, media["schema"]).iter_errors(media["example"])
                    messages = [error.message for error in errors]
                    assert messages == [], (operation["operationId"], status)
                    checked += 1
    assert checked > 15


@pytest.mark.parametrize("route", WITH_BODY, ids=str)
def test_every_example_of_a_body_is_taken(route: Route, document: Json) -> None:
    assert route.contract is not None
    assert route.contract.body is not None
    media = operation_of(document, route)["requestBody"]["content"]["application/json"]
    assert media["examples"]
    for example in media["examples"].values():
        assert list(validator(document, media["schema"]).iter_errors(example["value"])) == []
        route.contract.body.load(example["value"])


@pytest.mark.parametrize("route", WITH_BODY, ids=str)
def test_a_body_that_the_document_forbids_is_not_taken(route: Route, document: Json) -> None:
    assert route.contract is not None
    schema = route.contract.body
    assert schema is not None
    media = operation_of(document, route)["requestBody"]["content"]["application/json"]
    check = validator(document, media["schema"])
    (valid, *_) = (example["value"] for example in media["examples"].values())
    # Whether an adminId names an agent is for the service to say.
    for name in set(schema.fields) - {"adminId"}:
        values: list[Any] = [None, 1, True, "", " ", "x" * 6000, [], {}, ["x"] * 201, -1, 2**31]
        for value in values:
            body = valid | {name: value}
            if schema.validate(body) == {}:
                assert list(check.iter_errors(body)) == [], body
    assert list(check.iter_errors(valid | {"unknown": 1}))


def test_lengths_choices_and_ranges_are_those_of_the_fields(document: Json) -> None:
    found = document["components"]["schemas"]
    chat = found["ChatRequest"]
    assert chat["required"] == ["subject"]
    assert chat["additionalProperties"] is False
    subject = chat["properties"]["subject"]
    assert (subject["minLength"], subject["maxLength"]) == (1, MAX_SUBJECT_LENGTH)
    assert chat["properties"]["message"]["maxLength"] == MAX_MESSAGE_LENGTH
    assert chat["properties"]["priority"]["type"] == ["string", "null"]
    assert chat["properties"]["priority"]["enum"] == [*PRIORITIES, None]
    seq = found["ReadRequest"]["properties"]["seq"]
    assert (seq["type"], seq["minimum"], seq["maximum"]) == ("integer", 0, MAX_SEQ)
    assert found["RegisterRequest"]["properties"]["email"]["format"] == "email"
    assert found["RegisterRequest"]["properties"]["password"]["minLength"] == 8
    assert found["Chat"]["properties"]["createdAt"]["format"] == "date-time"
    assert found["Chat"]["properties"]["adminId"]["type"] == ["string", "null"]
    assert set(found["Chat"]["required"]) == set(found["Chat"]["properties"])
    assert found["BulkRequest"]["properties"]["ids"]["maxItems"] == 200
    query = {each["name"]: each for each in document["paths"]["/api/chat"]["get"]["parameters"]}
    assert query["limit"]["schema"] == {
        "type": "integer", "minimum": 1, "maximum": 100, "default": 50
    }  # fmt: skip
    assert query["unread"]["schema"] == {"type": "boolean"}
    assert query["status"]["explode"] is True
    assert query["status"]["schema"]["items"]["enum"] == list(STATUSES)


def test_the_categories_are_those_of_the_configuration(database: Database[Document]) -> None:
    app = create_app(TestConfig, database=database, CHAT_CATEGORIES=("parcels", "returns"))
    document = cast("Json", app.test_client().get("/api/openapi.json").json)
    found = document["components"]["schemas"]
    enum = found["ChatRequest"]["properties"]["category"]["enum"]
    assert enum == ["parcels", "returns", None]


def test_the_document_and_the_page_are_kept_and_have_an_etag(reader: FlaskClient) -> None:
    for path in ("/api/openapi.json", "/api/docs"):
        first, second = reader.get(path), reader.get(path)
        assert first.data == second.data
        etag = first.headers["ETag"]
        assert etag == second.headers["ETag"]
        again = reader.get(path, headers={"If-None-Match": etag})
        assert (again.status_code, again.data) == (304, b"")
        for match, status in (("*", 200), (etag, 200), ('"other"', 412)):
            assert reader.get(path, headers={"If-Match": match}).status_code == status
        both = reader.get(path, headers={"If-Match": "*", "If-None-Match": etag})
        assert both.status_code == 304


class Page(HTMLParser):
    """What a test asks of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if found.get("id"):
            self.ids.append(str(found["id"]))
        for name in ("href", "src"):
            if found.get(name):
                self.links.append(str(found[name]))


@pytest.fixture(scope="module")
def page(reader: FlaskClient) -> Page:
    """The page, read."""
    answer = reader.get("/api/docs")
    assert answer.status_code == 200
    assert answer.mimetype == "text/html"
    return Page(answer.text)


def test_the_page_has_a_place_for_every_operation_schema_and_code(
    page: Page, document: Json
) -> None:
    assert len(set(page.ids)) == len(page.ids)
    wanted = {operation["operationId"] for operation in operations(document)}
    wanted |= {kind.code for kind in error_responses().values()} - {"conflict"}
    wanted |= {f"schema-{name}" for name in document["components"]["schemas"]}
    assert wanted <= set(page.ids)


def test_every_link_of_the_page_leads_somewhere(page: Page, reader: FlaskClient) -> None:
    for link in set(page.links) - {"data:,"}:
        if link.startswith("#"):
            assert link[1:] in page.ids, link
        else:
            assert link.startswith("/api/"), link
            with reader.get(link) as answer:
                assert answer.status_code == 200, link


def test_the_type_of_a_problem_leads_to_its_place_on_the_page(
    page: Page, client: FlaskClient
) -> None:
    problem = cast("Json", client.get("/api/chat").json)
    path, _, anchor = problem["type"].partition("#")
    assert path == "/api/docs"
    assert anchor in page.ids


def test_the_page_is_whole_without_its_script_and_has_nothing_inline(
    page: Page, reader: FlaskClient
) -> None:
    scripts = [attributes for tag, attributes in page.tags if tag == "script"]
    assert [script["type"] for script in scripts] == ["module"]
    assert str(scripts[0]["src"]).endswith("/page.js")
    # What only the script can use is all that it shows.
    assert {tag for tag, attributes in page.tags if "hidden" in attributes} == {"form"}
    for tag, attributes in page.tags:
        assert tag not in {"style", "iframe", "object"}
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
    policy = reader.get("/api/docs").headers["Content-Security-Policy"]
    assert "style-src 'self'" in policy
    with reader.get("/api/docs/static/page.css") as css:
        assert css.mimetype == "text/css"
        text = css.get_data(as_text=True)
    assert "url(" not in text
    assert "@import" not in text


def test_every_operation_has_a_command_to_try(reader: FlaskClient, document: Json) -> None:
    text = reader.get("/api/docs").text
    assert text.count("<code>curl ") >= len(operations(document))
    assert "Authorization: Bearer $TOKEN" in text


def test_the_document_knows_the_address_that_the_product_has(
    database: Database[Document],
) -> None:
    app: Flask = create_app(TestConfig, database=database, PUBLIC_URL="https://chat.example")
    client = app.test_client()
    answer = client.get("/api/openapi.json", headers={"Host": "evil.example"})
    document = cast("Json", answer.json)
    assert document["servers"] == [{"url": "https://chat.example"}]
    text = client.get("/api/docs", headers={"Host": "evil.example"}).text
    assert "evil.example" not in text
    assert "curl https://chat.example/api/chat" in text
