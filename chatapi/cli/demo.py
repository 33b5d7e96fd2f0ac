"""`flask seed-demo`: load demo users and conversations, once for each data directory.

DATA_DIR/demo.json is written last and in one step, so its presence says that the demo is
complete. Until then the same logins are in demo.json.part: a run that finds that file
takes the accounts over, deletes the demo's chats and loads them again.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click
from flask import current_app
from flask.cli import with_appcontext

from chatapi.cli import demo_people, demo_plan
from chatapi.cli.demo_people import People, Person
from chatapi.cli.demo_plan import PlannedChat
from chatapi.cli.migrate import require_migrated
from chatapi.cli.terminal import cli_errors, progress
from chatapi.domain import clock, runtime
from chatapi.domain.enums import Role
from chatapi.domain.errors import EmailTaken
from chatapi.services import (
    accounts,
    bulk_import,
    chat_lists,
    chats,
    messages,
    passwords,
    sessions,
    users,
)
from chatapi.services.bulk_import import ImportedMessage
from chatapi.services.sessions import ClientInfo, Session

# Neither 0 and O nor 1 and l: these are typed by hand.
_PASSWORD_CHARACTERS = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # noqa: S105
_PASSWORD_LENGTH = 12

Logins = dict[str, Any]


@click.command("seed-demo")
@click.option("--yes", is_flag=True, help="Write demo data into a production database, too.")
@with_appcontext
def seed_demo(yes: bool) -> None:
    """Load demo data, once per data directory.

    The logins are in DATA_DIR/demo.json. Running it again changes nothing; after a crash it
    starts over without leaving anything twice.
    """
    config = current_app.config
    if config["APP_ENV"] == "production" and not (yes or config["SEED_DEMO"]):
        raise click.ClickException(
            "This is production. Give --yes or set SEED_DEMO=1 to write demo data here."
        )
    data_dir = Path(config["DATA_DIR"])
    data_dir.mkdir(parents=True, exist_ok=True)
    base_url = config["PUBLIC_URL"] or f"http://127.0.0.1:{config['PORT']}"
    with cli_errors("flask --app wsgi seed-demo"), _single_instance(data_dir):
        require_migrated()
        click.echo(seed(data_dir, base_url, config["CHAT_CATEGORIES"]), err=True)


def seed(data_dir: Path, base_url: str, categories: tuple[str, ...] | list[str]) -> str:
    """Load the demo unless this data directory has it; return what was done, as a sentence.

    Raises ClickException when accounts of the demo exist that this directory knows nothing
    of; nothing is written then.
    """
    complete, begun = data_dir / "demo.json", data_dir / "demo.json.part"
    everybody = demo_people.people()
    known = _read(complete)
    if known and not begun.exists() and users.find(known["admin"]["email"]):
        if known["baseUrl"] != base_url:
            _write_private(complete, known | {"baseUrl": base_url})
        return f"The demo data is there already; its logins are in {complete}."

    unfinished = _read(begun)
    logins = _logins(everybody, base_url, unfinished or known)
    if unfinished is None:
        _check_no_foreign_accounts(logins)
        _write_private(begun, logins)
    planned = demo_plan.plan(clock.now())
    with (
        ThreadPoolExecutor(max_workers=2, initializer=runtime.current().enter) as hashing,
        progress(sum(len(chat.lines) for chat in planned), "Loading demo data") as bar,
    ):
        try:
            cast = _DemoUsers(everybody, logins, hashing)
            if unfinished is not None:
                cast.remove_chats()
            for chat in planned:
                _load(chat, cast, categories)
                bar.update(len(chat.lines))
        except BaseException:
            hashing.shutdown(cancel_futures=True)
            raise
    _write_private(begun, logins)
    begun.replace(complete)
    _sync_directory(data_dir)
    return f"Loaded {len(planned)} demo chats; the logins are in {complete}."


class _DemoUsers:
    """The sessions of the demo's users, by e-mail. Missing accounts are created.

    A password takes a tenth of a second of one core to hash, so this happens beside the
    loading: the chats of those who are ready need not wait for the others.
    """

    def __init__(self, everybody: People, logins: Logins, hashing: ThreadPoolExecutor) -> None:
        self._guests = {guest.email: guest for guest in everybody.guests}
        self._sessions: dict[str, Session] = {}
        self._admin = logins["admin"]["email"]
        rows: list[tuple[Role, dict[str, str]]] = [
            ("admin", logins["admin"]),
            *(("admin", row) for row in logins["agents"]),
            *(("user", row) for row in logins["users"]),
        ]
        joined = clock.now() - timedelta(days=demo_plan.DAYS + 1)
        self._accounts: dict[str, Future[Session]] = {}
        for number, (role, row) in enumerate(rows):
            at = joined + timedelta(minutes=17 * number)
            self._accounts[row["email"]] = hashing.submit(_account, row, role, at)

    def get(self, email: str, at: datetime) -> Session:
        """Return a user's session; a guest is created at the time `at`."""
        if email in self._accounts:
            return self._accounts[email].result()
        if email not in self._sessions:
            guest = self._guests[email]
            with clock.frozen(at):
                client = ClientInfo("Demo data", "127.0.0.1")
                self._sessions[email], _ = accounts.guest(guest.name, email, client)
        return self._sessions[email]

    def remove_chats(self) -> None:
        """Take over the data of an earlier run: keep the guests, delete all chats."""
        admin = self._accounts[self._admin].result()
        self._find_guests(admin)
        owners = [account.result() for account in self._accounts.values()]
        for owner in (*owners, *self._sessions.values()):
            _remove_chats(admin, owner)

    def _find_guests(self, admin: Session) -> None:
        """Take over the guests that an earlier run made."""
        cursor = None
        while True:
            page = users.list_users(admin, role="guest", limit=200, cursor=cursor)
            for user in page.items:
                if user["email"] in self._guests:
                    self._sessions[user["email"]] = sessions.session_for(user)
            cursor = page.next_cursor
            if cursor is None:
                return


def _account(login: dict[str, str], role: Role, at: datetime) -> Session:
    """Create an account, or take over the one whose password is in this data directory."""
    with clock.frozen(at):
        try:
            user = users.create_user(login["name"], login["email"], login["password"], role)
        except EmailTaken:
            found = users.find(login["email"])
            known_hash = found.get("passwordHash") if found else None
            if found is None or not passwords.matches(known_hash, login["password"]):
                raise _foreign_accounts([login["email"]]) from None
            user = found
        return sessions.session_for(user)


def _remove_chats(admin: Session, owner: Session) -> None:
    while not owner.is_admin:
        found = chat_lists.list_chats(owner, chat_lists.ChatFilters(), limit=100).items
        if not found:
            return
        for chat in found:
            chats.delete(admin, chat["_id"])


def _load(chat: PlannedChat, cast: _DemoUsers, categories: tuple[str, ...] | list[str]) -> None:
    """Create a chat with its messages at the planned times, up to the planned state."""
    first = chat.lines[0]
    owner = cast.get(chat.owner, first.at - timedelta(seconds=40))
    agent = cast.get(chat.agent or chat.other, first.at)
    speakers = {"user": owner, "admin": agent, "other": cast.get(chat.other, first.at)}
    category = chat.category if chat.category in categories else categories[0]
    with clock.frozen(first.at):
        room, _, _ = chats.create(owner, chat.subject, category, chat.priority, first.text)
    said = [
        ImportedMessage(speakers[line.speaker], line.at, line.text, f"demo-{number}")
        for number, line in enumerate(chat.lines[1:], start=2)
    ]
    if said:
        bulk_import.bulk_append(room["_id"], said)
    messages.mark_read(agent, room["_id"], chat.read_by_agents)
    messages.mark_read(owner, room["_id"], chat.read_by_user)
    with clock.frozen(chat.ended or chat.lines[-1].at):
        changes: dict[str, Any] = {"status": chat.status}
        if chat.agent:
            answers = [one.sender for one in said if one.sender.is_admin]
            changes["admin_id"] = (answers or [agent])[-1].user_id
        chats.update(agent, room["_id"], **changes)


def _logins(everybody: People, base_url: str, known: Logins | None) -> Logins:
    """Return the e-mails and passwords of all demo users, keeping known passwords."""
    passwords_known: dict[str, str] = {}
    if known:
        for row in (known["admin"], *known["agents"], *known["users"]):
            passwords_known[row["email"]] = row["password"]

    def login(person: Person) -> dict[str, str]:
        password = passwords_known.get(person.email) or _new_password()
        return {"email": person.email, "password": password, "name": person.name}

    return {
        "baseUrl": base_url,
        "admin": login(everybody.admin),
        "agents": [login(person) for person in everybody.agents],
        "users": [login(person) for person in everybody.users],
    }


def _new_password() -> str:
    return "".join(secrets.choice(_PASSWORD_CHARACTERS) for _ in range(_PASSWORD_LENGTH))


def _check_no_foreign_accounts(logins: Logins) -> None:
    """Raise ClickException if accounts exist whose passwords are not these."""
    taken = []
    for row in (logins["admin"], *logins["agents"], *logins["users"]):
        user = users.find(row["email"])
        if user and not passwords.matches(user.get("passwordHash"), row["password"]):
            taken.append(row["email"])
    if taken:
        raise _foreign_accounts(taken)


def _foreign_accounts(emails: list[str]) -> click.ClickException:
    return click.ClickException(
        f"The database has accounts already that the demo would make: {', '.join(emails)}. "
        "Their passwords are not in this DATA_DIR. Use the data directory they were made "
        "from, or an empty database."
    )


def _read(path: Path) -> Logins | None:
    """Return the logins in a file, None if there is no such file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise click.ClickException(f"{path} is not valid JSON ({error}). Remove it.") from None
    try:
        for row in (found["admin"], *found["agents"], *found["users"]):
            if not isinstance(row["email"], str) or not isinstance(row["password"], str):
                raise TypeError
    except (KeyError, TypeError):
        raise click.ClickException(f"{path} does not hold the demo's logins. Remove it.") from None
    logins: Logins = {"baseUrl": ""} | found
    return logins


def _write_private(path: Path, content: Logins) -> None:
    """Replace a file in one step. No other account can read it at any moment."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file, ensure_ascii=False, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _single_instance(data_dir: Path) -> Iterator[None]:
    """Lock the data directory, so that a second seeding waits for the first."""
    with (data_dir / "demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
