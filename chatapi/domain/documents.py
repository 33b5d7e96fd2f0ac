"""The stored documents, a line on each field. Times are aware datetimes in UTC, in milliseconds.

Fields under `NotRequired` are missing from documents to which they do not apply, or which an older
release wrote. `tests/domain/test_documents.py` compares what the services store with this module.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NotRequired, TypedDict

from bson import ObjectId

Role = Literal["user", "admin", "guest"]
SenderRole = Literal["user", "admin", "guest", "system"]
Side = Literal["user", "admin"]  # users and guests are on one side, agents on the other
Status = Literal["active", "pending", "closed", "archived"]
Priority = Literal["low", "medium", "high", "urgent"]


class PerSide(TypedDict):
    """A number for each side of a chat."""

    user: int
    admin: int


class LastMessage(TypedDict):
    """The preview of a chat's last message."""

    content: str  # its first 200 characters, or the tombstone's text
    senderRole: SenderRole
    senderName: str
    timestamp: datetime


class Redaction(TypedDict):
    """A message that is deleted, before its text is overwritten."""

    seq: int
    at: datetime


class DeletedUnread(TypedDict):
    """A deleted message that the running counts still count as unread."""

    seq: int
    side: Side  # of its sender


class Chat(TypedDict):
    """A document of `chatrooms`: a chat's state, with all that a list shows of it."""

    _id: ObjectId
    userId: ObjectId  # whose chat it is
    userName: str  # copied from the user, and changed when they are renamed
    userEmail: str
    userImage: str | None
    userRole: NotRequired[Role]  # when the chat was opened
    userEmailVerifiedAt: NotRequired[datetime | None]
    adminId: ObjectId | None  # the agent it is assigned to
    adminName: str | None
    adminImage: str | None
    subject: str
    category: str
    priority: Priority
    status: Status
    statusBy: NotRequired[ObjectId]  # who changed the status last
    isOpen: bool  # whether the status is active or pending: a user has one open chat at most
    createdAt: datetime
    updatedAt: datetime  # of the last change that users can see
    changedAt: NotRequired[datetime]  # of the last write, by the real clock: a tail polls by it
    lastMessageAt: datetime  # the order of lists
    lastMessage: LastMessage | None
    solvedAt: NotRequired[datetime | None]  # when the user marked the question as answered
    messageCount: int  # equals lastSeq
    lastSeq: int  # the history ends here: messages beyond it do not exist yet
    epoch: int  # counts the reopenings: a message of an older epoch is never committed
    version: int  # counts the writes: every change is a compare-and-set on it
    counts: PerSide  # messages of each side up to lastSeq
    readSeq: PerSide  # how far each side has read
    unread: PerSide  # messages that each side has not read
    unreadByAdmin: bool  # whether unread.admin is more than 0: lists filter by it
    deletedUnread: NotRequired[list[DeletedUnread]]
    pendingRedactions: NotRequired[list[Redaction]]  # messages that are being redacted
    idempotencyKey: NotRequired[str | None]  # the client's id of the request that opened the chat


class Message(TypedDict):
    """A document of `messages`.

    `{chatId, seq}` and `{chatId, senderId, idempotencyKey}` are unique.
    """

    _id: ObjectId
    chatId: ObjectId
    seq: int  # 1, 2, 3 … in each chat
    epoch: int  # the chat's when it was written
    idempotencyKey: str  # made of clientMessageId, or unique: the same key is the same message
    clientMessageId: str | None
    senderId: ObjectId
    senderName: str  # as it was when the message was sent
    senderImage: str | None
    senderRole: SenderRole
    side: Side
    content: str  # the text, or a tombstone's
    timestamp: datetime
    counts: PerSide  # messages of each side up to this one
    hasRead: NotRequired[bool]  # its sender has read all messages before it
    chatChanges: NotRequired[dict[str, object]]  # fields of the chat that change with it
    deletedAt: NotRequired[datetime]


class User(TypedDict):
    """A document of `users`. `loginKey` is unique."""

    _id: ObjectId
    name: str
    email: str  # in canonical spelling
    emailVerifiedAt: NotRequired[datetime | None]  # None for every address: no mail is sent yet
    loginKey: str  # the e-mail address; `guest:ID` for a guest, who has no password
    passwordHash: NotRequired[str]  # argon2id
    role: Role
    image: str | None  # https address of a picture
    disabled: bool
    createdAt: datetime
    updatedAt: datetime
    searchTerms: list[str]  # beginnings of words of name and e-mail
    expiresAt: NotRequired[datetime]  # a guest without a chat is removed then


class StoredSession(TypedDict):
    """A document of `sessions`."""

    _id: str  # SHA-256 of the token, in hex
    publicId: ObjectId  # the id that lists of sessions show
    userId: ObjectId
    createdAt: datetime
    lastSeenAt: datetime
    expiresAt: datetime  # moved by use, up to absoluteExpiresAt
    absoluteExpiresAt: datetime
    userAgent: str  # its first 300 characters
    address: str
