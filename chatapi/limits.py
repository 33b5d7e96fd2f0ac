"""How often somebody may do something. The numbers are in `config.py`.

Signed-in requests count per account, the others per address, in the storage that
RATELIMIT_STORAGE_URI names. Sign-in attempts are counted in the database, exactly and
across all worker processes, per address and per account.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from flask import Flask, current_app, request
from flask_limiter import Limiter
from flask_limiter.errors import RateLimitExceeded
from limits import parse
from limits.storage import MemoryStorage, MongoDBStorage, Storage
from limits.strategies import FixedWindowRateLimiter

from chatapi import identity
from chatapi.errors import TooManyAttempts, TooManyRequests
from chatapi.services.accounts import normal_email
from config import Config

View = Callable[..., Any]


def address() -> str:
    """Return the client's address, which only a trusted proxy can vary."""
    return f"address:{request.remote_addr}"


def account() -> str:
    """Return the account that asks, or the address without one."""
    session = identity.optional()
    return f"account:{session.user_id}" if session else address()


limiter = Limiter(account, strategy="fixed-window", key_prefix="chat")


def limited(view: View, name: str = "default") -> View:
    """Wrap a view with the limit that config.py calls LIMIT_<NAME>, counted per account.

    Where config.py has LIMIT_<NAME>_ADDRESS, it holds for the address, too. Without a
    session the address is what counts.
    """
    setting = f"LIMIT_{name.upper()}"
    view = limiter.limit(lambda: current_app.config[setting])(view)
    if hasattr(Config, f"{setting}_ADDRESS"):
        by_address = limiter.limit(
            lambda: current_app.config[f"{setting}_ADDRESS"], key_func=address
        )
        view = by_address(view)
    return view


def as_error(breach: RateLimitExceeded) -> TooManyRequests:
    """Return flask-limiter's refusal as ours, with the seconds to wait."""
    current = limiter.current_limit
    wait = max(1, current.reset_at - int(time.time())) if current else 60
    return TooManyRequests(retryAfter=wait)


class LoginAttempts:
    """Counts sign-in attempts; `check` refuses when there were too many."""

    def __init__(self) -> None:
        self._counter = FixedWindowRateLimiter(MemoryStorage())

    def init_app(self, app: Flask, shared: bool) -> None:
        """Count in the app's database, or in memory where the database is a stand-in."""
        storage: Storage = MemoryStorage()
        if shared:
            storage = MongoDBStorage(
                app.config["MONGO_URI"],
                database_name=app.config["DATABASE_NAME"],
                counter_collection_name="attempts",
                window_collection_name="attemptWindows",
                connect=False,
                serverSelectionTimeoutMS=app.config["DATABASE_TIMEOUT_MS"],
                maxPoolSize=10,
            )
        self._counter = FixedWindowRateLimiter(storage)

    def check(self, email: str) -> None:
        """Count an attempt at this account from this address. Raises TooManyAttempts."""
        if not current_app.config["RATELIMIT_ENABLED"]:
            return
        for setting, key in (
            ("LIMIT_LOGIN_ADDRESS", address()),
            ("LIMIT_LOGIN_ACCOUNT", f"login:{normal_email(email)}"),
        ):
            limit = parse(current_app.config[setting])
            if not self._counter.hit(limit, "login", key):
                reset = self._counter.get_window_stats(limit, "login", key).reset_time
                raise TooManyAttempts(retryAfter=max(1, math.ceil(reset - time.time())))

    def forgive(self, email: str) -> None:
        """Forget the attempts at an account whose owner has signed in."""
        if current_app.config["RATELIMIT_ENABLED"]:
            limit = parse(current_app.config["LIMIT_LOGIN_ACCOUNT"])
            self._counter.clear(limit, "login", f"login:{normal_email(email)}")


login_attempts = LoginAttempts()
