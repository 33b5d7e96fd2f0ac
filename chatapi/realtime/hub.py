"""The hub of one process: who listens to what, with a bounded queue each.

A listener never depends on the hub for truth. It may miss an event when its queue is full,
and is then told to come again; what it missed it reads from the database.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import bson
from bson import ObjectId

from chatapi.store import messages
from chatapi.store.database import AWARE, Document

QUEUE_LENGTH = 500
# A chat that grew by more in one step, as by an import, is read by each listener in pages.
MOST_AT_ONCE = 100


@dataclass
class Event:
    """Something that happened. `frames` keeps it encoded, once for all who get the same.

    name -- chat, message, read, typing, presence, deleted, end: see docs/api.md.
    """

    name: str
    data: Document
    seq: int | None = None
    frames: dict[Any, Any] = field(default_factory=dict)


def _nobody() -> None:
    """Nobody waits for an event."""


class Listener:
    """One connection's queue. `close` says why it ends: the last event it gets.

    on_event -- called when there is something to get, by whoever brought it: it must not wait.
    """

    # Thousands of them wait: a queue of the standard library would take 2 KB of each.
    __slots__ = ("_events", "end", "on_event")

    def __init__(self) -> None:
        self._events: list[Event] = []
        self.end: Event | None = None
        self.on_event: Callable[[], None] = _nobody

    def put(self, event: Event) -> None:
        """Queue an event, unless the listener is too slow: then it ends."""
        if self.end is not None:
            return
        if len(self._events) >= QUEUE_LENGTH:
            self.close("too_slow", 0)
            return
        self._events.append(event)
        self.on_event()

    def get(self, timeout: float) -> Event | None:
        """Return the next event, the closing one at once, or None after `timeout` seconds."""
        if timeout > 0 and not self.has_more:
            arrived = threading.Event()
            self.on_event = arrived.set
            # Whoever puts an event from now on wakes us; what came before, we see.
            if not self.has_more:
                arrived.wait(timeout)
            self.on_event = _nobody
        if self.end is not None or not self._events:
            return self.end
        return self._events.pop(0)

    def bury(self, chat_id: ObjectId, seq: int, at: datetime) -> None:
        """Show a message that was deleted at a time as deleted where it is still queued.

        Of the chat only the newest state stays: those before have its text in their preview.
        """
        states = [each for each in self._events if _is_state(each, chat_id)]
        old = {id(each) for each in states[:-1]}
        self._events = [each for each in self._events if id(each) not in old]
        for each in self._events:
            if each.name == "message" and each.seq == seq:
                chat = each.data["chat"]
                if chat["_id"] == chat_id:
                    burying = [*chat.get("burying", ()), {"seq": seq, "at": at}]
                    each.data["chat"] = chat | {"burying": burying}
                    each.frames.clear()

    def close(self, code: str, retry_after: float) -> None:
        """End the listener, whatever is still queued; it catches up when it comes again."""
        if self.end is None:
            self.end = Event("end", {"code": code, "retryAfter": round(retry_after, 2)})
            self._events.clear()
            self.on_event()

    @property
    def has_more(self) -> bool:
        """Tell whether there is something to get at once."""
        return bool(self._events) or self.end is not None

    @property
    def backlog(self) -> int:
        """How many events wait to be sent."""
        return len(self._events)


class Topic:
    """A chat that somebody listens to, as far as this process has told of it."""

    __slots__ = ("_packed", "listeners")

    def __init__(self) -> None:
        self.listeners: set[Listener] = set()
        self._packed: bytes | None = None

    @property
    def chat(self) -> Document | None:
        """The chat as it was told last. Packed: most wait for hours for the next change."""
        return bson.decode(self._packed, AWARE) if self._packed is not None else None

    @chat.setter
    def chat(self, chat: Document) -> None:
        self._packed = bson.encode(chat)


class Hub:
    """Hands changes to those who listen. `changed` and `signalled` are the tail's alone."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.topics: dict[ObjectId, Topic] = {}
        self.inbox: set[Listener] = set()  # agents: every chat
        self.owners: dict[ObjectId, set[Listener]] = {}  # users: their own chats
        self.on_join: Callable[[], None] = lambda: None
        self.on_presence: Callable[[], None] = lambda: None

    def join_chat(self, chat_id: ObjectId, listener: Listener) -> None:
        """Let a listener hear of one chat. Join before reading: what comes later is queued."""
        with self._lock:
            self.topics.setdefault(chat_id, Topic()).listeners.add(listener)
        self.on_join()

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
        self.on_join()

    def leave_inbox(self, owner: ObjectId | None, listener: Listener) -> None:
        """Take a listener off its inbox."""
        with self._lock:
            if owner is None:
                self.inbox.discard(listener)
            elif owner in self.owners:
                self.owners[owner].discard(listener)
                if not self.owners[owner]:
                    del self.owners[owner]

    def begin(self, chat: Document) -> Document:
        """Take a chat as a listener has read it; return its newest state that is known here.

        A read may come from a server that lags behind what the tail has told already, and
        that is not told again.
        """
        with self._lock:
            topic = self.topics.get(chat["_id"])
            if topic is None:
                return chat
            known = topic.chat
            if known is None:
                topic.chat = known = chat
            return max(chat, known, key=_version)

    def changed(self, chat: Document) -> None:
        """Tell of a chat's new state: its new messages, who has read, then the chat."""
        event = Event("chat", chat)
        with self._lock:
            topic = self.topics.get(chat["_id"])
            inside = topic.listeners if topic is not None else ()
            owners = self.owners.get(chat["userId"], ())
            # Who listens to the chat itself gets it below, after its messages.
            outside = [each for each in (*self.inbox, *owners) if each not in inside]
        for listener in outside:
            listener.put(event)
        if topic is None:
            return
        before = topic.chat
        if before is not None and _version(before) >= _version(chat):
            return
        events = [event]
        if before is not None:
            events = [*_news(before, chat), *_readings(before, chat), event]
        topic.chat = chat
        for listener in list(topic.listeners):
            for each in events:
                listener.put(each)

    def removed(self, chat_id: ObjectId) -> None:
        """Tell those in a chat that it is no more, should whoever deleted it have not."""
        event = Event("deleted", {"chatId": chat_id, "seq": None})
        with self._lock:
            topic = self.topics.get(chat_id)
            heard = list(topic.listeners) if topic is not None else []
        for listener in heard:
            listener.put(event)

    def signalled(self, signal: Document) -> None:
        """Tell of something that is not kept."""
        if signal["kind"] == "presence":
            self.on_presence()
            return
        event = Event(signal["kind"], signal)
        with self._lock:
            # A set: one listener may be in the chat and in an inbox.
            heard = {*self.inbox, *self.owners.get(signal["userId"], ())}
            topic = self.topics.get(signal["chatId"])
            if topic is not None:
                heard |= topic.listeners
        for listener in heard:
            if signal["kind"] == "deleted" and signal["seq"] is not None:
                listener.bury(signal["chatId"], signal["seq"], signal["at"])
            listener.put(event)

    def present(self, event: Event, chat_id: ObjectId | None) -> None:
        """Tell the listeners of a chat who is there, or with None the agents' inboxes."""
        with self._lock:
            if chat_id is None:
                heard = list(self.inbox)
            else:
                topic = self.topics.get(chat_id)
                heard = list(topic.listeners) if topic is not None else []
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


def _is_state(event: Event, chat_id: ObjectId) -> bool:
    return event.name == "chat" and event.data["_id"] == chat_id


def _version(chat: Document) -> int:
    return int(chat["version"])


def _news(before: Document, chat: Document) -> list[Event]:
    if chat["lastSeq"] - before["lastSeq"] > MOST_AT_ONCE:
        return []
    rows = messages.between(chat["_id"], before["lastSeq"] + 1, chat["lastSeq"])
    return [Event("message", {"chat": chat, "message": row}, row["seq"]) for row in rows]


def _readings(before: Document, chat: Document) -> list[Event]:
    return [
        reading(chat, side)
        for side, seq in chat["readSeq"].items()
        if seq > before["readSeq"][side]
    ]


def reading(chat: Document, side: str) -> Event:
    """Return the event that says how far a side has read."""
    data = {"chatId": chat["_id"], "readerRole": side, "seq": chat["readSeq"][side]}
    return Event("read", data)


hub = Hub()
