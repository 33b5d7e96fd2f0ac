"""The quota that is checked before writes that no agent has replied to yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Quota:
    """Checks that raise a ChatError. The app sets them; commands have no quota.

    account -- takes a user's document. chat -- takes a session, its new chat, the chat's search
    terms and the first message or None. message -- takes a session, its chat, a text and the
    clientMessageId or None.
    """

    account: Callable[..., Any] = staticmethod(lambda *_: None)
    chat: Callable[..., Any] = staticmethod(lambda *_: None)
    message: Callable[..., Any] = staticmethod(lambda *_: None)


quota = Quota()
