"""Schemas of chats and lists of chats."""

from __future__ import annotations

from marshmallow import fields, validate

from chatapi.domain.enums import OWNER_ROLES, PRIORITIES, SENDER_ROLES, STATUSES
from chatapi.domain.lengths import (
    MAX_CATEGORY_LENGTH,
    MAX_CLIENT_MESSAGE_ID_LENGTH,
    MAX_ID_LENGTH,
    MAX_MESSAGE_LENGTH,
    MAX_PAGE_LENGTH,
    MAX_SEARCH_LENGTH,
    MAX_SUBJECT_LENGTH,
)
from chatapi.schemas import categories
from chatapi.schemas.base import Input, ListQuery, Output
from chatapi.schemas.examples import ADMIN, AVATAR, CHAT, USER
from chatapi.schemas.field_types import (
    Choice,
    IsSet,
    ObjectIdString,
    QueryFlag,
    RawNested,
    StrictBoolean,
    StrictInteger,
    Text,
    UtcDateTime,
)
from chatapi.schemas.messages import IDEMPOTENCY_KEY, MessageOut, client_message_id
from chatapi.schemas.problems import ProblemOut
from chatapi.schemas.users import VERIFIED


class ChatIn(Input):
    subject = Text(1, MAX_SUBJECT_LENGTH, required=True, metadata={"example": "Parcel is late"})
    category = Choice(
        categories.offered, load_default=None, metadata={"description": "Default: general."}
    )
    priority = Choice(PRIORITIES, load_default=None, metadata={"description": "Default: medium."})
    message = Text(
        1,
        MAX_MESSAGE_LENGTH,
        multiline=True,
        load_default=None,
        metadata={
            "example": "It should have arrived on Monday.",
            "description": "The first message.",
        },
    )
    clientMessageId = client_message_id()


class AgentChanges(Input):
    """The changes that agents make to one chat or many."""

    status = Choice(STATUSES)
    priority = Choice(PRIORITIES)
    category = Choice(categories.offered)
    adminId = fields.String(
        allow_none=True,
        metadata={
            "description": "The agent to assign, null for unassigned.",
            "pattern": "^[0-9a-fA-F]{24}$",
            **ADMIN,
        },
    )


class ChatPatch(AgentChanges):
    message = Text(
        1, MAX_MESSAGE_LENGTH, multiline=True, metadata={"description": "A message to add."}
    )
    clientMessageId = Text(
        1, MAX_CLIENT_MESSAGE_ID_LENGTH, allow_none=True, metadata=IDEMPOTENCY_KEY
    )
    read = StrictBoolean(
        validate=validate.Equal(True, error="Can only be true: nothing becomes unread again."),
        metadata={"description": "true: the caller's side has read everything."},
    )


class BulkIn(AgentChanges):
    ids = fields.List(
        Text(0, MAX_ID_LENGTH),
        required=True,
        validate=validate.Length(
            1, MAX_PAGE_LENGTH, error=f"Must have 1 to {MAX_PAGE_LENGTH} ids."
        ),
        metadata={"example": [CHAT["example"]]},
    )


_REPEATABLE = {"description": "One of these; repeat the parameter for several."}


class ChatsQuery(ListQuery):
    status = fields.List(Choice(STATUSES), load_default=(), metadata=_REPEATABLE)
    priority = fields.List(Choice(PRIORITIES), load_default=(), metadata=_REPEATABLE)
    # A chat keeps a category that is no longer offered: `chats.check_categories` decides.
    category = fields.List(
        Text(1, MAX_CATEGORY_LENGTH),
        load_default=(),
        metadata={"description": "An offered one, or one that a chat has; repeat it for several."},
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
        MAX_SEARCH_LENGTH,
        load_default=None,
        metadata={"description": "Prefixes of words of subject, user's name or e-mail."},
    )


class ChatQuery(Input):
    messages = StrictInteger(
        0,
        MAX_PAGE_LENGTH,
        load_default=50,
        metadata={"description": "The number of the newest messages."},
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
    timestamp = UtcDateTime()


class ChatOut(Output):
    _id = ObjectIdString(metadata=CHAT)
    userId = ObjectIdString(metadata=USER)
    userName = fields.String(metadata={"example": "Ana Souza"})
    userEmail = fields.String(metadata={"example": "ana@example.com"})
    userImage = fields.String(allow_none=True, metadata=AVATAR)
    userRole = fields.String(validate=validate.OneOf(OWNER_ROLES))
    userEmailVerified = IsSet(attribute="userEmailVerifiedAt", metadata=VERIFIED)
    adminId = ObjectIdString(allow_none=True, metadata=ADMIN)
    adminName = fields.String(allow_none=True, metadata={"example": "Kofi Mensah"})
    adminImage = fields.String(allow_none=True, metadata={"example": None})
    subject = fields.String(metadata={"example": "Parcel is late"})
    category = fields.String(metadata={"example": "general"})
    priority = fields.String(validate=validate.OneOf(PRIORITIES), metadata={"example": "medium"})
    status = fields.String(validate=validate.OneOf(STATUSES))
    createdAt = UtcDateTime()
    updatedAt = UtcDateTime()
    lastMessageAt = UtcDateTime(metadata={"description": "Updated only by a message."})
    lastMessage = fields.Nested(LastMessageOut, allow_none=True)
    solvedAt = UtcDateTime(
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


class BulkResultOut(Output):
    _id = fields.String(metadata=CHAT)
    ok = fields.Boolean(metadata={"example": True})
    problem = RawNested(ProblemOut, allow_none=True, metadata={"example": None})


class BulkOut(Output):
    results = fields.List(fields.Nested(BulkResultOut))
