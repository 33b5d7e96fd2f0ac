"""Rate limits. The numbers are in `config.py`.

Signed-in requests count per account, the others per address, in the storage that
RATELIMIT_STORAGE_URI names. Password attempts have their own limits: `login_limits`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from flask import Flask, current_app
from flask_limiter import Limiter
from limits.storage import Storage

from chatapi.domain.errors import TooManyRequests
from chatapi.domain.networks import Network
from chatapi.domain.runtime import PerApp
from chatapi.http import identity
from chatapi.http.counters import (
    ALL_NETWORKS,
    Counters,
    WorkerMemory,
    counter_key,
    network_limits,
    parsed,
)
from chatapi.services.sessions import Session
from chatapi.store.database import client_timeouts

View = Callable[..., Any]


Key = str | Network


class Window(NamedTuple):
    """A counter of a limit: a key in the storage with its length in seconds."""

    key: str
    seconds: int
    amount: int


def account() -> Key:
    """Return the key of the caller's account, or of the network without a session."""
    session = identity.optional()
    return key_for(session) if session else identity.network()


def key_for(session: Session) -> str:
    """Return the key of a session's account."""
    return f"account:{session.user_id}"


BY_ADDRESS = frozenset({"register", "guest"})  # a token at hand must buy no new allowance
# Where the app's counters are kept: RATELIMIT_STORAGE_URI.
storage: PerApp[Storage] = PerApp(WorkerMemory)


def init_app(app: Flask) -> None:
    """Let Flask-Limiter open the app's storage. Its strategy counts; `rate_limit` decides when.

    Its own hooks would look up a view's limits twice for each request, a third of the cost of a
    small response. An app that already has the extension gets no hooks.
    """
    limiter = Limiter(lambda: "", strategy="fixed-window")
    app.extensions["limiter"] = {limiter}
    if app.config["RATELIMIT_STORAGE_URI"].startswith("mongodb"):
        app.config["RATELIMIT_STORAGE_OPTIONS"] = client_timeouts(app.config["DATABASE_TIMEOUT_MS"])
    limiter.init_app(app)
    if app.config["RATELIMIT_ENABLED"]:
        storage.set(limiter.storage)


def rate_limit(view: View, name: str = "default") -> View:
    """Wrap a view with the limit LIMIT_<NAME> of config.py.

    All views of one name count together, per account, or per address without a session
    and where accounts are created. LIMIT_CREATE_CHAT counts only chats that were created: a
    rejected or repeated request counts as any other request.
    """
    key_of: Callable[[], Key] = identity.network if name in BY_ADDRESS else account
    first = "default" if name == "create_chat" else name

    @functools.wraps(view)
    def counted(**parts: Any) -> Any:
        if not current_app.config["RATELIMIT_ENABLED"]:
            return view(**parts)
        key = key_of()
        count(first, key)
        if name in BY_ADDRESS:
            count("guests_total", ALL_NETWORKS)
        if name != "create_chat":
            return view(**parts)
        for window in _windows(name, key):
            if storage.current.get(window.key) >= window.amount:
                raise _refusal(window)
        response = view(**parts)
        if response.status_code == 201:
            count(name, key)
        return response

    return counted


def count(name: str, key: Key, amount: int = 1) -> None:
    """Count a request of an account or a network. Raises TooManyRequests.

    What a site refuses leaves no counter of the network in it, of which it has 65,536; and what
    a network refuses does not use up what its site has.
    """
    config = current_app.config  # once: each look through the proxy costs
    if not config["RATELIMIT_ENABLED"]:
        return
    counters = storage.current
    site: Window | None = None
    for window in _windows_of(config[f"LIMIT_{name.upper()}"], name, key):
        if counters.incr(window.key, window.seconds, amount) > window.amount:
            if site is not None:
                counters.incr(site.key, site.seconds, -amount)
            raise _refusal(window)
        site = window


def _windows(name: str, key: Key) -> tuple[Window, ...]:
    return _windows_of(current_app.config[f"LIMIT_{name.upper()}"], name, key)


@functools.lru_cache(maxsize=4096)  # To make them costs more than to count.
def _windows_of(text: str, name: str, key: Key) -> tuple[Window, ...]:
    """Return the counters of a limit, the site of a network before the network."""
    limits = [(parsed(text), key)] if isinstance(key, str) else network_limits(text, key)[::-1]
    return tuple(
        Window(counter_key(limit, name, counter), limit.get_expiry(), limit.amount)
        for limit, counter in limits
    )


def _refusal(window: Window) -> TooManyRequests:
    left = Counters(storage.current).seconds_left_of(window.key, window.seconds)
    return TooManyRequests(retryAfter=left)
