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
    """A message that is deleted, before its text is overwritten."""

    seq: int  # of the message
    at: datetime  # when it was deleted; the message gets it as `deletedAt`


class DeletedUnread(TypedDict):
    """A deleted message that the running counts still count as unread."""

    seq: int  # of the message
    side: Side  # of its sender


class Chat(TypedDict):
    """A document of `chatrooms`: a chat's state, with all that a list shows of it.

    `userId` is unique where `isOpen` is true.
    """

    _id: ObjectId  # the chat's id in the API
    userId: ObjectId  # whose chat it is; never changes
    userName: str  # copied from the user, and changed when an agent renames them
    userEmail: str  # copied from the user when the chat was opened
    userImage: str | None  # copied from the user, and changed with it
    userRole: NotRequired[Role]  # the user's; `user` once a guest has made an account
    userEmailVerifiedAt: NotRequired[datetime | None]  # copied from the user at the opening
    adminId: ObjectId | None  # the assigned agent; None: unassigned
    adminName: str | None  # copied from that agent, and changed when they are renamed
    adminImage: str | None  # copied from that agent, and changed with it
    subject: str  # what it is about, by its user; up to 200 characters, never changes
    category: str  # one of the setting CATEGORIES when it was set, by user or agent
    priority: Priority  # by its user at the opening, then by agents
    status: Status  # by agents; `active` at first
    statusBy: NotRequired[ObjectId]  # the agent who changed the status last
    isOpen: bool  # whether the status is active or pending: a user has one open chat at most
    createdAt: datetime  # of the opening
    updatedAt: datetime  # of the last change that users can see
    changedAt: NotRequired[datetime]  # of the last write, by the real clock: a tail polls by it
    lastMessageAt: datetime  # of the last message, else of the opening: the order of lists
    lastMessage: LastMessage | None  # None before the first
    solvedAt: NotRequired[datetime | None]  # when the user marked the question as answered
    messageCount: int  # equals lastSeq
    lastSeq: int  # the history ends here: messages beyond it do not exist yet
    epoch: int  # counts the reopenings: a message of an older epoch is never committed
    version: int  # counts the writes: every change is a compare-and-set on it
    counts: PerSide  # messages of each side up to lastSeq
    readSeq: PerSide  # how far each side has read, a seq
    unread: PerSide  # messages of the other side that each side has not read
    unreadByAdmin: bool  # whether unread.admin is more than 0: lists filter by it
    deletedUnread: NotRequired[list[DeletedUnread]]  # until they are read past
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
    """A document of `messages`. All but the text stays as it was written.

    `{chatId, seq}` and `{chatId, senderId, idempotencyKey}` are unique.
    """

    _id: ObjectId  # the message's id in the API
    chatId: ObjectId  # of its chat
    seq: int  # its place: 1, 2, 3 … in each chat
    epoch: int  # the chat's when it was written
    idempotencyKey: str  # made of clientMessageId, or unique: the same key is the same message
    clientMessageId: str | None  # by its sender: a repetition has the same
    senderId: ObjectId  # the user who sent it
    senderName: str  # as it was when the message was sent
    senderImage: str | None  # as it was when the message was sent
    senderRole: SenderRole  # as it was when the message was sent
    side: Side  # of its sender
    content: str  # the text, up to 5,000 characters, or the tombstone's
    timestamp: datetime  # when it was sent, or said to be by an import
    counts: PerSide  # messages of each side up to this one
    hasRead: NotRequired[bool]  # its sender has read all messages before it
    chatChanges: NotRequired[ChatChanges]  # fields of the chat that change with it
    deletedAt: NotRequired[datetime]  # when an agent deleted it


class ShownMessage(Message):
    """A message as its chat lets it be seen; not stored."""

    isRead: bool  # whether the other side has read so far


class User(TypedDict):
    """A document of `users`. `loginKey` is unique."""

    _id: ObjectId  # the user's id in the API
    name: str  # by the user, later by agents
    email: str  # in canonical spelling; never changes
    emailVerifiedAt: NotRequired[datetime | None]  # None for every address: no mail is sent yet
    loginKey: str  # the e-mail address; `guest:ID` for a guest, who has no password
    passwordHash: NotRequired[str]  # argon2id; missing: no sign-in with a password
    role: Role  # `user` at first; agents make agents, a guest becomes a user with a password
    image: str | None  # https address of a picture, by agents
    disabled: bool  # whether signing in is refused, by agents
    createdAt: datetime  # of the account
    updatedAt: datetime  # of the last change of a field above
    searchTerms: list[str]  # beginnings of words of name and e-mail
    expiresAt: NotRequired[datetime]  # a guest without a chat is removed then


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
    publicId: ObjectId  # the id that lists of sessions show
    userId: ObjectId  # who is signed in
    createdAt: datetime  # of the sign-in
    lastSeenAt: datetime  # of a use: written every 5 minutes at most
    expiresAt: datetime  # moved by use, up to absoluteExpiresAt
    absoluteExpiresAt: datetime  # no use moves it
    userAgent: str  # of the sign-in's browser: its first 300 characters
    address: str  # of the sign-in, an IP address


class SessionTimes(TypedDict):
    """Fields of a session that a use sets."""

    lastSeenAt: datetime
    expiresAt: datetime
    absoluteExpiresAt: datetime


class ChatTerms(TypedDict):
    """A document of `chat_terms`: what a chat is found by."""

    _id: ObjectId  # the chat's
    userId: ObjectId  # whose chat it is: a user's search reads their own
    terms: list[str]  # beginnings of the words of subject, name and e-mail


class PasswordLink(TypedDict):
    """A document of `passwordLinks`: a link with which a person sets a new password, once."""

    _id: str  # SHA-256 of the link's token, in hex
    userId: ObjectId  # whose password it sets
    madeBy: ObjectId  # the agent who made it
    expiresAt: datetime  # it is refused from then on


class Deletion(TypedDict):
    """A document of `deletions`: a deletion that has begun, of a chat or, with `seq`, of a message.

    `init-db` finishes what a crash cut off.
    """

    _id: ObjectId  # the chat's where a chat is deleted, else its own
    chatId: NotRequired[ObjectId]  # of the message
    seq: NotRequired[int]  # of the message
    userId: NotRequired[ObjectId]  # whose chat is deleted: the event of it goes to them


class EphemeralEvent(TypedDict):
    """A document of `ephemeralEvents`: an event for all processes, removed after a minute."""

    _id: ObjectId  # its own
    kind: Literal["typing", "deleted", "presence"]  # `presence`: an agent connected or disconnected
    at: datetime  # when it was sent, by the real clock: a tail polls by it
    expiresAt: datetime  # it is removed then
    chatId: NotRequired[ObjectId]  # the chat of the typing or deletion
    userId: NotRequired[ObjectId | None]  # whose chat that is; None where it is no longer known
    seq: NotRequired[int | None]  # of a deleted message; None: the whole chat
    senderId: NotRequired[ObjectId]  # who types
    senderName: NotRequired[str]  # their name
    senderRole: NotRequired[Role]  # their role


class Person(TypedDict):
    """An agent who is connected, and a chat that they have open."""

    userId: ObjectId  # the agent
    name: str  # their name
    role: Role  # their role, `admin`
    chatId: ObjectId | None  # the open chat; None: no chat


class Heartbeat(TypedDict):
    """A document of `presence`: the agents who are connected to one process."""

    _id: str  # the process's own name
    people: list[Person]  # one for each agent and chat that they have open
    seenAt: datetime  # of the last heartbeat, by the real clock: believed for 9 s
    expiresAt: datetime  # it is removed then
