"""Errors (RFC 9457)."""

from __future__ import annotations

from marshmallow import fields

from chatapi.schemas.base import Output


class ProblemOut(Output):
    """A problem (RFC 9457). Some codes have more fields: chatId, chatStatus, retryAfter."""

    type = fields.String()
    title = fields.String()
    status = fields.Integer()
    detail = fields.String()
    code = fields.String()
    requestId = fields.String()
    error = fields.String(metadata={"description": "the same text as detail"})
    fields_ = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.String()),
        data_key="fields",
        metadata={"description": "the errors by field, with validation_failed"},
    )
