"""The output of commands: progress and failures, both on stderr."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from pymongo.errors import ConnectionFailure, PyMongoError

from chatapi.domain.errors import ChatError


class DatabaseCommand(click.Command):
    """A command that reports an unavailable database in one sentence."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it."""
        try:
            return super().invoke(ctx)
        except ConnectionFailure as error:
            raise click.ClickException(
                f"The database that MONGO_URI names does not answer. Beside `make run`, type: "
                f".venv/bin/python deploy/run.py flask {self.name}"
            ) from error


def progress(length: int, label: str) -> Any:
    """Return a progress bar of so many steps. Without a terminal it is silent."""
    hidden = not sys.stderr.isatty()
    return click.progressbar(
        length=length,
        label=label,
        file=sys.stderr,
        hidden=hidden,
        update_min_steps=max(1, length // 200),
    )


@contextmanager
def regular_file(file: Path) -> Iterator[Path]:
    """Yield a file that can be read twice: a pipe, or - for standard input, is copied first."""
    if str(file) == "-":
        file = Path("/dev/stdin")
    if not file.exists() or file.is_file():
        yield file
        return
    with tempfile.NamedTemporaryFile(prefix="livechat-") as copy:
        try:
            with file.open("rb") as source:
                shutil.copyfileobj(source, copy)
            copy.flush()
        except OSError as error:
            raise click.ClickException(f"{file} cannot be read: {error.strerror}.") from None
        yield Path(copy.name)


@contextmanager
def cli_errors(command: str) -> Iterator[None]:
    """Report an error or a database failure of the block in one line, with exit status 1."""
    try:
        yield
    except PyMongoError as error:
        raise click.ClickException(
            f"The database failed ({type(error).__name__}: {error}). Nothing is lost: run "
            f"'{command}' again; it continues where it stopped."
        ) from error
    except ChatError as error:
        raise click.ClickException(f"{error.title}: {error.detail}") from error
