"""The hub of one process: who listens to what, with a bounded queue each.

A listener never depends on the hub for truth. It may miss an event when its queue is full,
and is then told to come again; what it missed it reads from the database.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bson import ObjectId

from chatapi.store import messages
from chatapi.store.database import Document

QUEUE_LENGTH = 500


@dataclass
class Event:
    """Something that happened. `frames` keeps it encoded, once for all who get the same.

    name -- chat, message, read, typing, presence, deleted, end: see docs/api.md.
    """

    name: str
    data: Document
    seq: int | None = None
    frames: dict[Any, Any] = field(default_factory=dict)


class Listener:
    """One connection's queue. `close` says why it ends: the last event it gets."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.end: Event | None = None

    def put(self, event: Event) -> None:
        """Queue an event, unless the listener is too slow: then it ends."""
        if self.end is not None:
            return
        if self._queue.qsize() >= QUEUE_LENGTH:
            self.close("too_slow", 0)
            return
        self._queue.put(event)

    def get(self, timeout: float) -> Event | None:
        """Return the next event, the closing one at once, or None after `timeout` seconds."""
        if self.end is not None:
            return self.end
        try:
            event = self._queue.get(timeout=timeout)
        except queue.Empty:
            return self.end
        return self.end or event

    def close(self, code: str, retry_after: float) -> None:
        """End the listener, whatever is still queued; it catches up when it comes again."""
        if self.end is None:
            self.end = Event("end", {"code": code, "retryAfter": retry_after})
            self._queue.put(self.end)


class Topic:
    """A chat that somebody listens to, as far as this process has told of it."""

    def __init__(self) -> None:
        self.listeners: set[Listener] = set()
        self.chat: Document | None = None


class Hub:
    """Hands changes to those who listen. `changed` and `signalled` are the tail's alone."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.topics: dict[ObjectId, Topic] = {}
        self.inbox: set[Listener] = set()  # agents: every chat
        self.owners: dict[ObjectId, set[Listener]] = {}  # users: their own chats
        self.on_first: Callable[[], None] = lambda: None

    def join_chat(self, chat_id: ObjectId, listener: Listener) -> None:
        """Let a listener hear of one chat. Join before reading: what comes later is queued."""
        with self._lock:
            self.topics.setdefault(chat_id, Topic()).listeners.add(listener)
        self.on_first()

    def leave_chat(self, chat_id: ObjectId, listener: Listener) -> None:
        """Take a listener off a chat."""
        with self._lock:
            topic = self.topics.get(chat_id)
            if topic is not None:
                topic.listeners.discard(listener)
                if not topic.listeners:
                    del self.topics[chat_id]

    def join_inbox(self, owner: ObjectId | None, listener: Listener) -> None:
        """Let a listener hear of one user's chats, or of all when owner is None."""
        with self._lock:
            if owner is None:
                self.inbox.add(listener)
            else:
                self.owners.setdefault(owner, set()).add(listener)
        self.on_first()

    def leave_inbox(self, owner: ObjectId | None, listener: Listener) -> None:
        """Take a listener off its inbox."""
        with self._lock:
            if owner is None:
                self.inbox.discard(listener)
            elif owner in self.owners:
                self.owners[owner].discard(listener)
                if not self.owners[owner]:
                    del self.owners[owner]

    def begin(self, chat: Document) -> None:
        """Say how a chat was when its first listener read it."""
        with self._lock:
            topic = self.topics.get(chat["_id"])
            if topic is not None and topic.chat is None:
                topic.chat = chat

    def changed(self, chat: Document) -> None:
        """Tell of a chat's new state: its new messages, who has read, then the chat."""
        event = Event("chat", chat)
        with self._lock:
            everywhere = [*self.inbox, *self.owners.get(chat["userId"], ())]
            topic = self.topics.get(chat["_id"])
        for listener in everywhere:
            listener.put(event)
        if topic is None:
            return
        before = topic.chat
        if before is not None and before["version"] >= chat["version"]:
            return
        events = [event]
        if before is not None:
            news = messages.between(chat["_id"], before["lastSeq"] + 1, chat["lastSeq"])
            told = [Event("message", {"chat": chat, "message": row}, row["seq"]) for row in news]
            events = [*told, *_readings(before, chat), event]
        topic.chat = chat
        for listener in list(topic.listeners):
            for each in events:
                listener.put(each)

    def signalled(self, signal: Document) -> None:
        """Tell of something that is not kept."""
        event = Event(signal["kind"], signal)
        with self._lock:
            heard = [*self.inbox, *self.owners.get(signal["userId"], ())]
            topic = self.topics.get(signal["chatId"])
            if topic is not None:
                heard += topic.listeners
        for listener in heard:
            listener.put(event)

    def present(self, event: Event, chat_id: ObjectId | None) -> None:
        """Tell agents who is there, and a chat's listeners who looks at it."""
        with self._lock:
            heard = set(self.inbox)
            topic = self.topics.get(chat_id) if chat_id else None
            if topic is not None:
                heard |= topic.listeners
        for listener in heard:
            listener.put(event)

    def listened_chats(self) -> list[ObjectId]:
        """Return the chats that somebody listens to."""
        with self._lock:
            return list(self.topics)

    def interrupt(self, retry_after: float) -> None:
        """Send the inboxes' listeners to fetch again: something may have been missed."""
        with self._lock:
            heard = [*self.inbox, *(each for group in self.owners.values() for each in group)]
        for listener in heard:
            listener.close("restarting", retry_after)

    def is_idle(self) -> bool:
        """Tell whether nobody listens to anything."""
        with self._lock:
            return not (self.topics or self.inbox or self.owners)


def _readings(before: Document, chat: Document) -> list[Event]:
    return [
        Event("read", {"chatId": chat["_id"], "readerRole": side, "seq": seq})
        for side, seq in chat["readSeq"].items()
        if seq > before["readSeq"][side]
    ]


hub = Hub()
