"""The hub of one process: its listeners, each with a bounded queue of events.

A listener does not rely on the hub for completeness. If its queue overflows, it is closed, and its
client reconnects and reads what it missed from the database.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

import bson
import structlog
from bson import ObjectId

from chatapi.domain.documents import Chat, EphemeralEvent, Message, PerSide
from chatapi.domain.enums import SIDES, EndCode, Side
from chatapi.domain.log_events import LogEvent
from chatapi.domain.runtime import PerApp
from chatapi.store import messages
from chatapi.store.database import AWARE

log = structlog.get_logger("chat.hub")

MAX_QUEUE_LENGTH = 500
# If a chat grew by more messages in one step, as by an import, each listener reads them in pages.
MAX_BATCH = 100
# How long, and for how many chats, a published version is kept: far longer than the tail's delay.
DELIVERED_TTL = 10.0
MAX_DELIVERED = 5000


@dataclass
class Event:
    """An event. `frames` keeps it encoded, once for all listeners that get the same.

    name -- chat, message, read, typing, presence, deleted, end: see docs/api.md.
    """

    name: str
    data: Any
    seq: int | None = None
    frames: dict[Any, Any] = field(default_factory=dict)


def _do_nothing() -> None:
    """Do nothing, when no reader waits for an event."""


class Listener:
    """The event queue of one connection. `close` adds the last event, with the reason.

    on_event -- called by the publisher when there is an event to get; it must not block.
    """

    # Thousands of them are idle; a queue of the standard library would need 2 KB for each.
    __slots__ = ("_events", "end", "on_event")

    def __init__(self) -> None:
        self._events: list[Event] = []
        self.end: Event | None = None
        self.on_event: Callable[[], None] = _do_nothing

    def enqueue(self, event: Event) -> None:
        """Queue an event; close the listener if the queue is full."""
        if self.end is not None:
            return
        if len(self._events) >= MAX_QUEUE_LENGTH:
            self.close("too_slow", 0)
            return
        self._events.append(event)
        self.on_event()

    def get(self, timeout: float) -> Event | None:
        """Return the next event, the closing one at once, or None after `timeout` seconds."""
        if timeout > 0 and not self.has_more:
            arrived = threading.Event()
            self.on_event = arrived.set
            # Later events set `arrived`; an earlier one is seen here.
            if not self.has_more:
                arrived.wait(timeout)
            self.on_event = _do_nothing
        if self.end is not None or not self._events:
            return self.end
        return self._events.pop(0)

    def redact(self, chat_id: ObjectId, seq: int, at: datetime) -> None:
        """Redact a deleted message in queued events.

        Only the newest queued state of the chat is kept, because older previews may have its text.
        """
        states = [each for each in self._events if _is_state(each, chat_id)]
        old = {id(each) for each in states[:-1]}
        self._events = [each for each in self._events if id(each) not in old]
        for each in self._events:
            if each.name == "message" and each.seq == seq:
                chat = each.data["chat"]
                if chat["_id"] == chat_id:
                    pending = [*chat.get("pendingRedactions", ()), {"seq": seq, "at": at}]
                    each.data["chat"] = chat | {"pendingRedactions": pending}
                    each.frames.clear()

    def close(self, code: EndCode, retry_after: float) -> None:
        """Close the listener and drop its queue; its client backfills after it reconnects."""
        if self.end is None:
            self.end = Event("end", {"code": code, "retryAfter": round(retry_after, 2)})
            self._events.clear()
            self.on_event()

    @property
    def has_more(self) -> bool:
        """Return whether there is an event to get without waiting."""
        return bool(self._events) or self.end is not None

    @property
    def backlog(self) -> int:
        """The number of queued events."""
        return len(self._events)


class Topic:
    """A chat with listeners, and its last published state.

    version, last_seq, read_seq -- of that state; None, 0 and empty before there is one.
    """

    __slots__ = ("_packed", "last_seq", "listeners", "read_seq", "version")

    def __init__(self) -> None:
        self.listeners: set[Listener] = set()
        self._packed: bytes | None = None
        self.version: int | None = None
        self.last_seq = 0
        self.read_seq: PerSide = {"user": 0, "admin": 0}

    @property
    def chat(self) -> Chat | None:
        """The last published state, stored as BSON because most chats are idle for hours."""
        if self._packed is None:
            return None
        return cast("Chat", bson.decode(self._packed, AWARE))

    @chat.setter
    def chat(self, chat: Chat) -> None:
        self._packed = bson.encode(chat)
        self.version, self.last_seq = _version(chat), chat["lastSeq"]
        self.read_seq = chat["readSeq"]


class Hub:
    """Publishes changes to listeners: those from the tail and those of this process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.topics: dict[ObjectId, Topic] = {}
        self.inbox: set[Listener] = set()  # agents: every chat
        self.owners: dict[ObjectId, set[Listener]] = {}  # users: their own chats
        # Versions that this process is writing, each with the state that the tail has reported.
        self._expected: dict[tuple[ObjectId, int], Chat | None] = {}
        # The last published version of each chat, and when it was published.
        self._delivered: dict[ObjectId, tuple[int, float]] = {}
        self.on_join: Callable[[], None] = lambda: None
        self.on_presence: Callable[[], None] = lambda: None

    def join_chat(self, chat_id: ObjectId, listener: Listener) -> None:
        """Add a listener to one chat. Join before reading: later events are queued."""
        with self._lock:
            self.topics.setdefault(chat_id, Topic()).listeners.add(listener)
        self.on_join()

    def leave_chat(self, chat_id: ObjectId, listener: Listener) -> None:
        """Remove a listener from a chat."""
        with self._lock:
            topic = self.topics.get(chat_id)
            if topic is not None:
                topic.listeners.discard(listener)
                if not topic.listeners:
                    del self.topics[chat_id]

    def join_inbox(self, owner: ObjectId | None, listener: Listener) -> None:
        """Add a listener to the chats of one user, or to all when owner is None."""
        with self._lock:
            if owner is None:
                self.inbox.add(listener)
            else:
                self.owners.setdefault(owner, set()).add(listener)
        self.on_join()

    def leave_inbox(self, owner: ObjectId | None, listener: Listener) -> None:
        """Remove a listener from its inbox."""
        with self._lock:
            if owner is None:
                self.inbox.discard(listener)
            elif owner in self.owners:
                self.owners[owner].discard(listener)
                if not self.owners[owner]:
                    del self.owners[owner]

    def newest_state(self, chat: Chat) -> Chat:
        """Return the newest known state of a chat that a listener has read.

        The read may come from a server that lags behind the tail, whose changes are not published
        again.
        """
        with self._lock:
            topic = self.topics.get(chat["_id"])
            if topic is None:
                return chat
            known = topic.chat
            if known is None:
                topic.chat = known = chat
            return max(chat, known, key=_version)

    @contextlib.contextmanager
    def writing(self, chat: Chat) -> Iterator[None]:
        """Expect that the block writes the chat's next version and then calls `publish_own_write`.

        If the tail reports the version before the writer publishes it, the writer publishes it. If
        the writer does not, the tail's report is published at the end of the block.
        """
        if self.is_idle():
            yield
            return
        key = chat["_id"], _version(chat) + 1
        self._expected[key] = None
        try:
            yield
        finally:
            reported = self._expected.pop(key, None)
            if reported is not None:
                self._publish_safely(reported)

    def publish_own_write(self, chat: Chat, message: Message | None = None) -> None:
        """Publish a write of this process, without waiting for the tail.

        chat -- the stored state; message -- the message that this write committed, if any.
        """
        if not self.is_idle():
            self._publish_safely(chat, message)

    def _publish_safely(self, chat: Chat, message: Message | None = None) -> None:
        """Publish without raising, because a request must not fail here; listeners backfill."""
        try:
            self.publish_chat(chat, message)
        except Exception as error:
            log.warning(
                LogEvent.CHANGE_DELIVERY_FAILED, kind="chat", id=str(chat["_id"]), exc_info=error
            )

    def publish_from_stream(self, chat: Chat) -> bool:
        """Publish a chat's state from the tail; return whether another process wrote it."""
        key = chat["_id"], _version(chat)
        if key in self._expected:
            self._expected[key] = chat
            return False
        return self.publish_chat(chat)

    def publish_chat(self, chat: Chat, message: Message | None = None) -> bool:
        """Publish a chat's new state: its new messages, its read receipts, then the chat.

        Return whether it was new: the tail reports this process's own writes again.
        """
        if self._was_delivered(chat):
            return False
        event = Event("chat", chat)
        with self._lock:
            topic = self.topics.get(chat["_id"])
            inside = topic.listeners if topic is not None else ()
            owners = self.owners.get(chat["userId"], ())
            # Listeners of the chat get it below, after its messages.
            outside = [each for each in (*self.inbox, *owners) if each not in inside]
        for listener in outside:
            listener.enqueue(event)
        self._note_delivered(chat)
        if topic is None:
            return True
        version = topic.version
        if version is not None and version >= _version(chat):
            return True
        events = [event]
        if version is not None:
            read_seq = topic.read_seq
            try:
                news = _messages_between(topic.last_seq, chat, message)
            except BaseException:
                self._delivered.pop(chat["_id"], None)
                raise
            events = [*news, *_read_receipts_between(read_seq, chat), event]
        if topic.version is None or topic.version < _version(chat):
            topic.chat = chat
        for listener in list(topic.listeners):
            for each in events:
                listener.enqueue(each)
        return True

    def _was_delivered(self, chat: Chat) -> bool:
        version, at = self._delivered.get(chat["_id"], (0, 0.0))
        # For a short time only: after a restore an older version is new.
        return version >= _version(chat) and time.monotonic() - at < DELIVERED_TTL

    def _note_delivered(self, chat: Chat) -> None:
        if len(self._delivered) >= MAX_DELIVERED:
            self._delivered.clear()
        self._delivered[chat["_id"]] = (_version(chat), time.monotonic())

    def publish_deletion(self, chat_id: ObjectId) -> None:
        """Publish the deletion of a chat, in case the process that deleted it has not."""
        event = Event("deleted", {"chatId": chat_id, "seq": None})
        with self._lock:
            topic = self.topics.get(chat_id)
            listeners = list(topic.listeners) if topic is not None else []
        for listener in listeners:
            listener.enqueue(event)

    def publish_ephemeral(self, signal: EphemeralEvent) -> None:
        """Publish an ephemeral event."""
        if signal["kind"] == "presence":
            self.on_presence()
            return
        event, owner = Event(signal["kind"], signal), signal["userId"]
        with self._lock:
            # A set, because a listener may be in the chat and in an inbox.
            listeners = {*self.inbox, *(self.owners.get(owner, ()) if owner else ())}
            topic = self.topics.get(signal["chatId"])
            if topic is not None:
                listeners |= topic.listeners
        for listener in listeners:
            if signal["kind"] == "deleted" and signal["seq"] is not None:
                listener.redact(signal["chatId"], signal["seq"], signal["at"])
            listener.enqueue(event)

    def publish_presence(self, event: Event, chat_id: ObjectId | None) -> None:
        """Publish presence to the listeners of a chat, or with None to the agents' inboxes."""
        with self._lock:
            if chat_id is None:
                listeners = list(self.inbox)
            else:
                topic = self.topics.get(chat_id)
                listeners = list(topic.listeners) if topic is not None else []
        for listener in listeners:
            listener.enqueue(event)

    def listened_chats(self) -> list[ObjectId]:
        """Return the chats that have listeners."""
        with self._lock:
            return list(self.topics)

    def interrupt(self, retry_after: float) -> None:
        """Close the inboxes' listeners, so that their clients fetch what may have been missed."""
        with self._lock:
            listeners = [*self.inbox, *(each for group in self.owners.values() for each in group)]
        for listener in listeners:
            listener.close("restarting", retry_after)

    def is_idle(self) -> bool:
        """Return whether there is no listener at all."""
        with self._lock:
            return not (self.topics or self.inbox or self.owners)


def _is_state(event: Event, chat_id: ObjectId) -> bool:
    return event.name == "chat" and event.data["_id"] == chat_id


def _version(chat: Chat) -> int:
    return int(chat["version"])


def _messages_between(before: int, chat: Chat, message: Message | None) -> list[Event]:
    """Return the messages after a seq. `message` is the one that was just written, if any."""
    if chat["lastSeq"] - before > MAX_BATCH:
        return []
    if message is not None and before + 1 == message["seq"] == chat["lastSeq"]:
        return [Event("message", {"chat": chat, "message": message}, message["seq"])]
    rows = messages.between(chat["_id"], before + 1, chat["lastSeq"])
    return [Event("message", {"chat": chat, "message": row}, row["seq"]) for row in rows]


def _read_receipts_between(before: PerSide, chat: Chat) -> list[Event]:
    return [read_receipt(chat, side) for side in SIDES if chat["readSeq"][side] > before[side]]


def read_receipt(chat: Chat, side: Side) -> Event:
    """Return the event that says how far a side has read."""
    data = {"chatId": chat["_id"], "readerRole": side, "seq": chat["readSeq"][side]}
    return Event("read", data)


hub = PerApp(Hub)
