"""Change the fields of a chat by compare-and-set, and publish each change."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from chatapi.domain import errors
from chatapi.domain.documents import (
    Chat,
    ChatChanges,
    Message,
)
from chatapi.realtime.hub import hub
from chatapi.store import chats

MAX_ATTEMPTS = 200


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
        changed = replace(chat, fields)
        if changed is not None:
            return changed
        chat = None
    raise errors.Busy(retryAfter=1)


def changed_fields(before: Chat, after: Chat | ChatChanges) -> ChatChanges:
    """Return those fields of `after` that differ from the chat, or that it lacks.

    A chat that an older release wrote lacks the fields that were added since.
    """
    changed = {
        name: value
        for name, value in after.items()
        if name not in before or before.get(name) != value
    }
    return cast("ChatChanges", changed)


def replace(chat: Chat, fields: ChatChanges, message: Message | None = None) -> Chat | None:
    """Set fields of a chat and publish it; return it, or None if its version has changed."""
    with hub.current.writing(chat):
        if not chats.replace(chat["_id"], chat["version"], fields):
            return None
        now: Chat = {**chat, **fields, "version": chat["version"] + 1}
        hub.current.publish_own_write(now, message)
    return now
