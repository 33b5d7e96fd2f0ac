"""Append many messages to a chat at once, for imports and demo data.

As in `messages`, inserted messages are invisible until one compare-and-set on the chat commits all
of them. A crash in between leaves invisible messages; the same call, repeated, commits them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from chatapi.domain import clock, errors
from chatapi.domain.documents import Chat, Message
from chatapi.services import appending, chat_changes
from chatapi.services.access import access_chat
from chatapi.services.sessions import Session
from chatapi.store import chats
from chatapi.store import messages as stored_messages
from chatapi.store.database import Duplicate


@dataclass(frozen=True)
class ImportedMessage:
    """A message to import: its sender, its time, and the id that a retry repeats."""

    sender: Session
    at: datetime
    content: str
    client_message_id: str


def bulk_append(chat_id: object, rows: Sequence[ImportedMessage]) -> Chat:
    """Append messages to an open chat, in this order, and return the chat.

    All of them are durable when this returns. A call repeated with the same ids adds
    nothing. Raises ChatNotFound, NotYourChat, ChatClosed, Busy.
    """
    chat: Chat | None = None
    for sender in dict.fromkeys(row.sender for row in rows):
        chat = access_chat(sender, chat_id)
    if chat is None:
        raise errors.InvalidInput.for_field("rows", "Must have at least one message.")
    if chat["isOpen"]:
        after = chat
        new: list[Message] = []
        for row in rows:
            with clock.frozen(row.at):
                message = appending.new(row.sender, after, row.content, row.client_message_id)
            after = {**after, **appending.apply_message(after, message)}
            new.append(message)
        try:
            stored_messages.insert_many(new)
            # A chat of an older release may lack fields.
            if chats.replace(
                chat["_id"], chat["version"], chat_changes.changed_fields(chat, after)
            ):
                return after | {"version": chat["version"] + 1}
        except Duplicate:
            pass
    # Another writer or an uncommitted message conflicts: append one at a time, which resolves it.
    for row in rows:
        with clock.frozen(row.at):
            chat, _, _ = appending.append(
                row.sender, access_chat(row.sender, chat_id), row.content, row.client_message_id
            )
    return chat
