"""The quota that is checked before writes that no agent has replied to yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatapi.domain.documents import Chat, ChatTerms, Message, User, UserChanges
from chatapi.domain.runtime import PerApp

if TYPE_CHECKING:
    from chatapi.services.sessions import Session  # which asks for the quota


def _allow(*_: object) -> None:
    """Refuse nothing."""


@dataclass(frozen=True)
class Quota:
    """Checks that raise a ChatError. The app sets them; commands have no quota.

    account -- takes a user's document, or the fields that make a guest a user. chat -- takes a
    session, its new chat, the chat's search terms and the first message or None. message -- takes
    a session, its chat, a text and the clientMessageId or None.
    """

    account: Callable[[User | UserChanges], None] = _allow
    chat: Callable[[Session, Chat, ChatTerms, Message | None], None] = _allow
    message: Callable[[Session, Chat, str, str | None], None] = _allow


quota = PerApp(Quota)
