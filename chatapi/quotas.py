"""How much may be written before an agent has answered. `docs/limits.md` has the bounds.

Agents, and chats that an agent has answered, have the ordinary limits only. Everything else
counts per network, in messages and bytes, and for all networks together.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from flask import current_app, has_app_context, has_request_context

from chatapi import errors, identity, limits
from chatapi.networks import Network
from chatapi.services.accounts import Session
from chatapi.store.database import Document

MESSAGE_OVERHEAD = 500  # bytes that a message takes in the database beside its text
EVERYBODY = "all networks"

_network: ContextVar[Network | None] = ContextVar("network", default=None)


@contextmanager
def writing_from(network: Network) -> Iterator[None]:
    """Let what the block writes count for a network; a request needs no such block."""
    token = _network.set(network)
    try:
        yield
    finally:
        _network.reset(token)


def count_message(session: Session, chat: Document, text: str) -> None:
    """Count a message that is about to be written to a chat.

    Raises TooManyRequests, AnswerPending for a guest who has written enough by now.
    """
    if session.is_admin or chat["counts"]["admin"] or not has_app_context():
        return
    config = current_app.config
    if not config["RATELIMIT_ENABLED"]:
        return
    network = _network.get() or (identity.network() if has_request_context() else None)
    if network is None:
        return  # a command
    written = chat["counts"]["user"]
    if session.role == "guest" and written >= config["GUEST_MESSAGES_UNANSWERED"]:
        raise errors.AnswerPending
    size = len(text.encode()) + MESSAGE_OVERHEAD
    limits.count("unanswered_messages", network)
    limits.count("unanswered_bytes", network, size)
    # Last: what a network has no room for does not use up what all share.
    limits.count("unanswered_bytes_total", EVERYBODY, size)
