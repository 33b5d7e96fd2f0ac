"""`flask backup FILE` and `flask restore FILE`: all data, in one file, while people write.

**Why a backup is consistent without stopping anything.** The chat document alone says how
long a chat is (`services.messages`): a message is written first and counts only once the
chat's `lastSeq` has reached it, and what stands up to there never changes again. So each
chat is read *before* its messages. Whatever is committed in between lies beyond the
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

Users are copied last: nobody is missing whom a chat names. Somebody renamed in these
seconds may keep the old name on some of their chats.

**Why nothing remembered passes for what is restored.** Processes and browsers remember a chat
by its `version`, and a message is prepared for an `epoch`. A restored chat gets ones that
nobody has seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path

import click
from bson import ObjectId, decode, encode
from bson.raw_bson import RawBSONDocument
from flask import current_app
from flask.cli import with_appcontext

from chatapi.cli import archive, archive_check, consistency
from chatapi.cli.terminal import cli_errors, progress, regular_file
from chatapi.domain import clock
from chatapi.services import chats
from chatapi.services.messages import MAX_PREVIEW_LENGTH, no_longer_unread
from chatapi.store import database, deletions, indexes, maintenance
from chatapi.store.database import AWARE, Document

CHATS_BATCH = 100
INSERTED_BATCH = 1000
INSERTED_BYTES = 8_000_000
MAX_ATTEMPTS = 100
# More changes than a chat has seen since any backup of it.
AHEAD = 1_000_000
# A process with people connected says so more often than this.
IN_USE_SECONDS = 20
MAX_SHOWN = 20
# In this order: who comes later may only be named by who came earlier.
_SPECIAL = ("chatrooms", "messages", "users", "deletions")

Step = Callable[[int], object]


@click.command("backup")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--sessions", is_flag=True, help="Sessions, too: people stay signed in.")
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
@with_appcontext
def backup_data(file: Path, sessions: bool, overwrite: bool) -> None:
    """Save all chats, messages and people to FILE while the product runs.

    FILE appears, readable by you alone, when it is complete. It holds everybody's messages
    and password hashes: keep it as you keep the database. `restore FILE` brings it back.
    """
    if str(file) == "-":
        raise click.ClickException("Name a file: its header is written last, so it is no stream.")
    # A link stays a link to the file that is written.
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
    click.echo(f"Saved {_told(header)} in {seconds:.1f} s: {file} ({_size(file)}).")


@click.command("restore")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--replace", is_flag=True, help="Delete what is in the database now.")
@click.option("--check", "only_check", is_flag=True, help="Check FILE and change nothing.")
@with_appcontext
def restore_data(file: Path, replace: bool, only_check: bool) -> None:
    """Bring back what `backup` has saved to FILE. Stop the product first.

    FILE may be a pipe, or - for standard input. All of it is decoded and checked before anything
    is touched; --check ends there. A database that holds anything
    is refused unless --replace is given. If it is cut off, run it again: it starts over.
    Everybody signs in again afterwards, unless the backup has the sessions.
    """
    with (
        cli_errors(f"flask --app wsgi restore {file}"),
        regular_file(file) as readable,
    ):
        begun = time.monotonic()
        try:
            # Its bytes are read once, and then its documents.
            with progress(2 * _bytes(readable), "Checking the file") as bar:
                header = archive_check.check(readable, bar.update)
        except archive.BadArchive as error:
            raise click.ClickException(f"{file}: {error}. Nothing was changed.") from None
        if only_check:
            click.echo(f"{file} of {header['createdAt']} can be restored: {_told(header)}.")
            return
        _refuse_to_replace(replace=replace)
        with progress(_total(header), "Restoring") as bar:
            load(readable, header, step=bar.update)
        problems = finish(header)
    seconds = time.monotonic() - begun
    if problems:
        for problem in problems[:MAX_SHOWN]:
            click.echo(problem, err=True)
        raise click.ClickException(
            f"Restored {_told(header)}, but {len(problems)} things are not as they should be."
        )
    click.echo(
        f"Restored {_told(header)} of {header['createdAt']} in {seconds:.1f} s; every chat "
        "agrees with its history. Start the product now."
    )


def save(file: Path, *, sessions: bool = False, step: Step = lambda _: None) -> archive.Header:
    """Write a backup of the process's database and return its header."""
    with archive.new(file) as writer:
        started = clock.now()
        copy = _Copy(writer, step)
        for batch in maintenance.batches("chatrooms", CHATS_BATCH):
            copy.take(batch)
        names = set(maintenance.backup_collections(sessions=sessions))
        for name in [*sorted(names - set(_SPECIAL)), "users", "deletions"]:
            for batch in maintenance.batches(name, INSERTED_BATCH):
                for document in batch:
                    if name != "deletions" or document["_id"] not in copy.gone:
                        writer.add(name, document)
                step(len(batch))
        for begun in (*map(deletions.note, copy.gone), *copy.begun):
            writer.add("deletions", _raw(begun))
        return writer.close(
            {
                "createdAt": clock.iso(started),
                "finishedAt": clock.iso(clock.now()),
                "database": current_app.config["DATABASE_NAME"],
                "product": current_app.config["VERSION"],
            }
        )


class _Copy:
    """Copies chats with their histories, each as it was at one moment."""

    def __init__(self, writer: archive.Writer, step: Step) -> None:
        self._writer = writer
        self._step = step
        self.gone: set[ObjectId] = set()
        # What says that the deletion of a message has begun, for each that a chat names.
        self.begun: list[Document] = []
        # Of each user, the chat that is open in the file, and how long it is there.
        self._open: dict[ObjectId, tuple[ObjectId, int]] = {}

    def take(self, chats: list[RawBSONDocument]) -> None:
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
                self._note_begun(chat)
                self._add(_as_copied(chat, last.get(chat_id), deleted.get(chat_id, [])))
            self._step(1)

    def _note_begun(self, chat: RawBSONDocument) -> None:
        """Note the deletions that may be over when `deletions` is copied."""
        self.begun += [deletions.note(chat["_id"], each["seq"]) for each in chat.get("burying", ())]

    def _add(self, chat: RawBSONDocument) -> None:
        if chat["isOpen"]:
            other = self._open.get(chat["userId"])
            if other is not None and other[0] != chat["_id"]:
                self._settle(other, chat)
                return
            self._open[chat["userId"]] = chat["_id"], chat["lastSeq"]
        self._writer.add("chatrooms", chat)

    def _settle(self, earlier: tuple[ObjectId, int], chat: RawBSONDocument) -> None:
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
                self._take_again(earlier_id, earlier_length, now)
                self._open[chat["userId"]] = chat_id, length
                return
            now = maintenance.raw_chat(chat_id)
            if now is None or not now["isOpen"]:
                self._take_again(chat_id, length, now)
                return
        raise click.ClickException("A user's chats change too fast to be copied. Try again.")

    def _take_again(self, chat_id: ObjectId, length: int, chat: RawBSONDocument | None) -> None:
        """Copy the present state of a chat that is in the file already."""
        if chat is None:
            self.gone.add(chat_id)
            return
        self._note_begun(chat)
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
        copied |= no_longer_unread(copied, decode(message.raw, AWARE))
    return _raw(copied) if copied != before else chat


def _raw(document: Document) -> RawBSONDocument:
    return RawBSONDocument(encode(document))


def _refuse_to_replace(*, replace: bool) -> None:
    if maintenance.in_use(clock.now() - timedelta(seconds=IN_USE_SECONDS)):
        raise click.ClickException(
            "People are connected. Stop the product, wait "
            f"{IN_USE_SECONDS} seconds, and restore again. Nothing was changed."
        )
    names = set(maintenance.backup_collections(sessions=True))
    if replace or maintenance.unfinished_restore() or maintenance.is_empty(names):
        return
    name = current_app.config["DATABASE_NAME"]
    raise click.ClickException(
        f"The database {name} is not empty. Give --replace to delete what is in it. "
        "Nothing was changed."
    )


def load(file: Path, header: archive.Header, step: Step = lambda _: None) -> None:
    """Put a checked backup in the place of what is in the database.

    Until `finish` has run, a note in the database says that this is not complete.
    """
    maintenance.begin_restore({"backup": header["createdAt"], "startedAt": clock.now()})
    maintenance.clear()
    waiting: dict[str, list[RawBSONDocument]] = {}
    sizes: dict[str, int] = {}

    def flush(name: str) -> None:
        if waiting.get(name):
            maintenance.insert(name, waiting[name])
            step(len(waiting[name]))
        waiting[name], sizes[name] = [], 0

    for again, name, saved in archive.entries(file, header):
        document = _moved_on(saved) if name == "chatrooms" else saved
        if again:
            flush(name)
            maintenance.replace(name, [document])
            continue
        waiting.setdefault(name, []).append(document)
        sizes[name] = sizes.get(name, 0) + len(document.raw)
        if len(waiting[name]) >= INSERTED_BATCH or sizes[name] >= INSERTED_BYTES:
            flush(name)
    for name in list(waiting):
        flush(name)


def _moved_on(chat: RawBSONDocument) -> RawBSONDocument:
    document = decode(chat.raw, AWARE)
    return _raw(document | {name: document[name] + AHEAD for name in ("version", "epoch")})


def finish(header: archive.Header) -> list[str]:
    """Check what was loaded, make the indexes, and return what is wrong, as sentences.

    A chat that was inconsistent when it was saved is so again; all of it is there.
    """
    missing = [
        f"{row['name']} has {there:,} documents, the file {row['count']:,}."
        for row in header["collections"]
        if (there := maintenance.count(row["name"])) != row["count"]
    ]
    # What `init-db` does.
    indexes.ensure(database.current())
    chats.finish_deletions()
    # A chat that was deleted while the backup ran came without its terms.
    consistency.complete_terms()
    consistency.renew_terms()
    consistency.remove_lost_terms()
    differing: list[str] = []
    with progress(_count(header, "chatrooms"), "Comparing chats and histories") as bar:
        for compared, found in consistency.problems():
            differing += found
            bar.update(compared)
    if not missing:
        maintenance.finish_restore()
    return missing + differing


def _count(header: archive.Header, name: str) -> int:
    return sum(row["count"] for row in header["collections"] if row["name"] == name)


def _total(header: archive.Header) -> int:
    return sum(row["count"] for row in header["collections"])


def _told(header: archive.Header) -> str:
    said: Iterable[tuple[str, str]] = (
        ("chats", "chatrooms"),
        ("messages", "messages"),
        ("people", "users"),
    )
    parts = [f"{_count(header, name):,} {words}" for words, name in said]
    return f"{parts[0]}, {parts[1]} and {parts[2]}"


def _bytes(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _size(file: Path) -> str:
    return f"{file.stat().st_size / 1_000_000:.1f} MB"
