"""Holds every answer that a test gets against the OpenAPI document.

So each test of the API is a test of its documentation, too: an undocumented status, header,
member or form fails the test that met it.
"""

from __future__ import annotations

import copy
from typing import Any

import jsonschema_rs
from flask import Flask
from werkzeug.exceptions import HTTPException
from werkzeug.test import TestResponse

from chatapi.http.openapi.document import build_document, spec_path

Json = dict[str, Any]


def check(app: Flask, method: str, path: str, answer: TestResponse) -> None:
    """Fail unless the document says that this request may be answered like this."""
    try:
        rule, _ = app.url_map.bind("").match(path.partition("?")[0], method, return_rule=True)
    except HTTPException:
        return  # No route: 404 and 405 belong to no operation.
    described, validators = _prepared(app)
    operation = described["paths"].get(spec_path(rule), {}).get(method.lower())
    if operation is None:
        return
    status = str(answer.status_code)
    name = f"{method} {rule.rule} {status}"
    assert status in operation["responses"], f"{name} is not documented: {answer.text}"
    response = operation["responses"][status]
    documented = {header.lower() for header in response.get("headers", {})}
    for header in ("ETag", "Link", "X-Next-Cursor", "X-Unread-Total", "Retry-After"):
        if header in answer.headers:
            assert header.lower() in documented, f"{name} has {header}, undocumented"
    content = response.get("content")
    if content is None:
        assert answer.data == b"", f"{name} has a body"
        return
    assert answer.mimetype in content, f"{name} is {answer.mimetype}"
    if answer.mimetype == "text/event-stream" or "Content-Encoding" in answer.headers:
        return  # A stream does not end; what is compressed is the same as what is not.
    validator = validators[spec_path(rule), method.lower(), status]
    errors = [error.message for error in validator.iter_errors(answer.json)]
    assert not errors, f"{name}: {errors} in {answer.text}"


_made: dict[tuple[str, ...], tuple[Json, dict[tuple[str, str, str], Any]]] = {}


def _prepared(app: Flask) -> tuple[Json, dict[tuple[str, str, str], Any]]:
    key = tuple(app.config["CHAT_CATEGORIES"])
    if key not in _made:
        described = build_document(app)
        strict = _closed(copy.deepcopy(described))
        validators = {}
        for path, operations in strict["paths"].items():
            for method, operation in operations.items():
                for status, response in operation["responses"].items():
                    for media in response.get("content", {}).values():
                        schema = {**media["schema"], "components": strict["components"]}
                        validators[path, method, status] = jsonschema_rs.Draft202012Validator(
                            schema, validate_formats=True
                        )
        _made[key] = described, validators
    return _made[key]


def _closed(value: Any) -> Any:
    """Let no object have a member that the document does not name."""
    if isinstance(value, dict):
        if isinstance(value.get("properties"), dict) and value.get("type") == "object":
            value.setdefault("additionalProperties", False)
        for each in value.values():
            _closed(each)
    if isinstance(value, list):
        for each in value:
            _closed(each)
    return value
