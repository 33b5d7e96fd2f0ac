"""`flask import-conversations FILE`: load conversations kept as JSON lines, each exactly once.

A line is `{"id", "subject", "messages": [{"role": "user" | "admin", "text"}]}`. Each
conversation gets a user of its own, `import+ID@import.invalid`, whom nobody can sign in as
(there is no password), and the conversation is that user's one chat. So the file's id leads
to the chat again: a conversation that is there is left alone, one that a crash cut off is
continued where it stopped. The order of the messages is their `seq`; their time is that of
the import.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from flask.cli import with_appcontext
from marshmallow import ValidationError

from chatapi.cli.terminal import cli_errors, progress, regular_file
from chatapi.domain import clock, spelling
from chatapi.domain.enums import OPEN_STATUSES, STATUSES
from chatapi.domain.errors import EmailTaken
from chatapi.domain.lengths import MAX_MESSAGE_LENGTH, MAX_SUBJECT_LENGTH
from chatapi.http.endpoint import finite_number, refuse_constant
from chatapi.schemas import field_types
from chatapi.services import accounts, bulk_import, chats, messages
from chatapi.services.accounts import Session
from chatapi.services.bulk_import import ImportedMessage
from chatapi.store.database import Document

DOMAIN = "import.invalid"  # RFC 2606: no mail will ever be delivered there
AGENT_EMAIL = f"agent@{DOMAIN}"
AGENT_NAME = "Imported agent"
ROLES = ("user", "admin")
MAX_SHOWN = 50
_PLAIN_ID = re.compile(r"[a-z0-9]+(?:[_-][a-z0-9]+)*")
_PAGE = 200

_ID = field_types.Text(1, 64)
_SUBJECT = field_types.Text(1, MAX_SUBJECT_LENGTH)
_TEXT = field_types.Text(1, MAX_MESSAGE_LENGTH, multiline=True)


@dataclass(frozen=True)
class Conversation:
    """One line of the file. `lines` are pairs of role and text."""

    id: str
    subject: str
    lines: tuple[tuple[str, str], ...]

    @property
    def email(self) -> str:
        """The address of the conversation's user: the same id, the same address.

        An id that could be mistaken for another one in an address (addresses know no case)
        is replaced by its SHA-256.
        """
        plain = len(self.id) <= 40 and _PLAIN_ID.fullmatch(self.id)
        digest = hashlib.sha256(self.id.encode()).hexdigest()
        return f"import+{self.id if plain else 'sha256.' + digest[:40]}@{DOMAIN}"

    @property
    def user_name(self) -> str:
        return spelling.clean_name(f"Customer {self.id}")


@dataclass
class Report:
    """What a run found: counts, and what went wrong where."""

    new: int = 0
    continued: int = 0
    there: int = 0
    messages: int = 0
    problems: list[str] = field(default_factory=list)


class BadLine(Exception):
    """A line that cannot be imported; `problems` has one text for each field."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


class Differs(Exception):
    """A chat is there for this id and holds something else than the file."""


@click.command("import-conversations")
@click.argument(
    "file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
)
@click.option("--agent", "agent_email", metavar="EMAIL", help="The agent who answers.")
@click.option(
    "--status",
    type=click.Choice(STATUSES),
    default="closed",
    show_default=True,
    help="The status of the imported chats.",
)
@click.option("--skip-bad", is_flag=True, help="List bad lines and import the others.")
@click.option("--trim", is_flag=True, help="Trim texts that begin or end with white space.")
@click.option("--verify", is_flag=True, help="Import nothing: read all back and compare.")
@with_appcontext
def import_conversations(
    file: Path, agent_email: str | None, status: str, skip_bad: bool, trim: bool, verify: bool
) -> None:
    """Load conversations from FILE, a JSON object a line, or --verify that they are there.

    FILE may be a pipe, or - for standard input.
    The whole file is checked first. If any line is bad, nothing is imported and each is
    named with its line number and field, unless --skip-bad is given. Running the command
    again imports nothing twice and continues what a crash cut off.
    """
    with (
        cli_errors(f"flask --app wsgi import-conversations {file}"),
        regular_file(file) as readable,
    ):
        conversations, count = _checked(readable, str(file), skip_bad=skip_bad, trim=trim)
        if verify:
            report = _verify(conversations, count)
            done = f"{report.there:,} conversations with {report.messages:,} messages are equal."
        else:
            report = _import(conversations, count, agent_email, status)
            done = (
                f"{report.new:,} conversations imported, {report.continued:,} continued, "
                f"{report.there:,} were there already; {report.messages:,} messages written."
            )
    click.echo(done)
    if report.problems:
        _list(report.problems)
        raise click.ClickException(f"{len(report.problems):,} conversations differ; see above.")


def read(file: Path, *, trim: bool = False) -> Iterator[tuple[int, Conversation | BadLine]]:
    """Yield each line's number and its conversation, or what is wrong with it.

    Blank lines are passed over. An id that an earlier line had is bad, too.
    """
    first_seen: dict[str, int] = {}
    with file.open("rb") as lines:
        for number, raw in enumerate(lines, start=1):
            if not raw.strip():
                continue
            try:
                conversation = parse(raw, trim=trim)
                earlier = first_seen.setdefault(conversation.id, number)
                if earlier != number:
                    raise BadLine(f"id: {conversation.id!r} is on line {earlier} already")
            except BadLine as problem:
                yield number, problem
            else:
                yield number, conversation


def parse(raw: bytes, *, trim: bool = False) -> Conversation:
    """Return the conversation on a line. Raises BadLine naming every bad field.

    What is accepted comes back from the chat character by character: a text that the chat
    would trim is refused unless `trim` allows it.
    """
    try:
        found = json.loads(
            raw.decode("utf-8-sig"),
            object_pairs_hook=_once_each,
            parse_float=finite_number,
            parse_constant=refuse_constant,
        )
    except UnicodeDecodeError as error:
        raise BadLine(f"not UTF-8 (byte {error.start + 1})") from None
    except (ValueError, RecursionError) as error:
        raise BadLine(f"not valid JSON ({error})") from None
    problems: list[str] = []
    row = _object(found, "", ("id", "subject", "messages"), problems)
    conversation_id = _text(row, "id", "id", _ID, False, problems)
    subject = _text(row, "subject", "subject", _SUBJECT, trim, problems)
    lines = []
    spoken = row.get("messages", [])
    if "messages" in row and not (isinstance(spoken, list) and spoken):
        problems.append("messages: must be a list of at least one message")
        spoken = []
    for index, item in enumerate(spoken):
        name = f"messages[{index}]"
        message = _object(item, name, ("role", "text"), problems)
        role = message.get("role")
        if "role" in message and role not in ROLES:
            problems.append(f"{name}.role: must be one of user, admin, not {_short(role)}")
        text = _text(message, "text", f"{name}.text", _TEXT, trim, problems)
        lines.append((str(role), text))
    if problems:
        raise BadLine(*problems)
    return Conversation(conversation_id, subject, tuple(lines))


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name that stands twice in an object: one of its values would be lost."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise BadLine(f"{_short(key)} stands twice in one object")
        found[key] = value
    return found


def _object(value: Any, name: str, keys: tuple[str, ...], problems: list[str]) -> dict[str, Any]:
    prefix = f"{name}." if name else ""
    if not isinstance(value, dict):
        problems.append(f"{name or 'line'}: must be an object, not {_short(value)}")
        return {}
    problems += [f"{prefix}{key}: is missing" for key in keys if key not in value]
    problems += [f"{prefix}{_short(key)}: unknown field" for key in value if key not in keys]
    return value


def _text(
    row: dict[str, Any],
    key: str,
    name: str,
    kind: field_types.Text,
    trim: bool,
    problems: list[str],
) -> str:
    """Return a text as the chat will keep it, noting what is wrong with it."""
    if key not in row:
        return ""
    try:
        kept: str = kind.deserialize(row[key])
    except ValidationError as error:
        problems += [f"{name}: {reason}" for reason in error.messages]
        return ""
    if kept != row[key] and not trim:
        problems.append(
            f"{name}: begins or ends with white space, which the chat trims (--trim allows it)"
        )
    return kept


def _checked(
    file: Path, name: str, *, skip_bad: bool, trim: bool
) -> tuple[Callable[[], Iterator[Conversation]], int]:
    """Check the whole file; return what reads it again and how many messages are good.

    name -- what the file is called in messages.
    The file is read twice and never held in memory. Raises ClickException on bad lines
    unless they may be skipped.
    """
    bad: list[str] = []
    good = count = 0
    for number, found in read(file, trim=trim):
        if isinstance(found, BadLine):
            bad += [f"line {number}: {problem}" for problem in found.problems]
        else:
            good, count = good + 1, count + len(found.lines)
    if bad:
        _list(bad)
        if not skip_bad:
            raise click.ClickException(
                f"{name} has {len(bad):,} problems, so nothing of it was taken. "
                "Mend them, or give --skip-bad."
            )
    if not good:
        raise click.ClickException(f"{name} has no conversation to import.")

    def conversations() -> Iterator[Conversation]:
        for _, found in read(file, trim=trim):
            if isinstance(found, Conversation):
                yield found

    return conversations, count


def _import(
    conversations: Callable[[], Iterator[Conversation]],
    count: int,
    agent_email: str | None,
    status: str,
) -> Report:
    report = Report()
    agent = _chosen_agent(agent_email) if agent_email else _own_agent()
    with progress(count, "Importing messages") as bar:
        for conversation in conversations():
            try:
                _import_one(conversation, agent, status, report)
            except Differs as problem:
                report.problems.append(f"{conversation.id}: {problem}")
            bar.update(len(conversation.lines))
    if not agent_email:
        _rest(agent)
    return report


def _import_one(conversation: Conversation, agent: Session, status: str, report: Report) -> None:
    """Bring a conversation's chat to its end, from wherever it is. Raises Differs."""
    owner = _owner(conversation)
    chat = _chat_of(owner)
    begun = chat is not None
    if chat is None:
        chat, first, created = chats.create(
            owner,
            conversation.subject,
            # With the first message in the same write, unless an agent begins.
            message=conversation.lines[0][1] if conversation.lines[0][0] == "user" else None,
            client_message_id="import-1",
        )
        report.messages += len(first) if created else 0
    else:
        _compare(conversation, chat, owner)
        if chat["adminId"] or not chat["isOpen"] or _stays_open(chat, conversation, status):
            if chat["lastSeq"] < len(conversation.lines):
                raise Differs(
                    f"the chat {chat['_id']} ends after {chat['lastSeq']} messages, "
                    f"the file has {len(conversation.lines)}"
                )
            report.there += 1
            return
    missing = [
        ImportedMessage(owner if role == "user" else agent, clock.now(), text, f"import-{seq}")
        for seq, (role, text) in enumerate(conversation.lines, start=1)
        if seq > chat["lastSeq"]
    ]
    if missing:
        chat = bulk_import.bulk_append(chat["_id"], missing)
        report.messages += len(missing)
    if chat["lastSeq"] != len(conversation.lines):
        raise Differs(f"somebody else wrote to the chat {chat['_id']} during the import")
    for reader in (owner, agent):
        messages.mark_read(reader, chat["_id"], len(conversation.lines))
    # The last write, status and assignment in one: by it the next run knows a finished chat.
    changes: dict[str, Any] = {"status": status, "admin_id": agent.user_id}
    if agent.email == AGENT_EMAIL and status in OPEN_STATUSES:
        # Nobody signs in as the import's own agent: an open chat waits for another one.
        del changes["admin_id"]
    chats.update(agent, chat["_id"], **changes)
    report.continued += begun
    report.new += not begun


def _stays_open(chat: Document, conversation: Conversation, status: str) -> bool:
    """Tell whether an open chat without an agent has all that an import does for it.

    It was to stay open, or a new message shows that it is in use since.
    """
    length = len(conversation.lines)
    is_read = all(seq >= length for seq in chat["readSeq"].values())
    return is_read and (status in OPEN_STATUSES or chat["lastSeq"] > length)


def _verify(conversations: Callable[[], Iterator[Conversation]], count: int) -> Report:
    """Read every conversation back and compare it with the file; nothing is written."""
    report = Report()
    with progress(count, "Comparing messages") as bar:
        for conversation in conversations():
            bar.update(len(conversation.lines))
            try:
                user = accounts.find(conversation.email)
                owner = accounts.session_for(user) if user else None
                chat = _chat_of(owner) if owner else None
                if owner is None or chat is None:
                    raise Differs("is not there")
                _compare(conversation, chat, owner)
                if chat["lastSeq"] != len(conversation.lines):
                    raise Differs(
                        f"the chat {chat['_id']} has {chat['lastSeq']} messages, "
                        f"the file {len(conversation.lines)}"
                    )
            except Differs as problem:
                report.problems.append(f"{conversation.id}: {problem}")
            else:
                report.there += 1
                report.messages += len(conversation.lines)
    return report


def _compare(conversation: Conversation, chat: Document, owner: Session) -> None:
    """Raise Differs unless what the chat holds is how the conversation begins."""
    where = f"the chat {chat['_id']}"
    if chat["subject"] != conversation.subject:
        raise Differs(f"{where} has the subject {_short(chat['subject'])}")
    seq = 0
    while seq < min(chat["lastSeq"], len(conversation.lines)):
        _, found = messages.history(owner, chat["_id"], after=seq, limit=_PAGE)
        if not found:
            raise Differs(f"{where} has no message {seq + 1}")
        for message in found[: len(conversation.lines) - seq]:
            seq += 1
            if message["seq"] != seq:
                raise Differs(f"{where} has no message {seq}")
            if (message["senderRole"], message["content"]) != conversation.lines[seq - 1]:
                raise Differs(f"{where} has something else as message {seq}")


def _owner(conversation: Conversation) -> Session:
    user = accounts.find(conversation.email)
    if user is None:
        try:
            user = accounts.create_user(conversation.user_name, conversation.email, None)
        except EmailTaken:
            user = accounts.find(conversation.email)
    if user is None or user["role"] != "user" or "passwordHash" in user:
        raise Differs(f"somebody has registered {conversation.email}")
    return accounts.session_for(user)


def _chat_of(owner: Session) -> Document | None:
    """Return the conversation's chat: the only one of its user."""
    found = chats.list_chats(owner, chats.ChatFilters(), limit=2).items
    if len(found) > 1:
        raise Differs(f"{owner.email} has more than one chat")
    return found[0] if found else None


def _chosen_agent(email: str) -> Session:
    user = accounts.find(email)
    if user is None or user["role"] != "admin" or user["disabled"]:
        raise click.BadParameter(f"{email} is no active agent.", param_hint="--agent")
    return accounts.session_for(user)


def _own_agent() -> Session:
    """Return the agent who answers in imports; it is made when it is first needed."""
    user = accounts.find(AGENT_EMAIL)
    if user is None:
        user = accounts.create_user(AGENT_NAME, AGENT_EMAIL, None, role="admin")
    if user["role"] != "admin" or "passwordHash" in user:
        raise click.ClickException(
            f"Somebody has registered {AGENT_EMAIL}, so name an agent with --agent."
        )
    agent = accounts.session_for(user)
    if user["disabled"]:
        accounts.update_user(agent, user["_id"], {"disabled": False})
    return agent


def _rest(agent: Session) -> None:
    """Disable the import's agent, so that no chat is assigned to it from now on.

    As the only agent it cannot be disabled; a later import will do it.
    """
    others = [admin for admin in accounts.list_admins() if admin["_id"] != agent.user_id]
    if others:
        acting = accounts.session_for(others[0])
        accounts.update_user(acting, agent.user_id, {"disabled": True})
    else:
        click.echo(
            f"There is no agent but '{AGENT_NAME}', whom nobody can sign in as: make one with "
            "'flask --app wsgi create-admin', then run this command again to disable it.",
            err=True,
        )


def _list(problems: list[str]) -> None:
    for problem in problems[:MAX_SHOWN]:
        click.echo(problem, err=True)
    if len(problems) > MAX_SHOWN:
        click.echo(f"... and {len(problems) - MAX_SHOWN:,} more", err=True)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
