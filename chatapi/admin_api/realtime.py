"""The state of real time, for monitoring."""

from __future__ import annotations

from typing import Any

from chatapi.admin_api import blueprint
from chatapi.http.endpoint import endpoint
from chatapi.schemas.realtime import RealtimeOut
from chatapi.services.sessions import Session
from chatapi.transport import streams


@endpoint(blueprint, "GET", "/realtime", auth="admin", returns={200: RealtimeOut()})
def realtime(session: Session) -> Any:  # noqa: ARG001 - the endpoint gives it
    """Return the state of the worker process that responds: open streams, its tail and its lag."""
    return streams.state()
