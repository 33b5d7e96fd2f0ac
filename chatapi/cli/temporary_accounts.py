"""`flask temporary-accounts`: accounts for a run of the acceptance checks, removed afterwards.

Two users and an agent. The agent has no password and cannot sign in; the
tokens are on this command's output alone. Their chats go with them. What a killed run has left
is removed by the next one, which knows it by its addresses.
"""

from __future__ import annotations

import json
import re
import secrets
from typing import Any

import click
from flask.cli import AppGroup

from chatapi.cli.terminal import DatabaseCommand
from chatapi.domain import clock
from chatapi.domain.documents import SessionTimes, User
from chatapi.domain.enums import Role
from chatapi.http.login_limits import attempts_key
from chatapi.services import chats, users
from chatapi.services.sessions import ClientInfo, begin_session, session_for
from chatapi.store import maintenance, sessions

PREFIX = "verify-"
SESSIONS_EACH = 4
_ADDRESS = re.compile(r"verify-[0-9a-f]{16}-[a-z]+@verify\.invalid")
_CLIENT = ClientInfo("flask temporary-accounts", "127.0.0.1")

account_commands = AppGroup(
    "temporary-accounts", hidden=True, help="Accounts for a run of the acceptance checks."
)


@account_commands.command("make", cls=DatabaseCommand)
def make() -> None:
    """Remove what an earlier run has left, make the accounts, and print them as JSON."""
    remove_all()
    run = secrets.token_hex(8)
    made = {
        "user": _make(run, "user", "Verification: user", secrets.token_urlsafe(24)),
        "other": _make(run, "other", "Verification: other user", None),
        "agent": _make(run, "agent", "Verification: agent", None),
    }
    click.echo(json.dumps(made))


@account_commands.command("remove", cls=DatabaseCommand)
def remove() -> None:
    """Remove the accounts of all runs with their chats."""
    click.echo(f"Removed {remove_all()} temporary accounts.")


@account_commands.command("sign-in-attempts", cls=DatabaseCommand)
@click.argument("email")
def sign_in_attempts(email: str) -> None:
    """Print how many attempts to sign in the database has counted for an account."""
    click.echo(maintenance.login_attempts(attempts_key(email)))


def _make(run: str, kind: str, name: str, password: str | None) -> dict[str, Any]:
    """Make an account with some sessions, and one session that has expired."""
    email = f"{PREFIX}{run}-{kind}@verify.invalid"
    role: Role = "admin" if kind == "agent" else "user"
    user = users.create_user(name, email, password, role)
    tokens = [begin_session(user, _CLIENT)[1] for _ in range(SESSIONS_EACH)]
    return {
        "id": str(user["_id"]),
        "name": name,
        "email": email,
        "role": role,
        "password": password,
        "tokens": tokens,
        "expiredToken": _expired_token(user),
    }


def _expired_token(user: User) -> str:
    session, token = begin_session(user, _CLIENT)
    past = clock.now().replace(year=clock.now().year - 1)
    times: SessionTimes = {"lastSeenAt": past, "expiresAt": past, "absoluteExpiresAt": past}
    sessions.touch(session.id, times)
    return token


def remove_all() -> int:
    """Remove the accounts of all runs with their chats; return how many there were."""
    found = [
        user for user in maintenance.users_with_prefix(PREFIX) if _ADDRESS.fullmatch(user["email"])
    ]
    for user in found:
        # As an agent, so that the deletion is published to all listeners.
        remover = session_for(user | {"role": "admin"})
        for chat_id in maintenance.chat_ids_of_user(user["_id"]):
            chats.delete(remover, chat_id)
        maintenance.delete_user(user["_id"])
    return len(found)
