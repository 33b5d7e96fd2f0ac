"""`flask restore FILE`: replace the database's content by a backup.

**Why no cache mistakes old data for restored data.** Processes and browsers cache a chat
by its `version`, and a message is prepared for an `epoch`. A restored chat gets values that
were never used before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import click
from bson import decode
from bson.raw_bson import RawBSONDocument
from flask import current_app
from flask.cli import with_appcontext

from chatapi.cli import archive, archive_check, consistency
from chatapi.cli.backup import to_raw
from chatapi.cli.migrate import migrate
from chatapi.cli.terminal import cli_errors, progress, regular_file
from chatapi.domain import clock
from chatapi.services import chats
from chatapi.store import database, indexes, maintenance
from chatapi.store.database import AWARE

INSERTED_BATCH = 1000
INSERTED_BYTES = 8_000_000
# More changes than a chat has seen since any backup of it.
AHEAD = 1_000_000
# A process with people connected says so more often than this.
IN_USE_SECONDS = 20
MAX_SHOWN = 20

Step = Callable[[int], object]


@click.command("restore")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--replace", is_flag=True, help="Delete what is in the database now.")
@click.option("--check", "only_check", is_flag=True, help="Check FILE and change nothing.")
@with_appcontext
def restore_data(file: Path, replace: bool, only_check: bool) -> None:
    """Restore the backup in FILE. Stop the product first.

    FILE may be a pipe, or - for standard input. All of it is decoded and checked before anything
    is touched; --check ends there. A database that holds anything
    is refused unless --replace is given. If it is cut off, run it again: it starts over.
    All users have to sign in again afterwards, unless the backup has the sessions.
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
        contents = archive.summary(header)
        if only_check:
            click.echo(f"{file} of {header['createdAt']} can be restored: {contents}.")
            return
        _refuse_to_replace(replace=replace)
        with progress(archive.total(header), "Restoring") as bar:
            load(readable, header, step=bar.update)
        problems = finish(header)
    seconds = time.monotonic() - begun
    if problems:
        for problem in problems[:MAX_SHOWN]:
            click.echo(problem, err=True)
        raise click.ClickException(
            f"Restored {contents}, but {len(problems)} things are not as they should be."
        )
    click.echo(
        f"Restored {contents} of {header['createdAt']} in {seconds:.1f} s; every chat "
        "agrees with its history. Start the product now."
    )


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
    """Replace the database's content by a checked backup.

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
        document = _with_new_version(saved) if name == "chatrooms" else saved
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


def _with_new_version(chat: RawBSONDocument) -> RawBSONDocument:
    document = decode(chat.raw, AWARE)
    return to_raw(document | {name: document[name] + AHEAD for name in ("version", "epoch")})


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
    migrate()
    indexes.ensure(database.current())
    chats.finish_deletions()
    # A chat that was deleted while the backup ran came without its terms.
    consistency.add_missing_terms()
    consistency.recompute_terms()
    consistency.delete_orphaned_terms()
    differing: list[str] = []
    with progress(archive.count(header, "chatrooms"), "Comparing chats and histories") as bar:
        for compared, found in consistency.problems():
            differing += found
            bar.update(compared)
    if not missing:
        maintenance.finish_restore()
    return missing + differing


def _bytes(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
