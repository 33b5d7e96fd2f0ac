"""The WSGI entry point: `gunicorn wsgi:app`, `flask --app wsgi ...`."""

import sys

from chatapi import create_app
from chatapi.http.javascript import BundleError
from config import ConfigError

try:
    app = create_app()
except (ConfigError, BundleError) as error:
    sys.exit(f"Not started. {error}")
