"""What comes in and what goes out. Input not named here is refused, output not named here
stays here. No schema reads the database or the current user."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any

from marshmallow import EXCLUDE, RAISE, Schema, fields, missing, validate

from chatapi import clock
from chatapi.field_types import (
    EMAIL_LENGTH,
    PASSWORD_LENGTH,
    AsItIs,
    Choice,
    EmailAddress,
    Flag,
    Id,
    IsSet,
    Name,
    NewPassword,
    Password,
    QueryFlag,
    Text,
    Time,
    Whole,
)

STATUSES = ("active", "pending", "closed", "archived")
PRIORITIES = ("low", "medium", "high", "urgent")
ROLES = ("user", "admin", "guest")
SENDER_ROLES = (*ROLES, "system")

MESSAGE_LENGTH = 5000
SUBJECT_LENGTH = 200
NAME_LENGTH = 100
IMAGE_LENGTH = 2000
CLIENT_MESSAGE_ID_LENGTH = 100
BIGGEST_SEQ = 2**31 - 1

# Ids of the examples in the OpenAPI document, the same wherever the same thing is meant.
_CHAT = {"example": "6921a7f05c1d4e0012ab34cd"}
_USER = {"example": "6921a7c15c1d4e0012ab34aa"}
_ADMIN = {"example": "69207e3b5c1d4e0012ab1234"}
_MESSAGE = {"example": "6921a7f05c1d4e0012ab34ce"}
_SESSION = {"example": "6921a7c15c1d4e0012ab34ab"}
_AVATAR = {"example": "https://shop.example/people/ana.jpg"}

CATEGORY_LENGTH = 100
categories: list[str] = ["general", "support", "billing", "technical", "other"]


def configure(allowed_categories: list[str] | tuple[str, ...]) -> None:
    """Set the categories that chats can have. The application factory calls it once."""
    categories[:] = allowed_categories


RETRY_KEY = {
    "example": "5f1c9a52-0c1e-4f1b-9d3a-8b7e6f5d4c3b",
    "description": "Your own id of the message. Repeat it when you retry: nothing is sent twice.",
}


def client_message_id() -> Text:
    """Return the field of the id a client gives a message to retry it by."""
    return Text(1, CLIENT_MESSAGE_ID_LENGTH, load_default=None, allow_none=True, metadata=RETRY_KEY)


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
    takes a quarter of the time.
    """

    class Meta:
        unknown = EXCLUDE

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        _refuse_what_dump_ignores(self)

    def dump(self, obj: Any, *, many: bool | None = None) -> Any:
        """Return what the API shows of a document, or of each in a list."""
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
    """Return what makes the shown form of a document or object: no step for a field as it is."""
    keys = [field.data_key or name for name, field in named.items()]
    names = [field.attribute or name for name, field in named.items()]
    made = zip(keys, map(_conversion, named.values()), strict=True)
    converted = [(key, convert) for key, convert in made if convert is not None]
    # All values in one step; of a single name it would return the value alone.
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


# The types that `dump` shows as they are, or converts in `_conversion`; no subclasses, which
# may convert themselves.
_SHOWN = frozenset(
    {
        *(fields.String, fields.Integer, fields.Float, fields.Boolean, fields.Raw, fields.Dict),
        *(fields.List, fields.Nested, Id, Time, IsSet, AsItIs),
    }
)


def _refuse_what_dump_ignores(schema: Output) -> None:
    """Raise TypeError for what marshmallow would do and Output.dump does not."""
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
                    f"unconverted. Use a type of chatapi/field_types.py, or add it to _conversion."
                )
            if part.dump_default not in (missing, None):  # None is what dump shows anyway
                raise TypeError(f"{place}.{name} has a dump_default, which Output.dump ignores.")
        inner = field.inner if isinstance(field, fields.List) else None
        if isinstance(inner, (Id, Time)) or "." in (field.attribute or ""):
            raise TypeError(f"{place}.{name} is not converted by Output.dump.")


def _conversion(field: fields.Field[Any]) -> Convert:
    if isinstance(field, Id):
        return str
    if isinstance(field, Time):
        return clock.iso
    if isinstance(field, IsSet):
        return _is_set
    if isinstance(field, fields.Nested) and not isinstance(field, AsItIs):
        schema = field.schema
        return lambda value: schema.dump(value, many=False)
    if isinstance(field, fields.List) and isinstance(field.inner, fields.Nested):
        schema = field.inner.schema
        return lambda value: schema.dump(value, many=True)
    return None


_OLD_PASSWORD = {
    "maxLength": PASSWORD_LENGTH[1],
    "format": "password",
    "example": "correct horse battery",
}


class RegisterIn(Input):
    name = Name(1, NAME_LENGTH, required=True, metadata={"example": "Ana Souza"})
    email = EmailAddress(required=True)
    password = NewPassword(required=True)
    cookie = Flag(
        load_default=False,
        metadata={"description": "Also set the session's cookie, for a page of this origin."},
    )


class LoginIn(Input):
    email = Text(1, EMAIL_LENGTH, required=True, metadata={"example": "ana@example.com"})
    password = Password(required=True, metadata=_OLD_PASSWORD)
    cookie = Flag(
        load_default=False,
        metadata={"description": "Also set the session's cookie, for a page of this origin."},
    )
    deviceToken = Text(
        1,
        2000,
        load_default=None,
        allow_none=True,
        metadata={
            "example": None,
            "description": "What an earlier sign-in of this client returned: others' wrong "
            "passwords do not delay a known device.",
        },
    )


class GuestIn(Input):
    name = Name(1, NAME_LENGTH, required=True, metadata={"example": "Ana"})
    email = EmailAddress(required=True)
    cookie = Flag(
        load_default=False,
        metadata={"description": "Also set the session's cookie, for a page of this origin."},
    )


class UpgradeIn(Input):
    password = NewPassword(required=True)


class PasswordIn(Input):
    current = Password(required=True, metadata=_OLD_PASSWORD)
    new = NewPassword(required=True)
    newToken = Flag(
        load_default=False,
        metadata={
            "example": False,
            "description": "Also end this session and answer with a new one's token.",
        },
    )


class LinkPasswordIn(Input):
    token = Text(
        1,
        200,
        required=True,
        metadata={"example": "yVwP4d0r1m8sXc2q", "description": "The link's `token`."},
    )
    password = NewPassword(required=True)


class ChatIn(Input):
    subject = Text(1, SUBJECT_LENGTH, required=True, metadata={"example": "Parcel is late"})
    category = Choice(categories, load_default=None, metadata={"description": "Else general."})
    priority = Choice(PRIORITIES, load_default=None, metadata={"description": "Else medium."})
    message = Text(
        1,
        MESSAGE_LENGTH,
        multiline=True,
        load_default=None,
        metadata={"example": "It should have arrived on Monday.", "description": "The first."},
    )
    clientMessageId = client_message_id()


class ChatPatch(Input):
    message = Text(1, MESSAGE_LENGTH, multiline=True, metadata={"description": "A message to add."})
    clientMessageId = Text(1, CLIENT_MESSAGE_ID_LENGTH, allow_none=True, metadata=RETRY_KEY)
    read = Flag(
        validate=validate.Equal(True, error="Can only be true: nothing becomes unread again."),
        metadata={"description": "true: the caller's side has read everything."},
    )
    status = Choice(STATUSES)
    priority = Choice(PRIORITIES)
    category = Choice(categories)
    adminId = fields.String(
        allow_none=True,
        metadata={
            "description": "The agent to assign, null for nobody.",
            "pattern": "^[0-9a-fA-F]{24}$",
            **_ADMIN,
        },
    )


class MessageIn(Input):
    content = Text(
        1, MESSAGE_LENGTH, multiline=True, required=True, metadata={"example": "Any news?"}
    )
    clientMessageId = client_message_id()


class ReadIn(Input):
    seq = Whole(
        0,
        BIGGEST_SEQ,
        strict=True,
        required=True,
        metadata={"example": 7, "description": "The last message read."},
    )


class EventsQuery(Input):
    after = Whole(
        0,
        BIGGEST_SEQ,
        load_default=None,
        metadata={"description": "Start with the message after this seq; else with new ones."},
    )


class SocketIn(Input):
    """A frame on the WebSocket; `ref` comes back in its answer."""

    type = fields.String(required=True)
    ref = fields.Raw(load_default=None)
    chatId = fields.String(required=True)


class SubscribeIn(SocketIn):
    chatId = fields.String(load_default=None, allow_none=True)
    after = Whole(0, BIGGEST_SEQ, strict=True, load_default=None, allow_none=True)


class SocketSendIn(SocketIn, MessageIn):
    pass


class SocketReadIn(SocketIn, ReadIn):
    pass


SocketMessages: dict[str, Input] = {
    "subscribe": SubscribeIn(),
    "unsubscribe": SocketIn(),
    "send": SocketSendIn(),
    "read": SocketReadIn(),
    "typing": SocketIn(),
}


class UserPatch(Input):
    role = Choice(ROLES)
    disabled = Flag(metadata={"description": "true: all sessions end and none can begin."})
    name = Name(1, NAME_LENGTH)
    image = Text(
        1,
        IMAGE_LENGTH,
        allow_none=True,
        validate=validate.URL(schemes={"http", "https"}, error="Must be an http or https URL."),
        metadata={"format": "uri", **_AVATAR},
    )


class BulkIn(Input):
    ids = fields.List(
        Text(0, 100),
        required=True,
        validate=validate.Length(1, 200, error="Must have 1 to 200 ids."),
        metadata={"example": [_CHAT["example"]]},
    )
    status = Choice(STATUSES)
    priority = Choice(PRIORITIES)
    category = Choice(categories)
    adminId = fields.String(
        allow_none=True,
        metadata={
            "description": "The agent to assign, null for nobody.",
            "pattern": "^[0-9a-fA-F]{24}$",
            **_ADMIN,
        },
    )


class ListQuery(Input):
    limit = Whole(1, 100, load_default=50, metadata={"description": "How many at most."})
    cursor = fields.String(
        load_default=None,
        metadata={
            "description": "X-Next-Cursor of the page before.",
            "pattern": "^[A-Za-z0-9_-]{27}$",
        },
    )


_REPEATABLE = {"description": "One of these; repeat it for several."}


class ChatsQuery(ListQuery):
    status = fields.List(Choice(STATUSES), load_default=(), metadata=_REPEATABLE)
    priority = fields.List(Choice(PRIORITIES), load_default=(), metadata=_REPEATABLE)
    # A chat keeps a category that is no longer offered: `chats.check_categories` decides.
    category = fields.List(
        Text(1, CATEGORY_LENGTH),
        load_default=(),
        metadata={"description": "One that is offered, or that a chat has; repeat it for several."},
    )
    assigned = fields.String(
        load_default=None,
        metadata={
            "description": "`me`, `none` or an agent's id.",
            "pattern": "^(me|none|[0-9a-fA-F]{24})$",
        },
    )
    unread = QueryFlag(
        load_default=None, metadata={"description": "Has messages the caller's side has not read."}
    )
    solved = QueryFlag(
        load_default=None, metadata={"description": "Its user has marked it as solved."}
    )
    q = Text(
        0,
        200,
        load_default=None,
        metadata={"description": "Beginnings of words of subject, user's name or e-mail."},
    )


class ChatQuery(Input):
    messages = Whole(
        0, 200, load_default=50, metadata={"description": "How many of the newest messages."}
    )


class MessagesQuery(Input):
    before = Whole(
        1, BIGGEST_SEQ, load_default=None, metadata={"description": "The newest before this seq."}
    )
    after = Whole(
        0, BIGGEST_SEQ, load_default=None, metadata={"description": "The oldest after this seq."}
    )
    limit = Whole(1, 200, load_default=50, metadata={"description": "How many at most."})
    wait = Whole(0, 25, load_default=0, metadata={"description": "seconds to wait for news"})


class UsersQuery(ListQuery):
    role = Choice(ROLES, load_default=None, metadata={"description": "Only these."})
    disabled = QueryFlag(load_default=None, metadata={"description": "Who may not sign in."})
    q = Text(
        0,
        200,
        load_default=None,
        metadata={"description": "Beginnings of words of name or e-mail."},
    )


_VERIFIED = {
    "example": False,
    "description": "Whether the address was proved to be theirs. False for every address so far: "
    "no mail is sent yet.",
}


class UserOut(Output):
    _id = Id(metadata=_USER)
    name = fields.String(metadata={"example": "Ana Souza"})
    email = fields.String(metadata={"example": "ana@example.com"})
    role = fields.String(validate=validate.OneOf(ROLES))
    image = fields.String(allow_none=True, metadata=_AVATAR)
    disabled = fields.Boolean(metadata={"example": False})
    createdAt = Time()
    emailVerified = IsSet(attribute="emailVerifiedAt", metadata=_VERIFIED)


class MeOut(Output):
    """The caller: what a session knows of its user."""

    _id = Id(attribute="user_id", metadata=_USER)
    name = fields.String(metadata={"example": "Ana Souza"})
    email = fields.String(metadata={"example": "ana@example.com"})
    role = fields.String(validate=validate.OneOf(ROLES))
    image = fields.String(allow_none=True, metadata=_AVATAR)
    emailVerified = IsSet(attribute="email_verified_at", metadata=_VERIFIED)


class SignedInOut(Output):
    user = fields.Nested(MeOut)
    token = fields.String(
        metadata={
            "example": "yVwP4d0r1m8sXc2qT7uKzB3nLh6gJf9aEo5iRtYpWkM",
            "description": "For the header `Authorization: Bearer TOKEN`. Shown only here.",
        }
    )
    expiresAt = Time(
        metadata={"description": "Without use; each use moves it on, to within five minutes."}
    )
    deviceToken = fields.String(
        allow_none=True,
        metadata={
            "example": "W1siOWYxIiwiYWJjIl1d.aSl4Ag.s1gN4tUr3",
            "description": "For the next sign-in of this client; opens nothing. Null for guests.",
        },
    )


class TokenOut(Output):
    token = fields.String(
        metadata={
            "example": "yVwP4d0r1m8sXc2qT7uKzB3nLh6gJf9aEo5iRtYpWkM",
            "description": "Replaces the one that this request came with. Shown only here.",
        }
    )
    expiresAt = Time()


class PasswordLinkOut(Output):
    url = fields.String(
        metadata={
            "example": "https://chat.example.com/admin/set-password?token=yVwP4d0r1m8sXc2q",
            "description": "For the person, over a channel you trust. Works once.",
        }
    )
    expiresAt = Time()


class SessionOut(Output):
    _id = Id(metadata=_SESSION)
    createdAt = Time()
    lastSeenAt = Time(metadata={"description": "To within five minutes."})
    expiresAt = Time()
    userAgent = fields.String(metadata={"example": "Mozilla/5.0 (X11; Linux x86_64)"})
    address = fields.String(metadata={"example": "203.0.113.7"})
    current = fields.Boolean(metadata={"example": True, "description": "The one that asks."})


class MessageOut(Output):
    _id = Id(metadata=_MESSAGE)
    chatId = Id(metadata=_CHAT)
    seq = fields.Integer(
        metadata={"example": 1, "description": "1, 2, 3… in the chat: the order of messages."}
    )
    clientMessageId = fields.String(allow_none=True, metadata=RETRY_KEY)
    senderId = Id(metadata=_USER)
    senderName = fields.String(metadata={"example": "Ana Souza"})
    senderImage = fields.String(allow_none=True, metadata=_AVATAR)
    senderRole = fields.String(validate=validate.OneOf(SENDER_ROLES))
    content = fields.String(metadata={"example": "It should have arrived on Monday."})
    timestamp = Time()
    isRead = fields.Boolean(
        metadata={"example": False, "description": "The other side has read this far."}
    )
    deletedAt = Time(
        allow_none=True,
        dump_default=None,
        metadata={
            "example": None,
            "description": "When an agent deleted it: `content` is a tombstone.",
        },
    )


class LastMessageOut(Output):
    content = fields.String(
        metadata={
            "example": "It should have arrived on Monday.",
            "description": "The first 200 characters.",
        }
    )
    senderRole = fields.String(validate=validate.OneOf(SENDER_ROLES))
    senderName = fields.String(metadata={"example": "Ana Souza"})
    timestamp = Time()


class ChatOut(Output):
    _id = Id(metadata=_CHAT)
    userId = Id(metadata=_USER)
    userName = fields.String(metadata={"example": "Ana Souza"})
    userEmail = fields.String(metadata={"example": "ana@example.com"})
    userImage = fields.String(allow_none=True, metadata=_AVATAR)
    userRole = fields.String(validate=validate.OneOf(("user", "guest")))
    userEmailVerified = IsSet(attribute="userEmailVerifiedAt", metadata=_VERIFIED)
    adminId = Id(allow_none=True, metadata=_ADMIN)
    adminName = fields.String(allow_none=True, metadata={"example": "Kofi Mensah"})
    adminImage = fields.String(allow_none=True, metadata={"example": None})
    subject = fields.String(metadata={"example": "Parcel is late"})
    category = fields.String(metadata={"example": "general"})
    priority = fields.String(validate=validate.OneOf(PRIORITIES), metadata={"example": "medium"})
    status = fields.String(validate=validate.OneOf(STATUSES))
    createdAt = Time()
    updatedAt = Time()
    lastMessageAt = Time(metadata={"description": "Moves only with a message."})
    lastMessage = fields.Nested(LastMessageOut, allow_none=True)
    solvedAt = Time(
        allow_none=True,
        metadata={
            "example": None,
            "description": "When its user marked it as solved. Cleared by the user's next message "
            "and by a reopening.",
        },
    )
    messageCount = fields.Integer(metadata={"example": 1})
    lastSeq = fields.Integer(metadata={"example": 1})
    unreadCount = fields.Integer(
        metadata={
            "example": 0,
            "description": "Messages of the other side that the caller's side has not read. "
            "Deleted ones do not count.",
        }
    )


class ChatWithMessagesOut(ChatOut):
    messages = fields.List(fields.Nested(MessageOut))


class ReadOut(Output):
    chatId = Id()
    readerRole = fields.String(validate=validate.OneOf(("user", "admin")))
    seq = fields.Integer()


class TypingOut(Output):
    chatId = Id()
    senderId = Id()
    senderName = fields.String()
    senderRole = fields.String(validate=validate.OneOf(ROLES))


class PresenceOut(Output):
    userId = Id()
    name = fields.String()
    role = fields.String(validate=validate.OneOf(ROLES))
    online = fields.Boolean()
    chatId = Id(allow_none=True)


class DeletedOut(Output):
    """A message where `seq` is set, else the whole chat."""

    chatId = Id()
    seq = fields.Integer(allow_none=True)


class StatsOut(Output):
    status = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        metadata={"example": {"active": 12, "pending": 3, "closed": 240, "archived": 0}},
    )
    priority = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        metadata={"example": {"low": 5, "medium": 230, "high": 18, "urgent": 2}},
    )
    category = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        metadata={"example": {"general": 200, "billing": 55}},
    )
    total = fields.Integer(metadata={"example": 255})
    unread = fields.Integer(
        metadata={"example": 4, "description": "Chats with messages that no agent has read."}
    )
    unreadMessages = fields.Integer(metadata={"example": 9})
    unassigned = fields.Integer(metadata={"example": 6})


class FollowerOut(Output):
    """A thread that goes on as long as the process: no error ends it."""

    name = fields.String(metadata={"example": "tail"})
    running = fields.Boolean(metadata={"example": True})
    failures = fields.Integer(
        metadata={"example": 0, "description": "Errors it went on after, since the start."}
    )
    lastError = fields.String(allow_none=True, metadata={"example": "AutoReconnect"})
    secondsSinceLastFailure = fields.Float(allow_none=True, metadata={"example": 12.5})


class RealtimeOut(Output):
    """One worker process: ask again, and another may answer."""

    process = fields.String(metadata={"example": "5f0c2a91"})
    streams = fields.Integer(metadata={"example": 120, "description": "Open connections."})
    accounts = fields.Integer(metadata={"example": 97})
    longestQueue = fields.Integer(
        metadata={"example": 0, "description": "Events that the slowest client has not got yet."}
    )
    mode = fields.String(
        validate=validate.OneOf(("off", "stream", "poll")),
        metadata={"description": "off while nobody listens; poll without change streams."},
    )
    connected = fields.Boolean(metadata={"example": True})
    lagMs = fields.Float(
        allow_none=True,
        metadata={"example": 3.1, "description": "From the last change to its being told."},
    )
    secondsSinceLastLook = fields.Float(allow_none=True, metadata={"example": 0.2})
    followers = fields.List(
        fields.Nested(FollowerOut),
        metadata={"description": "The threads of this process that were started so far."},
    )


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
    _id = fields.String(metadata=_CHAT)
    ok = fields.Boolean(metadata={"example": True})
    problem = AsItIs(ProblemOut, allow_none=True, metadata={"example": None})


class BulkOut(Output):
    results = fields.List(fields.Nested(BulkResultOut))


class CsrfOut(Output):
    csrfToken = fields.String(
        metadata={"example": "IjQ4ZmU5YzE3Ig.aSGn8A.Zk9cXb2m4Qe7Rt1Yw5Uo8Ip3Ls0"}
    )


class ConfigOut(Output):
    version = fields.String(metadata={"example": "0.1.0"})
    categories = fields.List(fields.String(), metadata={"example": ["general", "billing"]})
    imageHosts = fields.List(
        fields.String(),
        metadata={
            "example": ["pictures.example"],
            "description": "show pictures only from these hosts, over https, and from the API's "
            "own origin; initials instead of any other",
        },
    )
    limits = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        metadata={"example": {"message": 5000, "subject": 200}},
    )


class HealthOut(Output):
    status = fields.String(metadata={"example": "ok"})


class ReadyOut(HealthOut):
    writable = fields.Boolean(
        metadata={
            "example": True,
            "description": "false while writes are refused because the database's disk is "
            "almost full; reads go on",
        }
    )
    lastWriteSecondsAgo = fields.Float(
        allow_none=True,
        metadata={
            "example": 2.5,
            "description": "the age of the newest write that is known to have been stored; "
            "null where the database does not tell",
        },
    )
