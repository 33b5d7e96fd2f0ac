"""`flask import-conversations FILE`: load conversations kept as JSON lines, each exactly once.

`import_file` says what a line of the file is. Each
conversation gets its own user, `import+ID@import.invalid`, who cannot sign in
(there is no password), and the conversation is that user's one chat. So the file's id leads
to the chat again: a conversation that is there is left alone, one that a crash cut off is
continued where it stopped. The order of the messages is their `seq`; their time is that of
the import.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from flask.cli import with_appcontext

from chatapi.cli.import_file import DOMAIN, BadLine, Conversation, read
from chatapi.cli.migrate import require_migrated
from chatapi.cli.terminal import cli_errors, progress, regular_file
from chatapi.domain import clock
from chatapi.domain.documents import Chat
from chatapi.domain.enums import OPEN_STATUSES, SIDES, STATUSES
from chatapi.domain.errors import EmailTaken
from chatapi.domain.strict_json import shortened
from chatapi.services import bulk_import, chat_lists, chats, messages, sessions, users
from chatapi.services.bulk_import import ImportedMessage
from chatapi.services.sessions import Session

AGENT_EMAIL = f"agent@{DOMAIN}"
AGENT_NAME = "Imported agent"
MAX_SHOWN = 50
_PAGE = 200


@dataclass
class Report:
    """The results of a run: counts and errors."""

    new: int = 0
    continued: int = 0
    there: int = 0
    messages: int = 0
    problems: list[str] = field(default_factory=list)


class Differs(Exception):
    """The chat of an id exists and differs from the file."""


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
        require_migrated()
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
    """Complete a conversation's chat, from any state. Raises Differs."""
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
        raise Differs(f"another sender wrote to the chat {chat['_id']} during the import")
    for reader in (owner, agent):
        messages.mark_read(reader, chat["_id"], len(conversation.lines))
    # The last write, status and assignment in one: by it the next run knows a finished chat.
    changes: dict[str, Any] = {"status": status, "admin_id": agent.user_id}
    if agent.email == AGENT_EMAIL and status in OPEN_STATUSES:
        # The import's own agent cannot sign in, so an open chat stays unassigned.
        del changes["admin_id"]
    chats.update(agent, chat["_id"], **changes)
    report.continued += begun
    report.new += not begun


def _stays_open(chat: Chat, conversation: Conversation, status: str) -> bool:
    """Tell whether an open chat without an agent has all that an import does for it.

    It was to stay open, or a new message shows that it is in use since.
    """
    length = len(conversation.lines)
    is_read = all(chat["readSeq"][side] >= length for side in SIDES)
    return is_read and (status in OPEN_STATUSES or chat["lastSeq"] > length)


def _verify(conversations: Callable[[], Iterator[Conversation]], count: int) -> Report:
    """Read every conversation back and compare it with the file; nothing is written."""
    report = Report()
    with progress(count, "Comparing messages") as bar:
        for conversation in conversations():
            bar.update(len(conversation.lines))
            try:
                user = users.find(conversation.email)
                owner = sessions.session_for(user) if user else None
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


def _compare(conversation: Conversation, chat: Chat, owner: Session) -> None:
    """Raise Differs unless what the chat holds is how the conversation begins."""
    where = f"the chat {chat['_id']}"
    if chat["subject"] != conversation.subject:
        raise Differs(f"{where} has the subject {shortened(chat['subject'])}")
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
    user = users.find(conversation.email)
    if user is None:
        try:
            user = users.create_user(conversation.user_name, conversation.email, None)
        except EmailTaken:
            user = users.find(conversation.email)
    if user is None or user["role"] != "user" or "passwordHash" in user:
        raise Differs(f"{conversation.email} is registered by another user")
    return sessions.session_for(user)


def _chat_of(owner: Session) -> Chat | None:
    """Return the conversation's chat: the only one of its user."""
    found = chat_lists.list_chats(owner, chat_lists.ChatFilters(), limit=2).items
    if len(found) > 1:
        raise Differs(f"{owner.email} has more than one chat")
    return found[0] if found else None


def _chosen_agent(email: str) -> Session:
    user = users.find(email)
    if user is None or user["role"] != "admin" or user["disabled"]:
        raise click.BadParameter(f"{email} is no active agent.", param_hint="--agent")
    return sessions.session_for(user)


def _own_agent() -> Session:
    """Return the agent who answers in imports; it is made when it is first needed."""
    user = users.find(AGENT_EMAIL)
    if user is None:
        user = users.create_user(AGENT_NAME, AGENT_EMAIL, None, role="admin")
    if user["role"] != "admin" or "passwordHash" in user:
        raise click.ClickException(
            f"{AGENT_EMAIL} is registered by another user, so name an agent with --agent."
        )
    agent = sessions.session_for(user)
    if user["disabled"]:
        users.update_user(agent, user["_id"], {"disabled": False})
    return agent


def _rest(agent: Session) -> None:
    """Disable the import's agent, so that no chat is assigned to it from now on.

    As the only agent it cannot be disabled; a later import will do it.
    """
    others = [admin for admin in users.list_admins() if admin["_id"] != agent.user_id]
    if others:
        acting = sessions.session_for(others[0])
        users.update_user(acting, agent.user_id, {"disabled": True})
    else:
        click.echo(
            f"There is no agent but '{AGENT_NAME}', who cannot sign in: create one with "
            "'flask --app wsgi create-admin', then run this command again to disable it.",
            err=True,
        )


def _list(problems: list[str]) -> None:
    for problem in problems[:MAX_SHOWN]:
        click.echo(problem, err=True)
    if len(problems) > MAX_SHOWN:
        click.echo(f"... and {len(problems) - MAX_SHOWN:,} more", err=True)
