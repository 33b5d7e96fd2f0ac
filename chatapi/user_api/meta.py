"""What a front end asks before anything else."""

from __future__ import annotations

from typing import Any

from flask import current_app

from chatapi import field_types, images, schemas
from chatapi.endpoint import endpoint
from chatapi.schemas import ConfigOut
from chatapi.user_api import blueprint


@endpoint(blueprint, "GET", "/config", who="anyone", returns={200: ConfigOut()})
def config() -> Any:
    """Give the categories of chats, the lengths of texts and the hosts of pictures."""
    return {
        "version": current_app.config["VERSION"],
        "categories": schemas.categories,
        "imageHosts": images.hosts(),
        "limits": {
            "message": schemas.MESSAGE_LENGTH,
            "subject": schemas.SUBJECT_LENGTH,
            "name": schemas.NAME_LENGTH,
            "email": field_types.EMAIL_LENGTH,
            "passwordMin": field_types.PASSWORD_LENGTH[0],
            "passwordMax": field_types.PASSWORD_LENGTH[1],
        },
    }
