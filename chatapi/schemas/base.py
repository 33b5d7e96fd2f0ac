"""The base classes of all schemas.

Unknown input fields are rejected, and only declared output fields are sent. No schema reads the
database or the current user.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any

from marshmallow import EXCLUDE, RAISE, Schema, fields, missing

from chatapi.domain import clock
from chatapi.schemas.field_types import IsSet, ObjectIdString, RawNested, StrictInteger, UtcDateTime


class Input(Schema):
    """The base of input schemas: unknown fields are rejected."""

    class Meta:
        unknown = RAISE

    error_messages = {  # noqa: RUF012 - marshmallow's own way to set them
        "unknown": "Unknown field.",
        "type": "Must be a JSON object.",
    }


Convert = Callable[[Any], Any] | None


class Output(Schema):
    """The base of output schemas: exactly the declared fields, also if the source lacks them.

    `dump` is a faster form of marshmallow's: stored documents are mappings whose values have the
    right types already, so each field needs at most one conversion. A list of 100 chats
    takes a quarter of the time.
    """

    class Meta:
        unknown = EXCLUDE

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        _refuse_what_dump_ignores(self)

    def dump(self, obj: Any, *, many: bool | None = None) -> Any:
        """Return the output of a document, or of each in a list."""
        shape = self._shape()
        if self.many if many is None else many:
            return [shape(item) for item in obj]
        return shape(obj)

    def _shape(self) -> Callable[[Any], dict[str, Any]]:
        if not hasattr(self, "_made_shape"):
            self._made_shape = _shape_of(self.dump_fields)
        return self._made_shape


def _is_set(value: Any) -> bool:
    return value is not None


def _shape_of(named: Mapping[str, fields.Field[Any]]) -> Callable[[Any], dict[str, Any]]:
    """Return the conversions of the fields; a field that needs none has no step."""
    keys = [field.data_key or name for name, field in named.items()]
    names = [field.attribute or name for name, field in named.items()]
    made = zip(keys, map(_conversion, named.values()), strict=True)
    converted = [(key, convert) for key, convert in made if convert is not None]
    # All values in one step; with a single name `itemgetter` returns no tuple.
    read_all = operator.itemgetter(*names) if len(names) > 1 else None

    def read_each(obj: Any) -> dict[str, Any]:
        read = obj.get if isinstance(obj, Mapping) else functools.partial(getattr, obj)
        return {key: read(name) for key, name in zip(keys, names, strict=True)}

    def shape(obj: Any) -> dict[str, Any]:
        if type(obj) is dict and read_all is not None:
            try:
                shown = dict(zip(keys, read_all(obj), strict=True))
            except KeyError:  # A document of an earlier release may lack a field.
                shown = read_each(obj)
        else:
            shown = read_each(obj)
        for key, convert in converted:
            value = shown[key]
            if value is not None or convert is _is_set:
                shown[key] = convert(value)
        return shown

    return shape


# The types that `dump` outputs unchanged, or converts in `_conversion`; no subclasses, which
# may convert themselves.
_SHOWN = frozenset(
    {
        *(fields.String, fields.Integer, fields.Float, fields.Boolean, fields.Raw, fields.Dict),
        *(fields.List, fields.Nested, ObjectIdString, UtcDateTime, IsSet, RawNested),
    }
)


def _refuse_what_dump_ignores(schema: Output) -> None:
    """Raise TypeError for features of marshmallow that Output.dump does not support."""
    place = type(schema).__name__
    for hook in ("pre_dump", "post_dump"):
        if schema._hooks.get(hook):  # noqa: SLF001 - marshmallow has no other way to ask
            raise TypeError(f"{place} has a @{hook}, which Output.dump does not call.")
    if type(schema).get_attribute is not Schema.get_attribute:
        raise TypeError(f"{place} has a get_attribute, which Output.dump does not call.")
    for name, field in schema.dump_fields.items():
        parts = [field]
        if isinstance(field, fields.List):
            parts.append(field.inner)
        if isinstance(field, fields.Dict):
            parts += [each for each in (field.key_field, field.value_field) if each]
        for part in parts:
            if type(part) not in _SHOWN:
                raise TypeError(
                    f"{place}.{name} is a {type(part).__name__}, which Output.dump would show "
                    f"unconverted. Use a type of schemas/field_types.py, or add it to _conversion."
                )
            if part.dump_default not in (missing, None):  # None is what dump shows anyway
                raise TypeError(f"{place}.{name} has a dump_default, which Output.dump ignores.")
        inner = field.inner if isinstance(field, fields.List) else None
        if isinstance(inner, (ObjectIdString, UtcDateTime)) or "." in (field.attribute or ""):
            raise TypeError(f"{place}.{name} is not converted by Output.dump.")


def _conversion(field: fields.Field[Any]) -> Convert:
    if isinstance(field, ObjectIdString):
        return str
    if isinstance(field, UtcDateTime):
        return clock.iso
    if isinstance(field, IsSet):
        return _is_set
    if isinstance(field, fields.Nested) and not isinstance(field, RawNested):
        schema = field.schema
        return lambda value: schema.dump(value, many=False)
    if isinstance(field, fields.List) and isinstance(field.inner, fields.Nested):
        schema = field.inner.schema
        return lambda value: schema.dump(value, many=True)
    return None


class ListQuery(Input):
    limit = StrictInteger(1, 100, load_default=50, metadata={"description": "How many at most."})
    cursor = fields.String(
        load_default=None,
        metadata={
            "description": "X-Next-Cursor of the previous page.",
            "pattern": "^[A-Za-z0-9_-]{27}$",
        },
    )
