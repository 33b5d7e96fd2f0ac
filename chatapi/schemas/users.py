"""Schemas of users, for agents."""

from __future__ import annotations

from marshmallow import fields, validate

from chatapi.domain.enums import ROLES
from chatapi.domain.lengths import MAX_IMAGE_LENGTH, MAX_NAME_LENGTH, MAX_SEARCH_LENGTH
from chatapi.schemas.base import Input, ListQuery, Output
from chatapi.schemas.examples import AVATAR, USER
from chatapi.schemas.field_types import (
    Choice,
    IsSet,
    Name,
    ObjectIdString,
    QueryFlag,
    StrictBoolean,
    Text,
    UtcDateTime,
)


class UserPatch(Input):
    role = Choice(ROLES)
    disabled = StrictBoolean(metadata={"description": "true: all sessions end, and no sign-in."})
    name = Name(1, MAX_NAME_LENGTH)
    image = Text(
        1,
        MAX_IMAGE_LENGTH,
        allow_none=True,
        validate=validate.URL(schemes={"http", "https"}, error="Must be an http or https URL."),
        metadata={"format": "uri", **AVATAR},
    )


class UsersQuery(ListQuery):
    role = Choice(ROLES, load_default=None, metadata={"description": "Users with this role."})
    disabled = QueryFlag(load_default=None, metadata={"description": "Disabled users."})
    q = Text(
        0,
        MAX_SEARCH_LENGTH,
        load_default=None,
        metadata={"description": "Prefixes of words of name or e-mail."},
    )


VERIFIED = {
    "example": False,
    "description": "Whether the address was verified. False for every address so far: "
    "no mail is sent yet.",
}


class UserOut(Output):
    _id = ObjectIdString(metadata=USER)
    name = fields.String(metadata={"example": "Ana Souza"})
    email = fields.String(metadata={"example": "ana@example.com"})
    role = fields.String(validate=validate.OneOf(ROLES))
    image = fields.String(allow_none=True, metadata=AVATAR)
    disabled = fields.Boolean(metadata={"example": False})
    createdAt = UtcDateTime()
    emailVerified = IsSet(attribute="emailVerifiedAt", metadata=VERIFIED)
