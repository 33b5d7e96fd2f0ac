"""Messages."""

from __future__ import annotations

from marshmallow import fields, validate

from chatapi.domain.enums import SENDER_ROLES
from chatapi.domain.lengths import (
    MAX_CLIENT_MESSAGE_ID_LENGTH,
    MAX_MESSAGE_LENGTH,
    MAX_PAGE_LENGTH,
    MAX_SEQ,
)
from chatapi.schemas.base import Input, Output
from chatapi.schemas.examples import AVATAR, CHAT, MESSAGE, USER
from chatapi.schemas.field_types import ObjectIdString, StrictInteger, Text, UtcDateTime

IDEMPOTENCY_KEY = {
    "example": "5f1c9a52-0c1e-4f1b-9d3a-8b7e6f5d4c3b",
    "description": "Your own id of the message. Use the same one to retry without a duplicate.",
}


def client_message_id() -> Text:
    """Return the field of the idempotency key that a client sends with a message."""
    return Text(
        1,
        MAX_CLIENT_MESSAGE_ID_LENGTH,
        load_default=None,
        allow_none=True,
        metadata=IDEMPOTENCY_KEY,
    )


class MessageIn(Input):
    content = Text(
        1, MAX_MESSAGE_LENGTH, multiline=True, required=True, metadata={"example": "Any news?"}
    )
    clientMessageId = client_message_id()


class ReadIn(Input):
    seq = StrictInteger(
        0,
        MAX_SEQ,
        strict=True,
        required=True,
        metadata={"example": 7, "description": "The last message read."},
    )


class MessagesQuery(Input):
    before = StrictInteger(
        1, MAX_SEQ, load_default=None, metadata={"description": "The newest before this seq."}
    )
    after = StrictInteger(
        0, MAX_SEQ, load_default=None, metadata={"description": "The oldest after this seq."}
    )
    limit = StrictInteger(
        1, MAX_PAGE_LENGTH, load_default=50, metadata={"description": "How many at most."}
    )
    wait = StrictInteger(
        0, 25, load_default=0, metadata={"description": "seconds to wait for new messages"}
    )


class MessageOut(Output):
    _id = ObjectIdString(metadata=MESSAGE)
    chatId = ObjectIdString(metadata=CHAT)
    seq = fields.Integer(
        metadata={"example": 1, "description": "1, 2, 3… in the chat: the order of messages."}
    )
    clientMessageId = fields.String(allow_none=True, metadata=IDEMPOTENCY_KEY)
    senderId = ObjectIdString(metadata=USER)
    senderName = fields.String(metadata={"example": "Ana Souza"})
    senderImage = fields.String(allow_none=True, metadata=AVATAR)
    senderRole = fields.String(validate=validate.OneOf(SENDER_ROLES))
    content = fields.String(metadata={"example": "It should have arrived on Monday."})
    timestamp = UtcDateTime()
    isRead = fields.Boolean(
        metadata={"example": False, "description": "The other side has read this far."}
    )
    deletedAt = UtcDateTime(
        allow_none=True,
        dump_default=None,
        metadata={
            "example": None,
            "description": "When an agent deleted it: `content` is a tombstone.",
        },
    )
