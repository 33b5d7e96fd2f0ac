"""The quota that is checked before writes that no agent has replied to yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chatapi.domain.runtime import PerApp


def _allow(*_: Any) -> None:
    """Refuse nothing."""


@dataclass(frozen=True)
class Quota:
    """Checks that raise a ChatError. The app sets them; commands have no quota.

    account -- takes a user's document. chat -- takes a session, its new chat, the chat's search
    terms and the first message or None. message -- takes a session, its chat, a text and the
    clientMessageId or None.
    """

    account: Callable[..., Any] = _allow
    chat: Callable[..., Any] = _allow
    message: Callable[..., Any] = _allow


quota = PerApp(Quota)
