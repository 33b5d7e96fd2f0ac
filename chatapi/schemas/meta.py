"""Schemas of the configuration for front ends, and of health checks."""

from __future__ import annotations

from marshmallow import fields

from chatapi.schemas.base import Output


class ConfigOut(Output):
    version = fields.String(metadata={"example": "0.1.0"})
    categories = fields.List(fields.String(), metadata={"example": ["general", "billing"]})
    imageHosts = fields.List(
        fields.String(),
        metadata={
            "example": ["pictures.example"],
            "description": "show pictures only from these hosts, over https, and from the API's "
            "own origin; initials instead of any other",
        },
    )
    limits = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        metadata={"example": {"message": 5000, "subject": 200}},
    )


class HealthOut(Output):
    status = fields.String(metadata={"example": "ok"})


class ReadyOut(HealthOut):
    writable = fields.Boolean(
        metadata={
            "example": True,
            "description": "false while writes are rejected because the database's disk is "
            "almost full; reads still work",
        }
    )
    lastWriteSecondsAgo = fields.Float(
        allow_none=True,
        metadata={
            "example": 2.5,
            "description": "the age of the newest write that is known to have been stored; "
            "null where the database does not tell",
        },
    )
