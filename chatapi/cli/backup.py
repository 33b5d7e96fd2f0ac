"""`flask backup FILE`: save all data in one file while the product runs.

**Why a backup is consistent without stopping anything.** The chat document alone says how
long a chat is (`services.messages`): a message is written first and counts only once the
chat's `lastSeq` has reached it, and what stands up to there never changes again. So each
chat is read *before* its messages. Messages committed in between lie beyond the
`lastSeq` that was read and is left out, and everything up to it is certainly there: in the
file a chat is what it was at the moment it was read, with exactly the history it had then.
The other way round, a chat could count messages that came after its history was copied.

Three things can still happen between the two reads, and each is settled at once:

- A message is deleted: its tombstone is copied under a chat whose preview shows the text.
  The preview is taken from the copied message. If the chat names the message as one that is
  being deleted, so does the file, and `restore` finishes that.
- The chat is deleted, and part of its messages is missing. It is left out; what was copied
  of it is named in `deletions`, so that `restore` finishes the deletion.
- The chat of a user is closed after it was copied and the user's next one is copied, too:
  two open chats of one user. The two are read again until at most one is open.

Users are copied last, so that no user of a chat is missing. A user renamed in these
seconds may keep the old name on some of their chats.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import click
from bson import ObjectId, decode, encode
from bson.raw_bson import RawBSONDocument
from flask import current_app
from flask.cli import with_appcontext

from chatapi.cli import archive
from chatapi.cli.migrate import require_migrated
from chatapi.cli.terminal import cli_errors, progress
from chatapi.domain import clock
from chatapi.domain.documents import Chat, Deletion, Message
from chatapi.services.appending import MAX_PREVIEW_LENGTH
from chatapi.services.messages import no_longer_unread
from chatapi.store import deletions, maintenance
from chatapi.store.database import AWARE

CHATS_BATCH = 100
BATCH = 1000
MAX_ATTEMPTS = 100
# In this order, because earlier documents refer to later ones.
_SPECIAL = ("chatrooms", "messages", "users", "deletions")

Step = Callable[[int], object]


@click.command("backup")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--sessions", is_flag=True, help="Sessions, too: people stay signed in.")
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
@with_appcontext
def backup_data(file: Path, sessions: bool, overwrite: bool) -> None:
    """Save all chats, messages and people to FILE while the product runs.

    FILE appears, readable by you alone, when it is complete. It contains all messages
    and password hashes: keep it as you keep the database. `restore FILE` brings it back.
    """
    if str(file) == "-":
        raise click.ClickException("Name a file: its header is written last, so it is no stream.")
    # A symbolic link is kept; the file behind it is written.
    file = file.resolve()
    if file.exists() and not file.is_file():
        raise click.ClickException(f"{file} is no regular file, so nothing was written to it.")
    if file.exists() and not overwrite:
        raise click.ClickException(f"{file} exists. Name another file, or give --overwrite.")
    with cli_errors(f"flask --app wsgi backup {file}"):
        if maintenance.unfinished_restore():
            raise click.ClickException(
                "A restore was cut off here, so this is not all of the data. Restore again first."
            )
        require_migrated()
        begun = time.monotonic()
        try:
            with progress(
                maintenance.estimate(maintenance.backup_collections(sessions=sessions)), "Saving"
            ) as bar:
                header = save(file, sessions=sessions, step=bar.update)
        except BlockingIOError:
            raise click.ClickException(f"Another backup is writing {file}.") from None
        except OSError as error:
            raise click.ClickException(f"{file} cannot be written: {error.strerror}.") from None
    seconds = time.monotonic() - begun
    click.echo(f"Saved {archive.summary(header)} in {seconds:.1f} s: {file} ({_size(file)}).")


def save(file: Path, *, sessions: bool = False, step: Step = lambda _: None) -> archive.Header:
    """Write a backup of the process's database and return its header."""
    with archive.new(file) as writer:
        started = clock.now()
        copy = _Copy(writer, step)
        for batch in maintenance.batches("chatrooms", CHATS_BATCH):
            copy.copy(batch)
        names = set(maintenance.backup_collections(sessions=sessions))
        for name in [*sorted(names - set(_SPECIAL)), "users", "deletions"]:
            for batch in maintenance.batches(name, BATCH):
                for document in batch:
                    if name != "deletions" or document["_id"] not in copy.gone:
                        writer.add(name, document)
                step(len(batch))
        for begun in (*map(deletions.record, copy.gone), *copy.begun):
            writer.add("deletions", to_raw(begun))
        return writer.close(
            {
                "createdAt": clock.iso(started),
                "finishedAt": clock.iso(clock.now()),
                "database": current_app.config["DATABASE_NAME"],
                "product": current_app.config["VERSION"],
            }
        )


class _Copy:
    """Copies chats with their histories, each in a consistent state."""

    def __init__(self, writer: archive.Writer, step: Step) -> None:
        self._writer = writer
        self._step = step
        self.gone: set[ObjectId] = set()
        # What says that the deletion of a message has begun, for each that a chat names.
        self.begun: list[Deletion] = []
        # Of each user, the chat that is open in the file, and how long it is there.
        self._open: dict[ObjectId, tuple[ObjectId, int]] = {}

    def copy(self, chats: list[RawBSONDocument]) -> None:
        """Copy chats that were just read, and then their messages."""
        length = {chat["_id"]: int(chat["lastSeq"]) for chat in chats}
        copied = dict.fromkeys(length, 0)
        last: dict[ObjectId, RawBSONDocument] = {}
        deleted: dict[ObjectId, list[RawBSONDocument]] = {}
        for message in maintenance.raw_messages(list(length)):
            chat_id, seq = message["chatId"], message["seq"]
            if seq <= length[chat_id]:
                copied[chat_id] += 1
                self._writer.add("messages", message)
                if seq == length[chat_id]:
                    last[chat_id] = message
                if message.get("deletedAt"):
                    deleted.setdefault(chat_id, []).append(message)
            self._step(1)
        for chat in chats:
            chat_id = chat["_id"]
            # A chat that is still there and lacks messages is copied as it is: a backup
            # leaves nothing out, and `restore` says what is wrong with it.
            if copied[chat_id] < length[chat_id] and maintenance.raw_chat(chat_id) is None:
                self.gone.add(chat_id)
            else:
                self._record_deletions(chat)
                self._add(_as_copied(chat, last.get(chat_id), deleted.get(chat_id, [])))
            self._step(1)

    def _record_deletions(self, chat: RawBSONDocument) -> None:
        """Record the deletions that may have finished when `deletions` is copied."""
        pending = chat.get("pendingRedactions", ())
        self.begun += [deletions.record(chat["_id"], each["seq"]) for each in pending]

    def _add(self, chat: RawBSONDocument) -> None:
        if chat["isOpen"]:
            other = self._open.get(chat["userId"])
            if other is not None and other[0] != chat["_id"]:
                self._keep_one_open(other, chat)
                return
            self._open[chat["userId"]] = chat["_id"], chat["lastSeq"]
        self._writer.add("chatrooms", chat)

    def _keep_one_open(self, earlier: tuple[ObjectId, int], chat: RawBSONDocument) -> None:
        """Let at most one of two chats of a user be open in the file.

        Both were open when they were read, the earlier one first: so that one has been
        closed since, or, if it is open again, this one has.
        """
        earlier_id, earlier_length = earlier
        chat_id, length = chat["_id"], chat["lastSeq"]
        self._writer.add("chatrooms", chat)
        for _ in range(MAX_ATTEMPTS):
            now = maintenance.raw_chat(earlier_id)
            if now is None or not now["isOpen"]:
                self._copy_again(earlier_id, earlier_length, now)
                self._open[chat["userId"]] = chat_id, length
                return
            now = maintenance.raw_chat(chat_id)
            if now is None or not now["isOpen"]:
                self._copy_again(chat_id, length, now)
                return
        raise click.ClickException("A user's chats change too fast to be copied. Try again.")

    def _copy_again(self, chat_id: ObjectId, length: int, chat: RawBSONDocument | None) -> None:
        """Copy the current state of a chat that is in the file already."""
        if chat is None:
            self.gone.add(chat_id)
            return
        self._record_deletions(chat)
        last, deleted = None, []
        for message in maintenance.raw_messages_from(chat_id, length):
            if message["seq"] <= chat["lastSeq"]:
                self._writer.add("messages", message, again=message["seq"] <= length)
                last = message if message["seq"] == chat["lastSeq"] else last
                if message.get("deletedAt"):
                    deleted.append(message)
        self._writer.add("chatrooms", _as_copied(chat, last, deleted), again=True)


def _as_copied(
    chat: RawBSONDocument, last: RawBSONDocument | None, deleted: Iterable[RawBSONDocument]
) -> RawBSONDocument:
    """Return a chat that agrees with its messages, which were copied after it was read.

    last -- its last message. deleted -- those of its messages that were copied as tombstones.
    """
    before = decode(chat.raw, AWARE)
    copied = dict(before)
    if last is not None and last.get("deletedAt"):
        text = last["content"][:MAX_PREVIEW_LENGTH]
        copied["lastMessage"] = copied["lastMessage"] | {"content": text}
    for message in deleted:
        as_read = cast("Message", decode(message.raw, AWARE))
        copied |= no_longer_unread(cast("Chat", copied), as_read)
    return to_raw(copied) if copied != before else chat


def to_raw(document: Mapping[str, Any]) -> RawBSONDocument:
    """Return a document as it is stored."""
    return RawBSONDocument(encode(document))


def _size(file: Path) -> str:
    return f"{file.stat().st_size / 1_000_000:.1f} MB"
