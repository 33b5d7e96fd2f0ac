"""The configuration for front ends."""

from __future__ import annotations

from typing import Any

from flask import current_app

from chatapi.domain.lengths import MAX_MESSAGE_LENGTH, MAX_NAME_LENGTH, MAX_SUBJECT_LENGTH
from chatapi.http import images
from chatapi.http.endpoint import endpoint
from chatapi.schemas import categories, field_types
from chatapi.schemas.meta import ConfigOut
from chatapi.user_api import blueprint


@endpoint(blueprint, "GET", "/config", auth="anyone", returns={200: ConfigOut()})
def config() -> Any:
    """Return the categories of chats, the lengths of texts and the hosts of pictures."""
    return {
        "version": current_app.config["VERSION"],
        "categories": categories.offered(),
        "imageHosts": images.hosts(),
        "limits": {
            "message": MAX_MESSAGE_LENGTH,
            "subject": MAX_SUBJECT_LENGTH,
            "name": MAX_NAME_LENGTH,
            "email": field_types.MAX_EMAIL_LENGTH,
            "passwordMin": field_types.PASSWORD_LENGTH[0],
            "passwordMax": field_types.PASSWORD_LENGTH[1],
        },
    }
