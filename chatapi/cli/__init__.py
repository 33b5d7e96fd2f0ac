"""The operator's commands: `flask --app wsgi COMMAND`."""

from __future__ import annotations

import sys

import click
from flask import Flask, current_app
from flask.cli import with_appcontext
from marshmallow import ValidationError

from chatapi.cli import consistency
from chatapi.cli.acceptance import verify_deployment
from chatapi.cli.backup import backup_data
from chatapi.cli.demo import seed_demo
from chatapi.cli.doctor import run_doctor
from chatapi.cli.imports import import_conversations
from chatapi.cli.migrate import migrate
from chatapi.cli.restore import restore_data
from chatapi.cli.temporary_accounts import account_commands
from chatapi.cli.terminal import DatabaseCommand
from chatapi.domain.errors import ChatError
from chatapi.domain.lengths import MAX_NAME_LENGTH
from chatapi.schemas.field_types import EmailAddress, Name, NewPassword
from chatapi.services import accounts, assignment, chats, credentials, users
from chatapi.store import database, indexes, maintenance


def init_app(app: Flask) -> None:
    """Add the commands to an app."""
    for command in (
        init_db,
        create_admin,
        set_password,
        seed_demo,
        import_conversations,
        run_doctor,
        verify_deployment,
        account_commands,
        backup_data,
        restore_data,
    ):
        app.cli.add_command(command)


@click.command("init-db", cls=DatabaseCommand)
@click.option(
    *("--delete-orphans", "--sweep"),  # --sweep is the name up to 0.1.0.
    is_flag=True,
    help="Delete messages and search terms that crashes have left without a chat.",
)
@with_appcontext
def init_db(delete_orphans: bool) -> None:
    """Create missing collections, indexes and validators; safe on every start."""
    _refuse_half_restored()
    migrate()
    indexes.ensure(database.current())
    consistency.recompute_terms()
    finished = chats.finish_deletions()
    name = current_app.config["DATABASE_NAME"]
    click.echo(f"Database {name} is ready.")
    if finished:
        click.echo(f"Finished {finished} deletions that a crash had interrupted.")
    if unassigned := assignment.finish_unassignments():
        click.echo(f"Unassigned {unassigned} open chats of agents without access.")
    if upgraded := accounts.finish_upgrades():
        click.echo(f"Finished {upgraded} upgrades of guests that a crash had interrupted.")
    if delete_orphans:
        _delete_orphans()


def _refuse_half_restored() -> None:
    """Fail while a restore is unfinished, so that the product does not start on partial data."""
    unfinished = maintenance.unfinished_restore()
    if unfinished:
        raise click.ClickException(
            f"The restore of the backup of {unfinished.get('backup', 'unknown date')} was cut off, "
            "so data is missing. Restore again first: flask restore FILE. "
            "Nothing is served until then."
        )


def _delete_orphans() -> None:
    """Delete orphaned messages and search terms, and add missing search terms."""
    found, left_by_crashes = consistency.orphaned_messages()
    if not left_by_crashes:
        raise click.ClickException(
            f"{len(found)} messages belong to no chat, more than crashes leave: "
            "none was removed. Keep a copy of the database, and ask the developers."
        )
    maintenance.delete_messages(found)
    consistency.delete_orphaned_terms()
    consistency.add_missing_terms()
    click.echo(f"Removed {len(found)} messages that crashes had left without a chat.")


@click.command("create-admin", cls=DatabaseCommand)
@click.argument("email")
@click.option("--name", default="Agent", show_default=True, help="The name users see.")
@click.option(
    "--password",
    envvar="ADMIN_PASSWORD",
    prompt=True,
    hide_input=True,
    confirmation_prompt=True,
    help="Asked for when not given; or set ADMIN_PASSWORD.",
)
@with_appcontext
def create_admin(email: str, name: str, password: str) -> None:
    """Create a support agent's account."""
    try:
        address = EmailAddress().deserialize(email)
        shown = Name(1, MAX_NAME_LENGTH).deserialize(name)
        users.create_admin(shown, address, NewPassword().deserialize(password))
    except (ValidationError, ChatError) as error:
        text = error.detail if isinstance(error, ChatError) else " ".join(error.messages)
        click.echo(f"Not created: {text}", err=True)
        sys.exit(1)
    click.echo(f"Created the agent {address}.")


@click.command("set-password", cls=DatabaseCommand)
@click.argument("email")
@click.option(
    "--password",
    envvar="NEW_PASSWORD",
    prompt=True,
    hide_input=True,
    confirmation_prompt=True,
    help="Asked for when not given; or set NEW_PASSWORD.",
)
@with_appcontext
def set_password(email: str, password: str) -> None:
    """Set the password of an account whose owner has forgotten it; all its sessions end."""
    user = users.find(email)
    if user is None:
        raise click.ClickException(f"There is no account with the e-mail {email}.")
    try:
        credentials.set_password(user, NewPassword().deserialize(password))
    except (ValidationError, ChatError) as error:
        text = error.detail if isinstance(error, ChatError) else " ".join(error.messages)
        raise click.ClickException(f"The password is not set: {text}") from None
    click.echo(f"Set the password of {user['email']}. All its sessions are over.")
