"""The schemas of the document, as marshmallow's fields declare them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from apispec.ext.marshmallow.common import resolve_schema_cls
from marshmallow import Schema, fields

from chatapi.http.openapi.examples import error_responses
from chatapi.http.openapi.texts import EXTRA_MEMBERS, ID_PATTERN
from chatapi.schemas import field_types
from chatapi.schemas.base import Output


def schema_name(schema: Any) -> str:
    name = str(resolve_schema_cls(schema).__name__)  # type: ignore[union-attr]
    if name.endswith("Out"):
        return name.removesuffix("Out")
    return f"{name.removesuffix('In')}Request" if name.endswith("In") else name


def finish_schemas(found: dict[str, Any]) -> None:
    """Say what apispec cannot know: which members are always there."""
    for kind in _output_schemas(Output):
        shape = found.get(schema_name(kind))
        if shape is not None:
            text = " ".join((kind.__doc__ or "").split())
            if text:
                shape["description"] = text
            shape["required"] = list(shape["properties"])
    shape = found["Problem"]
    shape["required"] = [name for name in shape["properties"] if name != "fields"]
    shape["properties"]["code"]["enum"] = sorted({kind.code for kind in error_responses().values()})
    shape["properties"] |= EXTRA_MEMBERS


def finish_parameters(paths: dict[str, Any]) -> None:
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


def describe_field(
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
    elif isinstance(field, field_types.ObjectIdString):
        more["pattern"] = ID_PATTERN
    elif isinstance(field, fields.List) and isinstance(field.load_default, tuple):
        ret.pop("default", None)
    if ret.get("default", ...) is None:
        del ret["default"]
    if "example" in ret:
        example = ret.pop("example")
        more["examples"] = [example]
    return more
