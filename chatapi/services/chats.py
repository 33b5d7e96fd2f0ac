"""Chats: create, list, read, update and delete them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypedDict, TypeVar, Unpack

from bson import ObjectId

from chatapi.domain import clock, errors
from chatapi.domain.documents import Chat, ChatChanges, Deletion, Message, ShownChat, ShownMessage
from chatapi.domain.enums import (
    DEFAULT_CATEGORY,
    DEFAULT_PRIORITY,
    OPEN_STATUSES,
    STATUSES,
    Priority,
    Status,
)
from chatapi.services import appending, assignment, chat_changes, messages, read_receipts, search
from chatapi.services.access import access_chat
from chatapi.services.quota import quota
from chatapi.services.sessions import Session
from chatapi.store import chat_terms, chats, deletions, presence, users
from chatapi.store import messages as stored_messages
from chatapi.store.database import Duplicate, object_id

Result = TypeVar("Result")

# Part of every ETag: increment it when responses change for the same data.
REPRESENTATION = "1"


class ChatUpdate(TypedDict, total=False):
    """What an agent changes in a chat."""

    status: Status
    priority: Priority
    category: str
    admin_id: object  # an agent's id, or None


class BulkResult(TypedDict):
    """What became of one of many chats."""

    _id: str  # as it was given
    ok: bool
    problem: errors.ChatError | None  # what refused it


def create(
    session: Session,
    subject: str,
    category: str | None = None,
    priority: Priority | None = None,
    message: str | None = None,
    client_message_id: str | None = None,
) -> tuple[ShownChat, list[ShownMessage], bool]:
    """Create a chat, with its first message if one is given.

    Return the chat, its messages and whether it is new: the call repeated with the same
    client_message_id returns the chat it made. Raises ChatOpen (chatId) while another chat
    of the caller is active or pending, Forbidden for agents.
    """
    if session.is_admin:
        raise errors.Forbidden("Agents answer chats; users and guests open them.")
    if client_message_id is not None and (made := _find_created_by(session, client_message_id)):
        return *made, False
    chat = new_chat(session, subject, category or DEFAULT_CATEGORY, priority or DEFAULT_PRIORITY)
    chat["idempotencyKey"] = client_message_id
    first = None
    if message is not None:
        first = appending.new(session, chat, message, client_message_id)
        chat = {**chat, **appending.apply_message(chat, first), "createdAt": first["timestamp"]}
    search_terms = terms(chat)
    quota.current.chat(session, chat, chat_terms.to_document(chat, search_terms), first)
    if session.role == "guest" and not users.keep_guest(session.user_id):
        raise errors.SessionExpired
    for _ in range(chat_changes.MAX_ATTEMPTS):
        if _insert(chat, search_terms, first):
            return (
                present_chat(session, chat),
                [messages.present_message(chat, first)] if first else [],
                True,
            )
        if client_message_id is not None and (made := _find_created_by(session, client_message_id)):
            return *made, False
        open_chat = chats.open_chat_of(session.user_id)
        if open_chat is not None:
            raise errors.ChatOpen(chatId=str(open_chat["_id"]))
        # The other chat was closed meanwhile.
    raise errors.Busy(retryAfter=1)


def _insert(chat: Chat, search_terms: Sequence[str], first: Message | None) -> bool:
    """Write a new chat with its first message; False while the user has an open chat."""
    if first is not None:
        # Inserted before its chat, so that no chat lacks its first message.
        stored_messages.insert(first)
    try:
        chats.insert(chat, search_terms)
    except Duplicate:
        if first is not None:
            stored_messages.delete(first["_id"])
        return False
    return True


def _find_created_by(session: Session, key: str) -> tuple[ShownChat, list[ShownMessage]] | None:
    """Return the chat, with its first message, that an earlier call with this key has created."""
    chat = chats.by_idempotency_key(session.user_id, key)
    if chat is None:
        return None
    first = stored_messages.at(chat["_id"], 1) if chat["lastSeq"] else None
    if first is None or first["clientMessageId"] != key:
        return present_chat(session, chat), []
    return present_chat(session, chat), [messages.present_message(chat, first)]


def get(session: Session, chat_id: object, limit: int = 50) -> tuple[ShownChat, list[ShownMessage]]:
    """Return a chat and its newest messages, ascending. Raises ChatNotFound, NotYourChat."""
    chat = access_chat(session, chat_id)
    return present_chat(session, chat), messages.page(chat, limit=limit)


def etag(session: Session, chat: Chat) -> str:
    """Return the ETag of a chat with its messages. It needs the chat only, no message."""
    return f"{REPRESENTATION}-{chat['_id']}-{chat['version']}-{session.side}"


def update(
    session: Session,
    chat_id: object,
    *,
    message: str | None = None,
    client_message_id: str | None = None,
    read: bool = False,
    expected: ChatChanges | None = None,
    **changes: Unpack[ChatUpdate],
) -> tuple[ShownChat, list[ShownMessage]]:
    """Apply changes to a chat; return it and the messages this call added.

    changes -- for agents only. All of it is applied in one write or, when anything is refused,
    not at all. A message together with a closing status is added first; with an opening
    status, after it. A repeated client_message_id changes nothing.
    expected -- fields of the chat that must still have these values when the changes are
    written. Not together with a message.
    Raises ChatNotFound, NotYourChat, AdminOnly, InvalidInput, ChatClosed, ChatOpen, Conflict.
    """
    chat = access_chat(session, chat_id)
    if changes:
        session.require_admin()
    fields = _resolve_changes(changes)
    if message is None:
        changed = _translate_duplicate(
            chat,
            lambda: chat_changes.change(
                lambda: access_chat(session, chat_id),
                lambda now: _update_fields(session, now, fields, read, expected or {}),
                chat,
            ),
        )
        if "adminId" in fields or (changed["isOpen"] and not chat["isOpen"]):
            changed = assignment.confirm(changed)
        return present_chat(session, changed), []
    if "status" in fields:
        fields["statusBy"] = session.user_id
    text, reopen = message, not chat["isOpen"] and fields.get("isOpen", False)
    if reopen and chat.get("solvedAt"):
        fields["solvedAt"] = None
    if reopen and "adminId" not in fields:
        fields |= assignment.fields_to_reopen(chat)
    changed, sent, _ = _translate_duplicate(
        chat,
        lambda: appending.append(
            session, chat, text, client_message_id, fields, read=read, reopen=reopen
        ),
    )
    if "adminId" in fields or reopen:
        changed = assignment.confirm(changed)
    return present_chat(session, changed), [messages.present_message(changed, sent)]


def mark_solved(session: Session, chat_id: object) -> Chat:
    """Mark the chat as solved by its user; return the chat.

    The status does not change. The user's next message, or a reopening, clears the mark; marking
    again changes nothing.
    Raises ChatNotFound, NotYourChat, Forbidden for agents, ChatClosed.
    """

    def decide(chat: Chat) -> ChatChanges:
        if session.user_id != chat["userId"]:
            raise errors.Forbidden("Only the user who opened the chat can mark it as solved.")
        if not chat["isOpen"]:
            raise errors.ChatClosed(
                f"This chat is {chat['status']} already.", chatStatus=chat["status"]
            )
        now = clock.now()
        return {} if chat.get("solvedAt") else {"solvedAt": now, "updatedAt": now}

    return chat_changes.change(lambda: access_chat(session, chat_id), decide)


def _update_fields(
    session: Session,
    chat: Chat,
    fields: ChatChanges,
    read: bool,
    expected: ChatChanges,
) -> ChatChanges:
    """Return the changes of a chat by an update without a message."""
    if any(chat.get(name) != value for name, value in expected.items()):
        raise errors.Conflict("The chat was changed meanwhile; it stays as it is.")
    marks = read_receipts.read_receipt_fields(chat, session.side, chat["lastSeq"]) if read else {}
    changed = _changed_fields(chat, fields)
    if "status" in changed:
        changed["statusBy"] = session.user_id
    return {**changed, **marks}


def bulk_update(
    session: Session, ids: Sequence[object], **changes: Unpack[ChatUpdate]
) -> list[BulkResult]:
    """Apply the same changes to many chats, each by itself.

    Return a result for each id, in the order given. Raises AdminOnly, InvalidInput for the
    changes themselves.
    """
    session.require_admin()
    _resolve_changes(changes)
    return _update_each(session, [(chat_id, changes) for chat_id in ids])


def restore(
    session: Session, name: str, after: str, before: Sequence[tuple[object, str]]
) -> list[BulkResult]:
    """Undo a change of the status or the agent of chats.

    name -- "status" or "adminId". after -- what the change has set; a chat that has another
    value was changed meanwhile and stays as it is. before -- each chat's id and old value.
    "" is no agent. Return the same as `bulk_update`. Raises AdminOnly,
    InvalidInput for what is no status.
    """
    session.require_admin()
    wanted: list[tuple[object, ChatUpdate]]
    if name == "adminId":
        wanted = [(chat_id, {"admin_id": value or None}) for chat_id, value in before]
        return _update_each(session, wanted, {"adminId": object_id(after)})
    wanted = [(chat_id, {"status": _status(value)}) for chat_id, value in before]
    return _update_each(session, wanted, {"status": _status(after)})


def _status(text: str) -> Status:
    """Return a text that is a status. Raises InvalidInput for any other."""
    for status in STATUSES:
        if status == text:
            return status
    raise errors.InvalidInput.for_field("before", f"Must be one of: {', '.join(STATUSES)}.")


def _update_each(
    session: Session,
    wanted: Sequence[tuple[object, ChatUpdate]],
    expected: ChatChanges | None = None,
) -> list[BulkResult]:
    results: list[BulkResult] = []
    for chat_id, changes in wanted:
        problem = None
        try:
            update(session, chat_id, expected=expected, **changes)
        except (errors.NotFound, errors.Conflict, errors.Busy, errors.InvalidInput) as refusal:
            # InvalidInput: the agent who had the chat before has lost access.
            problem = refusal
        results.append({"_id": str(chat_id), "ok": problem is None, "problem": problem})
    return results


def delete(session: Session, chat_id: object) -> None:
    """Delete a chat and its messages for good. For agents. Raises AdminOnly, ChatNotFound."""
    session.require_admin()
    chat = access_chat(session, chat_id)
    _finish_deletion(deletions.begin(chat["_id"], user_id=chat["userId"]))


def finish_deletions() -> int:
    """Finish the deletions that a crash cut off; return how many there were."""
    unfinished = deletions.unfinished()
    for begun in unfinished:
        if "seq" in begun:
            messages.finish_deletion(begun)
        else:
            _finish_deletion(begun)
    return len(unfinished)


def _finish_deletion(begun: Deletion) -> None:
    chats.delete(begun["_id"])
    stored_messages.delete_of_chat(begun["_id"])
    # A record from a backup may lack the owner, if the chat was deleted during the backup.
    presence.emit("deleted", chatId=begun["_id"], userId=begun.get("userId"), seq=None)
    deletions.finish(begun)


def present_chat(session: Session, chat: Chat) -> ShownChat:
    """Return a chat as the caller sees it: with `unreadCount` of their side."""
    return {**chat, "unreadCount": chat["unread"][session.side]}


def new_chat(session: Session, subject: str, category: str, priority: Priority) -> Chat:
    """Return the document of a new chat, not yet written."""
    now = clock.now()
    return {
        "_id": ObjectId(),
        "userId": session.user_id,
        "userName": session.name,
        "userEmail": session.email,
        "userImage": session.image,
        "userRole": session.role,
        "userEmailVerifiedAt": session.email_verified_at,
        "adminId": None,
        "adminName": None,
        "adminImage": None,
        "subject": subject,
        "category": category,
        "priority": priority,
        "status": "active",
        "isOpen": True,
        "createdAt": now,
        "updatedAt": now,
        "lastMessageAt": now,
        "lastMessage": None,
        "solvedAt": None,
        "messageCount": 0,
        "lastSeq": 0,
        "epoch": 0,
        "version": 1,
        "counts": {"user": 0, "admin": 0},
        "readSeq": {"user": 0, "admin": 0},
        "unread": {"user": 0, "admin": 0},
        "unreadByAdmin": False,
    }


def terms(chat: Chat) -> list[str]:
    """Return what a new chat is found by."""
    return search.terms([chat["subject"], chat["userName"], chat["userEmail"]])


def _resolve_changes(changes: ChatUpdate) -> ChatChanges:
    """Return the chat's fields that the changes set. Raises InvalidInput on `adminId`."""
    fields: ChatChanges = {}
    if "priority" in changes:
        fields["priority"] = changes["priority"]
    if "category" in changes:
        fields["category"] = changes["category"]
    if "status" in changes:
        fields["status"] = changes["status"]
        fields["isOpen"] = changes["status"] in OPEN_STATUSES
    if "admin_id" in changes:
        fields |= assignment.fields_for(changes["admin_id"])
    return fields


def _changed_fields(chat: Chat, fields: ChatChanges) -> ChatChanges:
    """Return the fields that differ from the chat's, and what follows from them."""
    # A chat that an older release wrote lacks the fields that have come since.
    changed = chat_changes.changed_fields(chat, fields)
    if not changed:
        return {}
    if changed.get("isOpen"):
        # Messages of older epochs are never committed.
        changed["epoch"] = chat["epoch"] + 1
        if chat.get("solvedAt"):
            changed["solvedAt"] = None
        if "adminId" not in fields:
            changed |= assignment.fields_to_reopen(chat)
    changed["updatedAt"] = clock.now()
    return changed


def _translate_duplicate(chat: Chat, work: Callable[[], Result]) -> Result:
    """Return the result of work that may reopen a chat.

    Raises ChatOpen (chatId) while another chat of its user is open, Busy.
    """
    for _ in range(chat_changes.MAX_ATTEMPTS):
        try:
            return work()
        except Duplicate:
            other = chats.open_chat_of(chat["userId"])
            if other is not None and other["_id"] != chat["_id"]:
                raise errors.ChatOpen(
                    "The user has another open chat; close that one first.",
                    chatId=str(other["_id"]),
                ) from None
            # The other chat was closed meanwhile.
    raise errors.Busy(retryAfter=1)
