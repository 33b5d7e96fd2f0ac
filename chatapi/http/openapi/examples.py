"""The examples of the document: of requests, responses and errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, fields

from chatapi.domain.errors import ChatError
from chatapi.http import problems
from chatapi.http.openapi.texts import EXTRAS
from chatapi.schemas import field_types
from chatapi.schemas.base import Output
from chatapi.schemas.chats import BulkIn, ChatPatch
from chatapi.schemas.messages import IDEMPOTENCY_KEY
from chatapi.schemas.users import UserPatch

REQUESTS: dict[type[Schema], dict[str, Any]] = {
    ChatPatch: {
        "Answer": {
            "message": "It is on its way.",
            "clientMessageId": IDEMPOTENCY_KEY["example"],
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


def error_responses() -> dict[str, type[ChatError]]:
    """Return every class of refusal under the name of its example."""
    found = {"internal": ChatError}
    waiting = list(ChatError.__subclasses__())
    while waiting:
        kind = waiting.pop(0)
        found[example_name(kind)] = kind
        waiting += kind.__subclasses__()
    return found


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


def request_examples(schema: Schema) -> dict[str, Any]:
    named: Mapping[str, Any] = REQUESTS.get(type(schema), {"Example": example_of(schema)})
    return {name: {"value": value} for name, value in named.items()}


def problem_example(kind: type[ChatError]) -> dict[str, Any]:
    extras = EXTRAS.get(kind.code, {})
    error = kind(**extras)
    return problems.body_of(error) | {"requestId": "0f8d5c1ab7e64f3d9a2b6c7d8e9f0a1b"}


def example_name(kind: type[ChatError]) -> str:
    if "code" in vars(kind):
        return kind.code
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
