"""The console's static files, under an address that changes with their content."""

from __future__ import annotations

from pathlib import Path

from admin_ui import blueprint
from chatapi.http.static_files import StaticFiles, shared

FOLDER = Path(__file__).parent

# The templates belong to the release: it is part of each ETag, and after an update no page
# keeps what the old one made.
files = StaticFiles(
    FOLDER / "static", entries=("console.js",), watched=(FOLDER / "templates", shared.folder)
)
files.register(blueprint, "/static")
