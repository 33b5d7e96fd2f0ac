"""Limits of writes before an agent has replied. `docs/limits.md` has the bounds.

Agents, and chats that an agent has answered, have the ordinary limits only. Everything else
counts per network, in messages and bytes, and for all networks together: new accounts, chats with
the terms they are found by, and messages, each with no fewer bytes than are stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import bson
from flask import current_app, has_app_context, has_request_context

from chatapi.domain import errors
from chatapi.domain.documents import Chat, ChatTerms, Message, User, UserChanges
from chatapi.domain.networks import Network
from chatapi.http import identity, limits
from chatapi.http.counters import ALL_NETWORKS
from chatapi.services.sessions import Session

# Bytes in the database beside what is measured: of a message; of a chat, whose preview of the
# last message grows; of an account, with the session that comes with it and a password's hash.
MESSAGE_OVERHEAD = 500
CHAT_OVERHEAD = 1500
ACCOUNT_OVERHEAD = 1500

_network: ContextVar[Network | None] = ContextVar("network", default=None)


@contextmanager
def writing_from(network: Network) -> Iterator[None]:
    """Count writes in the block for a network; a request needs no such block."""
    token = _network.set(network)
    try:
        yield
    finally:
        _network.reset(token)


def count_account(user: User | UserChanges) -> None:
    """Count an account, or fields of one, about to be stored. Raises TooManyRequests."""
    network = _writer() if _is_limited() else None
    if network is not None:
        count_bytes(network, len(bson.encode(user)) + ACCOUNT_OVERHEAD)


def count_chat(session: Session, chat: Chat, found_by: ChatTerms, first: Message | None) -> None:
    """Count a chat that is about to be inserted. Raises TooManyRequests.

    found_by -- what is stored for the search; first -- the chat's first message, if it has one.
    """
    network = _writer() if _is_limited() and not session.is_admin else None
    if network is None:
        return
    size = len(bson.encode(chat)) + len(bson.encode(found_by)) + CHAT_OVERHEAD
    if first is not None:
        size += len(bson.encode(first)) + MESSAGE_OVERHEAD
    limits.count("unanswered_messages", network)
    count_bytes(network, size)


def count_message(
    session: Session, chat: Chat, text: str, client_message_id: str | None = None
) -> None:
    """Count a message that is about to be inserted.

    Raises TooManyRequests, AnswerPending for a guest who has written enough by now.
    """
    if session.is_admin or chat["counts"]["admin"] or not _is_limited():
        return
    network = _writer()
    if network is None:
        return
    written = chat["counts"]["user"]
    if session.role == "guest" and written >= current_app.config["GUEST_MESSAGES_UNANSWERED"]:
        raise errors.AnswerPending
    size = len(text.encode()) + len(session.name.encode()) + MESSAGE_OVERHEAD
    if client_message_id:
        size += 2 * len(client_message_id.encode())  # It is part of the idempotency key, too.
    if session.image:
        size += len(session.image.encode())
    limits.count("unanswered_messages", network)
    count_bytes(network, size)


def count_bytes(network: Network, size: int) -> None:
    """Count bytes that a network is about to write. Raises TooManyRequests."""
    limits.count("unanswered_bytes", network, size)
    # Last, so that a network above its own limit does not use up the shared one.
    limits.count("unanswered_bytes_total", ALL_NETWORKS, size)


def _is_limited() -> bool:
    return has_app_context() and bool(current_app.config["RATELIMIT_ENABLED"])


def _writer() -> Network | None:
    """Return the network that writes; None in a command."""
    return _network.get() or (identity.network() if has_request_context() else None)
