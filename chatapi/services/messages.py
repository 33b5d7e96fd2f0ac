"""Send, read and delete messages. `services.appending` adds each one to its chat.

A message is deleted by one compare-and-set, which names it in the chat's `pendingRedactions` and
takes its text out of the preview. From then on the text is not shown (`present_message`), and
only then is it overwritten.
"""

from __future__ import annotations

import contextlib

from chatapi.domain import clock, errors
from chatapi.domain.documents import (
    Chat,
    ChatChanges,
    Deletion,
    Message,
    ShownMessage,
    with_side,
)
from chatapi.domain.enums import other_side
from chatapi.services.access import access_chat, access_chat_to_write
from chatapi.services.appending import append
from chatapi.services.chat_changes import change
from chatapi.services.read_receipts import read_receipt_fields
from chatapi.services.sessions import Session
from chatapi.store import chats, deletions, messages, presence

TOMBSTONE = "This message was deleted."


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
