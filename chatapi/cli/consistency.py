"""Compare chats with their histories, and find orphaned messages.

For `init-db`, `restore` and `verify`. A chat and its messages can be read while people write: what
stands up to the chat's `lastSeq` never changes but for tombstones, so the chat is read
first, and read again before a difference is reported.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from datetime import timedelta

from bson import ObjectId

from chatapi.domain import clock
from chatapi.domain.documents import Chat, Message
from chatapi.domain.enums import OPEN_STATUSES, SIDES
from chatapi.services import search
from chatapi.services.appending import MAX_PREVIEW_LENGTH
from chatapi.services.chats import terms
from chatapi.services.messages import present_message
from chatapi.store import chat_terms, deletions, maintenance, search_terms

_BATCH = 100
_MESSAGES_BATCH = 1000
# Longer than any sender takes between the writes of a message and its chat.
_SURELY_LEFT = timedelta(hours=1)
_MAX_LEFT = 100


def problems(newest: int | None = None) -> Iterator[tuple[int, list[str]]]:
    """Yield for each batch the number of compared chats and their problems.

    newest -- compare only so many chats, those with the latest messages.
    """
    for batch in maintenance.chat_batches(_BATCH, newest):
        histories = maintenance.histories([chat["_id"] for chat in batch])
        found = []
        for chat in batch:
            if differences(chat, histories[chat["_id"]]):
                found += _recheck(chat["_id"])
        yield len(batch), found


def _recheck(chat_id: ObjectId) -> list[str]:
    """Compare a chat again, because it or a message may have been deleted in between."""
    chat = maintenance.chat(chat_id)
    if chat is None:
        return []
    found = differences(chat, maintenance.histories([chat_id])[chat_id])
    return [f"chat {chat_id}: {problem}" for problem in found]


def differences(chat: Chat, messages: Sequence[Message]) -> list[str]:
    """Return the differences between a chat and its messages, given ascending."""
    history = [message for message in messages if message["seq"] <= chat["lastSeq"]]
    found = []
    if [message["seq"] for message in history] != list(range(1, chat["lastSeq"] + 1)):
        # Further problems would only repeat it.
        return [f"its history has {len(history)} of the messages 1 to {chat['lastSeq']}"]
    if chat["messageCount"] != len(history):
        found.append(f"messageCount is {chat['messageCount']}, not {len(history)}")
    if chat["isOpen"] != (chat["status"] in OPEN_STATUSES):
        found.append(f"isOpen is {chat['isOpen']} and the status {chat['status']}")
    keys = {(message["senderId"], message["idempotencyKey"]) for message in history}
    if len(keys) != len(history):
        found.append("a message stands in it twice")
    # Messages deleted under an older release count until they are read: only these do not.
    not_counted = {each["seq"] for each in chat.get("deletedUnread", ())}
    buried = {each["seq"] for each in chat.get("pendingRedactions", ())}
    found += [
        f"message {message['seq']} is in deletedUnread and is not deleted"
        for message in history
        if message["seq"] in not_counted - buried and not message.get("deletedAt")
    ]
    for side in SIDES:
        written = sum(message["side"] == side for message in history)
        unread = sum(
            message["side"] != side
            and message["seq"] > chat["readSeq"][side]
            and message["seq"] not in not_counted
            for message in history
        )
        if chat["counts"][side] != written:
            found.append(f"counts.{side} is {chat['counts'][side]}, not {written}")
        if chat["unread"][side] != unread:
            found.append(f"unread.{side} is {chat['unread'][side]}, not {unread}")
    return found + _wrong_preview(chat, history)


def _wrong_preview(chat: Chat, history: Sequence[Message]) -> list[str]:
    if not history:
        return [] if chat["lastMessage"] is None else ["lastMessage shows a message it has not"]
    last, preview = present_message(chat, history[-1]), chat["lastMessage"]
    found = []
    if chat["lastMessageAt"] != last["timestamp"]:
        found.append("lastMessageAt is not the time of its last message")
    if not preview or preview["content"] != last["content"][:MAX_PREVIEW_LENGTH]:
        found.append("lastMessage is not its last message")
    return found


def add_missing_terms() -> int:
    """Add the search terms of chats that have none; return the number of chats."""
    count = 0
    for chat in maintenance.chats_without_terms():
        chat_terms.upsert(chat, terms(chat))
        count += 1
    return count


def recompute_terms() -> None:
    """Recompute all search terms that an older release stored in another form.

    Killed in between it begins again, and writes only what is still different.
    """
    if maintenance.has_legacy_search_index():
        add_missing_terms()
        maintenance.drop_legacy_search_index()
    if search_terms.format_version() == search.FORM:
        return
    for batch in search_terms.chat_batches():
        for chat, stored in batch:
            if stored is None:
                chat_terms.upsert(chat, terms(chat))
        search_terms.change_chat_terms(
            change for chat, stored in batch if stored and (change := _changed_terms(chat, stored))
        )
    for people in search_terms.user_batches():
        for person in people:
            wanted = search.terms([person["name"], person["email"]])
            if wanted != person.get("searchTerms"):
                search_terms.set_user_terms(person, wanted)
    search_terms.set_format_version(search.FORM)


def _changed_terms(chat: Chat, stored: Sequence[str]) -> search_terms.Change | None:
    """Return the differences in a chat's terms.

    Terms of names its user had before stay, where a query can still ask for them.
    """
    wanted = terms(chat)
    added = sorted(set(wanted) - set(stored))
    removed = [term for term in set(stored) - set(wanted) if not search.is_term(term)]
    return (chat["_id"], removed, added) if added or removed else None


def delete_orphaned_terms() -> None:
    """Delete orphaned search terms, of chats that were never inserted or are deleted."""
    maintenance.delete_orphaned_terms(clock.now() - _SURELY_LEFT)


def orphaned_messages(newest: int | None = None) -> tuple[list[ObjectId], bool]:
    """Return orphaned messages, and whether crashes can have left them.

    A sender that is killed just after its chat was deleted leaves one, and so does a user
    is killed while opening a chat. More of one chat, or very many, no crash has left.

    newest -- look only at so many messages, those of the newest chats.
    """
    rows = maintenance.message_chat_ids(clock.now() - _SURELY_LEFT, newest)
    lost: dict[ObjectId, ObjectId] = {}
    while batch := dict(itertools.islice(rows, _MESSAGES_BATCH)):
        there = maintenance.existing_ids("chatrooms", set(batch.values()))
        lost |= {each: chat_id for each, chat_id in batch.items() if chat_id not in there}
    if lost:
        # A chat may be deleted while this looks: its messages go next, or are gone.
        going = {begun["_id"] for begun in deletions.unfinished()}
        left = maintenance.existing_ids("messages", set(lost))
        lost = {each: lost[each] for each in left if lost[each] not in going}
    return list(lost), len(set(lost.values())) == len(lost) <= _MAX_LEFT
