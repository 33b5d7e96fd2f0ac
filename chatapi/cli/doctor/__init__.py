"""`flask doctor`: check the product's own settings, code and database.

It changes nothing. `acceptance/` runs it as a process for those items of the checklist that need
the database or the configuration.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

import click
from flask import current_app
from flask.cli import with_appcontext

from chatapi.cli.doctor import application, database
from chatapi.cli.doctor.results import PASSED, SIGNS, Check, Result, result_of
from config import SECRET_SETTINGS, SETTINGS, Config

CHECKS: dict[str, Check] = {
    "settings": application.settings,
    "templates": application.templates,
    "errors": application.errors_are_hidden,
    "database": database.server,
    "connection": database.connection_string,
    "migrations": database.applied_migrations,
    "collections": database.collections,
    "indexes": database.all_indexes,
    "pool": database.pooling,
    "plans": database.plans,
    "consistency": database.consistency_of_chats,
}


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program to read.")
@click.option(
    "--only", type=click.Choice(list(CHECKS)), multiple=True, help="Run these checks only."
)
@click.option(
    "--skip", type=click.Choice(list(CHECKS)), multiple=True, help="Run all checks but these."
)
@with_appcontext
def run_doctor(as_json: bool, only: tuple[str, ...], skip: tuple[str, ...]) -> None:
    """Check the settings, the code and the database of this configuration.

    Exit status 0 only if no check failed.
    """
    names = [name for name in CHECKS if name in (only or CHECKS) and name not in skip]
    results = []
    for name in names:
        result = result_of(name, CHECKS[name])
        results.append(result)
        if not as_json:
            _show(result)
    if as_json:
        report = {**_configuration(), "checks": [asdict(result) for result in results]}
        click.echo(json.dumps(report, ensure_ascii=False))
    if any(result.is_bad for result in results):
        sys.exit(1)


def _show(result: Result) -> None:
    said = result.detail if result.status == PASSED else f"{result.status}: {result.detail}"
    click.echo(f"{SIGNS.get(result.status, '–')} {result.name:<12} {said}")
    if result.remedy:
        click.echo(f"{'':<14} → {result.remedy}")


def _configuration() -> dict[str, Any]:
    """Return what the configuration says, without its secrets."""
    config = current_app.config
    shown = SETTINGS - SECRET_SETTINGS | {
        *("APP_ENV", "VERSION", "AUTH_COOKIE_NAME", "DATABASE_NAME"),
    }
    return {
        "settings": {name: config[name] for name in sorted(shown)},
        "defaults": sorted(name for name in SETTINGS if config[name] == getattr(Config, name)),
        "refusedInProduction": application.refused_in_production(),
    }
