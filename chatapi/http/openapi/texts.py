"""Texts of the OpenAPI document that the endpoints do not declare."""

from __future__ import annotations

from typing import Any

from chatapi.domain.enums import CLOSED_STATUSES
from chatapi.schemas.auth import SessionOut
from chatapi.schemas.chats import ChatOut
from chatapi.schemas.events import DeletedOut, PresenceOut, ReadOut, TypingOut
from chatapi.schemas.users import UserOut

INTRODUCTION = """\
A live support chat. Users and guests create chats, agents reply.

Everything is JSON in UTF-8, names are camelCase, ids are 24 hex digits, times are UTC with \
milliseconds. Unknown fields and unknown query parameters are rejected.

Signing in returns a token; send it as `Authorization: Bearer TOKEN`. A page of this \
origin can use a cookie instead (`"cookie": true`); then every request that changes \
data needs the header `X-CSRF-Token` with the token from `GET /api/auth/csrf`.

Every error response is `application/problem+json` (RFC 9457). Branch on its `code`, never on its \
text, and quote its `requestId` when you report a problem.

To send a message exactly once, give it a `clientMessageId` and use the same one \
when you retry after a timeout or a 5xx."""
ACCESS = {
    "anyone": "Anyone.",
    "session": "Users, guests and agents.",
    "user": "Users and guests.",
    "admin": "Agents only.",
}
PARAMETERS = {
    "chat_id": ("The chat's `_id`.", ChatOut),
    "user_id": ("The user's `_id`.", UserOut),
    "session_id": ("The session's `_id`.", SessionOut),
    "seq": ("The message's `seq`.", None),
}
# The additional members of a problem, by code.
EXTRAS: dict[str, dict[str, Any]] = {
    "chat_open": {"chatId": "6921a7f05c1d4e0012ab34cd"},
    "chat_closed": {"chatStatus": "closed"},
    "validation_failed": {"fields": {"content": ["Must not be empty."]}},
    "too_many_requests": {"retryAfter": 30},
    "storage_full": {"retryAfter": 30},
    "database_unavailable": {"retryAfter": 2},
    "busy": {"retryAfter": 1},
    "service_busy": {"retryAfter": 2},
    "restore_unfinished": {"retryAfter": 30},
}
EXTRA_MEMBERS: dict[str, dict[str, Any]] = {
    "chatId": {
        "type": ["string", "null"],
        "description": "With `chat_open`: the chat that is open. Null if it is being closed.",
    },
    "chatStatus": {
        "enum": list(CLOSED_STATUSES),
        "description": "With `chat_closed`: the chat's status.",
    },
    "retryAfter": {
        "type": "integer",
        "minimum": 1,
        "description": "With 429 and 503: seconds to wait; the header Retry-After says the same.",
    },
    "debug": {
        "type": "object",
        "description": "With a 5xx, to agents only: the exception's class and message.",
    },
}
ADVICE = {
    "bad_request": "Check the request's headers and address; repeating it does not help.",
    "bad_json": "Check the body: one JSON object in UTF-8, no name in it twice.",
    "bad_address": "Report it: the proxy in front of the service is misconfigured.",
    "not_signed_in": "Send a token, or ask the user to sign in.",
    "session_expired": "Delete the token and ask the user to sign in again.",
    "wrong_credentials": "Show it; the response does not say which of the two was wrong.",
    "forbidden": "Do not offer this to this user.",
    "not_your_chat": "Go back to the list of chats.",
    "admin_only": "Do not offer this to users and guests.",
    "csrf_failed": "Get a new token from `GET /api/auth/csrf` and try again.",
    "not_found": "It was deleted, or the id is wrong. Go back to the list.",
    "link_expired": "Ask an agent for a new link.",
    "method_not_allowed": "The header Allow lists the supported methods.",
    "email_taken": "Offer to sign in.",
    "chat_closed": "Show the chat read-only. An agent may reopen it, a user opens a new one.",
    "chat_open": "Open the chat that `chatId` names.",
    "answer_pending": "Keep the text; send it when an agent has replied.",
    "last_admin": "Make another user an agent first.",
    "too_large": "Send less than 64 KB.",
    "request_timeout": "Nothing was done. Send the whole request again on a new connection.",
    "not_json": "Send `Content-Type: application/json`.",
    "validation_failed": "Show each text of `fields` beside its field.",
    "upgrade_required": "Open this URL with a WebSocket client.",
    "too_many_requests": "Wait `retryAfter` seconds, then repeat the same request.",
    "storage_full": "Nothing was stored: the disk is almost full. Reads still work; repeat later.",
    "database_unavailable": "Repeat after `retryAfter` seconds with the same `clientMessageId`.",
    "service_busy": "Repeat after `retryAfter` seconds.",
    "busy": "Repeat after `retryAfter` seconds with the same `clientMessageId`.",
    "restore_unfinished": "Nothing was stored. Repeat after `retryAfter` seconds.",
    "internal": "Repeat with the same `clientMessageId`; if it persists, report the `requestId`.",
    "conflict": "Read the state again.",
}
PROBLEM = "application/problem+json"
EVENT_SCHEMAS = (ReadOut, TypingOut, PresenceOut, DeletedOut)
EVENT_STREAM = "text/event-stream"
EVENT_EXAMPLE = """\
retry: 2000

event: read
data: {"chatId":"6921a7f05c1d4e0012ab34cd","readerRole":"admin","seq":1}

event: end
data: {"code":"restarting","retryAfter":2}
"""
CHANGING = frozenset({"post", "patch", "delete"})
ID_PATTERN = "^[0-9a-f]{24}$"
HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ETag": ("Send it as If-None-Match: 304 if nothing has changed.", {"type": "string"}),
    "Link": ('The address of the next page, `rel="next"`. Absent on the last.', {"type": "string"}),
    "X-Next-Cursor": ("The `cursor` of the next page. Absent on the last.", {"type": "string"}),
    "X-Unread-Total": (
        "The number of messages that the caller has not read, in all chats.",
        {"type": "integer", "minimum": 0},
    ),
    "X-Request-Id": ("This request's id, the same as in the server's log.", {"type": "string"}),
    "Retry-After": ("Seconds to wait before the next try.", {"type": "integer", "minimum": 1}),
    "WWW-Authenticate": ("How to sign in.", {"type": "string"}),
}
