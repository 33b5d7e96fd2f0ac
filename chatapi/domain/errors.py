"""Every refusal that is expected, as a class that carries its data.

The code is part of the API: clients branch on it, never on the text. Nothing here knows
HTTP beyond the status number; `problem.py` turns these into answers.
"""

from __future__ import annotations

from typing import Any, ClassVar


class ChatError(Exception):
    """The base of all expected errors. `data` is sent to the client as members beside the code."""

    code: ClassVar[str] = "internal"
    status: int = 500
    title: str = "Something went wrong"
    default_detail: ClassVar[str] = "Something went wrong on our side. Please try again."

    def __init__(self, detail: str | None = None, **data: Any) -> None:
        self.detail = detail or self.default_detail
        self.data = data
        super().__init__(self.detail)

    @property
    def retry_after(self) -> int | None:
        """The seconds after which to retry, if known."""
        value = self.data.get("retryAfter")
        return int(value) if value is not None else None


class BadJson(ChatError):
    code = "bad_json"
    status = 400
    title = "The body is not valid JSON"
    default_detail = "The body could not be read as JSON. Send one JSON object in UTF-8."


class BadAddress(ChatError):
    code = "bad_address"
    status = 400
    title = "No client address"
    default_detail = "X-Forwarded-For contains no address; the proxy is configured wrongly."


class BadRequest(ChatError):
    """An invalid HTTP request. It keeps the status and title of its HTTP error."""

    code = "bad_request"
    status = 400
    title = "The request is not valid"
    default_detail = "The request could not be read as HTTP."

    def __init__(self, status: int = 400, title: str | None = None) -> None:
        super().__init__()
        self.status = status
        self.title = title or type(self).title


class NotSignedIn(ChatError):
    code = "not_signed_in"
    status = 401
    title = "Sign in first"
    default_detail = "This needs a session. Send 'Authorization: Bearer TOKEN' or sign in."


class SessionExpired(ChatError):
    code = "session_expired"
    status = 401
    title = "The session is over"
    default_detail = "The session has expired or was ended. Sign in again."


class WrongCredentials(ChatError):
    code = "wrong_credentials"
    status = 401
    title = "Wrong e-mail or password"
    default_detail = "The e-mail or the password is not right."


class Forbidden(ChatError):
    code = "forbidden"
    status = 403
    title = "Not allowed"
    default_detail = "You may not do this."


class NotYourChat(Forbidden):
    code = "not_your_chat"
    title = "Another user's chat"
    default_detail = "This chat belongs to another user."


class AdminOnly(Forbidden):
    code = "admin_only"
    title = "For support agents only"
    default_detail = "Only a support agent may do this."


class CsrfFailed(Forbidden):
    code = "csrf_failed"
    title = "The page is out of date"
    default_detail = (
        "The request carried no valid CSRF token. Fetch one from /api/auth/csrf and send it "
        "as X-CSRF-Token, or reload the page."
    )


class NotFound(ChatError):
    code = "not_found"
    status = 404
    title = "Not found"
    default_detail = "There is nothing at this URL."


class ChatNotFound(NotFound):
    title = "No such chat"
    default_detail = "There is no chat with this id."


class MessageNotFound(NotFound):
    title = "No such message"
    default_detail = "This chat has no message with this number."


class UserNotFound(NotFound):
    title = "No such user"
    default_detail = "There is no user with this id."


class SessionNotFound(NotFound):
    title = "No such session"
    default_detail = "You have no session with this id."


class LinkExpired(NotFound):
    code = "link_expired"
    title = "The link is not valid"
    default_detail = "This link was used, replaced or has expired. Ask us for a new one."


class MethodNotAllowed(ChatError):
    code = "method_not_allowed"
    status = 405
    title = "Method not allowed"
    default_detail = "This URL does not support this method."
    allow = ""  # the methods that it supports, for the header


class RequestTimeout(ChatError):
    code = "request_timeout"
    status = 408
    title = "The request took too long to arrive"
    default_detail = "The body did not arrive in time. Check the connection and send it again."


class Conflict(ChatError):
    code = "conflict"
    status = 409
    title = "Not possible now"
    default_detail = "The current state does not allow this."


class EmailTaken(Conflict):
    code = "email_taken"
    title = "The e-mail is taken"
    default_detail = "There is an account with this e-mail already. Sign in instead."


class ChatClosed(Conflict):
    """Carries `chatStatus`: closed or archived."""

    code = "chat_closed"
    title = "The chat is closed"
    default_detail = "This chat is closed; no message can be added to it."


class ChatOpen(Conflict):
    """Carries `chatId`, the user's open chat."""

    code = "chat_open"
    title = "Another chat is open"
    default_detail = "You already have an open chat. Continue there, or ask an agent to close it."


class AnswerPending(Conflict):
    code = "answer_pending"
    title = "Wait for an answer"
    default_detail = (
        "You have reached the limit of messages before an agent replies. Please wait for a reply."
    )


class LastAdmin(Conflict):
    code = "last_admin"
    title = "The last agent"
    default_detail = "This is the last active agent. Give another user the agent role first."


class TooLarge(ChatError):
    code = "too_large"
    status = 413
    title = "The request is too large"
    default_detail = "The body is over 64 KB."


class NotJson(ChatError):
    code = "not_json"
    status = 415
    title = "Not JSON"
    default_detail = "Send the body as JSON with 'Content-Type: application/json'."


class InvalidInput(ChatError):
    """Carries `fields`: a list of errors by field name."""

    code = "validation_failed"
    status = 422
    title = "Some of this is not right"

    def __init__(self, fields: dict[str, list[str]], detail: str | None = None) -> None:
        first = next(iter(fields.items()), ("body", ["is not valid"]))
        super().__init__(detail or f"{first[0]}: {' '.join(first[1])}", fields=fields)

    @classmethod
    def for_field(cls, field: str, reason: str) -> InvalidInput:
        """Return the error of one field."""
        return cls({field: [reason]})


class UpgradeRequired(ChatError):
    code = "upgrade_required"
    status = 426
    title = "WebSocket required"
    default_detail = "This URL accepts WebSocket connections only."


class TooManyRequests(ChatError):
    """Carries `retryAfter` in seconds."""

    code = "too_many_requests"
    status = 429
    title = "Too many requests"
    default_detail = "That was too much at once. Wait a little and try again."


class TooManyAttempts(TooManyRequests):
    title = "Too many sign-in attempts"
    default_detail = "There were too many sign-in attempts. Wait a little and try again."


class DatabaseUnavailable(ChatError):
    """Carries `retryAfter` in seconds. What was sent may or may not be stored: retry with
    the same clientMessageId."""

    code = "database_unavailable"
    status = 503
    title = "Back in a moment"
    default_detail = "The service cannot reach its database right now. Please try again."


class MigrationMissing(DatabaseUnavailable):
    default_detail = (
        "The database was written by an older release. Until `flask init-db` of this release has "
        "run, nothing is read or written here."
    )


class StorageFull(ChatError):
    """Carries `retryAfter` in seconds. Nothing was stored; reads still work."""

    code = "storage_full"
    status = 503
    title = "The disk is almost full"
    default_detail = (
        "The service's disk is almost full, so nothing can be saved right now. "
        "Reading still works. Please try again later."
    )


class Busy(ChatError):
    """Too many concurrent writers of one chat. Carries `retryAfter` in seconds."""

    code = "busy"
    status = 503
    title = "Busy"
    default_detail = "Too many writes to this chat at the same time. Please try again."


class RestoreUnfinished(ChatError):
    """Carries `retryAfter` in seconds."""

    code = "restore_unfinished"
    status = 503
    title = "A backup is being restored"
    default_detail = (
        "A backup is being restored, or its restore was cut off. Until `flask restore` has run to "
        "its end, nothing is read or written here."
    )


class ServiceBusy(ChatError):
    """Too many passwords to hash. Carries `retryAfter` in seconds."""

    code = "service_busy"
    status = 503
    title = "Busy"
    default_detail = "Too many sign-ins at the same time. Please try again."
