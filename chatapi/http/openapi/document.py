"""The document: each endpoint as an operation, with its responses and errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Flask
from werkzeug.routing import Rule

from chatapi.domain import errors
from chatapi.domain.errors import ChatError
from chatapi.http.endpoint import TAGS, EndpointSpec
from chatapi.http.openapi.components import (
    describe_field,
    finish_parameters,
    finish_schemas,
    schema_name,
)
from chatapi.http.openapi.examples import (
    camel,
    error_responses,
    example_name,
    example_of,
    problem_example,
    request_examples,
)
from chatapi.http.openapi.texts import (
    ACCESS,
    CHANGING,
    EVENT_EXAMPLE,
    EVENT_SCHEMAS,
    EVENT_STREAM,
    HEADERS,
    ID_PATTERN,
    INTRODUCTION,
    PARAMETERS,
    PROBLEM,
)
from chatapi.schemas.problems import ProblemOut


def build_document(app: Flask) -> dict[str, Any]:
    """Return the OpenAPI document of everything the app's endpoints declare."""
    plugin = MarshmallowPlugin(schema_name_resolver=schema_name)
    spec = APISpec(
        title="Live chat",
        version=str(app.config["VERSION"]),
        openapi_version="3.1.0",
        info={"description": INTRODUCTION},
        servers=[{"url": app.config["PUBLIC_URL"] or "/"}],
        tags=[{"name": name, "description": text} for name, text in TAGS.values()],
        plugins=[plugin],
    )
    if plugin.converter is not None:  # It is, once there is a spec.
        plugin.converter.add_attribute_function(  # type: ignore[no-untyped-call] # apispec
            describe_field
        )
    _add_components(spec, app)
    paths: dict[str, dict[str, Any]] = {}
    for rule, contract, view in _endpoints(app):
        method = next(iter((rule.methods or set()) - {"HEAD", "OPTIONS"})).lower()
        paths.setdefault(spec_path(rule), {})[method] = _operation(
            app, rule, contract, view, method
        )
    paths["/api/openapi.json"] = {"get": _own_operation()}
    for path, operations in paths.items():
        spec.path(path, operations=operations)
    made: dict[str, Any] = spec.to_dict()
    finish_parameters(made["paths"])
    finish_schemas(made["components"]["schemas"])
    return made


def spec_path(rule: Rule) -> str:
    """Return a route's address as OpenAPI writes it: /api/chat/{chatId}."""
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda found: f"{{{camel(found[1])}}}", rule.rule)


def _endpoints(app: Flask) -> Iterator[tuple[Rule, EndpointSpec, Any]]:
    """Yield the declared endpoints in the order of TAGS, then in that of their modules."""
    order = list(TAGS)
    found = []
    for number, rule in enumerate(app.url_map.iter_rules()):
        view = app.view_functions[rule.endpoint]
        if contract := getattr(view, "contract", None):
            found.append((order.index(contract.tag), number, rule, contract, view))
    for _, _, rule, contract, view in sorted(found, key=lambda row: row[:2]):
        yield rule, contract, view


def _operation(
    app: Flask, rule: Rule, contract: EndpointSpec, view: Any, method: str
) -> dict[str, Any]:
    text = " ".join((view.__doc__ or "").split())
    summary, _, more = text.partition(". ")
    operation: dict[str, Any] = {
        "operationId": camel(rule.endpoint.rpartition(".")[2]),
        "tags": [TAGS[contract.tag][0]],
        "summary": summary.rstrip("."),
        "description": " ".join(filter(None, (more, _access(contract), _limit(app, contract)))),
        "security": _security(contract, method),
        "parameters": _parameters(rule, contract),
        "responses": _responses(contract, method),
    }
    if contract.body is not None:
        operation["requestBody"] = {
            "required": any(field.required for field in contract.body.fields.values()),
            "content": {
                "application/json": {
                    "schema": type(contract.body),
                    "examples": request_examples(contract.body),
                }
            },
        }
    return operation


def _own_operation() -> dict[str, Any]:
    return {
        "operationId": "openapiJson",
        "tags": [TAGS["meta"][0]],
        "summary": "Give this document",
        "description": "Browse it at `/api/docs`. For: anyone.",
        "security": [],
        "responses": {
            "200": {
                "description": "The OpenAPI document.",
                "headers": _headers("ETag"),
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
            "304": {"description": "Nothing has changed.", "headers": _headers("ETag")},
            **_problems([errors.TooManyRequests, ChatError]),
        },
    }


def _access(contract: EndpointSpec) -> str:
    return f"For: {ACCESS[contract.auth][0].lower()}{ACCESS[contract.auth][1:]}"


def _limit(app: Flask, contract: EndpointSpec) -> str:
    if contract.limit is None:
        return ""
    return f"At most {app.config[f'LIMIT_{contract.limit.upper()}']}."


def _security(contract: EndpointSpec, method: str) -> list[dict[str, list[str]]]:
    if contract.auth == "anyone":
        return []
    if method in CHANGING:
        return [{"bearer": []}, {"cookie": [], "csrf": []}]
    return [{"bearer": []}, {"cookie": []}]


def _parameters(rule: Rule, contract: EndpointSpec) -> list[dict[str, Any]]:
    parameters = []
    for name in re.findall(r"<(?:\w+:)?(\w+)>", rule.rule):
        text, owner = PARAMETERS[name]
        schema: dict[str, Any] = {"type": "integer", "minimum": 1}
        example: Any = 1
        if owner is not None:
            schema = {"type": "string", "pattern": ID_PATTERN}
            example = owner().fields["_id"].metadata["example"]
        parameters.append(
            {
                "name": camel(name),
                "in": "path",
                "required": True,
                "description": text,
                "schema": schema,
                "example": example,
            }
        )
    if contract.query is not None:
        parameters.append({"in": "query", "schema": type(contract.query)})
    return parameters


def _responses(contract: EndpointSpec, method: str) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, schema in contract.returns.items():
        names = [
            name
            for name in contract.headers
            if name in HEADERS
            and (200 <= status < 300 or (status == 304 and name in {"ETag", "X-Unread-Total"}))
        ]
        response: dict[str, Any] = {
            "description": _meaning(status, contract),
            "headers": _headers(*names),
        }
        if schema is not None:
            shape: Any = type(schema)
            response["content"] = {
                "application/json": {
                    "schema": {"type": "array", "items": shape} if schema.many else shape,
                    "example": example_of(schema),
                }
            }
        if contract.headers.get("Content-Type") == EVENT_STREAM:
            response["content"] = {
                EVENT_STREAM: {"schema": {"type": "string"}, "example": EVENT_EXAMPLE}
            }
        responses[str(status)] = response
    return responses | _problems(_errors(contract, method))


def _meaning(status: int, contract: EndpointSpec) -> str:
    if status == 200 and 201 in contract.returns:
        return "The same `clientMessageId` was sent before: this is what it made then."
    return {
        200: "Done.",
        101: "The connection is a WebSocket from here on.",
        201: "Made.",
        204: "Done; there is no body.",
        304: "Nothing has changed since the answer with this ETag.",
    }[status]


def _errors(contract: EndpointSpec, method: str) -> list[type[ChatError]]:
    """Return what an endpoint refuses: what it names, and what follows from the rest."""
    found: list[type[ChatError]] = []
    if method in CHANGING:
        found += [errors.BadJson, errors.TooLarge, errors.NotJson, errors.RequestTimeout]
    if contract.auth != "anyone":
        found += [errors.NotSignedIn, errors.SessionExpired]
        if method in CHANGING:
            found.append(errors.CsrfFailed)
    if contract.auth == "admin":
        found.append(errors.AdminOnly)
    found += contract.errors
    if 101 not in contract.returns:
        # Also where there is no body or no query: then any is refused.
        found.append(errors.InvalidInput)
    if contract.limit is not None:
        found += [errors.TooManyRequests, errors.DatabaseUnavailable, errors.RestoreUnfinished]
        found.append(errors.BadAddress)
    return list(dict.fromkeys([*found, ChatError]))


def _problems(kinds: list[type[ChatError]]) -> dict[str, Any]:
    """Return a response for each status, with an example for each refusal that has it."""
    by_status: dict[int, list[type[ChatError]]] = {}
    for kind in kinds:
        by_status.setdefault(kind.status, []).append(kind)
    responses = {}
    for status, alike in sorted(by_status.items()):
        names = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}
        responses[str(status)] = {
            "description": " ".join(f"{kind.title} (`{kind.code}`)." for kind in alike),
            "headers": _headers(*names.get(status, ())),
            "content": {
                PROBLEM: {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "examples": {
                        example_name(kind): {"$ref": f"#/components/examples/{example_name(kind)}"}
                        for kind in alike
                    },
                }
            },
        }
    return responses


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in (*names, "X-Request-Id")}


def _add_components(spec: APISpec, app: Flask) -> None:
    components = spec.components
    for name, (text, schema) in HEADERS.items():
        components.header(name, {"description": text, "schema": schema})
    for name, kind in error_responses().items():
        components.example(name, {"summary": kind.title, "value": problem_example(kind)})
    components.security_scheme(
        "bearer",
        {"type": "http", "scheme": "bearer", "description": "The token that signing in returns."},
    )
    components.security_scheme(
        "cookie",
        {
            "type": "apiKey",
            "in": "cookie",
            "name": app.config["AUTH_COOKIE_NAME"],
            "description": 'Set by signing in with `"cookie": true`. For pages of this origin.',
        },
    )
    components.security_scheme(
        "csrf",
        {
            "type": "apiKey",
            "in": "header",
            "name": "X-CSRF-Token",
            "description": "From `GET /api/auth/csrf`, with the cookie that comes with it.",
        },
    )
    for shape in (ProblemOut, *EVENT_SCHEMAS):
        components.schema(schema_name(shape), schema=shape)
