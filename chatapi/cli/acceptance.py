"""`flask verify`: run the acceptance checks in `acceptance/` with this configuration.

They are a program of their own, which imports nothing of the product.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
from flask import current_app
from flask.cli import ScriptInfo, with_appcontext

ROOT = Path(__file__).resolve().parents[2]
# Where an environment variable is missing, the configuration has a value of its own.
HANDED_OVER = ("SECRET_KEY", "MONGO_URI", "RATELIMIT_STORAGE_URI")


@click.command("verify", add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
@with_appcontext
def verify_deployment(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Run the deployment checklist against this configuration and a running instance."""
    app = context.ensure_object(ScriptInfo).app_import_path or str(ROOT / "wsgi.py")
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    environment = {
        **os.environ,
        **{name: str(current_app.config[name]) for name in HANDED_OVER},
        "FLASK_APP": app,
        "PYTHONPATH": path,
    }
    program = [sys.executable, "-P", "-m", "acceptance", *arguments]
    # In the place of this process, so that signals reach it.
    os.execve(sys.executable, program, environment)  # noqa: S606 - no shell is wanted
