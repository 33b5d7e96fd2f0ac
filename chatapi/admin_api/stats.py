"""Statistics, for agents."""

from __future__ import annotations

from typing import Any

from chatapi.admin_api import blueprint
from chatapi.http.endpoint import endpoint
from chatapi.schemas import categories
from chatapi.schemas.stats import StatsOut
from chatapi.services import stats
from chatapi.services.sessions import Session


@endpoint(blueprint, "GET", "/stats", auth="admin", returns={200: StatsOut()})
def counts(session: Session) -> Any:
    """Count all chats by status, priority and category, and the unread and unassigned ones."""
    return stats.counts(session, categories.offered())
