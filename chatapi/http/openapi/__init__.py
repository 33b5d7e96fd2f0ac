"""The OpenAPI 3.1 document, made of the endpoints' own declarations, and its page.

Both are built on the first request for them and kept; nothing in them depends on who asks.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.common import resolve_schema_cls
from flask import Blueprint, Flask, Response, current_app
from marshmallow import Schema, fields
from werkzeug.routing import Rule

from chatapi.domain import errors
from chatapi.domain.errors import ChatError
from chatapi.http import problems
from chatapi.http.endpoint import TAGS, Contract
from chatapi.http.limits import limited
from chatapi.http.openapi import reference
from chatapi.http.static_files import StaticFiles, make_conditional
from chatapi.schemas import field_types
from chatapi.schemas.auth import SessionOut
from chatapi.schemas.base import Output
from chatapi.schemas.chats import BulkIn, ChatOut, ChatPatch
from chatapi.schemas.events import DeletedOut, PresenceOut, ReadOut, TypingOut
from chatapi.schemas.messages import RETRY_KEY
from chatapi.schemas.problems import ProblemOut
from chatapi.schemas.users import UserOut, UserPatch

blueprint = Blueprint(
    "openapi",
    __name__,
    url_prefix="/api",
    template_folder="templates",
)
files = StaticFiles(Path(__file__).parent / "static")
files.register(blueprint, "/docs/static")

INTRODUCTION = """\
A live support chat. Users and guests open chats, agents answer them.

Everything is JSON in UTF-8, names are camelCase, ids are 24 hex digits, times are UTC with \
milliseconds. Unknown fields and unknown query parameters are refused.

Send the token that signing in returns as `Authorization: Bearer TOKEN`. A page of this \
origin may ask for a cookie instead (`"cookie": true`); then every request that changes \
something needs the header `X-CSRF-Token` with the token from `GET /api/auth/csrf`.

Every refusal is `application/problem+json` (RFC 9457). Branch on its `code`, never on its \
text, and quote its `requestId` when you ask for help.

A message is sent once however often you try: give it a `clientMessageId` and repeat that \
when you retry after a timeout or a 5xx."""

WHO = {
    "anyone": "Anyone.",
    "session": "Users, guests and agents.",
    "user": "Users and guests.",
    "admin": "Agents only.",
}
PARAMETERS = {
    "chat_id": ("The chat's `_id`.", ChatOut),
    "user_id": ("The user's `_id`.", UserOut),
    "session_id": ("The session's `_id`.", SessionOut),
    "seq": ("The message's `seq`.", None),
}
# What a refusal of this code carries beside the members of every problem.
EXTRAS: dict[str, dict[str, Any]] = {
    "chat_open": {"chatId": "6921a7f05c1d4e0012ab34cd"},
    "chat_closed": {"chatStatus": "closed"},
    "validation_failed": {"fields": {"content": ["Must not be empty."]}},
    "too_many_requests": {"retryAfter": 30},
    "storage_full": {"retryAfter": 30},
    "database_unavailable": {"retryAfter": 2},
    "busy": {"retryAfter": 1},
    "service_busy": {"retryAfter": 2},
    "restore_unfinished": {"retryAfter": 30},
}
EXTRA_MEMBERS: dict[str, dict[str, Any]] = {
    "chatId": {
        "type": ["string", "null"],
        "description": "With `chat_open`: the chat that is open. Null if it is being closed.",
    },
    "chatStatus": {
        "enum": ["closed", "archived"],
        "description": "With `chat_closed`: the chat's status.",
    },
    "retryAfter": {
        "type": "integer",
        "minimum": 1,
        "description": "With 429 and 503: seconds to wait; the header Retry-After says the same.",
    },
    "debug": {
        "type": "object",
        "description": "With a 5xx, to agents only: the exception's class and message.",
    },
}
ADVICE = {
    "bad_request": "Check the request's headers and address; repeating it does not help.",
    "bad_json": "Check the body: one JSON object in UTF-8, no name in it twice.",
    "bad_address": "Report it: the proxy in front of the service is set up wrongly.",
    "not_signed_in": "Send a token, or ask the user to sign in.",
    "session_expired": "Drop the token and ask the user to sign in again.",
    "wrong_credentials": "Say so; which of the two was wrong is not told.",
    "forbidden": "Do not offer this to this user.",
    "not_your_chat": "Go back to the list of chats.",
    "admin_only": "Do not offer this to users and guests.",
    "csrf_failed": "Get a new token from `GET /api/auth/csrf` and try once more.",
    "not_found": "It was deleted, or the id is wrong. Go back to the list.",
    "link_expired": "Ask an agent for a new link.",
    "method_not_allowed": "The header Allow names the methods there are.",
    "email_taken": "Offer to sign in.",
    "chat_closed": "Show the chat read-only. An agent may reopen it, a user opens a new one.",
    "chat_open": "Open the chat that `chatId` names.",
    "answer_pending": "Keep the text; send it when an agent has answered.",
    "last_admin": "Make somebody else an agent first.",
    "too_large": "Send less than 64 KB.",
    "request_timeout": "Nothing was done. Send the whole request again on a new connection.",
    "not_json": "Send `Content-Type: application/json`.",
    "validation_failed": "Show each text of `fields` beside its field.",
    "upgrade_required": "Open this address with a WebSocket client.",
    "too_many_requests": "Wait `retryAfter` seconds, then repeat the same request.",
    "storage_full": "Nothing was stored: the disk is almost full. Reads go on; repeat later.",
    "database_unavailable": "Repeat after `retryAfter` seconds with the same `clientMessageId`.",
    "service_busy": "Repeat after `retryAfter` seconds.",
    "busy": "Repeat after `retryAfter` seconds with the same `clientMessageId`.",
    "restore_unfinished": "Nothing was stored. Repeat after `retryAfter` seconds.",
    "internal": "Repeat with the same `clientMessageId`; if it stays, report the `requestId`.",
    "conflict": "Read the state again.",
}
REQUESTS: dict[type[Schema], dict[str, Any]] = {
    ChatPatch: {
        "Answer": {
            "message": "It is on its way.",
            "clientMessageId": RETRY_KEY["example"],
        },
        "Read": {"read": True},
        "Assign (agents)": {
            "adminId": "69207e3b5c1d4e0012ab1234",
            "priority": "high",
            "status": "pending",
        },
        "Close (agents)": {"message": "Glad it arrived!", "status": "closed"},
    },
    UserPatch: {
        "Rename": {"name": "Ana Lima"},
        "Make an agent": {"role": "admin"},
        "Disable": {"disabled": True},
    },
    BulkIn: {
        "Close": {"ids": ["6921a7f05c1d4e0012ab34cd"], "status": "closed"},
    },
}
PROBLEM = "application/problem+json"
EVENT_SCHEMAS = (ReadOut, TypingOut, PresenceOut, DeletedOut)
EVENT_STREAM = "text/event-stream"
EVENT_EXAMPLE = """\
retry: 2000

event: read
data: {"chatId":"6921a7f05c1d4e0012ab34cd","readerRole":"admin","seq":1}

event: end
data: {"code":"restarting","retryAfter":2}
"""
CHANGING = frozenset({"post", "patch", "delete"})
_ID_PATTERN = "^[0-9a-f]{24}$"


@dataclass(frozen=True)
class Built:
    """A body that is always the same, and the ETag that says so."""

    body: bytes
    etag: str
    mimetype: str

    @classmethod
    def of(cls, body: bytes, mimetype: str) -> Built:
        """Return a body with its ETag."""
        return cls(body, hashlib.blake2b(body, digest_size=16).hexdigest(), mimetype)

    def response(self) -> Response:
        """Return the answer, 304 for a client that has it."""
        response = Response(self.body, mimetype=self.mimetype)
        response.set_etag(self.etag)
        make_conditional(response)
        return response


def openapi_json() -> Response:
    """Give this document."""
    return _kept("document").response()


def docs() -> Response:
    """Show the document as a page."""
    return _kept("page").response()


blueprint.add_url_rule("/openapi.json", view_func=limited(openapi_json))
blueprint.add_url_rule("/docs", view_func=limited(docs))


def _kept(name: str) -> Built:
    kept: dict[str, Built] = current_app.extensions.setdefault("openapi", {})
    if name not in kept:
        kept[name] = _build(name)
    return kept[name]


def _build(name: str) -> Built:
    made = document(current_app)
    if name == "page":
        page = reference.render(made, _advice(), files.url("page.css"))
        return Built.of(page.encode(), "text/html")
    text = json.dumps(made, ensure_ascii=False, separators=(",", ":"))
    return Built.of(text.encode(), "application/json")


def document(app: Flask) -> dict[str, Any]:
    """Return the OpenAPI document of everything the app's endpoints declare."""
    plugin = MarshmallowPlugin(schema_name_resolver=_schema_name)
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
        plugin.converter.add_attribute_function(_describe_field)
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
    _finish_parameters(made["paths"])
    _finish_schemas(made["components"]["schemas"])
    return made


def spec_path(rule: Rule) -> str:
    """Return a route's address as OpenAPI writes it: /api/chat/{chatId}."""
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda found: f"{{{_camel(found[1])}}}", rule.rule)


def refusals() -> dict[str, type[ChatError]]:
    """Return every class of refusal under the name of its example."""
    found = {"internal": ChatError}
    waiting = list(ChatError.__subclasses__())
    while waiting:
        kind = waiting.pop(0)
        found[_example_name(kind)] = kind
        waiting += kind.__subclasses__()
    return found


def _advice() -> dict[str, dict[str, Any]]:
    """Return, for each code, its title, status, text, extra members and what to do."""
    return {
        kind.code: {
            "status": kind.status,
            "title": kind.title,
            "detail": kind.default_detail,
            "extras": EXTRAS.get(kind.code, {}),
            "advice": ADVICE.get(kind.code, ""),
            "example": _problem_example(kind),
        }
        for kind in sorted(refusals().values(), key=lambda kind: (kind.status, kind.code))
        if "code" in vars(kind) and kind is not errors.Conflict
    }


def _endpoints(app: Flask) -> Iterator[tuple[Rule, Contract, Any]]:
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
    app: Flask, rule: Rule, contract: Contract, view: Any, method: str
) -> dict[str, Any]:
    text = " ".join((view.__doc__ or "").split())
    summary, _, more = text.partition(". ")
    operation: dict[str, Any] = {
        "operationId": _camel(rule.endpoint.rpartition(".")[2]),
        "tags": [TAGS[contract.tag][0]],
        "summary": summary.rstrip("."),
        "description": " ".join(filter(None, (more, _who(contract), _limit(app, contract)))),
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
                    "examples": _request_examples(contract.body),
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


def _who(contract: Contract) -> str:
    return f"For: {WHO[contract.who][0].lower()}{WHO[contract.who][1:]}"


def _limit(app: Flask, contract: Contract) -> str:
    if contract.limit is None:
        return ""
    return f"At most {app.config[f'LIMIT_{contract.limit.upper()}']}."


def _security(contract: Contract, method: str) -> list[dict[str, list[str]]]:
    if contract.who == "anyone":
        return []
    if method in CHANGING:
        return [{"bearer": []}, {"cookie": [], "csrf": []}]
    return [{"bearer": []}, {"cookie": []}]


def _parameters(rule: Rule, contract: Contract) -> list[dict[str, Any]]:
    parameters = []
    for name in re.findall(r"<(?:\w+:)?(\w+)>", rule.rule):
        text, owner = PARAMETERS[name]
        schema: dict[str, Any] = {"type": "integer", "minimum": 1}
        example: Any = 1
        if owner is not None:
            schema = {"type": "string", "pattern": _ID_PATTERN}
            example = owner().fields["_id"].metadata["example"]
        parameters.append(
            {
                "name": _camel(name),
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


def _responses(contract: Contract, method: str) -> dict[str, Any]:
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
    return responses | _problems(_refuses(contract, method))


def _meaning(status: int, contract: Contract) -> str:
    if status == 200 and 201 in contract.returns:
        return "The same `clientMessageId` was sent before: this is what it made then."
    return {
        200: "Done.",
        101: "The connection is a WebSocket from here on.",
        201: "Made.",
        204: "Done; there is no body.",
        304: "Nothing has changed since the answer with this ETag.",
    }[status]


def _refuses(contract: Contract, method: str) -> list[type[ChatError]]:
    """Return what an endpoint refuses: what it names, and what follows from the rest."""
    found: list[type[ChatError]] = []
    if method in CHANGING:
        found += [errors.BadJson, errors.TooLarge, errors.NotJson, errors.RequestTimeout]
    if contract.who != "anyone":
        found += [errors.NotSignedIn, errors.SessionExpired]
        if method in CHANGING:
            found.append(errors.CsrfFailed)
    if contract.who == "admin":
        found.append(errors.AdminOnly)
    found += contract.refuses
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
                        _example_name(kind): {
                            "$ref": f"#/components/examples/{_example_name(kind)}"
                        }
                        for kind in alike
                    },
                }
            },
        }
    return responses


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in (*names, "X-Request-Id")}


HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ETag": ("Send it back as If-None-Match: 304 if nothing has changed.", {"type": "string"}),
    "Link": ('The address of the next page, `rel="next"`. Absent on the last.', {"type": "string"}),
    "X-Next-Cursor": ("The `cursor` of the next page. Absent on the last.", {"type": "string"}),
    "X-Unread-Total": (
        "How many messages the caller has not read, in all chats they may see.",
        {"type": "integer", "minimum": 0},
    ),
    "X-Request-Id": ("This request's id, the same as in the server's log.", {"type": "string"}),
    "Retry-After": ("Seconds to wait before the next try.", {"type": "integer", "minimum": 1}),
    "WWW-Authenticate": ("How to sign in.", {"type": "string"}),
}


def _add_components(spec: APISpec, app: Flask) -> None:
    components = spec.components
    for name, (text, schema) in HEADERS.items():
        components.header(name, {"description": text, "schema": schema})
    for name, kind in refusals().items():
        components.example(name, {"summary": kind.title, "value": _problem_example(kind)})
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
        components.schema(_schema_name(shape), schema=shape)


def _schema_name(schema: Any) -> str:
    name = str(resolve_schema_cls(schema).__name__)  # type: ignore[union-attr]
    if name.endswith("Out"):
        return name.removesuffix("Out")
    return f"{name.removesuffix('In')}Request" if name.endswith("In") else name


def _finish_schemas(found: dict[str, Any]) -> None:
    """Say what apispec cannot know: which members are always there."""
    for kind in _output_schemas(Output):
        shape = found.get(_schema_name(kind))
        if shape is not None:
            text = " ".join((kind.__doc__ or "").split())
            if text:
                shape["description"] = text
            shape["required"] = list(shape["properties"])
    shape = found["Problem"]
    shape["required"] = [name for name in shape["properties"] if name != "fields"]
    shape["properties"]["code"]["enum"] = sorted({kind.code for kind in refusals().values()})
    shape["properties"] |= EXTRA_MEMBERS


def _finish_parameters(paths: dict[str, Any]) -> None:
    """Take null out of the types: a query string has none."""
    for operations in paths.values():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                kinds = parameter["schema"].get("type")
                if isinstance(kinds, list):
                    (parameter["schema"]["type"],) = (kind for kind in kinds if kind != "null")
                if parameter["schema"].get("enum"):
                    choices = parameter["schema"]["enum"]
                    parameter["schema"]["enum"] = [each for each in choices if each is not None]


def _output_schemas(base: type[Schema]) -> Iterator[type[Schema]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _output_schemas(kind)


def _describe_field(
    _: Any, field: fields.Field[Any], ret: dict[str, Any], **__: Any
) -> dict[str, Any]:
    """Say of our own fields what apispec does not know of them."""
    more: dict[str, Any] = {}
    if isinstance(field, field_types.Choice):
        more["enum"] = [*field.choices, *([None] if field.allow_none else [])]
    elif isinstance(field, field_types.Text):
        control = r"\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f"
        control = control if field.multiline else r"\u0000-\u001f\u007f-\u009f"
        any_, visible = f"[^{control}]*", rf"[^\s{control}]"
        more["pattern"] = f"^{any_}{visible}{any_}$" if field.low else f"^{any_}$"
    elif isinstance(field, field_types.Id):
        more["pattern"] = _ID_PATTERN
    elif isinstance(field, fields.List) and isinstance(field.load_default, tuple):
        ret.pop("default", None)
    if ret.get("default", ...) is None:
        del ret["default"]
    if "example" in ret:
        example = ret.pop("example")
        more["examples"] = [example]
    return more


def example_of(schema: Schema) -> Any:
    """Return a realistic instance of a schema, made of the examples of its fields."""
    made = {
        field.data_key or name: _field_example(field)
        for name, field in schema.fields.items()
        if isinstance(schema, Output) or field.required or "example" in field.metadata
    }
    return [made] if schema.many else made


def _field_example(field: fields.Field[Any]) -> Any:
    if "example" in field.metadata:
        return field.metadata["example"]
    if isinstance(field, fields.Nested):
        return example_of(field.schema)
    if isinstance(field, fields.List):
        return [_field_example(field.inner)]
    if isinstance(field, field_types.Choice):
        return field.choices[0]
    for validator in field.validators:
        if choices := getattr(validator, "choices", None):
            return choices[0]
    raise LookupError(f"The field {field.name!r} of {field.parent!r} has no example.")


def _request_examples(schema: Schema) -> dict[str, Any]:
    named: Mapping[str, Any] = REQUESTS.get(type(schema), {"Example": example_of(schema)})
    return {name: {"value": value} for name, value in named.items()}


def _problem_example(kind: type[ChatError]) -> dict[str, Any]:
    extras = EXTRAS.get(kind.code, {})
    error = kind(**extras)
    return problems.body_of(error) | {"requestId": "0f8d5c1ab7e64f3d9a2b6c7d8e9f0a1b"}


def _example_name(kind: type[ChatError]) -> str:
    if "code" in vars(kind):
        return kind.code
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
