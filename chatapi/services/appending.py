"""Append a message to its chat, exactly once and in order.

A message is inserted first, with the chat's next `seq`, and is then invisible. One compare-and-set
on the chat document commits it: this write sets `lastSeq`, the preview, the counts and the unread
numbers. So the chat and its history agree at every moment, also after a crash.

- Two senders use the same `seq`: the unique index accepts one, the other takes the next number.
- The write concerns depend on the server (`store.durability`): where one log takes both writes, the
  second sync includes the first write.
- A sender dies between the two writes: the next sender finds its message and commits it first.
- The chat is closed in between: the compare-and-set fails, and the message stays invisible.
- The chat is closed and reopened in between: each reopening increments `epoch`. The message has an
  older epoch, so it is never committed.
"""

from __future__ import annotations

import random
import time

from bson import ObjectId

from chatapi.domain import clock, errors
from chatapi.domain.documents import (
    Chat,
    ChatChanges,
    Message,
    with_side,
)
from chatapi.domain.enums import other_side
from chatapi.services import assignment
from chatapi.services.access import access_chat
from chatapi.services.chat_changes import MAX_ATTEMPTS, replace
from chatapi.services.quota import quota
from chatapi.services.read_receipts import _deleted_unread_after
from chatapi.services.sessions import Session
from chatapi.store import chats, durability, messages
from chatapi.store.database import Duplicate

MAX_PREVIEW_LENGTH = 200

MAX_PAUSE = 0.02


def new(session: Session, chat: Chat, content: str, client_message_id: str | None) -> Message:
    """Return the document of a chat's next message, without inserting it."""
    message_id = ObjectId()
    key = _idempotency_key(client_message_id) if client_message_id else f"own:{message_id}"
    side = session.side
    return {
        "_id": message_id,
        "chatId": chat["_id"],
        "seq": chat["lastSeq"] + 1,
        "epoch": chat["epoch"],
        "idempotencyKey": key,
        "clientMessageId": client_message_id,
        "senderId": session.user_id,
        "senderName": session.name,
        "senderImage": session.image,
        "senderRole": session.role,
        "side": side,
        "content": content,
        "timestamp": clock.now(),
        # How many messages of each side there are up to this one: unread counts are
        # differences of these, never a count over the history.
        "counts": with_side(chat["counts"], side, chat["counts"][side] + 1),
    }


def apply_message(chat: Chat, message: Message) -> ChatChanges:
    """Return the changes of a chat that commit a message."""
    reader, unread = other_side(message["side"]), chat["unread"].copy()
    unread[reader] += 1
    fields: ChatChanges = {
        "lastSeq": message["seq"],
        "messageCount": message["seq"],
        "lastMessage": {
            "content": message["content"][:MAX_PREVIEW_LENGTH],
            "senderRole": message["senderRole"],
            "senderName": message["senderName"],
            "timestamp": message["timestamp"],
        },
        "lastMessageAt": message["timestamp"],
        "updatedAt": message["timestamp"],
        "counts": message["counts"],
        "unread": unread,
    }
    if message["side"] == "user" and chat.get("solvedAt"):
        # The user has more to say.
        fields["solvedAt"] = None
    if reader == "admin":
        fields["unreadByAdmin"] = True
    if message.get("hasRead"):
        # The sender has read all earlier messages.
        side = message["side"]
        fields["readSeq"] = with_side(chat["readSeq"], side, message["seq"])
        unread[side] = 0
        if chat.get("deletedUnread"):
            fields["deletedUnread"] = _deleted_unread_after(chat, reader, message["seq"])
        if side == "admin":
            fields["unreadByAdmin"] = False
    return {**fields, **message.get("chatChanges", {})}


def _repeated_over_quota(
    session: Session, chat: Chat, content: str, client_message_id: str | None
) -> Message | None:
    """Check the quota; return the stored message if a repeated request exceeds it."""
    if not chat["isOpen"]:
        return None
    try:
        quota.current.message(session, chat, content, client_message_id)
    except errors.ChatError:
        first = find_by_idempotency_key(session, chat, client_message_id)
        if first is None:
            raise
        durability.wait_for_others()
        return first
    return None


def append(
    session: Session,
    chat: Chat,
    content: str,
    client_message_id: str | None = None,
    chat_changes: ChatChanges | None = None,
    *,
    read: bool = False,
    reopen: bool = False,
) -> tuple[Chat, Message, bool]:
    """Append a message to a chat that the caller may access; return both and whether it is new.

    chat_changes, read -- fields of the chat that change, and whether the caller's side has read
    everything, in the same write. reopen -- a closed chat is reopened, in that write too;
    `chat_changes` says how. A repeated client_message_id changes nothing of all this.
    Raises ChatClosed, ChatNotFound, Busy, Duplicate when it would be the user's second open
    chat.
    """
    repeated = _repeated_over_quota(session, chat, content, client_message_id)
    if repeated is not None:
        return chat, repeated, False
    with durability.session():
        return _append(session, chat, content, client_message_id, chat_changes, read, reopen)


def _append(
    session: Session,
    chat: Chat,
    content: str,
    client_message_id: str | None,
    chat_changes: ChatChanges | None,
    read: bool,
    reopen: bool,
) -> tuple[Chat, Message, bool]:
    for attempt in range(MAX_ATTEMPTS):
        if attempt:
            chat = access_chat(session, chat["_id"])
        if not chat["isOpen"]:
            first = find_by_idempotency_key(session, chat, client_message_id)
            if first is not None:
                durability.wait_for_others()
                return chat, first, False
            if not reopen:
                raise errors.ChatClosed(
                    f"This chat is {chat['status']}; no message can be added to it.",
                    chatStatus=chat["status"],
                )
        message = new(session, chat, content, client_message_id)
        # These are stored in the message, so that another sender who commits it applies them.
        if chat_changes:
            message["chatChanges"] = chat_changes.copy()
        if read:
            message["hasRead"] = True
        try:
            messages.insert(message)
        except Duplicate:
            fresh = access_chat(session, chat["_id"])
            first = find_by_idempotency_key(session, fresh, client_message_id)
            if first is not None:
                durability.wait_for_others()
                return fresh, first, False
            if fresh["isOpen"] or reopen:
                _resolve_seq_conflict(fresh, attempt)
            continue
        committed = _commit(session, chat, message)
        if committed is not None:
            return committed, message, True
    raise errors.Busy(retryAfter=1)


def _commit(session: Session, chat: Chat, message: Message) -> Chat | None:
    """Commit an inserted message; return the chat, or None to start again."""
    if not chat["isOpen"]:
        return _reopen_with(chat, message)
    for _ in range(MAX_ATTEMPTS):
        fields = apply_message(chat, message)
        changed = replace(chat, fields, message) if _can_commit(chat, message) else None
        if changed is not None:
            return changed
        try:
            chat = access_chat(session, chat["_id"])
        except errors.ChatNotFound:
            messages.delete(message["_id"])
            raise
        if chat["lastSeq"] >= message["seq"]:
            # If it is this message, another sender has committed it.
            there = messages.at(chat["_id"], message["seq"])
            if there is None or there["_id"] != message["_id"]:
                return None
            durability.wait_for_others()
            return chat
        if not _can_commit(chat, message):
            # The chat was closed in between, so the message can never be committed.
            messages.delete(message["_id"])
            return None
    raise errors.Busy(retryAfter=1)


def _reopen_with(chat: Chat, message: Message) -> Chat | None:
    """Reopen a closed chat with an inserted message; return the chat, or None to start again.

    Its epoch ends here, so no other sender can commit it.
    """
    fields = apply_message(chat, message) | {"epoch": chat["epoch"] + 1}
    try:
        changed = replace(chat, fields, message)
        if changed is not None:
            return changed
    except Duplicate:
        messages.delete(message["_id"])
        raise
    messages.delete(message["_id"])
    return None


def _idempotency_key(client_message_id: str) -> str:
    """Return the key that no message without such an id can have."""
    return f"client:{client_message_id}"


def _can_commit(chat: Chat, message: Message) -> bool:
    return bool(
        chat["isOpen"]
        and chat["epoch"] == message["epoch"]
        and chat["lastSeq"] + 1 == message["seq"]
    )


def find_by_idempotency_key(
    session: Session, chat: Chat, client_message_id: str | None
) -> Message | None:
    """Return the committed message of a client_message_id, or None."""
    if client_message_id is None:
        return None
    key = _idempotency_key(client_message_id)
    found = messages.by_idempotency_key(chat["_id"], session.user_id, key)
    return found if found and found["seq"] <= chat["lastSeq"] else None


def _resolve_seq_conflict(chat: Chat, attempt: int) -> None:
    """Finish or remove what another sender left at the chat's next seq."""
    obstacle = messages.at(chat["_id"], chat["lastSeq"] + 1)
    if obstacle is None:
        return
    if attempt == 0:
        # Most likely its sender is about to commit it.
        time.sleep(random.uniform(0, MAX_PAUSE))  # noqa: S311 - jitter, not a secret
    elif _can_commit(chat, obstacle):
        fields = apply_message(chat, obstacle)
        if chats.replace(chat["_id"], chat["version"], fields) and fields.get("adminId"):
            # Its sender may have died, and the agent may have lost access meanwhile.
            assignment.confirm({**chat, **fields})
    elif obstacle["epoch"] < chat["epoch"]:
        messages.delete(obstacle["_id"])
    elif not chat["isOpen"]:
        # Another sender may be reopening the chat with it: invalidate it before deleting it.
        chats.replace(chat["_id"], chat["version"], {"epoch": chat["epoch"] + 1})
