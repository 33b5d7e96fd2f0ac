"""Error responses: application/problem+json (RFC 9457), with a log line each."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import structlog
from flask import Flask, Response, current_app, g, has_request_context, request
from flask.globals import app_ctx
from flask.typing import ResponseReturnValue
from pymongo.errors import (
    ConnectionFailure,
    ExecutionTimeout,
    NetworkTimeout,
    OperationFailure,
)
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from chatapi.domain import errors
from chatapi.domain.errors import ChatError
from chatapi.domain.log_events import LogEvent
from chatapi.http import identity
from chatapi.store.disk import StorageFull

log = structlog.get_logger("chat")

TYPE_BASE = "/api/docs#"
# Error codes of a server that is not, or no longer, able to respond.
# 1 is InternalError, the response of an engine that has panicked. 13 and 18 are
# a login that the server does not accept, which is no error of the client.
_UNAVAILABLE_CODES = frozenset({1, 13, 18, 11600, 11602, 91, 189, 10107, 13435, 13436, 262, 50, 89})
_OUT_OF_DISK_SPACE = 14031

# gunicorn's errors while a view reads a malformed body, such as a bad chunk.
_SERVER_ERRORS = "gunicorn.http.errors"

Page = Callable[[ChatError], ResponseReturnValue]


def body_of(error: ChatError) -> dict[str, Any]:
    """Return the problem document of an error."""
    return {
        "type": TYPE_BASE + error.code,
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "error": error.detail,
        "code": error.code,
        "requestId": request_id() if has_request_context() else None,
        **error.data,
    }


def as_json(error: ChatError) -> Response:
    """Return an error as a JSON response."""
    body = body_of(error)
    cause = getattr(error, "__cause__", None)
    if cause is not None and error.status >= 500 and _is_admin():
        body["debug"] = {"exception": type(cause).__name__, "message": str(cause)}
    text = current_app.json.dumps(body)
    response = Response(f"{text}\n", status=error.status, mimetype="application/problem+json")
    add_headers(response, error)
    return response


def add_headers(response: Response, error: ChatError) -> None:
    """Set the headers of an error response, for any body."""
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="chat"'
    if isinstance(error, errors.MethodNotAllowed):
        response.headers["Allow"] = error.allow


def request_id() -> str:
    """Return this request's id, the same in the response and in the log."""
    known = app_ctx.g
    if "request_id" not in known:
        known.request_id = secrets.token_hex(16)
    return str(known.request_id)


def from_exception(error: Exception) -> ChatError:
    """Return the ChatError of any exception; an unexpected one becomes `internal`."""
    if isinstance(error, ChatError):
        return error
    if isinstance(error, RequestEntityTooLarge):
        return errors.TooLarge()
    if isinstance(error, HTTPException):
        return _from_http(error)
    if type(error).__module__ == _SERVER_ERRORS:
        return errors.BadRequest()
    found: ChatError
    if isinstance(error, StorageFull) or getattr(error, "code", None) == _OUT_OF_DISK_SPACE:
        found = errors.StorageFull(retryAfter=30)
    elif is_unavailable(error):
        found = errors.DatabaseUnavailable(retryAfter=2)
    else:
        found = ChatError()
    found.__cause__ = error
    return found


def is_unavailable(error: Exception) -> bool:
    """Return whether the database did not respond, rather than reject."""
    if isinstance(error, (ConnectionFailure, NetworkTimeout, ExecutionTimeout)):
        return True
    # Without a code: pymongo itself rejects a server that does not know the password.
    return isinstance(error, OperationFailure) and (
        error.code is None or error.code in _UNAVAILABLE_CODES
    )


def _from_http(error: HTTPException) -> ChatError:
    known: dict[int, type[ChatError]] = {
        401: errors.NotSignedIn,
        403: errors.Forbidden,
        404: errors.NotFound,
        405: errors.MethodNotAllowed,
        413: errors.TooLarge,
        415: errors.NotJson,
        429: errors.TooManyRequests,
    }
    status = error.code or 500
    if status in known:
        found = known[status]()
    elif status < 500:
        found = errors.BadRequest(status, error.name)
    else:
        found = ChatError()
        found.status = status
    if isinstance(found, errors.MethodNotAllowed):
        found.allow = ", ".join(getattr(error, "valid_methods", None) or [])
    return found


def _is_admin() -> bool:
    # Only if the session is known already: querying an unavailable database
    # again would double the wait.
    session = identity.optional() if "_login_user" in g else None
    return session is not None and session.is_admin


def init_app(app: Flask, page: Page) -> None:
    """Handle every exception of this app.

    page -- makes the answer for requests that are not for the API.
    """

    def handle(error: Exception) -> ResponseReturnValue:
        if isinstance(error, HTTPException) and (error.code or 500) < 400:
            return error
        refusal = from_exception(error)
        if refusal.status >= 500:
            log.error(LogEvent.REQUEST_FAILED, code=refusal.code, exc_info=error)
        else:
            log.info(LogEvent.REQUEST_REJECTED, code=refusal.code, status=refusal.status)
        g.error_code = refusal.code
        if request.path.startswith(("/api/", "/healthz", "/readyz")) or request.path == "/api":
            return as_json(refusal)
        return page(refusal)

    app.register_error_handler(Exception, handle)
