"""Register, sign in and out, and manage sessions."""

from __future__ import annotations

from typing import Any

from flask import Response, request

from chatapi.domain import errors
from chatapi.http import devices, identity
from chatapi.http.endpoint import endpoint, json_response
from chatapi.http.login_limits import login_attempts
from chatapi.schemas.auth import (
    CsrfOut,
    GuestIn,
    LinkPasswordIn,
    LoginIn,
    MeOut,
    PasswordIn,
    RegisterIn,
    SessionOut,
    SignedInOut,
    TokenOut,
    UpgradeIn,
)
from chatapi.services import accounts, credentials, users
from chatapi.services import sessions as user_sessions
from chatapi.services.sessions import Session
from chatapi.user_api import blueprint

Signed = tuple[Session, str]


@endpoint(
    blueprint,
    "POST",
    "/auth/register",
    auth="anyone",
    body=RegisterIn(),
    returns={201: SignedInOut()},
    errors=[errors.EmailTaken, errors.ServiceBusy],
    limit="register",
)
def register(body: dict[str, Any]) -> Any:
    """Create an account and sign in."""
    signed = accounts.register(body["name"], body["email"], body["password"], identity.client())
    return _answer(signed, 201, cookie=body["cookie"])


@endpoint(
    blueprint,
    "POST",
    "/auth/login",
    auth="anyone",
    body=LoginIn(),
    returns={200: SignedInOut()},
    errors=[errors.WrongCredentials, errors.TooManyAttempts, errors.ServiceBusy],
)
def login(body: dict[str, Any]) -> Any:
    """Sign in."""
    email, given = body["email"], body["deviceToken"]
    device = devices.known_device(email, given)
    with login_attempts.current.sign_in(users.normal_email(email), identity.network(), device):
        signed = accounts.login(
            email, body["password"], identity.client(), is_known_device=device is not None
        )
    return _answer(signed, 200, cookie=body["cookie"], device=given)


@endpoint(
    blueprint,
    "POST",
    "/auth/guest",
    auth="anyone",
    body=GuestIn(),
    returns={201: SignedInOut()},
    limit="guest",
)
def guest(body: dict[str, Any]) -> Any:
    """Sign in as a guest, without an account; the token gives access to this guest's chats only."""
    signed = accounts.guest(body["name"], body["email"], identity.client())
    return _answer(signed, 201, cookie=body["cookie"])


@endpoint(
    blueprint,
    "POST",
    "/auth/upgrade",
    body=UpgradeIn(),
    returns={200: MeOut()},
    errors=[errors.Forbidden, errors.EmailTaken, errors.ServiceBusy],
    limit="register",
)
def upgrade(session: Session, body: dict[str, Any]) -> Any:
    """Turn the calling guest into a user; the id, the chats and the token stay the same."""
    return accounts.upgrade_guest(session, body["password"])


@endpoint(blueprint, "POST", "/auth/logout", returns={204: None})
def logout(session: Session) -> Any:
    """End this session."""
    user_sessions.logout(session)
    response = Response(status=204)
    return identity.sign_out(response) if identity.cookie_token(request) else response


@endpoint(blueprint, "GET", "/auth/me", returns={200: MeOut()})
def me(session: Session) -> Any:
    """Return the signed-in user."""
    return session


@endpoint(blueprint, "GET", "/auth/csrf", auth="anyone", returns={200: CsrfOut()})
def csrf() -> Any:
    """Return the token that cookie requests send as X-CSRF-Token."""
    return {"csrfToken": identity.csrf_token()}


@endpoint(blueprint, "GET", "/auth/sessions", returns={200: SessionOut(many=True)})
def sessions(session: Session) -> Any:
    """List the caller's sessions, the newest first."""
    return user_sessions.list_sessions(session)


@endpoint(blueprint, "DELETE", "/auth/sessions", returns={204: None})
def revoke_sessions(session: Session) -> Any:
    """End all the caller's sessions, including this one: sign out everywhere."""
    credentials.end_all_sessions(session)
    response = Response(status=204)
    return identity.sign_out(response) if identity.cookie_token(request) else response


@endpoint(
    blueprint,
    "DELETE",
    "/auth/sessions/<session_id>",
    returns={204: None},
    errors=[errors.SessionNotFound],
)
def revoke_session(session: Session, session_id: str) -> Any:
    """End one of the caller's sessions."""
    user_sessions.revoke_session(session, session_id)
    return None


@endpoint(
    blueprint,
    "POST",
    "/auth/password",
    body=PasswordIn(),
    returns={204: None, 200: TokenOut()},
    errors=[errors.Forbidden, errors.TooManyAttempts, errors.ServiceBusy],
)
def change_password(session: Session, body: dict[str, Any]) -> Any:
    """Set a new password; all the caller's other sessions end.

    A cookie is replaced by a new one. A Bearer token stays valid, or with `newToken` is replaced.
    """
    has_cookie = bool(identity.cookie_token(request))
    client = identity.client() if has_cookie or body["newToken"] else None
    with login_attempts.current.password_change(str(session.user_id)):
        renewed = credentials.change_password(session, body["current"], body["new"], client)
    response = Response(status=204)
    if renewed and body["newToken"]:
        data = {"token": renewed[1], "expiresAt": renewed[0].expires_at}
        response = json_response(TokenOut().dump(data), 200)
    return identity.set_cookie(response, renewed[1]) if renewed and has_cookie else response


@endpoint(
    blueprint,
    "POST",
    "/auth/password/link",
    auth="anyone",
    body=LinkPasswordIn(),
    returns={204: None},
    errors=[errors.LinkExpired, errors.ServiceBusy],
    limit="register",
)
def use_password_link(body: dict[str, Any]) -> Any:
    """Set a new password with a link's token; all sessions of the account end."""
    credentials.use_link(body["token"], body["password"])
    return None


def _answer(signed: Signed, status: int, *, cookie: bool, device: str | None = None) -> Any:
    session, token = signed
    data = {
        "user": session,
        "token": token,
        "expiresAt": session.expires_at,
        "deviceToken": None if session.role == "guest" else devices.remember(session.email, device),
    }
    if not cookie:
        return data, status
    response = json_response(SignedInOut().dump(data), status)
    return identity.sign_in(response, session, token)
