"""The state of real time, for agents."""

from __future__ import annotations

from marshmallow import fields, validate

from chatapi.schemas.base import Output


class FollowerOut(Output):
    """A background thread that runs as long as the process: no error ends it."""

    name = fields.String(metadata={"example": "tail"})
    running = fields.Boolean(metadata={"example": True})
    failures = fields.Integer(metadata={"example": 0, "description": "Errors since the start."})
    lastError = fields.String(allow_none=True, metadata={"example": "AutoReconnect"})
    secondsSinceLastFailure = fields.Float(allow_none=True, metadata={"example": 12.5})


class RealtimeOut(Output):
    """The state of one worker process; the next request may reach another one."""

    process = fields.String(metadata={"example": "5f0c2a91"})
    streams = fields.Integer(metadata={"example": 120, "description": "Open connections."})
    accounts = fields.Integer(metadata={"example": 97})
    longestQueue = fields.Integer(
        metadata={"example": 0, "description": "Queued events of the slowest client."}
    )
    mode = fields.String(
        validate=validate.OneOf(("off", "stream", "poll")),
        metadata={"description": "off without listeners; poll without change streams."},
    )
    connected = fields.Boolean(metadata={"example": True})
    lagMs = fields.Float(
        allow_none=True,
        metadata={"example": 3.1, "description": "From the last change to its delivery."},
    )
    secondsSinceLastLook = fields.Float(allow_none=True, metadata={"example": 0.2})
    followers = fields.List(
        fields.Nested(FollowerOut),
        metadata={"description": "The background threads of this process."},
    )
