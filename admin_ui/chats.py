"""The inbox and the conversation."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from flask import Response, request, url_for

from admin_ui import forms, htmx, problems, texts
from admin_ui.views import (
    NARROWING,
    Document,
    agents_only,
    fragment_etag,
    redirect_or_toast,
    render,
    render_form_errors,
    render_page_or_fragment,
)
from chatapi.domain import errors
from chatapi.domain.documents import Chat, ShownChat
from chatapi.domain.errors import InvalidInput
from chatapi.http.endpoint import not_modified, unchanged
from chatapi.schemas import categories
from chatapi.schemas.chats import BulkIn, ChatPatch
from chatapi.schemas.messages import MessagesQuery
from chatapi.services import chat_lists, chats, messages, storage, users
from chatapi.services.access import access_chat
from chatapi.services.sessions import Session

PAGE, ROWS, CONVERSATION = "chats/list.html", "chats/_rows.html", "chats/_conversation.html"
WINDOW = 50
MAX_WINDOW = 400
DONE = {
    "active": "The chat is active.",
    "pending": "The chat is pending.",
    "closed": "The chat is closed.",
    "archived": "The chat is archived.",
}


@agents_only("", "/", "/chats")
def index(session: Session) -> Response:
    """List chats. A poll with nothing new costs a 304."""
    query = forms.query(forms.InboxQuery())
    kept = _open_chat_row(session, query["keep"])

    def has_etag(etag: str) -> bool:
        return htmx.wants_fragment() and not_modified(_list_etag(session, etag, kept))

    page = chat_lists.list_chats(
        session,
        forms.filters(query),
        query["limit"],
        query["cursor"],
        has_etag,
        allow_cached=not request.cache_control.no_cache,
    )
    etag = _list_etag(session, page.etag, kept)
    if page.is_unchanged:
        return htmx.vary(unchanged(etag))
    return render_page_or_fragment(PAGE, ROWS, etag, **_list(session, query, page, kept))


@agents_only("/chats/<chat_id>")
def show(session: Session, chat_id: str) -> Response:
    """Show a conversation and mark it as read. With `first` it is a poll and marks nothing."""
    query = forms.query(forms.ConversationQuery())
    if query["first"] is None:
        return _opened(session, chat_id, query)
    chat = access_chat(session, chat_id)
    etag = _etag(session, chat, query, _unavailable_reason(session, chat))
    if htmx.wants_fragment() and not_modified(etag):
        return htmx.vary(unchanged(etag))
    return _conversation(session, chat_id, query)


@agents_only("/chats/<chat_id>/messages")
def history(session: Session, chat_id: str) -> Response:
    """Show older messages of a conversation."""
    before = forms.query(MessagesQuery())["before"]
    chat, page = messages.history(session, chat_id, before=before, limit=WINDOW)
    return render_page_or_fragment(
        "chats/older.html", "chats/_older.html", chat=chat, messages=page, new=None
    )


@agents_only("/chats/<chat_id>/messages", method="POST", limit="send")
def send(session: Session, chat_id: str) -> Response:
    """Send a message, and with `status` set the chat's status in the same step."""
    try:
        written = _written(forms.form(ChatPatch(only=_SENT)))
    except InvalidInput as error:
        return _composer_errors(session, chat_id, error)
    before = access_chat(session, chat_id)
    chat, _ = chats.update(session, chat_id, **written)
    toast = DONE[chat["status"]] if "status" in written else None
    return _changed(session, chat_id, toast, _undo(written, [(before, chat)]), answered=True)


_SENT = ("message", "clientMessageId", "status")


def _written(given: dict[str, Any]) -> dict[str, Any]:
    if "message" not in given:
        raise InvalidInput.for_field("message", "Write something first.")
    given["client_message_id"] = given.pop("clientMessageId", None)
    return given


def _composer_errors(session: Session, chat_id: str, error: InvalidInput) -> Response:
    if not htmx.wants_fragment():
        chat = access_chat(session, chat_id)
        text = request.form.get("message", "")
        return render_form_errors(error, "chats/compose.html", CONVERSATION, chat=chat, text=text)
    html = render("_field_error.html", name="message", error=error)
    response = Response(html, status=error.status)
    return htmx.vary(htmx.retarget(response, "#composer-error", "innerHTML"))


@agents_only("/chats/<chat_id>", method="POST")
def update(session: Session, chat_id: str) -> Response:
    """Set status, priority, category or the assigned agent."""
    names = ("status", "priority", "category", "adminId")
    changes = forms.changes(ChatPatch(only=names), session)
    before = access_chat(session, chat_id)
    chat, _ = chats.update(session, chat_id, **changes)
    return _changed(session, chat_id, _toast_text(chat, changes), _undo(changes, [(before, chat)]))


@agents_only("/chats/<chat_id>/read", method="POST")
def read(session: Session, chat_id: str) -> Response:
    """Mark messages as read by the agents, up to a seq."""
    messages.mark_read(session, chat_id, forms.form(forms.ReadForm())["seq"])
    return Response(status=204)


@agents_only("/chats/<chat_id>/delete")
def confirm_delete(session: Session, chat_id: str) -> Response:
    """Show the confirmation of deleting a chat."""
    chat = access_chat(session, chat_id)
    return render_page_or_fragment("chats/delete.html", "chats/_delete_dialog.html", chat=chat)


@agents_only("/chats/<chat_id>/delete", method="POST")
def delete(session: Session, chat_id: str) -> Response:
    """Delete a chat permanently."""
    chats.delete(session, chat_id)
    gone = {"chat": chat_id}
    return redirect_or_toast(
        "The chat is deleted.", url_for("admin_ui.chats_index"), console_closed=gone
    )


@agents_only("/chats/<chat_id>/messages/<int:seq>/delete")
def confirm_delete_message(session: Session, chat_id: str, seq: int) -> Response:
    """Show the confirmation of deleting a message."""
    chat, found = messages.history(session, chat_id, after=seq - 1, limit=1)
    if not found or found[0]["seq"] != seq:
        raise errors.MessageNotFound
    page, fragment = "chats/delete_message.html", "chats/_delete_message_dialog.html"
    return render_page_or_fragment(page, fragment, chat=chat, message=found[0])


@agents_only("/chats/<chat_id>/messages/<int:seq>/delete", method="POST")
def delete_message(session: Session, chat_id: str, seq: int) -> Response:
    """Replace a message by a tombstone."""
    messages.delete(session, chat_id, seq)
    address = url_for("admin_ui.chats_show", chat_id=chat_id)
    return redirect_or_toast("The message is deleted.", address, console_redacted={"seq": seq})


@agents_only("/chats/bulk", method="POST")
def bulk_update(session: Session) -> Response:
    """Apply a change to the selected chats, and report which failed and why."""
    changes = forms.changes(BulkIn(), session)
    ids = changes.pop("ids")
    before = [_open_chat_row(session, chat_id) for chat_id in ids]
    results = chats.bulk_update(session, ids, **changes)
    after = {name: changes.get(argument) for argument, name in _UNDOABLE.items()}
    done_to = [
        (chat, after)
        for chat, row in zip(before, results, strict=True)
        if chat is not None and row["ok"]
    ]
    return render_bulk_result(session, results, _undo(changes, done_to))


@agents_only("/chats/undo", method="POST")
def undo(session: Session) -> Response:
    """Undo a change of status or assignment of chats that were not changed since."""
    given = forms.form(forms.UndoForm())
    if len(given["before"]) != len(given["ids"]):
        raise InvalidInput.for_field("before", "Must have one value for each id.")
    before = list(zip(given["ids"], given["before"], strict=True))
    results = chats.restore(session, given["name"], given["after"], before)
    if len(results) == 1 and results[0]["problem"] is not None:
        raise results[0]["problem"]
    if all(row["ok"] for row in results):
        return redirect_or_toast("Undone.", url_for("admin_ui.chats_index"))
    return render_bulk_result(session, results)


_UNDOABLE = {"status": "status", "admin_id": "adminId"}


def _undo(
    changes: dict[str, Any], pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]
) -> Document | None:
    """Return the data for the toast's Undo; None if nothing has changed.

    pairs -- each chat before the change and after it.
    """
    for argument, name in _UNDOABLE.items():
        values = [(was["_id"], was[name], now[name]) for was, now in pairs]
        changed = [each for each in values if str(each[1]) != str(each[2])]
        if argument in changes and changed:
            before = [(chat_id, was or "") for chat_id, was, _ in changed]
            return {"name": name, "after": changed[0][2] or "", "chats": before}
    return None


def _open_chat_row(session: Session, chat_id: str | None) -> ShownChat | None:
    """Return the open chat, whose row stays in the list; None if it was deleted."""
    if chat_id is None:
        return None
    try:
        return chats.present_chat(session, access_chat(session, chat_id))
    except errors.ChatNotFound:
        return None


def _list_etag(session: Session, etag: str, kept: ShownChat | None) -> str:
    return fragment_etag(etag, *([chats.etag(session, kept)] if kept else []))


def _with_open_chat(rows: list[ShownChat], kept: ShownChat | None) -> list[ShownChat]:
    """Return the rows including the open chat's, at its position by the last message."""
    if kept is None or any(row["_id"] == kept["_id"] for row in rows):
        return rows

    def place(row: ShownChat) -> tuple[Any, Any]:
        return row["lastMessageAt"], row["_id"]

    return sorted([*rows, kept], key=place, reverse=True)


def _list(
    session: Session,
    query: dict[str, Any],
    page: chat_lists.ChatPage,
    kept: ShownChat | None = None,
) -> dict[str, Any]:
    """Return the data of the list's templates."""
    given = {name: value for name, value in query.items() if name in NARROWING and value}
    for name in ("unread", "solved"):
        if query[name] is not None:
            given[name] = "true" if query[name] else "false"
    if query["limit"] == WINDOW:
        del given["limit"]
    here = {name: value for name, value in given.items() if name != "cursor"}
    return {
        "chats": _with_open_chat(page.items, kept),
        "list_etag": _list_etag(session, page.etag, kept),
        "unread_messages": page.unread_messages,
        "unread_chats": page.unread_chats,
        "query": query,
        "narrowed": bool(here.keys() - {"limit"}),
        "list_query": _written_out(given),
        "newest_query": _written_out(here) if query["cursor"] else None,
        "older_query": _written_out(here | {"cursor": page.next_cursor})
        if page.next_cursor
        else None,
        "agents": users.list_admins(),
        "categories": categories.offered(),
    }


def _written_out(given: dict[str, Any]) -> str:
    return "?" + urlencode(given, doseq=True) if given else ""


def _opened(session: Session, chat_id: str, query: dict[str, Any]) -> Response:
    """Return a conversation that was just opened, with the first unread message."""
    chat = access_chat(session, chat_id)
    query["new"] = chat["readSeq"]["admin"] + 1 if chat["unread"]["admin"] else 0
    query["first"] = max(1, chat["lastSeq"] - WINDOW + 1)
    if not storage.is_full():
        messages.mark_read(session, chat_id, chat["lastSeq"])
    return _conversation(session, chat_id, query)


def _conversation(
    session: Session,
    chat_id: str,
    query: dict[str, Any],
    toast: str | None = None,
    undo_of: Document | None = None,
) -> Response:
    first = query["first"] or 1
    chat = access_chat(session, chat_id)
    away = _unavailable_reason(session, chat)
    if chat["lastSeq"] - first >= MAX_WINDOW:
        query["first"] = first = chat["lastSeq"] - WINDOW + 1
    context: dict[str, Any] = {
        "chat": chat,
        "messages": messages.page(chat, after=first - 1, limit=MAX_WINDOW),
        "first": first,
        "new": query["new"],
        "away": away,
        "closed_by": _closed_by(session, chat),
        "client_message_id": secrets.token_urlsafe(12),
        "agents": users.list_admins(),
        "categories": categories.offered(),
    }
    if not htmx.wants_fragment():
        page = chat_lists.list_chats(session, forms.filters(query), query["limit"], query["cursor"])
        context |= _list(session, query, page, chats.present_chat(session, chat))
    etag = _etag(session, chat, query, away)
    return render_page_or_fragment(PAGE, CONVERSATION, etag, toast=toast, undo=undo_of, **context)


def _closed_by(session: Session, chat: Chat) -> str | None:
    """Return the name of the agent who closed a chat; None if it is open or unknown."""
    if chat["isOpen"]:
        return None
    if chat.get("statusBy") == session.user_id:
        return "You"
    for admin in users.list_admins():
        if admin["_id"] == chat.get("statusBy"):
            return admin["name"]
    return None


def _etag(session: Session, chat: Chat, query: dict[str, Any], away: str) -> str:
    known = chats.etag(session, chat)
    return fragment_etag(known, query["first"], query["new"], away, texts.zone())


def _unavailable_reason(session: Session, chat: Chat) -> str:
    """Return why the assigned agent cannot reply: "disabled", "left", or "" if they can."""
    if chat["adminId"] in {None, session.user_id}:
        return ""
    try:
        # An update without changes returns the user.
        admin = users.update_user(session, chat["adminId"], {})
    except errors.UserNotFound:
        return "left"
    if admin["disabled"]:
        return "disabled"
    return "" if admin["role"] == "admin" else "left"


def _changed(
    session: Session,
    chat_id: str,
    toast: str | None,
    undo_of: Document | None = None,
    *,
    answered: bool = False,
) -> Response:
    """Return the conversation after an action in it."""
    if not htmx.wants_fragment():
        return redirect_or_toast("", url_for("admin_ui.chats_show", chat_id=chat_id))
    query = forms.query(forms.ConversationQuery())
    if answered:
        query["new"] = 0
    response = _conversation(session, chat_id, query, toast, undo_of)
    return htmx.trigger(response, console_changed={})


def _toast_text(chat: Chat, changes: dict[str, Any]) -> str:
    if "admin_id" in changes:
        name = chat["adminName"]
        return f"Assigned to {name}." if name else "Unassigned."
    if "status" in changes:
        return DONE[chat["status"]]
    return "Saved."


def render_bulk_result(
    session: Session, results: list[chats.BulkResult], undo_of: Document | None = None
) -> Response:
    refusals = [
        _failure_row(session, row["_id"], row["problem"]) for row in results if row["problem"]
    ]
    count = len(results) - len(refusals)
    if not htmx.is_htmx():
        page = "chats/bulk.html"
        return render_page_or_fragment(page, page, count=count, refusals=refusals)
    html = render("chats/_bulk_toast.html", count=count, refusals=refusals, undo=undo_of)
    return htmx.trigger(htmx.vary(Response(html)), console_changed={}, console_deselect={})


def _failure_row(session: Session, chat_id: str, problem: errors.ChatError) -> dict[str, Any]:
    try:
        subject = access_chat(session, chat_id)["subject"]
    except errors.ChatNotFound:
        subject = None
    return {"chat_id": chat_id, "subject": subject, "why": problems.words(problem)}
