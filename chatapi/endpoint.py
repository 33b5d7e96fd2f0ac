"""What a JSON endpoint takes and gives, said once beside its view.

`endpoint` parses and checks the input, lets in who may come, and shapes the output; the
OpenAPI document is made of the same declarations. apispec with this module was chosen
over flask-smorest for its cost per request and because 415, unknown fields and our
problem documents need no workaround.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Request, Response, current_app, request
from marshmallow import Schema, ValidationError, fields

from chatapi import errors, identity
from chatapi.errors import ChatError
from chatapi.limits import limited

View = Callable[..., Any]


@dataclass(frozen=True)
class Contract:
    """What the OpenAPI document says of an endpoint.

    who -- "anyone", "session", "user" (users and guests) or "admin".
    returns -- the schema of each status; None for an empty body.
    """

    who: str
    body: Schema | None
    query: Schema | None
    returns: Mapping[int, Schema | None]
    refuses: Sequence[type[ChatError]]
    headers: Mapping[str, str]


def endpoint(
    blueprint: Blueprint,
    method: str,
    rule: str,
    *,
    who: str = "session",
    body: Schema | None = None,
    query: Schema | None = None,
    returns: Mapping[int, Schema | None],
    refuses: Sequence[type[ChatError]] = (),
    headers: Mapping[str, str] | None = None,
    limit: str | None = "default",
) -> Callable[[View], View]:
    """Register a view that takes (session, body, query, path parts) and returns data.

    The view gets what the contract names: `session` unless anyone may come, `body` and
    `query` as loaded. It returns the data for the first status of `returns`, or (data,
    status), or (data, status, headers), or a Response.
    """
    contract = Contract(who, body, query, returns, refuses, headers or {})

    def register(view: View) -> View:
        def handle(**parts: Any) -> Response:
            arguments = parts
            if who != "anyone":
                arguments["session"] = _admit(who)
            if body is not None:
                arguments["body"] = _load_body(body)
            if query is not None:
                arguments["query"] = _load_query(query)
            return _respond(contract, view(**arguments))

        handle.__name__ = view.__name__
        handle.__doc__ = view.__doc__
        handle.__module__ = view.__module__
        wrapped = limited(handle, limit) if limit else handle
        wrapped.contract = contract  # type: ignore[attr-defined]
        blueprint.add_url_rule(rule, view.__name__, wrapped, methods=[method])
        return view

    return register


def not_modified(etag: str) -> bool:
    """Tell whether the client has just this version already."""
    sent = request.if_none_match
    # A compressed answer's ETag is ours with the coding behind it.
    return any(tag.split(":")[0] == etag for tag in (*sent, *sent.as_set(include_weak=True)))


def unchanged(etag: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return the answer to a poll with nothing new."""
    response = Response(status=304, headers=dict(headers or {}))
    response.set_etag(etag)
    return response


def _admit(who: str) -> Any:
    session = identity.required()
    if who == "admin":
        session.require_admin()
    return session


def _load_body(schema: Schema) -> Any:
    return check(schema, _json_object(request))


def _json_object(incoming: Request) -> Any:
    if incoming.content_length is None or incoming.content_length == 0:
        if not incoming.is_json and incoming.mimetype:
            raise errors.NotJson
        return {}
    if not incoming.is_json:
        raise errors.NotJson
    try:
        return current_app.json.loads(incoming.get_data(cache=False))
    except (ValueError, RecursionError):
        raise errors.BadJson from None


def _load_query(schema: Schema) -> Any:
    given = {}
    for name, values in request.args.lists():
        many = isinstance(schema.fields.get(name), fields.List)
        if len(values) > 1 and not many:
            raise errors.InvalidInput.of(name, "May be given once.")
        given[name] = values if many else values[0]
    return check(schema, given)


def check(schema: Schema, given: Any) -> Any:
    """Return input as the schema loads it. Raises InvalidInput naming each wrong field."""
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
        key = "body" if name == "_schema" else f"{prefix}.{name}" if prefix else str(name)
        found |= _flat(inner, key)
    return found


def _respond(contract: Contract, result: Any) -> Response:
    if isinstance(result, Response):
        return result
    data, status, headers = result, next(iter(contract.returns)), {}
    if isinstance(result, tuple):
        data, status, headers = (*result, {})[:3]
    schema = contract.returns[status]
    if schema is None:
        response = Response(status=status)
    else:
        response = current_app.json.response(schema.dump(data))
        response.status_code = status
    response.headers.extend(headers)
    return response


