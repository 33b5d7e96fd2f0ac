"""Chats over JSON."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import current_app, request

from chatapi.domain import errors
from chatapi.domain.documents import ShownChat
from chatapi.domain.runtime import PerApp
from chatapi.http.endpoint import endpoint, json_text, not_modified, text_response, unchanged
from chatapi.schemas import categories
from chatapi.schemas.chats import (
    ChatIn,
    ChatOut,
    ChatPatch,
    ChatQuery,
    ChatsQuery,
    ChatWithMessagesOut,
)
from chatapi.services import chat_lists, chats, messages
from chatapi.services.access import access_chat
from chatapi.services.chat_lists import ChatFilters
from chatapi.services.sessions import Session
from chatapi.user_api import blueprint

ACCESS = [errors.NotYourChat, errors.ChatNotFound]
MAX_TEXTS = 2000
# The JSON of chats in lists, by id, version and the caller's side.
_texts: PerApp[dict[tuple[Any, ...], str]] = PerApp(dict)
_in_list = ChatOut()


@endpoint(
    blueprint,
    "POST",
    "/chat",
    auth="user",
    body=ChatIn(),
    returns={201: ChatWithMessagesOut(), 200: ChatWithMessagesOut()},
    errors=[errors.ChatOpen, errors.SessionExpired, errors.Forbidden, errors.Busy],
    limit="create_chat",
)
def create_chat(session: Session, body: dict[str, Any]) -> Any:
    """Create a chat. Repeated with the same clientMessageId: 200 and the same chat."""
    chat, added, created = chats.create(
        session,
        body["subject"],
        body["category"],
        body["priority"],
        body["message"],
        body["clientMessageId"],
    )
    return chat | {"messages": added}, 201 if created else 200


@endpoint(
    blueprint,
    "GET",
    "/chat",
    query=ChatsQuery(),
    returns={200: ChatOut(many=True), 304: None},
    headers={
        "ETag": "Send it as If-None-Match; an unchanged page answers 304.",
        "Link": 'The next page, rel="next".',
        "X-Next-Cursor": "The cursor of the next page.",
        "X-Unread-Total": "How many messages the caller has not read, in all their chats.",
    },
)
def list_chats(session: Session, query: dict[str, Any]) -> Any:
    """List chats, the latest message first: all for agents, their own for others."""
    chat_lists.check_categories(query["category"], categories.offered())
    filters = ChatFilters(
        **{name: query[name] for name in ("status", "priority", "category")},
        assigned=query["assigned"],
        unread=query["unread"],
        solved=query["solved"],
        q=query["q"],
    )
    page = chat_lists.list_chats(
        session,
        filters,
        query["limit"],
        query["cursor"],
        not_modified,
        allow_cached=not request.cache_control.no_cache,
    )
    headers = {"ETag": f'"{page.etag}"', "X-Unread-Total": str(page.unread_messages)}
    if page.is_unchanged:
        return unchanged(page.etag, headers)
    if page.next_cursor:
        headers["X-Next-Cursor"] = page.next_cursor
        headers["Link"] = f'<{_next_page(page.next_cursor)}>; rel="next"'
    known = _texts.current
    rows = [_text(known, chat, session.side) for chat in page.items]
    response = text_response(f"[{','.join(rows)}]")
    response.headers.extend(headers)
    return response


@endpoint(
    blueprint,
    "GET",
    "/chat/<chat_id>",
    query=ChatQuery(),
    returns={200: ChatWithMessagesOut(), 304: None},
    errors=ACCESS,
    headers={"ETag": "Send it as If-None-Match; an unchanged chat answers 304."},
)
def get_chat(session: Session, query: dict[str, Any], chat_id: str) -> Any:
    """Return a chat and its newest messages, ascending."""
    chat = access_chat(session, chat_id)
    etag = chats.etag(session, chat)
    if not_modified(etag):
        return unchanged(etag)
    newest = messages.page(chat, limit=query["messages"])
    return chats.present_chat(session, chat) | {"messages": newest}, 200, {"ETag": f'"{etag}"'}


@endpoint(
    blueprint,
    "PATCH",
    "/chat/<chat_id>",
    body=ChatPatch(),
    returns={200: ChatWithMessagesOut()},
    errors=[*ACCESS, errors.AdminOnly, errors.ChatClosed, errors.ChatOpen, errors.Busy],
    limit="send",
)
def update_chat(session: Session, body: dict[str, Any], chat_id: str) -> Any:
    """Send a message, mark as read; agents: set status, priority, category, assignment.

    If any part is invalid, nothing is applied. `messages` contains what this call has added.
    """
    chat, added = chats.update(session, chat_id, **as_changes(body))
    return chat | {"messages": added}


@endpoint(
    blueprint,
    "POST",
    "/chat/<chat_id>/solved",
    returns={204: None},
    errors=[*ACCESS, errors.Forbidden, errors.ChatClosed, errors.Busy],
)
def mark_chat_solved(session: Session, chat_id: str) -> Any:
    """Mark the caller's own chat as solved. Its status and place in lists stay as they are."""
    chats.mark_solved(session, chat_id)
    return None


@endpoint(
    blueprint,
    "DELETE",
    "/chat/<chat_id>",
    auth="admin",
    returns={204: None},
    errors=[errors.ChatNotFound],
)
def delete_chat(session: Session, chat_id: str) -> Any:
    """Delete a chat and its messages for good."""
    chats.delete(session, chat_id)
    return None


def as_changes(body: dict[str, Any]) -> dict[str, Any]:
    """Return a PATCH body with the parameter names of the service."""
    names = {"clientMessageId": "client_message_id", "adminId": "admin_id"}
    return {names.get(name, name): value for name, value in body.items()}


def _text(texts: dict[tuple[Any, ...], str], chat: ShownChat, side: str) -> str:
    """Return a chat of a list as JSON, from the cache if it has not changed."""
    key = chat["_id"], chat["version"], chat.get("changedAt"), side
    text = texts.get(key)
    if text is None:
        if len(texts) >= MAX_TEXTS:
            texts.clear()
        text = texts[key] = json_text(_in_list.dump(chat))
    return text


def _next_page(cursor: str) -> str:
    query = [(name, value) for name, value in request.args.items(multi=True) if name != "cursor"]
    # The configured public URL, because a client can send any Host header.
    base = current_app.config["PUBLIC_URL"].rstrip("/") or request.host_url.rstrip("/")
    return f"{base}{request.path}?{urlencode([*query, ('cursor', cursor)])}"
