"""What comes in and what goes out. Input not named here is refused, output not named here
stays here. No schema reads the database or the current user."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from marshmallow import EXCLUDE, RAISE, Schema, ValidationError, fields, validate

from chatapi import clock

STATUSES = ("active", "pending", "closed", "archived")
PRIORITIES = ("low", "medium", "high", "urgent")
ROLES = ("user", "admin", "guest")
SENDER_ROLES = (*ROLES, "system")

MESSAGE_LENGTH = 5000
SUBJECT_LENGTH = 200
NAME_LENGTH = 100
EMAIL_LENGTH = 254
PASSWORD_LENGTH = (8, 200)
IMAGE_LENGTH = 2000
CLIENT_MESSAGE_ID_LENGTH = 100
BIGGEST_SEQ = 2**31 - 1

categories: list[str] = ["general", "support", "billing", "technical", "other"]


def configure(allowed_categories: list[str] | tuple[str, ...]) -> None:
    """Set the categories that chats can have. The application factory calls it once."""
    categories[:] = allowed_categories


class Text(fields.String):
    """A string, trimmed and counted in characters as people count them: code points.

    Refuses control characters (line breaks and tabs are fine in a multi-line text) and
    halves of surrogate pairs, which no database can store.
    """

    def __init__(self, low: int, high: int, *, multiline: bool = False, **kwargs: Any) -> None:
        metadata = {"minLength": low, "maxLength": high} | kwargs.pop("metadata", {})
        super().__init__(metadata=metadata, **kwargs)
        self.low, self.high, self.multiline = low, high, multiline

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs).strip()
        if len(text) < self.low:
            raise ValidationError(
                "Must not be empty." if self.low == 1 else f"Must have at least {self.low} characters."
            )
        if len(text) > self.high:
            raise ValidationError(f"Must have at most {self.high:,} characters, not {len(text):,}.")
        allowed = "\n\r\t" if self.multiline else ""
        for char in text:
            if unicodedata.category(char) in {"Cc", "Cs"} and char not in allowed:
                raise ValidationError("Must not contain control characters.")
        return text


class Password(fields.String):
    """A password, taken as it is: spaces at its ends belong to it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        if len(text) > PASSWORD_LENGTH[1]:
            raise ValidationError(f"Must have at most {PASSWORD_LENGTH[1]} characters.")
        if any(unicodedata.category(char) == "Cs" for char in text):
            raise ValidationError("Must be valid Unicode.")
        return text


class NewPassword(Password):
    """A password that is being chosen."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            metadata={"minLength": PASSWORD_LENGTH[0], "maxLength": PASSWORD_LENGTH[1]}, **kwargs
        )

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if len(text) < PASSWORD_LENGTH[0]:
            raise ValidationError(f"Must have at least {PASSWORD_LENGTH[0]} characters.")
        return text


class EmailAddress(Text):
    """An e-mail address in its usual form."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(3, EMAIL_LENGTH, metadata={"format": "email"}, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        return str(validate.Email(error="Not a valid e-mail address.")(text))


class Choice(fields.String):
    """One of a few words."""

    def __init__(self, choices: tuple[str, ...] | list[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.choices = choices

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        if text not in self.choices:
            raise ValidationError(f"Must be one of: {', '.join(self.choices)}.")
        return text


class Whole(fields.Integer):
    """A whole number within a range; a JSON body must give it as a number."""

    def __init__(self, low: int, high: int, **kwargs: Any) -> None:
        super().__init__(
            validate=validate.Range(low, high, error=f"Must be from {low} to {high}."), **kwargs
        )

    def _validated(self, value: Any) -> Any:
        if isinstance(value, bool) or (isinstance(value, str) and len(value) > 12):
            raise self.make_error("invalid")
        return super()._validated(value)


class Flag(fields.Boolean):
    """True or false, nothing that merely looks like it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise ValidationError("Must be true or false.")
        return value


class QueryFlag(fields.Boolean):
    """True or false in a query string."""

    truthy = {"true", "1", "yes"}  # noqa: RUF012 - marshmallow's own way to set them
    falsy = {"false", "0", "no"}  # noqa: RUF012


class Id(fields.String):
    """An id: in the database an ObjectId, outside its 24 hex digits."""


class Time(fields.String):
    """A time in UTC with milliseconds: 2026-11-22T18:00:00.000Z."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(metadata={"format": "date-time"}, **kwargs)


def client_message_id() -> Text:
    """Return the field of the id a client gives a message to retry it by."""
    return Text(1, CLIENT_MESSAGE_ID_LENGTH, load_default=None, allow_none=True)


class Input(Schema):
    """The base of what comes in: unknown fields are refused."""

    class Meta:
        unknown = RAISE

    error_messages = {  # noqa: RUF012 - marshmallow's own way to set them
        "unknown": "Unknown field.",
        "type": "Must be a JSON object.",
    }


Convert = Callable[[Any], Any] | None


class Output(Schema):
    """The base of what goes out: only the fields named, present or not in the source.

    `dump` is marshmallow's, made straight: our documents are mappings whose values have the
    right types already, so each field needs at most one conversion. A list of 100 chats
    takes a tenth of the time.
    """

    class Meta:
        unknown = EXCLUDE

    def dump(self, obj: Any, *, many: bool | None = None) -> Any:
        """Return what the API shows of a document, or of each in a list."""
        plan = self._plan()
        if self.many if many is None else many:
            return [_shape(plan, item) for item in obj]
        return _shape(plan, obj)

    def _plan(self) -> list[tuple[str, str, Convert]]:
        """Return (name shown, name in the source, conversion) of each field."""
        if not hasattr(self, "_made_plan"):
            self._made_plan = [
                (field.data_key or name, field.attribute or name, _conversion(field))
                for name, field in self.dump_fields.items()
            ]
        return self._made_plan


def _shape(plan: list[tuple[str, str, Convert]], obj: Any) -> dict[str, Any]:
    read = obj.get if isinstance(obj, Mapping) else lambda name: getattr(obj, name)
    shown = {}
    for key, name, convert in plan:
        value = read(name)
        shown[key] = convert(value) if convert and value is not None else value
    return shown


def _conversion(field: fields.Field[Any]) -> Convert:
    if isinstance(field, Id):
        return str
    if isinstance(field, Time):
        return clock.iso
    if isinstance(field, fields.Nested):
        schema = field.schema
        return lambda value: schema.dump(value, many=False)
    if isinstance(field, fields.List) and isinstance(field.inner, fields.Nested):
        schema = field.inner.schema
        return lambda value: schema.dump(value, many=True)
    return None


class RegisterIn(Input):
    name = Text(1, NAME_LENGTH, required=True, metadata={"example": "Ana Souza"})
    email = EmailAddress(required=True)
    password = NewPassword(required=True)
    cookie = Flag(load_default=False)


class LoginIn(Input):
    email = Text(1, EMAIL_LENGTH, required=True, metadata={"example": "ana@example.com"})
    password = Password(required=True)
    cookie = Flag(load_default=False)


class GuestIn(Input):
    name = Text(1, NAME_LENGTH, required=True, metadata={"example": "Ana"})
    email = EmailAddress(required=True)
    cookie = Flag(load_default=False)


class PasswordIn(Input):
    current = Password(required=True)
    new = NewPassword(required=True)


class ChatIn(Input):
    subject = Text(1, SUBJECT_LENGTH, required=True, metadata={"example": "Parcel is late"})
    category = Choice(categories, load_default=None)
    priority = Choice(PRIORITIES, load_default=None)
    message = Text(1, MESSAGE_LENGTH, multiline=True, load_default=None)
    clientMessageId = client_message_id()


class ChatPatch(Input):
    message = Text(1, MESSAGE_LENGTH, multiline=True)
    clientMessageId = Text(1, CLIENT_MESSAGE_ID_LENGTH, allow_none=True)
    read = Flag()
    status = Choice(STATUSES)
    priority = Choice(PRIORITIES)
    category = Choice(categories)
    adminId = fields.String(allow_none=True)


class MessageIn(Input):
    content = Text(
        1, MESSAGE_LENGTH, multiline=True, required=True, metadata={"example": "Any news?"}
    )
    clientMessageId = client_message_id()


class ReadIn(Input):
    seq = Whole(0, BIGGEST_SEQ, strict=True, required=True)


class UserPatch(Input):
    role = Choice(ROLES)
    disabled = Flag()
    name = Text(1, NAME_LENGTH)
    image = fields.String(
        allow_none=True,
        validate=[
            validate.Length(max=IMAGE_LENGTH),
            validate.URL(schemes={"http", "https"}, error="Must be an http or https URL."),
        ],
    )


class BulkIn(Input):
    ids = fields.List(
        fields.String(validate=validate.Length(max=100)),
        required=True,
        validate=validate.Length(1, 200, error="Must have 1 to 200 ids."),
    )
    status = Choice(STATUSES)
    priority = Choice(PRIORITIES)
    category = Choice(categories)
    adminId = fields.String(allow_none=True)


class ListQuery(Input):
    limit = Whole(1, 100, load_default=50)
    cursor = fields.String(load_default=None)


class ChatsQuery(ListQuery):
    status = fields.List(Choice(STATUSES), load_default=())
    priority = fields.List(Choice(PRIORITIES), load_default=())
    category = fields.List(Choice(categories), load_default=())
    assigned = fields.String(load_default=None, metadata={"description": "me, none or an id"})
    unread = QueryFlag(load_default=None)
    q = Text(0, 200, load_default=None)


class ChatQuery(Input):
    messages = Whole(0, 200, load_default=50)


class MessagesQuery(Input):
    before = Whole(1, BIGGEST_SEQ, load_default=None)
    after = Whole(0, BIGGEST_SEQ, load_default=None)
    limit = Whole(1, 200, load_default=50)
    wait = Whole(0, 25, load_default=0, metadata={"description": "seconds to wait for news"})


class UsersQuery(ListQuery):
    role = Choice(ROLES, load_default=None)
    disabled = QueryFlag(load_default=None)
    q = Text(0, 200, load_default=None)


class UserOut(Output):
    _id = Id()
    name = fields.String()
    email = fields.String()
    role = fields.String(validate=validate.OneOf(ROLES))
    image = fields.String(allow_none=True)
    disabled = fields.Boolean()
    createdAt = Time()


class MeOut(Output):
    """The caller: what a session knows of its user."""

    _id = Id(attribute="user_id")
    name = fields.String()
    email = fields.String()
    role = fields.String(validate=validate.OneOf(ROLES))
    image = fields.String(allow_none=True)


class SignedInOut(Output):
    user = fields.Nested(MeOut)
    token = fields.String()
    expiresAt = Time()


class SessionOut(Output):
    _id = Id()
    createdAt = Time()
    lastSeenAt = Time()
    expiresAt = Time()
    userAgent = fields.String()
    address = fields.String()
    current = fields.Boolean()


class MessageOut(Output):
    _id = Id()
    chatId = Id()
    seq = fields.Integer()
    clientMessageId = fields.String(allow_none=True)
    senderId = Id()
    senderName = fields.String()
    senderImage = fields.String(allow_none=True)
    senderRole = fields.String(validate=validate.OneOf(SENDER_ROLES))
    content = fields.String()
    timestamp = Time()
    isRead = fields.Boolean()
    deletedAt = Time(allow_none=True, dump_default=None)


class LastMessageOut(Output):
    content = fields.String()
    senderRole = fields.String(validate=validate.OneOf(SENDER_ROLES))
    senderName = fields.String()
    timestamp = Time()


class ChatOut(Output):
    _id = Id()
    userId = Id()
    userName = fields.String()
    userEmail = fields.String()
    userImage = fields.String(allow_none=True)
    userRole = fields.String(validate=validate.OneOf(("user", "guest")))
    adminId = Id(allow_none=True)
    adminName = fields.String(allow_none=True)
    adminImage = fields.String(allow_none=True)
    subject = fields.String()
    category = fields.String()
    priority = fields.String(validate=validate.OneOf(PRIORITIES))
    status = fields.String(validate=validate.OneOf(STATUSES))
    createdAt = Time()
    updatedAt = Time()
    lastMessageAt = Time()
    lastMessage = fields.Nested(LastMessageOut, allow_none=True)
    messageCount = fields.Integer()
    lastSeq = fields.Integer()
    unreadCount = fields.Integer()


class ChatWithMessagesOut(ChatOut):
    messages = fields.List(fields.Nested(MessageOut))


class StatsOut(Output):
    status = fields.Dict(keys=fields.String(), values=fields.Integer())
    priority = fields.Dict(keys=fields.String(), values=fields.Integer())
    category = fields.Dict(keys=fields.String(), values=fields.Integer())
    total = fields.Integer()
    unread = fields.Integer(metadata={"description": "chats with messages no agent has read"})
    unreadMessages = fields.Integer()
    unassigned = fields.Integer()


class ProblemOut(Output):
    """RFC 9457. Some codes carry more: chatId, chatStatus, retryAfter."""

    type = fields.String()
    title = fields.String()
    status = fields.Integer()
    detail = fields.String()
    code = fields.String()
    requestId = fields.String()
    error = fields.String(metadata={"description": "the same text as detail"})
    fields_ = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.String()),
        data_key="fields",
        metadata={"description": "what is wrong with each field, with validation_failed"},
    )


class BulkResultOut(Output):
    _id = fields.String()
    ok = fields.Boolean()
    problem = fields.Nested(ProblemOut, allow_none=True)


class BulkOut(Output):
    results = fields.List(fields.Nested(BulkResultOut))


class CsrfOut(Output):
    csrfToken = fields.String()


class ConfigOut(Output):
    version = fields.String()
    categories = fields.List(fields.String())
    limits = fields.Dict(keys=fields.String(), values=fields.Integer())


class HealthOut(Output):
    status = fields.String(metadata={"example": "ok"})
