"""How often somebody may do something. The numbers are in `config.py`.

Signed-in requests count per account, the others per address, in the storage that
RATELIMIT_STORAGE_URI names. Sign-in attempts are counted in the database, exactly and
across all worker processes, per address and per account.
"""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from flask import Config, Flask, current_app, request
from flask_limiter import Limiter
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage, MongoDBStorage, Storage
from limits.strategies import FixedWindowRateLimiter
from pymongo.errors import DuplicateKeyError

from chatapi import clock, identity
from chatapi.errors import TooManyAttempts, TooManyRequests
from chatapi.services.accounts import Session, normal_email
from chatapi.store.database import patience
from chatapi.store.disk import free_space
from chatapi.store.expiry import sweep

View = Callable[..., Any]


def address() -> str:
    """Return the client's address, which only a trusted proxy can vary."""
    return f"address:{request.remote_addr}"


def account() -> str:
    """Return the account that asks, or the address without one."""
    session = identity.optional()
    return of(session) if session else address()


def of(session: Session) -> str:
    """Return the account that a session counts for."""
    return f"account:{session.user_id}"


class WorkerMemory(MemoryStorage):
    """Counters of fixed windows in one worker's memory: RATELIMIT_STORAGE_URI=worker://.

    MemoryStorage starts a timer on every hit and then looks at all its counters; here the
    counters that are over are dropped once a minute.
    """

    STORAGE_SCHEME = ["worker"]  # noqa: RUF012 - limits' own way to register a scheme
    SWEEP_SECONDS = 60

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **_: str) -> None:
        super().__init__(uri, wrap_exceptions)
        self.next_sweep = time.time() + self.SWEEP_SECONDS

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Count up and return the count; a first count lives for `expiry` seconds."""
        now = time.time()
        if now >= self.next_sweep:
            self.next_sweep = now + self.SWEEP_SECONDS
            for known in [name for name, end in self.expirations.items() if end <= now]:
                self.clear(known)
        self.get(key)  # Drops the counter if its window is over.
        with self.locks[key]:
            self.storage[key] += amount
            if self.storage[key] == amount:
                self.expirations[key] = now + expiry
            return self.storage[key]


limiter = Limiter(account, strategy="fixed-window")

PREFIX = "chat"  # in a storage shared with others
BY_ADDRESS = frozenset({"register", "guest"})  # a token at hand must buy no new allowance
parsed = functools.lru_cache(parse)


def init_app(app: Flask) -> None:
    """Give the limiter the app's storage. Its strategy counts; `limited` says when.

    Its own checks would look up a view's limits twice with each request, a third of what a
    small answer costs. An app that has the extension already gets no hooks.
    """
    app.extensions["limiter"] = {limiter}
    if app.config["RATELIMIT_STORAGE_URI"].startswith("mongodb"):
        app.config["RATELIMIT_STORAGE_OPTIONS"] = patience(app.config["DATABASE_TIMEOUT_MS"])
    limiter.init_app(app)


def limited(view: View, name: str = "default") -> View:
    """Wrap a view with the limit that config.py calls LIMIT_<NAME>.

    All views of one name count together, per account, or per address without a session
    and where accounts are made. Opening chats counts those that were opened: what was
    refused, or was a repetition, counts as any other request.
    """
    key = address if name in BY_ADDRESS else account
    first = "default" if name == "create_chat" else name

    @functools.wraps(view)
    def counted(**parts: Any) -> Any:
        if not current_app.config["RATELIMIT_ENABLED"]:
            return view(**parts)
        who = key()
        count(first, who)
        if name != "create_chat":
            return view(**parts)
        if not limiter.limiter.test(_limit(name), PREFIX, name, who):
            raise _refusal(name, who)
        response = view(**parts)
        if response.status_code == 201:
            limiter.limiter.hit(_limit(name), PREFIX, name, who)
        return response

    return counted


def count(name: str, who: str) -> None:
    """Count one use of a limit by an account or an address. Raises TooManyRequests."""
    if not current_app.config["RATELIMIT_ENABLED"]:
        return
    if not limiter.limiter.hit(_limit(name), PREFIX, name, who):
        raise _refusal(name, who)


def _limit(name: str) -> RateLimitItem:
    return parsed(current_app.config[f"LIMIT_{name.upper()}"])


def _refusal(name: str, who: str) -> TooManyRequests:
    reset = limiter.limiter.get_window_stats(_limit(name), PREFIX, name, who).reset_time
    return TooManyRequests(retryAfter=max(1, math.ceil(reset - time.time())))


class LoginAttempts:
    """Counts sign-in attempts; `check` refuses when there were too many."""

    def __init__(self) -> None:
        self._make: Callable[[], Storage] = WorkerMemory
        self._made: FixedWindowRateLimiter | None = None

    def init_app(self, app: Flask, shared: bool) -> None:
        """Count in the app's database, or in memory where the database is a stand-in."""
        self._made = None
        self._make = functools.partial(_in_database, app.config) if shared else WorkerMemory

    @property
    def _counter(self) -> FixedWindowRateLimiter:
        """The counter, connected on first use: a command that signs nobody in needs none."""
        if self._made is None:
            self._made = FixedWindowRateLimiter(self._make())
        return self._made

    def check(self, email: str) -> None:
        """Count an attempt at this account from this address. Raises TooManyAttempts."""
        if not current_app.config["RATELIMIT_ENABLED"]:
            return
        # The account first: what it refuses does not use up the address's allowance, which a
        # whole office may share.
        for setting, key in (
            ("LIMIT_LOGIN_ACCOUNT", f"login:{normal_email(email)}"),
            ("LIMIT_LOGIN_ADDRESS", address()),
        ):
            limit = parsed(current_app.config[setting])
            if not self._counter.hit(limit, "login", key):
                reset = self._counter.get_window_stats(limit, "login", key).reset_time
                raise TooManyAttempts(retryAfter=max(1, math.ceil(reset - time.time())))

    def forgive(self, email: str) -> None:
        """Forget the attempts at an account whose owner has signed in."""
        if current_app.config["RATELIMIT_ENABLED"]:
            limit = parsed(current_app.config["LIMIT_LOGIN_ACCOUNT"])
            self._counter.clear(limit, "login", f"login:{normal_email(email)}")


class ExactMongoDB(MongoDBStorage):
    """The database as the limits package uses it, exact from the first hit on.

    The embedded database answers nothing to one of two first hits at the same moment, which
    the package takes for none. So the counter is there before it is counted up, and is of this
    window, so that no sweep removes it in between.
    """

    # None of its own: RATELIMIT_STORAGE_URI goes on meaning the package's storage.
    STORAGE_SCHEME = []  # noqa: RUF012 - limits' own way to register a scheme

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count a hit and return how many there are in this window."""
        # The sign-in itself would be refused too, after the work of a password hash.
        free_space.require()
        sweep(self.counters, "expireAt")
        now = clock.now()
        counts = {"$gt": ["$expireAt", now]}
        fresh = {
            "count": {"$cond": [counts, "$count", 0]},
            "expireAt": {"$cond": [counts, "$expireAt", now + timedelta(seconds=expiry)]},
        }
        with contextlib.suppress(DuplicateKeyError):
            self.counters.update_one({"_id": key}, [{"$set": fresh}], upsert=True)
        return super().incr(key, expiry, amount)


def _in_database(config: Config) -> Storage:
    return ExactMongoDB(
        config["MONGO_URI"],
        database_name=config["DATABASE_NAME"],
        counter_collection_name="attempts",
        window_collection_name="attemptWindows",
        connect=False,
        wrap_exceptions=False,
        maxPoolSize=10,
        **patience(config["DATABASE_TIMEOUT_MS"]),
    )


login_attempts = LoginAttempts()
