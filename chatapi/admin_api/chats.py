"""Bulk changes of chats, for agents."""

from __future__ import annotations

from typing import Any

from chatapi.admin_api import blueprint
from chatapi.domain.errors import InvalidInput
from chatapi.http import problems
from chatapi.http.endpoint import endpoint
from chatapi.schemas.chats import BulkIn, BulkOut
from chatapi.services import chats
from chatapi.services.sessions import Session
from chatapi.user_api.chats import as_changes


@endpoint(
    blueprint,
    "POST",
    "/chats/bulk",
    auth="admin",
    body=BulkIn(),
    returns={200: BulkOut()},
)
def bulk_update(session: Session, body: dict[str, Any]) -> Any:
    """Apply the same change to up to 200 chats; each id gets its own result."""
    ids = body.pop("ids")
    if not body:
        raise InvalidInput.for_field("body", "Name a status, priority, category or adminId to set.")
    results = chats.bulk_update(session, ids, **as_changes(body))
    return {
        "results": [
            row | {"problem": row["problem"] and problems.body_of(row["problem"])}
            for row in results
        ]
    }
