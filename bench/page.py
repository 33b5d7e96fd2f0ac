"""What a page of figures says of where they come from."""

from __future__ import annotations

import os
import platform
import subprocess

from chatapi.domain import clock
from deploy import run


def origin(command: str) -> str:
    """Return the day, the machine, the commit and the command that made a page."""
    return (
        f"{clock.now():%Y-%m-%d}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores, Python {platform.python_version()}, "
        f"commit {_commit()}. `{command}` made this page."
    )


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=run.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"
