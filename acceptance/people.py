"""The accounts that a run uses: the product makes them for it, and removes them afterwards."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from acceptance.product import Product


@dataclass(frozen=True)
class Person:
    """An account of this run, signed in."""

    id: str
    name: str
    email: str
    role: str
    token: str
    password: str | None
    unused_tokens: list[str]
    expired_token: str

    def again(self) -> Person:
        """Return the same person with another session."""
        return self._with(self.unused_tokens.pop())

    def expired(self) -> Person:
        """Return the same person with a session that is over, and that nothing has used yet."""
        return self._with(self.expired_token)

    @property
    def session_key(self) -> str:
        """What the database stores of the session."""
        return hashlib.sha256(self.token.encode()).hexdigest()

    def _with(self, token: str) -> Person:
        return Person(
            self.id,
            self.name,
            self.email,
            self.role,
            token,
            self.password,
            self.unused_tokens,
            self.expired_token,
        )


class People:
    """Two users and an agent."""

    def __init__(self, product: Product) -> None:
        made = json.loads(product.flask("temporary-accounts", "make"))
        self.user, self.other, self.agent = (
            _person(made[kind]) for kind in ("user", "other", "agent")
        )


def _person(facts: dict[str, Any]) -> Person:
    tokens = [str(token) for token in facts["tokens"]]
    return Person(
        str(facts["id"]),
        str(facts["name"]),
        str(facts["email"]),
        str(facts["role"]),
        tokens[0],
        None if facts["password"] is None else str(facts["password"]),
        tokens[1:],
        str(facts["expiredToken"]),
    )


def remove_all(product: Product) -> None:
    """Remove the accounts of all runs with their chats."""
    product.flask("temporary-accounts", "remove")
