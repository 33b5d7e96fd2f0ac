"""Feeds: the events of one connection, from the first snapshot to the last event.

A feed joins the hub first, then reads, and then drops the events that it has delivered already;
messages that are missing between two events it reads from the history (backfill). So a client gets
every message once and in order, also where the hub loses or repeats an event. A feed delivers
nothing that a GET would refuse: each subscription passes the same authorization check, and the
reaper closes the feed when its session ends.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Self

import structlog
from bson import ObjectId

from chatapi.domain import errors
from chatapi.domain.documents import Chat, PerSide
from chatapi.domain.enums import SIDES, Side
from chatapi.domain.log_events import LogEvent
from chatapi.domain.networks import network_of
from chatapi.domain.runtime import PerApp
from chatapi.realtime.hub import Event, Listener, hub, read_receipt
from chatapi.realtime.session_cache import session_cache
from chatapi.services import presence
from chatapi.services.access import access_chat
from chatapi.services.sessions import Session
from chatapi.store import messages
from chatapi.store.database import DatabaseError

__all__ = ["Event", "Feed", "feed_registry", "stream_limits"]

log = structlog.get_logger("chat.streams")

BACKFILL_PAGE = 200
# A session is checked again after this time, although the change stream reports its end.
SESSION_CHECK_INTERVAL = 300.0


@dataclass
class StreamLimits:
    """The maximum number of streams of an account, a network, and all, in one process.

    address -- for an IPv4 address or an IPv6 /64; see `networks` for the /48 around it.
    """

    account: int = 30
    address: int = 300
    process: int = 11_000


class FeedRegistry:
    """The open feeds of an app in this process, counted by account and by address."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._feeds: set[Feed] = set()
        self._counts: dict[object, int] = {}
        self.is_shutting_down = False
        self.on_open: Callable[[], None] = lambda: None
        self.on_agent_connect: Callable[[], None] = lambda: None

    def add(self, feed: Feed) -> None:
        """Add an open feed. Raises TooManyRequests where its account or network has too many."""
        most = [
            (feed.session.user_id, stream_limits.current.account),
            *feed.network.counters(stream_limits.current.address),
        ]
        with self._lock:
            if len(self._feeds) >= stream_limits.current.process or any(
                self._counts.get(key, 0) >= allowed for key, allowed in most
            ):
                raise errors.TooManyRequests("Too many streams are open.", retryAfter=5)
            self._feeds.add(feed)
            for key, _ in most:
                self._counts[key] = self._counts.get(key, 0) + 1
        if self.is_shutting_down:
            # The process shuts down; this request arrived just before.
            feed.listener.close("restarting", 1)
        try:
            self.on_open()
        except BaseException:
            self.remove(feed)
            raise

    def remove(self, feed: Feed) -> None:
        """Remove a closed feed; repeated calls are ignored."""
        with self._lock:
            if feed not in self._feeds:
                return
            self._feeds.remove(feed)
            networks = feed.network.counters(stream_limits.current.address)
            for key in (feed.session.user_id, *(name for name, _ in networks)):
                self._counts[key] -= 1
                if not self._counts[key]:
                    del self._counts[key]

    def all(self) -> list[Feed]:
        """Return the feeds that are open now."""
        with self._lock:
            return list(self._feeds)

    def __len__(self) -> int:
        return len(self._feeds)


stream_limits = PerApp(StreamLimits)
feed_registry = PerApp(FeedRegistry)


class Subscription:
    """The position up to which the events of a chat were delivered. None are before it is open."""

    __slots__ = ("is_open", "read", "seq", "version")

    def __init__(self) -> None:
        self.version = self.seq = 0
        self.read: PerSide = {"user": 0, "admin": 0}
        self.is_open = False


def _do_nothing() -> None:
    """Do nothing: no transport carries the feed."""


class Feed:
    """The subscriptions of one connection. Close it, or use it in a `with` block.

    Only one thread at a time may read its events; any may subscribe and unsubscribe.

    abort -- ends the connection at once, also one whose client does not read; set by the transport.
    is_present -- whether an agent counts as online. Raises TooManyRequests if the account, the
    network or the process has too many open feeds, ValueError for an invalid address.
    """

    __slots__ = (
        *("_inbox", "_subscriptions", "checked_at", "is_finished", "is_present", "abort"),
        *("listener", "network", "session", "writing_since"),
    )

    def __init__(self, session: Session, address: str, is_present: bool = True) -> None:
        self.session, self.network = session, network_of(address)
        self.abort: Callable[[], None] = _do_nothing
        self.is_present = is_present and session.is_admin
        self.listener = Listener()
        self.is_finished = False
        # Spread, so that feeds opened together are not all checked together.
        self.checked_at = time.monotonic() - random.uniform(0, SESSION_CHECK_INTERVAL)  # noqa: S311
        # The start of the current write to the client.
        self.writing_since: float | None = None
        self._subscriptions: dict[ObjectId, Subscription] = {}
        self._inbox = False
        feed_registry.current.add(self)
        if not session_cache.current.is_cached(session.id):
            # Its end may have been reported before the feed was opened, so check soon.
            self.checked_at = -math.inf

    def subscribe(self, chat_id: object, after: int | None = None) -> Iterator[Event]:
        """Subscribe to a chat; the result yields its state, every message after a seq, the read
        receipts and the presence of agents. Live events follow when it is exhausted.

        after -- None: only new messages. Raises ChatNotFound, NotYourChat.
        """
        key = access_chat(self.session, chat_id)["_id"]
        self.unsubscribe(key)
        subscription = self._subscriptions[key] = Subscription()
        hub.current.join_chat(key, self.listener)
        self._notify_presence()
        return self._snapshot(key, subscription, after)

    def _snapshot(
        self, chat_id: ObjectId, subscription: Subscription, after: int | None
    ) -> Iterator[Event]:
        try:
            # Read again, because changes before the subscription are not published to it.
            chat = hub.current.newest_state(access_chat(self.session, chat_id))
        except errors.ChatNotFound:
            yield from self._unsubscribe_deleted(Event("deleted", {"chatId": chat_id, "seq": None}))
            return
        last = chat["lastSeq"]
        subscription.version, subscription.read = chat["version"], chat["readSeq"].copy()
        # A seq beyond the last one is from before the data was restored.
        subscription.seq = last if after is None else min(after, last)
        subscription.is_open = True
        yield Event("chat", chat)
        yield from self._backfill(chat, subscription)
        for side in SIDES:
            if chat["readSeq"][side]:
                yield read_receipt(chat, side)
        yield from presence.presence_tracker.current.viewers_of(chat_id)

    def unsubscribe(self, chat_id: ObjectId) -> None:
        """Unsubscribe from a chat, if subscribed."""
        if self._subscriptions.pop(chat_id, None) is not None:
            hub.current.leave_chat(chat_id, self.listener)

    def subscribe_inbox(self) -> Iterator[Event]:
        """Subscribe to the caller's inbox, for agents every chat; yield presence to agents."""
        self._inbox = True
        hub.current.join_inbox(self._owner, self.listener)
        self._notify_presence()
        return self._inbox_snapshot()

    def _inbox_snapshot(self) -> Iterator[Event]:
        if self.session.is_admin:
            yield from presence.presence_tracker.current.online_agents()

    def _notify_presence(self) -> None:
        if self.is_present:
            feed_registry.current.on_agent_connect()

    def enqueue_opening(self, first: Event, opening: Iterator[Event]) -> None:
        """Queue an event and the snapshot of a subscription, for the feed's reader."""
        self.listener.enqueue(Event("opening", {"events": itertools.chain([first], opening)}))

    def enqueue(self, event: Event) -> None:
        """Queue an event for this feed alone."""
        self.listener.enqueue(event)

    def next(self, timeout: float) -> Iterator[Event]:
        """Wait for the next event; return it after the missing messages before it, if any.

        Yields nothing after the timeout, or if the event was delivered before. The last event is
        `end`.
        """
        event = self.listener.get(timeout)
        return self.until_end(self._deliver(event) if event is not None else ())

    def until_end(self, events: Iterable[Event]) -> Iterator[Event]:
        """Yield events until the feed ends. A database error ends it."""
        try:
            for event in events:
                if self.listener.end is not None:
                    break
                yield event
        except DatabaseError as error:
            log.info(LogEvent.STREAM_INTERRUPTED, exc_info=error)
            self.listener.close("restarting", 2)
        end = self.listener.end
        if end is not None and not self.is_finished:
            self.is_finished = True
            yield end

    def _deliver(self, event: Event) -> Iterator[Event]:
        if event.name == "opening":
            yield from event.data["events"]
        elif event.name == "presence":
            yield event
        elif event.name == "message":
            yield from self._deliver_message(event)
        elif event.name in {"chat", "read", "typing", "deleted"}:
            chat_id = event.data["_id" if event.name == "chat" else "chatId"]
            subscription = self._subscriptions.get(chat_id)
            if subscription is None:
                if self._inbox:
                    yield from self._deliver_inbox(event)
            elif subscription.is_open:
                yield from self._deliver_subscribed(event, subscription)
        else:
            yield event

    def _deliver_inbox(self, event: Event) -> Iterator[Event]:
        """Yield the event of a chat that is in the inbox and not subscribed to."""
        if event.name != "read" and not self._is_own(event):
            yield event

    def _deliver_subscribed(self, event: Event, subscription: Subscription) -> Iterator[Event]:
        """Yield the events of a subscribed chat, except those that were delivered before."""
        if event.name == "chat":
            chat: Chat = event.data
            if chat["version"] > subscription.version:
                yield from self._backfill(chat, subscription)
                for side in SIDES:
                    seq = chat["readSeq"][side]
                    if seq > subscription.read[side]:
                        subscription.read[side] = seq
                        yield read_receipt(chat, side)
                subscription.version = chat["version"]
                yield event
        elif event.name == "read":
            reader: Side = event.data["readerRole"]
            if event.data["seq"] > subscription.read[reader]:
                subscription.read[reader] = event.data["seq"]
                yield event
        elif event.name == "deleted" and event.data.get("seq") is None:
            yield from self._unsubscribe_deleted(event)
        elif not self._is_own(event):
            yield event

    def _deliver_message(self, event: Event) -> Iterator[Event]:
        subscription = self._subscriptions.get(event.data["message"]["chatId"])
        if (
            subscription is None
            or not subscription.is_open
            or event.seq is None
            or event.seq <= subscription.seq
        ):
            return
        yield from self._backfill(event.data["chat"], subscription, event.seq - 1)
        if self._is_current(event.data["chat"], subscription):
            subscription.seq = event.seq
            yield event

    def _backfill(
        self, chat: Chat, subscription: Subscription, last: int | None = None
    ) -> Iterator[Event]:
        """Yield the messages of the history that were not delivered yet, up to a seq."""
        last = chat["lastSeq"] if last is None else last
        while subscription.seq < last and self._is_current(chat, subscription):
            upper = min(subscription.seq + BACKFILL_PAGE, last)
            for row in messages.between(chat["_id"], subscription.seq + 1, upper):
                if not self._is_current(chat, subscription):
                    return
                subscription.seq = row["seq"]
                yield Event("message", {"chat": chat, "message": row}, row["seq"])
            subscription.seq = upper

    def _is_current(self, chat: Chat, subscription: Subscription) -> bool:
        """Return whether this is still the subscription of the chat: not left, not joined again."""
        return self._subscriptions.get(chat["_id"]) is subscription

    def _unsubscribe_deleted(self, event: Event) -> Iterator[Event]:
        self.unsubscribe(event.data["chatId"])
        yield event

    def _is_own(self, event: Event) -> bool:
        """Return whether the caller is the one who types: that event is not delivered to them."""
        return event.name == "typing" and bool(event.data["senderId"] == self.session.user_id)

    @property
    def is_subscribed(self) -> bool:
        """Return whether the feed has a subscription."""
        return bool(self._subscriptions or self._inbox)

    @property
    def chats(self) -> list[ObjectId]:
        """The chats it is subscribed to."""
        return list(self._subscriptions)

    @property
    def _owner(self) -> ObjectId | None:
        return None if self.session.is_admin else self.session.user_id

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Mark that the block writes to the client, so that a slow one can be closed."""
        self.writing_since = time.monotonic()
        try:
            yield
        finally:
            self.writing_since = None

    def close(self) -> None:
        """Unsubscribe from everything and remove the feed from the registry."""
        feed_registry.current.remove(self)
        for chat_id in self.chats:
            self.unsubscribe(chat_id)
        if self._inbox:
            self._inbox = False
            hub.current.leave_inbox(self._owner, self.listener)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
