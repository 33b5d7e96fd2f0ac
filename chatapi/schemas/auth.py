"""Schemas of accounts, sessions and passwords."""

from __future__ import annotations

from marshmallow import fields, validate

from chatapi.domain.enums import ROLES
from chatapi.domain.lengths import MAX_DEVICE_TOKEN_LENGTH, MAX_NAME_LENGTH
from chatapi.schemas.base import Input, Output
from chatapi.schemas.examples import AVATAR, SESSION, USER
from chatapi.schemas.field_types import (
    MAX_EMAIL_LENGTH,
    PASSWORD_LENGTH,
    EmailAddress,
    IsSet,
    Name,
    NewPassword,
    ObjectIdString,
    Password,
    StrictBoolean,
    Text,
    UtcDateTime,
)
from chatapi.schemas.users import VERIFIED

_OLD_PASSWORD = {
    "maxLength": PASSWORD_LENGTH[1],
    "format": "password",
    "example": "correct horse battery",
}


class RegisterIn(Input):
    name = Name(1, MAX_NAME_LENGTH, required=True, metadata={"example": "Ana Souza"})
    email = EmailAddress(required=True)
    password = NewPassword(required=True)
    cookie = StrictBoolean(
        load_default=False,
        metadata={"description": "Also set the session's cookie, for a page of this origin."},
    )


class LoginIn(Input):
    email = Text(1, MAX_EMAIL_LENGTH, required=True, metadata={"example": "ana@example.com"})
    password = Password(required=True, metadata=_OLD_PASSWORD)
    cookie = StrictBoolean(
        load_default=False,
        metadata={"description": "Also set the session's cookie, for a page of this origin."},
    )
    deviceToken = Text(
        1,
        MAX_DEVICE_TOKEN_LENGTH,
        load_default=None,
        allow_none=True,
        metadata={
            "example": None,
            "description": "What an earlier sign-in of this client returned: others' wrong "
            "passwords do not delay a known device.",
        },
    )


class GuestIn(Input):
    name = Name(1, MAX_NAME_LENGTH, required=True, metadata={"example": "Ana"})
    email = EmailAddress(required=True)
    cookie = StrictBoolean(
        load_default=False,
        metadata={"description": "Also set the session's cookie, for a page of this origin."},
    )


class UpgradeIn(Input):
    password = NewPassword(required=True)


class PasswordIn(Input):
    current = Password(required=True, metadata=_OLD_PASSWORD)
    new = NewPassword(required=True)
    newToken = StrictBoolean(
        load_default=False,
        metadata={
            "example": False,
            "description": "Also end this session and return the token of a new one.",
        },
    )


class LinkPasswordIn(Input):
    token = Text(
        1,
        200,
        required=True,
        metadata={"example": "yVwP4d0r1m8sXc2q", "description": "The link's `token`."},
    )
    password = NewPassword(required=True)


class MeOut(Output):
    """The caller: the session's user."""

    _id = ObjectIdString(attribute="user_id", metadata=USER)
    name = fields.String(metadata={"example": "Ana Souza"})
    email = fields.String(metadata={"example": "ana@example.com"})
    role = fields.String(validate=validate.OneOf(ROLES))
    image = fields.String(allow_none=True, metadata=AVATAR)
    emailVerified = IsSet(attribute="email_verified_at", metadata=VERIFIED)


class SignedInOut(Output):
    user = fields.Nested(MeOut)
    token = fields.String(
        metadata={
            "example": "yVwP4d0r1m8sXc2qT7uKzB3nLh6gJf9aEo5iRtYpWkM",
            "description": "For the header `Authorization: Bearer TOKEN`. Shown only here.",
        }
    )
    expiresAt = UtcDateTime(
        metadata={"description": "If unused; each use extends it, to within five minutes."}
    )
    deviceToken = fields.String(
        allow_none=True,
        metadata={
            "example": "W1siOWYxIiwiYWJjIl1d.aSl4Ag.s1gN4tUr3",
            "description": "For the next sign-in of this client; gives no access. Null for guests.",
        },
    )


class TokenOut(Output):
    token = fields.String(
        metadata={
            "example": "yVwP4d0r1m8sXc2qT7uKzB3nLh6gJf9aEo5iRtYpWkM",
            "description": "Replaces the token of this request. Shown only here.",
        }
    )
    expiresAt = UtcDateTime()


class PasswordLinkOut(Output):
    url = fields.String(
        metadata={
            "example": "https://chat.example.com/admin/set-password?token=yVwP4d0r1m8sXc2q",
            "description": "For the user, over a channel you trust. Valid for one use.",
        }
    )
    expiresAt = UtcDateTime()


class SessionOut(Output):
    _id = ObjectIdString(metadata=SESSION)
    createdAt = UtcDateTime()
    lastSeenAt = UtcDateTime(metadata={"description": "To within five minutes."})
    expiresAt = UtcDateTime()
    userAgent = fields.String(metadata={"example": "Mozilla/5.0 (X11; Linux x86_64)"})
    address = fields.String(metadata={"example": "203.0.113.7"})
    current = fields.Boolean(metadata={"example": True, "description": "This session."})


class CsrfOut(Output):
    csrfToken = fields.String(
        metadata={"example": "IjQ4ZmU5YzE3Ig.aSGn8A.Zk9cXb2m4Qe7Rt1Yw5Uo8Ip3Ls0"}
    )
