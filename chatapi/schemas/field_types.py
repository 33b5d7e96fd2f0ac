"""The field types of inputs and outputs.

Input types are strict, and their error messages are for API clients.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

from marshmallow import ValidationError, fields, validate

from chatapi.domain import spelling

MAX_EMAIL_LENGTH = 254
PASSWORD_LENGTH = (8, 200)

UNSEEN = frozenset({"Cc", "Cf", "Cs", "Mn", "Zl", "Zp", "Zs"})
FILLERS = "\u115f\u1160\u2800\u3164\uffa0"


def _is_visible(char: str) -> bool:
    """Return whether a character is visible: joiners, fillers and the like are not."""
    return unicodedata.category(char) not in UNSEEN and char not in FILLERS


class Text(fields.String):
    """A string, trimmed, whose length is counted in Unicode code points.

    Rejects control characters (except line breaks and tabs in a multi-line text) and
    halves of surrogate pairs, which no database can store.
    """

    def __init__(self, low: int, high: int, *, multiline: bool = False, **kwargs: Any) -> None:
        metadata = {"minLength": low, "maxLength": high} | kwargs.pop("metadata", {})
        super().__init__(metadata=metadata, **kwargs)
        self.low, self.high, self.multiline = low, high, multiline

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs).strip()
        if len(text) < self.low or (self.low and not any(map(_is_visible, text))):
            raise ValidationError(
                "Must not be empty."
                if self.low == 1
                else f"Must have at least {self.low} characters."
            )
        if len(text) > self.high:
            raise ValidationError(f"Must have at most {self.high:,} characters, not {len(text):,}.")
        allowed = "\n\r\t" if self.multiline else ""
        for char in text:
            if unicodedata.category(char) in {"Cc", "Cs"} and char not in allowed:
                raise ValidationError("Must not contain control characters.")
        return text


class Name(Text):
    """A person's name, without characters that reorder or hide adjacent text."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if isinstance(value, str):
            value = spelling.clean_name(value)
        return super()._deserialize(value, attr, data, **kwargs)


class Password(fields.String):
    """A password, not trimmed: leading and trailing spaces are part of it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        if len(text) > PASSWORD_LENGTH[1]:
            raise ValidationError(f"Must have at most {PASSWORD_LENGTH[1]} characters.")
        if any(unicodedata.category(char) == "Cs" for char in text):
            raise ValidationError("Must be valid Unicode.")
        return text


class NewPassword(Password):
    """A new password."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            metadata={
                "minLength": PASSWORD_LENGTH[0],
                "maxLength": PASSWORD_LENGTH[1],
                "format": "password",
                "example": "correct horse battery",
            },
            **kwargs,
        )

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if len(text) < PASSWORD_LENGTH[0]:
            raise ValidationError(f"Must have at least {PASSWORD_LENGTH[0]} characters.")
        return text


class EmailAddress(Text):
    """An e-mail address in its usual form."""

    def __init__(self, **kwargs: Any) -> None:
        metadata = {"format": "email", "example": "ana@example.com"}
        super().__init__(3, MAX_EMAIL_LENGTH, metadata=metadata, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if isinstance(value, str):
            # Normalized as stored, because the checks must see the same text.
            value = spelling.canonical_email(value)
        text = super()._deserialize(value, attr, data, **kwargs)
        return str(validate.Email(error="Not a valid e-mail address.")(text))


class Choice(fields.String):
    """One of a fixed set of words.


    choices -- the words, or a function that returns them, if they are configured for each app.
    """

    def __init__(self, choices: Sequence[str] | Callable[[], Sequence[str]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._choices = choices

    @property
    def choices(self) -> Sequence[str]:
        """The words."""
        return self._choices() if callable(self._choices) else self._choices

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        if text not in self.choices:
            raise ValidationError(f"Must be one of: {', '.join(self.choices)}.")
        return text


_DIGITS = re.compile(r"-?[0-9]{1,12}")


class StrictInteger(fields.Integer):
    """A whole number within a range; a JSON body must give it as a number."""

    def __init__(self, low: int, high: int, **kwargs: Any) -> None:
        super().__init__(
            validate=validate.Range(low, high, error=f"Must be from {low} to {high}."), **kwargs
        )

    def _validated(self, value: Any) -> Any:
        if isinstance(value, bool) or (isinstance(value, str) and not _DIGITS.fullmatch(value)):
            raise self.make_error("invalid")
        return super()._validated(value)


class StrictBoolean(fields.Boolean):
    """True or false, no other value."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise ValidationError("Must be true or false.")
        return value


class QueryFlag(fields.Boolean):
    """True or false in a query string."""

    truthy = {"true", "1", "yes"}  # noqa: RUF012 - marshmallow's own way to set them
    falsy = {"false", "0", "no"}  # noqa: RUF012


class ObjectIdString(fields.String):
    """An id: an ObjectId in the database, 24 hex digits in the API."""


class UtcDateTime(fields.String):
    """A time in UTC with milliseconds: 2026-11-22T18:00:00.000Z."""

    def __init__(self, **kwargs: Any) -> None:
        metadata = {"format": "date-time", "example": "2026-11-22T18:00:00.000Z"}
        super().__init__(metadata=metadata | kwargs.pop("metadata", {}), **kwargs)


class IsSet(fields.Boolean):
    """Whether the source has a value: a time of verification becomes true, none false."""


class RawNested(fields.Nested):
    """A document that was shaped before, output unchanged."""
