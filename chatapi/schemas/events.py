"""Schemas of stream events and WebSocket frames."""

from __future__ import annotations

from marshmallow import fields, validate

from chatapi.domain.enums import ROLES, SIDES
from chatapi.domain.lengths import MAX_SEQ
from chatapi.schemas.base import Input, Output
from chatapi.schemas.field_types import ObjectIdString, StrictInteger
from chatapi.schemas.messages import MessageIn, ReadIn


class EventsQuery(Input):
    after = StrictInteger(
        0,
        MAX_SEQ,
        load_default=None,
        metadata={"description": "Start with the message after this seq; else with new ones."},
    )


class SocketIn(Input):
    """A WebSocket frame; the reply repeats its `ref`."""

    type = fields.String(required=True)
    ref = fields.Raw(load_default=None)
    chatId = fields.String(required=True)


class SubscribeIn(SocketIn):
    chatId = fields.String(load_default=None, allow_none=True)
    after = StrictInteger(0, MAX_SEQ, strict=True, load_default=None, allow_none=True)


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


class ReadOut(Output):
    chatId = ObjectIdString()
    readerRole = fields.String(validate=validate.OneOf(SIDES))
    seq = fields.Integer()


class TypingOut(Output):
    chatId = ObjectIdString()
    senderId = ObjectIdString()
    senderName = fields.String()
    senderRole = fields.String(validate=validate.OneOf(ROLES))


class PresenceOut(Output):
    userId = ObjectIdString()
    name = fields.String()
    role = fields.String(validate=validate.OneOf(ROLES))
    online = fields.Boolean()
    chatId = ObjectIdString(allow_none=True)


class DeletedOut(Output):
    """The deletion of a message if `seq` is set, else of the whole chat."""

    chatId = ObjectIdString()
    seq = fields.Integer(allow_none=True)
