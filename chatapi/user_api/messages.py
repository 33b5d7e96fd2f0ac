"""Messages over JSON."""

from __future__ import annotations

from typing import Any

from flask import request

from chatapi.domain import errors
from chatapi.http import identity
from chatapi.http.endpoint import endpoint, not_modified, unchanged
from chatapi.schemas.messages import MessageIn, MessageOut, MessagesQuery, ReadIn
from chatapi.services import chats, messages
from chatapi.services.access import access_chat
from chatapi.services.sessions import Session
from chatapi.transport import long_poll
from chatapi.user_api import blueprint
from chatapi.user_api.chats import ACCESS


@endpoint(
    blueprint,
    "POST",
    "/chat/<chat_id>/messages",
    body=MessageIn(),
    returns={201: MessageOut(), 200: MessageOut()},
    errors=[*ACCESS, errors.ChatClosed, errors.AnswerPending, errors.Busy],
    limit="send",
)
def send_message(session: Session, body: dict[str, Any], chat_id: str) -> Any:
    """Send a message. Repeated with the same clientMessageId: 200 and the first message."""
    message, created = messages.send(session, chat_id, body["content"], body["clientMessageId"])
    return message, 201 if created else 200


@endpoint(
    blueprint,
    "GET",
    "/chat/<chat_id>/messages",
    query=MessagesQuery(),
    returns={200: MessageOut(many=True), 304: None},
    errors=ACCESS,
    headers={"ETag": "Send it as If-None-Match; an unchanged chat answers 304."},
)
def list_messages(session: Session, query: dict[str, Any], chat_id: str) -> Any:
    """Return a page of messages, ascending: the newest, before a seq, or after one."""
    chat = access_chat(session, chat_id)
    place = (query["before"], query["after"], query["limit"])
    may_wait = query["after"] is not None and query["before"] is None
    if query["wait"] and may_wait and request.method == "GET":
        here = identity.address()
        chat, page = long_poll.wait_for_messages(session, here, chat_id, *place[1:], query["wait"])
        return page, 200, {"ETag": f'"{chats.etag(session, chat)}"'}
    etag = chats.etag(session, chat)
    if not_modified(etag):
        return unchanged(etag)
    return messages.page(chat, *place), 200, {"ETag": f'"{etag}"'}


@endpoint(
    blueprint,
    "POST",
    "/chat/<chat_id>/read",
    body=ReadIn(),
    returns={204: None},
    errors=[*ACCESS, errors.Busy],
)
def mark_read(session: Session, body: dict[str, Any], chat_id: str) -> Any:
    """Mark messages as read by the caller's side up to a seq; it never decreases."""
    messages.mark_read(session, chat_id, body["seq"])
    return None


@endpoint(
    blueprint,
    "DELETE",
    "/chat/<chat_id>/messages/<int:seq>",
    auth="admin",
    returns={204: None},
    errors=[errors.ChatNotFound, errors.MessageNotFound, errors.Busy],
)
def delete_message(session: Session, chat_id: str, seq: int) -> Any:
    """Replace a message's text by a tombstone; its seq stays."""
    messages.delete(session, chat_id, seq)
    return None
