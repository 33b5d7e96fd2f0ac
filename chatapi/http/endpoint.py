"""The declaration of a JSON endpoint's input and output, next to its view.

`endpoint` checks the session, validates the input and shapes the output; the
OpenAPI document is generated from the same declarations. apispec with this module was chosen
over flask-smorest for its cost per request and because 415, unknown fields and our
problem documents need no workaround.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Request, Response, current_app, request
from marshmallow import Schema, ValidationError, fields

from chatapi.domain import errors, strict_json
from chatapi.domain.errors import ChatError
from chatapi.http import identity
from chatapi.http.limits import rate_limit
from chatapi.schemas.base import Input

# The groups of the OpenAPI document, in its order: name and description of each tag.
TAGS = {
    "auth": ("Signing in", "Accounts, guests and sessions."),
    "chats": ("Chats", "Create, list, read and update chats."),
    "messages": ("Messages", "Send and read messages."),
    "events": (
        "Live events",
        """Streams of `chat`, `message`, `read`, `typing`, `presence`, `deleted` and `end`.
The data of an event is the schema of that name: Chat, Message, Read, Typing, Presence,
Deleted; `end` has `code` and `retryAfter` and is always the last event.""",
    ),
    "admin_api": ("Administration", "For agents only."),
    "meta": ("About", "The configuration for front ends, and this document."),
    "health": ("Health", "For load balancers and monitoring."),
}
View = Callable[..., Any]
NOTHING = Input()  # the schema of an endpoint without a body or query
CONTRACT = "contract"  # the attribute of a view with its EndpointSpec


@dataclass(frozen=True)
class EndpointSpec:
    """The declaration of an endpoint, as in the OpenAPI document.

    auth -- "anyone", "session", "user" (users and guests) or "admin".
    returns -- the schema of each status; None for an empty body.
    limit -- the LIMIT_<NAME> of config.py that holds; None for no limit.
    tag -- the key of TAGS that it is listed under.
    """

    auth: str
    body: Schema | None
    query: Schema | None
    returns: Mapping[int, Schema | None]
    errors: Sequence[type[ChatError]]
    headers: Mapping[str, str]
    limit: str | None
    tag: str


def endpoint(
    blueprint: Blueprint,
    method: str,
    rule: str,
    *,
    auth: str = "session",
    body: Schema | None = None,
    query: Schema | None = None,
    returns: Mapping[int, Schema | None],
    errors: Sequence[type[ChatError]] = (),
    headers: Mapping[str, str] | None = None,
    limit: str | None = "default",
    tag: str | None = None,
) -> Callable[[View], View]:
    """Register a view that takes (session, body, query, path parts) and returns data.

    The view gets what the contract names: `session` unless anyone may come, `body` and
    `query` as loaded. It returns the data for the first status of `returns`, or (data,
    status), or (data, status, headers), or a Response. Without a tag it is listed under the
    blueprint's name or else the module's. Raises LookupError if TAGS has no such tag.
    """

    def register(view: View) -> View:
        contract = EndpointSpec(
            auth, body, query, returns, errors, headers or {}, limit, _tag(tag, blueprint, view)
        )

        def handle(**parts: Any) -> Response:
            arguments = parts
            if auth != "anyone":
                arguments["session"] = _admit(auth)
            if body is not None:
                arguments["body"] = _load_body(body)
            elif method != "GET":
                _load_body(NOTHING)
            if query is not None:
                arguments["query"] = _load_query(query)
            elif request.query_string:
                _load_query(NOTHING)
            return _respond(contract, view(**arguments))

        handle.__name__ = view.__name__
        handle.__doc__ = view.__doc__
        handle.__module__ = view.__module__
        wrapped = rate_limit(handle, limit) if limit else handle
        setattr(wrapped, CONTRACT, contract)
        blueprint.add_url_rule(rule, view.__name__, wrapped, methods=[method])
        return view

    return register


def _tag(given: str | None, blueprint: Blueprint, view: View) -> str:
    module = view.__module__.rpartition(".")[2]
    name = given or (blueprint.name if blueprint.name in TAGS else module)
    if name not in TAGS:
        raise LookupError(
            f"The endpoint {view.__module__}.{view.__name__} has no tag for the API's document: "
            f"TAGS in chatapi/http/endpoint.py has no {name!r}. Add it there, or give one of "
            f"{', '.join(TAGS)} as tag=…"
        )
    return name


def not_modified(etag: str) -> bool:
    """Return whether the client has this version already."""
    sent = request.if_none_match
    if sent.star_tag:
        return True  # RFC 9110: * matches any version
    # The ETag of a compressed response has the coding as a suffix.
    return any(tag.split(":")[0] == etag for tag in (*sent, *sent.as_set(include_weak=True)))


def unchanged(etag: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return the 304 response for unchanged data."""
    response = Response(status=304, headers=dict(headers or {}))
    response.set_etag(etag)
    return response


def _admit(auth: str) -> Any:
    session = identity.required()
    if auth == "admin":
        session.require_admin()
    return session


def _load_body(schema: Schema) -> Any:
    return check(schema, _json_object(request))


def _json_object(incoming: Request) -> Any:
    # Read before checking whether there is one, because a chunked body has no length.
    raw = incoming.get_data(cache=False)
    if incoming.content_length is None and len(raw) >= current_app.config["MAX_CONTENT_LENGTH"]:
        # Werkzeug truncates a chunked body that is too large.
        raise errors.TooLarge
    if not incoming.is_json and (raw or incoming.mimetype):
        raise errors.NotJson
    if not raw:
        return {}
    try:
        return strict_json.decode(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise errors.BadJson from None


def _load_query(schema: Schema) -> Any:
    given = {}
    for name, values in request.args.lists():
        many = isinstance(schema.fields.get(name), fields.List)
        if len(values) > 1 and not many:
            raise errors.InvalidInput.for_field(name, "May be given once.")
        given[name] = values if many else values[0]
    try:
        return check(schema, given)
    except errors.InvalidInput as error:
        # Errors of a repeated parameter are reported under its one name.
        found: dict[str, list[str]] = {}
        for path, texts in error.data["fields"].items():
            found.setdefault(path.partition(".")[0], []).extend(texts)
        raise errors.InvalidInput(found) from None


def check(schema: Schema, given: Any) -> Any:
    """Return the input as loaded by the schema. Raises InvalidInput with each invalid field."""
    try:
        return schema.load(given)
    except ValidationError as error:
        raise errors.InvalidInput(_flat(error.messages)) from None


def _flat(messages: Any, prefix: str = "") -> dict[str, list[str]]:
    """Return marshmallow's nested messages as one list per field path."""
    if isinstance(messages, list):
        return {prefix or "body": [str(text) for text in messages]}
    found: dict[str, list[str]] = {}
    for name, inner in messages.items():
        # A client's field name may have characters that UTF-8 cannot encode.
        shown = str(name).encode(errors="replace").decode()
        key = "body" if name == "_schema" else f"{prefix}.{shown}" if prefix else shown
        found |= _flat(inner, key)
    return found


def json_response(data: object, status: int = 200) -> Response:
    """Return a JSON response of data that a schema has shaped, ending with a newline."""
    return text_response(json_text(data), status)


def json_text(data: object) -> str:
    """Return the JSON of data that a schema has shaped."""
    return current_app.json.dumps(data, separators=(",", ":"))


def text_response(text: str, status: int = 200) -> Response:
    """Return a response with a JSON text."""
    return Response(f"{text}\n", status=status, mimetype="application/json")


def _respond(contract: EndpointSpec, result: Any) -> Response:
    if isinstance(result, Response):
        return result
    data, status, headers = result, next(iter(contract.returns)), {}
    if isinstance(result, tuple):
        data, status, headers = (*result, {})[:3]
    schema = contract.returns[status]
    if schema is None:
        response = Response(status=status)
    else:
        response = json_response(schema.dump(data), status)
    if headers:
        response.headers.extend(headers)
    return response
