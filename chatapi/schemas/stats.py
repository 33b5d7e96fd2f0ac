"""The counts of chats."""

from __future__ import annotations

from marshmallow import fields

from chatapi.schemas.base import Output


class StatsOut(Output):
    status = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        metadata={"example": {"active": 12, "pending": 3, "closed": 240, "archived": 0}},
    )
    priority = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        metadata={"example": {"low": 5, "medium": 230, "high": 18, "urgent": 2}},
    )
    category = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        metadata={"example": {"general": 200, "billing": 55}},
    )
    total = fields.Integer(metadata={"example": 255})
    unread = fields.Integer(
        metadata={"example": 4, "description": "Chats with messages that no agent has read."}
    )
    unreadMessages = fields.Integer(metadata={"example": 9})
    unassigned = fields.Integer(metadata={"example": 6})
