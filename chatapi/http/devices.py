"""Known devices: a signed token that an account has signed in on a device before.

It opens nothing. It exempts sign-ins from the delay that strangers' guesses cause, and lets
them be served first when many sign in at once.
"""

from __future__ import annotations

import hashlib
import secrets

from flask import Response, current_app, request
from itsdangerous import BadData, URLSafeTimedSerializer

from chatapi.services.sessions import Session
from chatapi.services.users import normal_email

DEVICE_TTL = 180 * 24 * 3600
MAX_ACCOUNTS = 5  # people who share a computer


def known_device(email: str, given: str | None = None) -> str | None:
    """Return the id of the caller's device if this account has signed in on it, else None.

    given -- the `deviceToken` of a client without cookies.
    """
    return _read(given).get(_digest(email)) or _read(_cookie()).get(_digest(email))


def remember(email: str, given: str | None = None) -> str:
    """Return the token that the device stores after a sign-in."""
    accounts = _read(given) or _read(_cookie())
    digest = _digest(email)
    device = accounts.pop(digest, None) or secrets.token_urlsafe(9)
    newest = [*accounts.items(), (digest, device)][-MAX_ACCOUNTS:]
    return str(_serializer().dumps(newest))


def set_cookie(response: Response, session: Session) -> None:
    """Set the device cookie for an account that has signed in; guests get none."""
    if session.role == "guest":
        return
    response.set_cookie(
        current_app.config["DEVICE_COOKIE_NAME"],
        remember(session.email),
        max_age=DEVICE_TTL,
        httponly=True,
        samesite="Lax",
        secure=bool(current_app.config["SESSION_COOKIE_SECURE"]),
        path="/",
    )


def _cookie() -> str | None:
    return request.cookies.get(current_app.config["DEVICE_COOKIE_NAME"])


def _read(note: str | None) -> dict[str, str]:
    if not note:
        return {}
    try:
        found = _serializer().loads(note, max_age=DEVICE_TTL)
    except BadData:
        return {}
    return {str(digest): str(device) for digest, device in found}


def _serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(str(current_app.config["SECRET_KEY"]), salt="known device")


def _digest(email: str) -> str:
    return hashlib.sha256(normal_email(email).encode()).hexdigest()[:24]
