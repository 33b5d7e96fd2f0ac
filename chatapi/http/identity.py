"""The session of a request, from a Bearer token or from the cookie.

Flask-Login caches it for the request. Browsers send cookies automatically, so a cookie
request that changes something must also carry the CSRF token; a Bearer request need not.
"""

from __future__ import annotations

from flask import Flask, Request, Response, current_app, g, request
from flask import session as csrf_store
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionMixin
from flask_login import UserMixin, current_user, login_user
from flask_wtf.csrf import CSRFError, CSRFProtect, generate_csrf

from chatapi.domain import errors
from chatapi.domain.networks import Network, network_in, network_of
from chatapi.http import devices, static_files
from chatapi.http.extensions import Login
from chatapi.http.unknown_tokens import unknown_tokens
from chatapi.services import sessions
from chatapi.services.sessions import ClientInfo, Session

MAX_TOKEN = 200
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class CurrentUser(UserMixin):  # type: ignore[misc] # Flask-Login has no types
    """The user object of Flask-Login: a session."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.id = str(session.user_id)


class CsrfCookie(SecureCookieSessionInterface):
    """Flask's session, which contains the CSRF token only."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """Return the content of the cookie."""
        if self.get_cookie_name(app) not in request.cookies:
            return self.session_class()
        return super().open_session(app, request)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Set the cookie and `Vary: Cookie`, if the response depends on a cookie."""
        if not session.accessed or static_files.is_static() or response.cache_control.public:
            return
        super().save_session(app, session, response)


def init_app(app: Flask) -> None:
    """Find the session behind each request of this app, and give its forms a CSRF token."""
    login = Login()
    login.request_loader(_load)
    login.init_app(app)
    CSRFProtect().init_app(app)
    app.session_interface = CsrfCookie()


def _load(incoming: Request) -> CurrentUser | None:
    token = bearer_token(incoming) or cookie_token(incoming)
    # Error responses look the session up, too, and must not fail again.
    if not token or len(token) > MAX_TOKEN or "token_refused" in g:
        return None
    session = _open(token, network_in(incoming.environ))
    return CurrentUser(session) if session else None


def _open(token: str, network: Network) -> Session | None:
    """Return the session of a token, if the limit allows a lookup. Raises TooManyRequests."""
    unknown = unknown_tokens.current
    session_id = sessions.session_id(token)
    if unknown.is_known_invalid(session_id):
        return None
    config = current_app.config
    if config["RATELIMIT_ENABLED"]:
        try:
            unknown.check(session_id, network, config["LIMIT_UNKNOWN_TOKENS"])
        except errors.TooManyRequests:
            g.token_refused = True
            raise
    session = sessions.open_session(token)
    if session is None:
        unknown.record_invalid(session_id, network, config["LIMIT_UNKNOWN_TOKENS"])
    else:
        unknown.record_valid(session_id)
    return session


def bearer_token(incoming: Request) -> str | None:
    """Return the token of the Authorization header, "" if the header has another form."""
    header = incoming.environ.get("HTTP_AUTHORIZATION")
    if header is None:
        return _protocol_token(incoming)
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _protocol_token(incoming: Request) -> str | None:
    """Return the token among a WebSocket's subprotocols, because browsers cannot set a header."""
    protocols: str = incoming.environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL", "")
    for offered in protocols.split(","):
        if offered.strip().startswith("bearer."):
            return offered.strip().removeprefix("bearer.")
    return None


def cookie_token(incoming: Request) -> str | None:
    """Return the token of the cookie; a request with an Authorization header has none."""
    if bearer_token(incoming) is not None:
        return None
    return incoming.cookies.get(current_app.config["AUTH_COOKIE_NAME"])


def optional() -> Session | None:
    """Return the request's session, or None."""
    # Flask-Login caches the user there; its own proxy is slower.
    user = g.get("_login_user")
    return getattr(current_user if user is None else user, "session", None)


def required() -> Session:
    """Return the request's session.

    Raises NotSignedIn without a token, SessionExpired for an invalid one, and
    CsrfFailed for a cookie request that may come from another site.
    """
    session = optional()
    if session is None:
        if bearer_token(request) or cookie_token(request):
            raise errors.SessionExpired
        raise errors.NotSignedIn
    if cookie_token(request):
        protect()
    return session


def protect() -> None:
    """Raise CsrfFailed for a request that changes data and may come from another site."""
    if request.method in SAFE_METHODS:
        return
    if request.headers.get("Sec-Fetch-Site") == "cross-site" or not _same_origin():
        raise errors.CsrfFailed("The request comes from another site.")
    try:
        current_app.extensions["csrf"].protect()
    except CSRFError:
        raise errors.CsrfFailed from None


def check_origin() -> None:
    """Raise Forbidden for a WebSocket with a cookie from a page of another site.

    Pages of the origins in CORS_ORIGINS may open one with a token.
    """
    if _same_origin():
        return
    allowed = request.headers.get("Origin") in current_app.config["CORS_ORIGINS"]
    if cookie_token(request) or not allowed:
        raise errors.Forbidden("The page's origin is not allowed to connect.")


def _same_origin() -> bool:
    """Return whether the request comes from no page, or from one of the same origin.

    Behind a proxy TRUSTED_PROXIES and X-Forwarded-Proto, or PUBLIC_URL, give the scheme and host
    that the browser uses.
    """
    origin = request.headers.get("Origin")
    if origin is None:
        return True
    # Some proxies send the scheme of a WebSocket.
    scheme = {"ws": "http", "wss": "https"}.get(request.scheme, request.scheme)
    ours = (f"{scheme}://{request.host}", str(current_app.config["PUBLIC_URL"]).rstrip("/"))
    return origin in ours


def client() -> ClientInfo:
    """Return user agent and address of the request's client, for the session list."""
    return ClientInfo(request.headers.get("User-Agent", ""), address())


def address() -> str:
    """Return the client's address. Raises BadAddress if a proxy sends something else."""
    network()
    return request.remote_addr or ""


def network() -> Network:
    """Return the client's network. Raises BadAddress."""
    try:
        return network_of(request.remote_addr or "")
    except ValueError:
        raise errors.BadAddress from None


def csrf_token() -> str:
    """Return the CSRF token of this browser, created on first use."""
    if not csrf_store:
        csrf_store.permanent = True
    return str(generate_csrf())


def sign_in(response: Response, session: Session, token: str) -> Response:
    """Set the session's cookie. The session that the browser had before ends."""
    before = cookie_token(request)
    if before and before != token:
        sessions.revoke_token(before)
    forget_csrf()
    login_user(CurrentUser(session))
    csrf_store.clear()  # It contains the CSRF token only.
    set_cookie(response, token)
    devices.set_cookie(response, session)
    return response


def set_cookie(response: Response, token: str) -> Response:
    """Set the cookie of a session; the forms of open pages stay valid."""
    response.set_cookie(
        current_app.config["AUTH_COOKIE_NAME"],
        token,
        max_age=int(sessions.lifetimes.current.absolute.total_seconds()),
        httponly=True,
        samesite="Lax",
        secure=bool(current_app.config["SESSION_COOKIE_SECURE"]),
        path="/",
    )
    return response


def sign_out(response: Response) -> Response:
    """Delete the cookie."""
    forget_csrf()
    response.delete_cookie(
        current_app.config["AUTH_COOKIE_NAME"],
        httponly=True,
        samesite="Lax",
        secure=bool(current_app.config["SESSION_COOKIE_SECURE"]),
        path="/",
    )
    return response


def forget_csrf() -> None:
    """Invalidate the CSRF token after signing in or out."""
    csrf_store.clear()
    g.pop("csrf_token", None)


def password_link(token: str) -> str:
    """Return the URL of the page for setting a new password."""
    base = (current_app.config["PUBLIC_URL"] or request.host_url).rstrip("/")
    return f"{base}/admin/set-password?token={token}"
