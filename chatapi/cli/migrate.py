"""Run the migrations from a command: for `init-db` and `restore`."""

from __future__ import annotations

import click

from chatapi.store import database, migrations
from chatapi.store.leases import LeaseLost


def migrate() -> None:
    """Run the missing migrations; wait while another process runs them."""
    shown: set[str] = set()

    def show(step: str) -> None:
        if step not in shown:
            shown.add(step)
            click.echo(f"Migrating: {step} ...")

    def wait(holder: str) -> None:
        click.echo(f"Another process migrates this database ({holder}). Waiting for it ...")

    try:
        ran = migrations.run(database.current(), show, wait)
    except migrations.MigrationRefused as refusal:
        raise click.ClickException(str(refusal)) from None
    except LeaseLost:
        raise click.ClickException(
            "Another process has taken over the migrations. Run init-db again."
        ) from None
    if ran and shown:
        click.echo(f"Ran {len(ran)} migrations: {', '.join(ran)}.")


def require_migrated() -> None:
    """Refuse a command that reads or writes chats while migrations are missing."""
    if migrations.missing(database.current()):
        raise click.ClickException(
            "The database is not prepared for this release: init-db has not run, or a release "
            "before this one wrote the data. Run flask init-db first. Nothing was changed."
        )
