"""What is asked before something is written that no agent has answered yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Quota:
    """Each refuses by raising a ChatError. The app sets them; commands have no quota.

    account -- of a user's document. chat -- of a session, its new chat, what that is found by
    and the first message or None. message -- of a session, its chat, a text and the
    clientMessageId or None.
    """

    account: Callable[..., Any] = staticmethod(lambda *_: None)
    chat: Callable[..., Any] = staticmethod(lambda *_: None)
    message: Callable[..., Any] = staticmethod(lambda *_: None)


quota = Quota()
