"""The accounts that a run of `verify` uses: made for it, and removed afterwards.

Two users and an agent. The agent has no password, so that nobody can ever sign in as them;
the tokens exist in this process alone. Their chats go with them. What a killed run has left
is removed by the next one, which knows it by its addresses.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

from bson import ObjectId

from chatapi.services import accounts, chats
from chatapi.services.accounts import ClientInfo, Session
from chatapi.store import maintenance
from chatapi.store.database import Document

PREFIX = "verify-"
_ADDRESS = re.compile(r"verify-[0-9a-f]{16}-[a-z]+@verify\.invalid")
CLIENT = ClientInfo("flask verify", "127.0.0.1")


@dataclass(frozen=True)
class Person:
    """Somebody who is signed in."""

    id: str
    name: str
    email: str
    session: Session
    token: str
    password: str | None


class People:
    """Everybody of one run."""

    def __init__(self) -> None:
        self._run = secrets.token_hex(8)
        self.left_over = 0

    def arrive(self) -> None:
        """Remove what an earlier run has left, and make the accounts."""
        self.left_over = remove_all()
        self.user = self._make("user", "Verification: user", secrets.token_urlsafe(24))
        self.other = self._make("other", "Verification: other user", None)
        self.agent = self._make("agent", "Verification: agent", None)

    def _make(self, kind: str, name: str, password: str | None) -> Person:
        email = f"{PREFIX}{self._run}-{kind}@verify.invalid"
        role = "admin" if kind == "agent" else "user"
        user = accounts.create_user(name, email, password, role)
        session, token = accounts.begin_session(user, CLIENT)
        return Person(str(user["_id"]), name, email, session, token, password)

    def again(self, person: Person) -> Person:
        """Return the same person with one more session."""
        user: Document = {
            "_id": ObjectId(person.id),
            "role": person.session.role,
            "name": person.name,
            "email": person.email,
        }
        session, token = accounts.begin_session(user, CLIENT)
        return Person(person.id, person.name, person.email, session, token, person.password)


def remove_all() -> int:
    """Remove the accounts of all runs with their chats; return how many there were."""
    found = [
        user for user in maintenance.people_called(PREFIX) if _ADDRESS.fullmatch(user["email"])
    ]
    for user in found:
        # Nobody real: it lets the deletion be told to whoever looks at the list.
        remover = accounts.session_for(user | {"role": "admin"})
        for chat_id in maintenance.chats_of(user["_id"]):
            chats.delete(remover, chat_id)
        maintenance.delete_person(user["_id"])
    return len(found)
