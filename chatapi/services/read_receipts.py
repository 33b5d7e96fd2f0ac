"""What a chat records of how far each side has read."""

from __future__ import annotations

from bson import ObjectId

from chatapi.domain.documents import (
    Chat,
    ChatChanges,
    DeletedUnread,
    PerSide,
    with_side,
)
from chatapi.domain.enums import Side, other_side
from chatapi.store import messages


def read_receipt_fields(chat: Chat, side: Side, seq: int) -> ChatChanges:
    """Return what changes in a chat when a side has read up to a seq; {} if nothing does."""
    if seq <= chat["readSeq"][side]:
        return {}
    other = other_side(side)
    read = chat["counts"] if seq == chat["lastSeq"] else _counts_at(chat["_id"], seq)
    kept = _deleted_unread_after(chat, other, seq)
    deleted = sum(each["side"] == other for each in kept)
    unread = chat["counts"][other] - read[other] - deleted
    fields: ChatChanges = {
        "readSeq": with_side(chat["readSeq"], side, seq),
        "unread": with_side(chat["unread"], side, unread),
    }
    if kept != chat.get("deletedUnread", []):
        fields["deletedUnread"] = kept
    if side == "admin":
        fields["unreadByAdmin"] = unread > 0
    return fields


def _deleted_unread_after(chat: Chat, side: Side, seq: int) -> list[DeletedUnread]:
    """Return the chat's `deletedUnread` without the messages of a side up to a seq.

    It lists the messages that were deleted before the other side had read them. The running
    counts include them, `unread` does not. Chats of older releases lack it.
    """
    listed = chat.get("deletedUnread", [])
    return [each for each in listed if each["side"] != side or each["seq"] > seq]


def _counts_at(chat_id: ObjectId, seq: int) -> PerSide:
    message = messages.at(chat_id, seq)
    return message["counts"] if message else {"user": 0, "admin": 0}
