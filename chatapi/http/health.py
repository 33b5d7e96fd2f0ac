"""Health checks for load balancers and monitoring."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from chatapi.domain.errors import DatabaseUnavailable
from chatapi.http.endpoint import endpoint
from chatapi.schemas.meta import HealthOut, ReadyOut
from chatapi.services import storage

blueprint = Blueprint("health", __name__)


@endpoint(blueprint, "GET", "/healthz", auth="anyone", returns={200: HealthOut()}, limit=None)
def healthz() -> dict[str, str]:
    """Report that the process is running."""
    return {"status": "ok"}


@endpoint(
    blueprint,
    "GET",
    "/readyz",
    auth="anyone",
    returns={200: ReadyOut()},
    errors=[DatabaseUnavailable],
    limit=None,
)
def readyz() -> dict[str, Any]:
    """Report whether the database can be read and written, and the age of the last write."""
    age = storage.check()
    return {"status": "ok", "writable": not storage.is_full(), "lastWriteSecondsAgo": age}
