"""The categories that chats can have, from CHAT_CATEGORIES."""

from __future__ import annotations

offered: list[str] = ["general", "support", "billing", "technical", "other"]


def configure(allowed_categories: list[str] | tuple[str, ...]) -> None:
    """Set the categories that chats can have. The application factory calls it once."""
    offered[:] = allowed_categories
