"""Messages: add each one to its chat, exactly once and in order.

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

A message is deleted the same way: one compare-and-set names it in the chat's
`pendingRedactions` and takes its text out of the preview. From then on the text is not shown
(`present_message`), and only then is it overwritten.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from typing import cast

from bson import ObjectId

from chatapi.domain import clock, errors
from chatapi.domain.documents import (
    Chat,
    ChatChanges,
    DeletedUnread,
    Deletion,
    Message,
    PerSide,
    ShownMessage,
    with_side,
)
from chatapi.domain.enums import Side, other_side
from chatapi.realtime.hub import hub
from chatapi.services import assignment
from chatapi.services.access import access_chat, access_chat_to_write
from chatapi.services.accounts import Session
from chatapi.services.quota import quota
from chatapi.store import chats, deletions, durability, messages, presence
from chatapi.store.database import Duplicate

MAX_PREVIEW_LENGTH = 200


TOMBSTONE = "This message was deleted."
MAX_ATTEMPTS = 200
MAX_PAUSE = 0.02


def send(
    session: Session, chat_id: object, content: str, client_message_id: str | None = None
) -> tuple[ShownMessage, bool]:
    """Append a message to an open chat; return it and whether it is new.

    The message is durable when this returns. Its seq is one more than the chat's last; a
    repeated client_message_id returns the first message and False, and changes nothing.

    content -- 1 to 5,000 characters after trimming.
    Raises ChatNotFound, NotYourChat, ChatClosed, Busy.
    """
    chat = access_chat_to_write(session, chat_id)
    if not chat["isOpen"]:
        chat = access_chat(session, chat_id)
    chat, message, created = append(session, chat, content, client_message_id)
    return present_message(chat, message), created


def history(
    session: Session,
    chat_id: object,
    before: int | None = None,
    after: int | None = None,
    limit: int = 50,
) -> tuple[Chat, list[ShownMessage]]:
    """Return the chat and a page of its messages, ascending.

    before, after -- a seq, not included: the newest page before it, or the oldest after
    it; with neither, the newest page; with both, the oldest after the one and before the
    other. Raises ChatNotFound, NotYourChat.
    """
    chat = access_chat(session, chat_id)
    return chat, page(chat, before, after, limit)


def page(
    chat: Chat, before: int | None = None, after: int | None = None, limit: int = 50
) -> list[ShownMessage]:
    """Return messages of a chat that the caller may access; see `history`."""
    last = chat["lastSeq"] if before is None else min(before - 1, chat["lastSeq"])
    if after is None:
        first = max(1, last - limit + 1)
    else:
        first = after + 1
        last = min(last, after + limit)
    return [
        present_message(chat, message) for message in messages.between(chat["_id"], first, last)
    ]


def mark_read(session: Session, chat_id: object, seq: int) -> Chat:
    """Record that the caller's side has read up to a seq; return the chat.

    Never moves backwards. Raises ChatNotFound, NotYourChat, InvalidInput on `seq` for one
    that the chat has not reached.
    """

    def decide(chat: Chat) -> ChatChanges:
        if seq > chat["lastSeq"]:
            raise errors.InvalidInput.for_field(
                "seq", f"The chat's last message is {chat['lastSeq']}."
            )
        return read_receipt_fields(chat, session.side, seq)

    return change(lambda: access_chat(session, chat_id), decide)


def change(
    read: Callable[[], Chat],
    decide: Callable[[Chat], ChatChanges],
    chat: Chat | None = None,
) -> Chat:
    """Set the fields that `decide` returns for a chat's latest state, and return it.

    read -- reads the chat; chat -- the chat if it was read already. Raises Busy, Duplicate if the
    change reopens a second chat of the user, and what `read` and `decide` raise.
    """
    for _ in range(MAX_ATTEMPTS):
        chat = chat or read()
        fields = decide(chat)
        if not fields:
            return chat
        changed = _replace(chat, fields)
        if changed is not None:
            return changed
        chat = None
    raise errors.Busy(retryAfter=1)


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


def delete(session: Session, chat_id: object, seq: int) -> None:
    """Replace a message's text by a tombstone; its seq stays, and it is not unread. For agents.

    Raises AdminOnly, ChatNotFound, MessageNotFound, Busy.
    """
    session.require_admin()
    chat = access_chat(session, chat_id)
    if not 1 <= seq <= chat["lastSeq"]:
        raise errors.MessageNotFound
    finish_deletion(deletions.begin(chat["_id"], seq))


def finish_deletion(begun: Deletion) -> None:
    """Finish the deletion of a message, at any of its steps. Raises Busy."""
    chat_id, seq = begun["chatId"], begun["seq"]

    def there() -> Chat:
        chat = chats.by_id(chat_id)
        if chat is None:
            raise errors.ChatNotFound
        return chat

    # If the chat was deleted, so were its messages.
    with contextlib.suppress(errors.ChatNotFound):
        message = messages.at(chat_id, seq)
        chat = change(there, lambda now: _with_pending_redaction(now, seq, message))
        at = next(each["at"] for each in chat["pendingRedactions"] if each["seq"] == seq)
        messages.redact(chat_id, seq, TOMBSTONE, at)
        presence.emit("deleted", chatId=chat_id, userId=chat["userId"], seq=seq)
        change(there, lambda now: _without_pending_redaction(now, seq))
    deletions.finish(begun)


def _with_pending_redaction(chat: Chat, seq: int, message: Message | None) -> ChatChanges:
    """Return the changes of a chat that hide the text of a message."""
    pending = chat.get("pendingRedactions", [])
    if any(each["seq"] == seq for each in pending):
        return {}
    now = clock.now()
    fields: ChatChanges = {
        "pendingRedactions": [*pending, {"seq": seq, "at": now}],
        "updatedAt": now,
    }
    if chat["lastSeq"] == seq and chat["lastMessage"]:
        fields["lastMessage"] = {**chat["lastMessage"], "content": TOMBSTONE}
    return {**fields, **no_longer_unread(chat, message)} if message else fields


def no_longer_unread(chat: Chat, message: Message) -> ChatChanges:
    """Return the changes of a chat so that a message no longer counts as unread."""
    side, seq = message["side"], message["seq"]
    reader = other_side(side)
    listed = chat.get("deletedUnread", [])
    if seq <= chat["readSeq"][reader] or any(each["seq"] == seq for each in listed):
        return {}
    unread = chat["unread"][reader] - 1
    fields: ChatChanges = {
        "unread": with_side(chat["unread"], reader, unread),
        "deletedUnread": [*listed, {"seq": seq, "side": side}],
    }
    if reader == "admin":
        fields["unreadByAdmin"] = unread > 0
    return fields


def _without_pending_redaction(chat: Chat, seq: int) -> ChatChanges:
    pending = chat.get("pendingRedactions", [])
    left = [each for each in pending if each["seq"] != seq]
    return {"pendingRedactions": left} if left != pending else {}


def present_message(chat: Chat, message: Message) -> ShownMessage:
    """Return a message for output.

    `isRead` is whether the other side has read it. If its deletion has begun, the text is the
    tombstone's.
    """
    is_read = message["seq"] <= chat["readSeq"][other_side(message["side"])]
    seen: ShownMessage = {**message, "isRead": is_read}
    for each in chat.get("pendingRedactions", ()):
        if each["seq"] == message["seq"]:
            seen |= {"content": TOMBSTONE, "deletedAt": each["at"]}
    return seen


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
        changed = _replace(chat, fields, message) if _can_commit(chat, message) else None
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
        changed = _replace(chat, fields, message)
        if changed is not None:
            return changed
    except Duplicate:
        messages.delete(message["_id"])
        raise
    messages.delete(message["_id"])
    return None


def changed_fields(before: Chat, after: Chat) -> ChatChanges:
    """Return the fields of a chat that a change sets.

    Those that have come since an older release wrote the chat are among them.
    """
    changed = {
        name: value
        for name, value in after.items()
        if name not in before or before.get(name) != value
    }
    return cast("ChatChanges", changed)


def _replace(chat: Chat, fields: ChatChanges, message: Message | None = None) -> Chat | None:
    """Set fields of a chat and publish it; return it, or None if its version has changed."""
    with hub.current.writing(chat):
        if not chats.replace(chat["_id"], chat["version"], fields):
            return None
        now: Chat = {**chat, **fields, "version": chat["version"] + 1}
        hub.current.publish_own_write(now, message)
    return now


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


def _counts_at(chat_id: ObjectId, seq: int) -> PerSide:
    message = messages.at(chat_id, seq)
    return message["counts"] if message else {"user": 0, "admin": 0}
