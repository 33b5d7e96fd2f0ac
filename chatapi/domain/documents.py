"""The stored documents, a line on each field. Times are aware datetimes in UTC, in milliseconds.

Fields under `NotRequired` are missing from documents to which they do not apply, or which an older
release wrote. `docs/data-model.md` is made of this module (`tests/data_model.py`), and
`tests/domain/test_documents.py` compares what the services store with it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NotRequired, TypedDict

from bson import ObjectId

from chatapi.domain.enums import Priority, Role, SenderRole, Side, Status


class PerSide(TypedDict):
    """A number for each side of a chat."""

    user: int  # of the user or guest whose chat it is
    admin: int  # of all agents together


def with_side(numbers: PerSide, side: Side, number: int) -> PerSide:
    """Return a copy with another number for one side."""
    changed = numbers.copy()
    changed[side] = number
    return changed


class LastMessage(TypedDict):
    """The preview of a chat's last message."""

    content: str  # its first 200 characters, or the tombstone's text
    senderRole: SenderRole  # as in the message
    senderName: str  # as in the message
    timestamp: datetime  # as in the message


class Redaction(TypedDict):
    """A deleted message whose text is not overwritten yet."""

    seq: int  # of the message
    at: datetime  # when it was deleted; the message gets it as `deletedAt`


class DeletedUnread(TypedDict):
    """A deleted message that the running counts still count as unread."""

    seq: int  # of the message
    side: Side  # of its sender


class Chat(TypedDict):
    """A document of `chatrooms`: a chat's state, with every field that a list shows.

    `userId` is unique where `isOpen` is true.
    """

    _id: ObjectId  # the chat's id in the API
    userId: ObjectId  # the user or guest who owns the chat; never changes
    userName: str  # copied from the user; changes when an agent renames the user
    userEmail: str  # copied from the user when the chat was created
    userImage: str | None  # copied from the user; changes with the user's
    userRole: NotRequired[Role]  # the user's; changes when a guest upgrades to a user
    userEmailVerifiedAt: NotRequired[datetime | None]  # copied when the chat was created
    adminId: ObjectId | None  # the assigned agent; None: unassigned
    adminName: str | None  # copied from that agent; changes when the agent is renamed
    adminImage: str | None  # copied from that agent; changes with the agent's
    subject: str  # written by the user; up to 200 characters, never changes
    category: str  # one of CHAT_CATEGORIES when the user or an agent set it
    priority: Priority  # set by the user at creation, later by agents
    status: Status  # `active` at creation; agents change it
    statusBy: NotRequired[ObjectId]  # the agent who changed the status last
    isOpen: bool  # whether the status is active or pending: a user has one open chat at most
    createdAt: datetime  # when the chat was created
    updatedAt: datetime  # of the last change that users can see
    changedAt: NotRequired[datetime]  # of the last write, by the real clock; a polling tail uses it
    lastMessageAt: datetime  # of the last message, or createdAt; lists are sorted by it
    lastMessage: LastMessage | None  # None before the first message
    solvedAt: NotRequired[datetime | None]  # when the user marked the question as answered
    messageCount: int  # equals lastSeq
    lastSeq: int  # the history ends here: messages beyond it do not exist yet
    epoch: int  # number of reopenings; a message of an older epoch is never committed
    version: int  # number of writes; every change is a compare-and-set on it
    counts: PerSide  # messages of each side up to lastSeq
    readSeq: PerSide  # the seq up to which each side has read
    unread: PerSide  # messages of the other side that each side has not read
    unreadByAdmin: bool  # whether unread.admin is more than 0; lists filter by it
    deletedUnread: NotRequired[list[DeletedUnread]]  # until the other side has read up to them
    pendingRedactions: NotRequired[list[Redaction]]  # messages that are being redacted
    idempotencyKey: NotRequired[str | None]  # the client's id of the request that opened the chat


class ChatChanges(TypedDict, total=False):
    """Fields of a chat that one write sets; all others stay."""

    userName: str
    userImage: str | None
    userRole: Role
    adminId: ObjectId | None
    adminName: str | None
    adminImage: str | None
    category: str
    priority: Priority
    status: Status
    statusBy: ObjectId
    isOpen: bool
    createdAt: datetime  # of a chat whose first message comes with it
    updatedAt: datetime
    lastMessageAt: datetime
    lastMessage: LastMessage | None
    solvedAt: datetime | None
    messageCount: int
    lastSeq: int
    epoch: int
    counts: PerSide
    readSeq: PerSide
    unread: PerSide
    unreadByAdmin: bool
    deletedUnread: list[DeletedUnread]
    pendingRedactions: list[Redaction]


class ShownChat(Chat):
    """A chat as one caller sees it; not stored."""

    unreadCount: int  # of the caller's side


class Message(TypedDict):
    """A document of `messages`. Only the text can change, when the message is deleted.

    `{chatId, seq}` and `{chatId, senderId, idempotencyKey}` are unique.
    """

    _id: ObjectId  # the message's id in the API
    chatId: ObjectId  # of its chat
    seq: int  # its number in the chat: 1, 2, 3 …
    epoch: int  # the chat's epoch when the message was sent
    idempotencyKey: str  # from clientMessageId, or a new unique one
    clientMessageId: str | None  # set by the sender; a retry has the same
    senderId: ObjectId  # the user who sent it
    senderName: str  # as it was when the message was sent
    senderImage: str | None  # as it was when the message was sent
    senderRole: SenderRole  # as it was when the message was sent
    side: Side  # of its sender
    content: str  # the text, up to 5,000 characters, or the tombstone's
    timestamp: datetime  # when it was sent; for an imported message, as in the import
    counts: PerSide  # messages of each side up to this one
    hasRead: NotRequired[bool]  # its sender has read all messages before it
    chatChanges: NotRequired[ChatChanges]  # fields of the chat that the same request changes
    deletedAt: NotRequired[datetime]  # when an agent deleted it


class ShownMessage(Message):
    """A message as a response shows it, with the chat's read state; not stored."""

    isRead: bool  # whether the other side has read it


class User(TypedDict):
    """A document of `users`. `loginKey` is unique."""

    _id: ObjectId  # the user's id in the API
    name: str  # set by the user at creation, later by agents
    email: str  # normalized; never changes
    emailVerifiedAt: NotRequired[datetime | None]  # None for every address: no mail is sent yet
    loginKey: str  # the e-mail address; `guest:ID` for a guest, who has no password
    passwordHash: NotRequired[str]  # argon2id; missing: no sign-in with a password
    role: Role  # agents can change it; a guest becomes a user by an upgrade
    image: str | None  # https URL of a picture, set by agents
    disabled: bool  # whether sign-in is rejected, set by agents
    createdAt: datetime  # of the account
    updatedAt: datetime  # of the last change of a field above
    searchTerms: list[str]  # prefixes of the words of name and e-mail
    expiresAt: NotRequired[datetime]  # when a guest without a chat is removed


class UserChanges(TypedDict, total=False):
    """Fields of a user that one write sets; all others stay."""

    name: str
    loginKey: str
    passwordHash: str
    role: Role
    image: str | None
    disabled: bool
    updatedAt: datetime
    searchTerms: list[str]


class StoredSession(TypedDict):
    """A document of `sessions`."""

    _id: str  # SHA-256 of the token, in hex
    publicId: ObjectId  # the session's id in the API
    userId: ObjectId  # who is signed in
    createdAt: datetime  # of the sign-in
    lastSeenAt: datetime  # of the last use; written every 5 minutes at most
    expiresAt: datetime  # each use extends it, up to absoluteExpiresAt
    absoluteExpiresAt: datetime  # use does not extend it
    userAgent: str  # of the browser at sign-in; its first 300 characters
    address: str  # the IP address at sign-in


class SessionTimes(TypedDict):
    """Fields of a session that a use sets."""

    lastSeenAt: datetime
    expiresAt: datetime
    absoluteExpiresAt: datetime


class ChatTerms(TypedDict):
    """A document of `chat_terms`: the search terms of a chat."""

    _id: ObjectId  # the chat's
    userId: ObjectId  # the chat's owner; a user's search reads only their own
    terms: list[str]  # prefixes of the words of subject, name and e-mail


class PasswordLink(TypedDict):
    """A document of `passwordLinks`: a link that sets a new password, once."""

    _id: str  # SHA-256 of the link's token, in hex
    userId: ObjectId  # the user whose password it sets
    madeBy: ObjectId  # the agent who made it
    expiresAt: datetime  # it is rejected after this time


class Deletion(TypedDict):
    """A document of `deletions`: a started deletion of a chat or, with `seq`, of a message.

    `init-db` finishes a deletion that a crash interrupted.
    """

    _id: ObjectId  # the chat's id if a chat is deleted, else a new one
    chatId: NotRequired[ObjectId]  # of the message
    seq: NotRequired[int]  # of the message
    userId: NotRequired[ObjectId]  # the owner of the deleted chat, who gets the event


class EphemeralEvent(TypedDict):
    """A document of `ephemeralEvents`: an event for all processes, removed after a minute."""

    _id: ObjectId  # its own
    kind: Literal["typing", "deleted", "presence"]  # `presence`: an agent connected or disconnected
    at: datetime  # when it was sent, by the real clock; a polling tail uses it
    expiresAt: datetime  # it is removed then
    chatId: NotRequired[ObjectId]  # the chat of the typing or deletion
    userId: NotRequired[ObjectId | None]  # the chat's owner; None if no longer known
    seq: NotRequired[int | None]  # of the deleted message; None: the whole chat
    senderId: NotRequired[ObjectId]  # the user who types
    senderName: NotRequired[str]  # the name of that user
    senderRole: NotRequired[Role]  # the role of that user


class Person(TypedDict):
    """A connected agent, and a chat that the agent has open."""

    userId: ObjectId  # the agent
    name: str  # the agent's name
    role: Role  # the agent's role, `admin`
    chatId: ObjectId | None  # the open chat; None: no chat


class Heartbeat(TypedDict):
    """A document of `presence`: the agents who are connected to one process."""

    _id: str  # the name of the process
    people: list[Person]  # one for each agent and open chat
    seenAt: datetime  # of the last heartbeat, by the real clock; valid for 9 s
    expiresAt: datetime  # it is removed then
