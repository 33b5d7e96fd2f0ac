"""Password hashes: argon2id, computed in a thread pool, so that they do not block the worker."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from chatapi.domain.runtime import PerApp
from chatapi.realtime.hashing_pool import LAST, HashingPool

Result = TypeVar("Result")


class _Hashing:
    """How an app makes new hashes, and a hash of no account, made at the first use."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self.hasher = hasher or PasswordHasher()
        self.dummy: str | None = None


_hashing = PerApp(_Hashing)
pool = PerApp(HashingPool)


def configure(time_cost: int, memory_kib: int) -> None:
    """Set the cost of the app's new hashes; old ones are still verified at theirs."""
    hasher = PasswordHasher(time_cost=time_cost, memory_cost=memory_kib, parallelism=1)
    _hashing.set(_Hashing(hasher))


def make(password: str, priority: int = LAST) -> str:
    """Return the hash to store for a password."""
    return _run_in_pool(_hashing.current.hasher.hash, canonical(password), priority=priority)


def canonical(password: str) -> str:
    """Return the Unicode form of a password that is hashed."""
    return unicodedata.normalize("NFC", password)


def matches(password_hash: str | None, password: str, priority: int = LAST) -> bool:
    """Return whether a password is correct, in the same time if there is no hash."""
    return matched_form(password_hash, password, priority) is not None


def matched_form(password_hash: str | None, password: str, priority: int = LAST) -> str | None:
    """Return the Unicode form in which a password is correct, or None if it is wrong."""
    hashing = _hashing.current
    stored = password_hash or _dummy(hashing)
    for form in _forms(password):
        if _run_in_pool(_verify, hashing.hasher, stored, form, priority=priority):
            return form if password_hash else None
    return None


def _forms(password: str) -> list[str]:
    """Return the Unicode forms of a password that may have been hashed.

    Systems compose letters or do not. Hashes are made of the composed form (NFC, as RFC 8265
    has it); those of version 0.1.0 were made of the form that was typed then.
    """
    composed, decomposed = (unicodedata.normalize(form, password) for form in ("NFC", "NFD"))
    return list(dict.fromkeys((composed, password, decomposed)))


def matches_now(
    password_hash: str | None, password: str, known_hash: str | None, priority: int = LAST
) -> bool:
    """Return whether a password is correct. Cheap if the hash is still one that it matched."""
    return password_hash == known_hash or matches(password_hash, password, priority)


def is_outdated(password_hash: str) -> bool:
    """Return whether a hash was computed with another cost than the current one."""
    return _hashing.current.hasher.check_needs_rehash(password_hash)


def _dummy(hashing: _Hashing) -> str:
    """Return a hash of no account, computed once."""
    if hashing.dummy is None:
        hashing.dummy = _run_in_pool(hashing.hasher.hash, "no account has this password")
    return hashing.dummy


def _verify(hasher: PasswordHasher, password_hash: str, password: str) -> bool:
    # Here, not outside: gevent writes what its threads raise to stderr, as a traceback.
    try:
        return hasher.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


def _run_in_pool(work: Callable[..., Result], *arguments: Any, priority: int = LAST) -> Result:
    """Run work of 100 ms of CPU in a thread, so that it does not block a gevent worker."""
    return pool.current.run(priority, work, *arguments)
