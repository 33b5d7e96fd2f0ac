"""Is the process alive, and can it work? For load balancers and whoever watches."""

from __future__ import annotations

from flask import Blueprint

from chatapi.endpoint import endpoint
from chatapi.errors import DatabaseUnavailable
from chatapi.schemas import HealthOut
from chatapi.store import database

blueprint = Blueprint("health", __name__)


@endpoint(blueprint, "GET", "/healthz", who="anyone", returns={200: HealthOut()}, limit=None)
def healthz() -> dict[str, str]:
    """Tell that the process lives."""
    return {"status": "ok"}


@endpoint(
    blueprint,
    "GET",
    "/readyz",
    who="anyone",
    returns={200: HealthOut()},
    refuses=[DatabaseUnavailable],
    limit=None,
)
def readyz() -> dict[str, str]:
    """Tell whether the database answers."""
    database.ping()
    return {"status": "ok"}
