"""Streams: what somebody may hear, from the first snapshot to the last event.

A feed joins the hub first, then reads, and then drops what it has told already; whatever
is missing between two messages it reads from the history. So a client gets every message
once and in order, whatever the hub did. A feed never tells what a GET would refuse: it is
let in through the same door, and a caretaker ends it when its session ends.
"""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import random
import select
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Self

import structlog
from bson import ObjectId
from gevent.monkey import get_original
from pymongo.errors import PyMongoError

from chatapi import clock, errors
from chatapi.realtime.hub import Event, Listener, hub, reading
from chatapi.realtime.signed_in import signed_in
from chatapi.realtime.tail import tail
from chatapi.services import messages
from chatapi.services.access import access_chat
from chatapi.services.accounts import Session
from chatapi.store import messages as stored_messages
from chatapi.store import presence, sessions
from chatapi.store.database import Document

__all__ = ["Event", "Feed", "caps", "shutdown", "state", "typing", "wait_for_messages"]

log = structlog.get_logger("chat.streams")

HEARTBEAT_SECONDS = 15.0
CATCH_UP_PAGE = 200
CARE_SECONDS = 3.0
STUCK_SECONDS = 10.0
PRESENCE_SECONDS = 9.0
# While the tail tells of sessions that end, all are looked at only this often.
SWEEP_SECONDS = 30.0
# Some servers take quadratic time for a list of ids.
SESSIONS_AT_ONCE = 50
PROCESS = uuid.uuid4().hex


@dataclass
class Caps:
    """How many streams one account and one address may have open in one process."""

    account: int = 30
    address: int = 300


class Register:
    """The open feeds of this process, counted by account and by address."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._feeds: set[Feed] = set()
        self._counts: dict[object, int] = {}
        self.ending = False

    def add(self, feed: Feed) -> None:
        """Note an open feed. Raises TooManyRequests when there are too many of its kind."""
        account, address = _counted(feed)
        with self._lock:
            if (
                self._counts.get(account, 0) >= caps.account
                or self._counts.get(address, 0) >= caps.address
            ):
                raise errors.TooManyRequests("Too many streams are open.", retryAfter=5)
            self._feeds.add(feed)
            for key in (account, address):
                self._counts[key] = self._counts.get(key, 0) + 1
        if self.ending:
            # It came through the door that is just closing.
            feed.listener.close("restarting", 1)

    def remove(self, feed: Feed) -> None:
        """Forget a feed that is closed; once is enough."""
        with self._lock:
            if feed not in self._feeds:
                return
            self._feeds.remove(feed)
            for key in _counted(feed):
                self._counts[key] -= 1
                if not self._counts[key]:
                    del self._counts[key]

    def all(self) -> list[Feed]:
        """Return the feeds that are open now."""
        with self._lock:
            return list(self._feeds)

    def __len__(self) -> int:
        return len(self._feeds)


def _counted(feed: Feed) -> tuple[object, object]:
    return ("account", feed.session.user_id), ("address", feed.address)


caps = Caps()
feeds = Register()


@dataclass
class _Told:
    """How far a client has been told of a chat. Until it is open, it gets nothing."""

    version: int = 0
    seq: int = 0
    read: dict[str, int] = field(default_factory=dict)
    is_open: bool = False


class Feed:
    """One connection's streams. Close it, or use it in a `with` block.

    One reader at a time takes its events out; anybody may subscribe and unsubscribe.

    link -- the client's socket, to see when the client is gone and to cut one that does not
    read. is_present -- whether an agent counts as being there. Raises TooManyRequests when
    the account or the address has too many open already.
    """

    def __init__(
        self,
        session: Session,
        address: str,
        link: socket.socket | None = None,
        is_present: bool = True,
    ) -> None:
        self.session, self.address, self.link = session, address, link
        self.is_present = is_present and session.is_admin
        self.listener = Listener()
        self.is_finished = False
        # Spread, so that those who came together are not all looked at together.
        self.checked_at = time.monotonic() - random.uniform(0, SWEEP_SECONDS)  # noqa: S311
        # Since when the present write to the client has lasted.
        self.writing_since: float | None = None
        self._told: dict[ObjectId, _Told] = {}
        self._inbox = False
        feeds.add(self)
        caretaker.ensure_running()

    def subscribe(self, chat_id: object, after: int | None = None) -> Iterator[Event]:
        """Join a chat; the result yields its state, every message after a seq, how far each
        side has read and who looks at it. Live events follow once it has been used up.

        after -- None: only what is written from now on. Raises ChatNotFound, NotYourChat.
        """
        key = access_chat(self.session, chat_id)["_id"]
        self.unsubscribe(key)
        told = self._told[key] = _Told()
        hub.join_chat(key, self.listener)
        self._arrive()
        return self._opening(key, told, after)

    def _opening(self, chat_id: ObjectId, told: _Told, after: int | None) -> Iterator[Event]:
        try:
            # Read anew: what was written before we joined, nobody will tell us.
            chat = hub.begin(access_chat(self.session, chat_id))
        except errors.ChatNotFound:
            yield from self._deleted(Event("deleted", {"chatId": chat_id, "seq": None}))
            return
        last = chat["lastSeq"]
        told.version, told.read = chat["version"], dict(chat["readSeq"])
        # A seq beyond the last is of another time, before the data was restored.
        told.seq = last if after is None else min(after, last)
        told.is_open = True
        yield Event("chat", chat)
        yield from self._until(chat, told)
        for side, seq in chat["readSeq"].items():
            if seq:
                yield reading(chat, side)
        for person, places in caretaker.known():
            if chat_id in places:
                yield _presence(person, online=True, chat_id=chat_id)

    def unsubscribe(self, chat_id: ObjectId) -> None:
        """Leave a chat, if it was joined."""
        if self._told.pop(chat_id, None) is not None:
            hub.leave_chat(chat_id, self.listener)

    def subscribe_inbox(self) -> Iterator[Event]:
        """Join the caller's inbox: an agent's is every chat. Yields who is there, to agents."""
        self._inbox = True
        hub.join_inbox(self._owner, self.listener)
        self._arrive()
        return self._inbox_opening()

    def _inbox_opening(self) -> Iterator[Event]:
        if self.session.is_admin:
            for person, places in caretaker.known():
                yield _presence(person, online=True, chat_id=_one_of(places))

    def _arrive(self) -> None:
        if self.is_present:
            caretaker.wake()

    def start(self, first: Event, opening: Iterator[Event]) -> None:
        """Queue an event and what a subscription opens with, for whoever reads the feed."""
        self.listener.put(Event("opening", {"events": itertools.chain([first], opening)}))

    def tell(self, event: Event) -> None:
        """Queue an event for this feed alone."""
        self.listener.put(event)

    def next(self, timeout: float = HEARTBEAT_SECONDS) -> Iterator[Event]:
        """Wait for the next event and yield it with what is missing before it, if anything.

        Yields nothing when the time has passed, or when the event was told before. The
        last event is `end`.
        """
        event = self.listener.get(timeout)
        if event is not None:
            yield from self.guarded(self._tell(event))

    def guarded(self, events: Iterable[Event]) -> Iterator[Event]:
        """Yield events up to the end of the feed, which may come in between.

        When the database goes away, the feed ends.
        """
        try:
            for event in events:
                if self.listener.end is not None:
                    break
                yield event
        except PyMongoError as error:
            log.info("stream_interrupted", exc_info=error)
            self.listener.close("restarting", 2)
        end = self.listener.end
        if end is not None and not self.is_finished:
            self.is_finished = True
            yield end

    def _tell(self, event: Event) -> Iterator[Event]:
        if event.name == "opening":
            yield from event.data["events"]
        elif event.name == "presence":
            yield event
        elif event.name == "message":
            yield from self._tell_message(event)
        elif event.name in {"chat", "read", "typing", "deleted"}:
            chat_id = event.data["_id" if event.name == "chat" else "chatId"]
            told = self._told.get(chat_id)
            if told is None:
                if self._inbox:
                    yield from self._tell_outside(event)
            elif told.is_open:
                yield from self._tell_inside(event, told)
        else:
            yield event

    def _tell_outside(self, event: Event) -> Iterator[Event]:
        """Tell of a chat that is only in the inbox."""
        if event.name != "read" and not self._is_own(event):
            yield event

    def _tell_inside(self, event: Event, told: _Told) -> Iterator[Event]:
        """Tell of a chat that is subscribed to, what was told before excepted."""
        if event.name == "chat":
            if event.data["version"] > told.version:
                yield from self._until(event.data, told)
                for side, seq in event.data["readSeq"].items():
                    if seq > told.read[side]:
                        told.read[side] = seq
                        yield reading(event.data, side)
                told.version = event.data["version"]
                yield event
        elif event.name == "read":
            if event.data["seq"] > told.read[event.data["readerRole"]]:
                told.read[event.data["readerRole"]] = event.data["seq"]
                yield event
        elif event.name == "deleted" and event.data.get("seq") is None:
            yield from self._deleted(event)
        elif not self._is_own(event):
            yield event

    def _tell_message(self, event: Event) -> Iterator[Event]:
        told = self._told.get(event.data["message"]["chatId"])
        if told is None or not told.is_open or event.seq is None or event.seq <= told.seq:
            return
        yield from self._until(event.data["chat"], told, event.seq - 1)
        if self._is_in(event.data["chat"], told):
            told.seq = event.seq
            yield event

    def _until(self, chat: Document, told: _Told, last: int | None = None) -> Iterator[Event]:
        """Yield what the history holds beyond what was told, up to a seq."""
        last = chat["lastSeq"] if last is None else last
        while told.seq < last and self._is_in(chat, told):
            upper = min(told.seq + CATCH_UP_PAGE, last)
            for row in stored_messages.between(chat["_id"], told.seq + 1, upper):
                if not self._is_in(chat, told):
                    return
                told.seq = row["seq"]
                yield Event("message", {"chat": chat, "message": row}, row["seq"])
            told.seq = upper

    def _is_in(self, chat: Document, told: _Told) -> bool:
        """Tell whether the chat was not left, or joined anew, in the meantime."""
        return self._told.get(chat["_id"]) is told

    def _deleted(self, event: Event) -> Iterator[Event]:
        self.unsubscribe(event.data["chatId"])
        yield event

    def _is_own(self, event: Event) -> bool:
        """Tell whether the caller types this: nobody needs to be told of themselves."""
        return event.name == "typing" and bool(event.data["senderId"] == self.session.user_id)

    @property
    def listens(self) -> bool:
        """Tell whether it is subscribed to anything."""
        return bool(self._told or self._inbox)

    @property
    def chats(self) -> list[ObjectId]:
        """The chats it is subscribed to."""
        return list(self._told)

    @property
    def _owner(self) -> ObjectId | None:
        return None if self.session.is_admin else self.session.user_id

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Say that the block writes to the client, which may take as long as the client likes."""
        self.writing_since = time.monotonic()
        try:
            yield
        finally:
            self.writing_since = None

    def cut(self) -> None:
        """Break the connection off: whoever reads from it or writes to it goes on at once."""
        if self.link is not None:
            with contextlib.suppress(OSError):
                self.link.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Leave everything."""
        feeds.remove(self)
        for chat_id in self.chats:
            self.unsubscribe(chat_id)
        if self._inbox:
            self._inbox = False
            hub.leave_inbox(self._owner, self.listener)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def wait_for_messages(
    session: Session, address: str, chat_id: object, after: int, limit: int, seconds: float
) -> tuple[Document, list[Document]]:
    """Return the chat and messages after a seq, waiting until there are any or time is up.

    Raises ChatNotFound, NotYourChat, SessionExpired when it ends while waiting.
    """
    chat, found = messages.history(session, chat_id, after=after, limit=limit)
    if found or seconds <= 0:
        return chat, found
    end = time.monotonic() + seconds
    with Feed(session, address, is_present=False) as feed:
        arrived = _has_message(feed.guarded(feed.subscribe(chat_id, after)))
        while not arrived and feed.listens and not feed.is_finished:
            left = end - time.monotonic()
            if left <= 0:
                break
            arrived = _has_message(feed.next(left))
        if feed.listener.end is not None and feed.listener.end.data["code"] == "session_ended":
            raise errors.SessionExpired
    return messages.history(session, chat_id, after=after, limit=limit)


def _has_message(events: Iterator[Event]) -> bool:
    return any(event.name == "message" for event in events)


def typing(session: Session, chat_id: object) -> None:
    """Tell the chat's other listeners that somebody types. Nothing of it is kept.

    Raises ChatNotFound, NotYourChat, ChatClosed.
    """
    chat = access_chat(session, chat_id)
    if not chat["isOpen"]:
        raise errors.ChatClosed(chatStatus=chat["status"])
    presence.signal(
        "typing",
        chatId=chat["_id"],
        userId=chat["userId"],
        senderId=session.user_id,
        senderName=session.name,
        senderRole=session.role,
    )


def shutdown() -> None:
    """Tell every client to come again elsewhere: this process is about to end."""
    feeds.ending = True
    open_feeds = feeds.all()
    for number, feed in enumerate(open_feeds):
        # Spread over two seconds, so that they do not all come back in one moment.
        feed.listener.close("restarting", 0.2 + 2 * number / len(open_feeds))


def state() -> dict[str, Any]:
    """Return how real time does in this process, for whoever watches."""
    open_feeds = feeds.all()
    return {
        "process": PROCESS[:8],
        "streams": len(open_feeds),
        "accounts": len({feed.session.user_id for feed in open_feeds}),
        "longestQueue": max((feed.listener.backlog for feed in open_feeds), default=0),
        **tail.state(),
    }


Place = tuple[ObjectId, ObjectId | None]


class Caretaker:
    """Every few seconds: ends the feeds of sessions that are over and of clients that are
    gone, and keeps presence. An agent who comes is made known at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._cared_at = 0.0
        self._suspects: set[object] = set()
        self._beginnings = 0
        self._mine: dict[Place, Document] = {}
        self._known: dict[ObjectId, tuple[Document, set[ObjectId]]] = {}

    def ensure_running(self) -> None:
        """Start if nobody takes care yet."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                # A context of its own: this is not a part of the request that started it.
                run = contextvars.Context().run
                self._thread = threading.Thread(
                    target=run, args=(self._run,), name="caretaker", daemon=True
                )
                self._thread.start()

    def known(self) -> list[tuple[Document, set[ObjectId]]]:
        """Return who is there and the chats they look at, as far as it was told of yet."""
        return list(self._known.values())

    def wake(self) -> None:
        """Look at once who is there."""
        self._wake.set()

    def suspect(self, key: object) -> None:
        """Look at once whether this session, or this user's sessions, may go on."""
        self._suspects.add(key)
        self._wake.set()

    def _run(self) -> None:
        self._cared_at = time.monotonic()
        self._wake.set()  # The first look is at once.
        while not self._may_end():
            self._wake.wait(max(0.0, self._cared_at + CARE_SECONDS - time.monotonic()))
            self._wake.clear()
            self._attempt(self._care)
            # Many who come together are made known together.
            time.sleep(0.1)

    def _may_end(self) -> bool:
        with self._lock:
            if len(feeds) or self._mine:
                return False
            self._thread, self._known = None, {}
            return True

    def _care(self) -> None:
        open_feeds = feeds.all()
        is_due = time.monotonic() - self._cared_at >= CARE_SECONDS
        if is_due:
            self._cared_at = time.monotonic()
            end_the_gone(open_feeds)
            end_the_stuck(open_feeds)
        self._attempt(self._check_sessions, open_feeds, is_due)
        self._attempt(self._keep_presence, open_feeds, is_due)

    def _check_sessions(self, open_feeds: list[Feed], is_due: bool) -> None:
        """Look at the sessions that the database tells of, at those that run out, and, now
        and then or where nobody tells of any, at all."""
        suspects, self._suspects = self._suspects, set()
        beginnings = signed_in.beginnings
        everybody = is_due and (not signed_in.is_told or beginnings != self._beginnings)
        now, moment = clock.now(), time.monotonic()
        doubtful = [
            feed
            for feed in open_feeds
            if everybody
            or feed.session.id in suspects
            or feed.session.user_id in suspects
            or (is_due and feed.session.expires_at <= now)
            or (is_due and moment - feed.checked_at > SWEEP_SECONDS)
        ]
        try:
            for start in range(0, len(doubtful), SESSIONS_AT_ONCE):
                end_the_unauthorised(doubtful[start : start + SESSIONS_AT_ONCE])
        except PyMongoError:
            self._suspects |= suspects
            raise
        if everybody:
            self._beginnings = beginnings

    def _attempt(self, work: Callable[..., None], *arguments: Any) -> None:
        try:
            work(*arguments)
        except PyMongoError as error:
            # The tail speaks of a database that is away; it need not be said every second.
            log.info("caretaker_interrupted", exc_info=error)
        except Exception as error:
            log.exception("caretaker_failed", exc_info=error)

    def _keep_presence(self, open_feeds: list[Feed], is_due: bool) -> None:
        mine = _people(open_feeds)
        came, left = mine.keys() - self._mine.keys(), self._mine.keys() - mine.keys()
        if left and not is_due:
            # A page that is loaded again is not gone: who leaves is missed a little later.
            mine |= {place: self._mine[place] for place in left}
            left = set()
        if mine and (is_due or came):
            presence.beat(PROCESS, list(mine.values()))
        elif left and not mine:
            presence.leave(PROCESS)
        self._mine = mine
        if came or left:
            presence.signal("presence")
        if open_feeds:
            self._tell_presence()

    def _tell_presence(self) -> None:
        now_here = {
            person["userId"]: (person, places)
            for person, places in _by_user(presence.here(clock.now() - _believable()))
        }
        before, self._known = self._known, now_here
        for user_id in before.keys() | now_here.keys():
            person, places = now_here.get(user_id) or (before[user_id][0], set())
            was_in = before[user_id][1] if user_id in before else set()
            online = user_id in now_here
            if was_in != places or online != (user_id in before):
                hub.present(_presence(person, online=online, chat_id=_one_of(places)), None)
            for chat_id in places - was_in:
                hub.present(_presence(person, online=True, chat_id=chat_id), chat_id)
            for chat_id in was_in - places:
                hub.present(_presence(person, online=online, chat_id=None), chat_id)


caretaker = Caretaker()
hub.on_presence = caretaker.wake
signed_in.on_change = caretaker.suspect


def end_the_unauthorised(open_feeds: list[Feed]) -> None:
    """End the feeds whose session is over, or whose user may not do the same any more."""
    roles = sessions.live_roles({feed.session.id for feed in open_feeds}, clock.now())
    for feed in open_feeds:
        feed.checked_at = time.monotonic()
        role = roles.get(feed.session.id)
        if role is None:
            feed.listener.close("session_ended", 0)
        elif role != feed.session.role:
            feed.listener.close("forbidden", 1)


def end_the_gone(open_feeds: list[Feed]) -> None:
    """End the feeds whose client has closed its side of the connection."""
    # The real one: it looks and does not wait, for all of them in one call.
    poll = get_original("select", "poll")()
    by_number = {}
    for feed in open_feeds:
        number = feed.link.fileno() if feed.link is not None else -1
        if number >= 0:
            by_number[number] = feed
            poll.register(number, getattr(select, "POLLRDHUP", 0))
    if not by_number:
        return
    for number, _ in poll.poll(0):
        by_number[number].listener.close("closed", 0)
        by_number[number].cut()


def end_the_stuck(open_feeds: list[Feed]) -> None:
    """Cut off the clients that have stopped reading."""
    longest_since = time.monotonic() - STUCK_SECONDS
    for feed in open_feeds:
        if feed.writing_since is not None and feed.writing_since < longest_since:
            feed.listener.close("too_slow", 0)
            feed.cut()


def _people(open_feeds: list[Feed]) -> dict[Place, Document]:
    """Return the agents who are connected here, each with each chat they look at."""
    nowhere: list[ObjectId | None] = [None]
    return {
        (feed.session.user_id, chat_id): {
            "userId": feed.session.user_id,
            "name": feed.session.name,
            "role": feed.session.role,
            "chatId": chat_id,
        }
        for feed in open_feeds
        if feed.is_present and feed.listener.end is None
        for chat_id in feed.chats or nowhere
    }


def _by_user(people: list[Document]) -> Iterator[tuple[Document, set[ObjectId]]]:
    """Yield everybody once, with the chats they look at."""
    places: dict[ObjectId, set[ObjectId]] = {}
    persons = {}
    for person in people:
        persons[person["userId"]] = person
        places.setdefault(person["userId"], set()).update(
            [person["chatId"]] if person["chatId"] else []
        )
    for user_id, person in persons.items():
        yield person, places[user_id]


def _one_of(places: set[ObjectId]) -> ObjectId | None:
    """Return the one chat to show where there is room for one: the newest."""
    return max(places, default=None)


def _presence(person: Document, *, online: bool, chat_id: ObjectId | None) -> Event:
    data = {name: person[name] for name in ("userId", "name", "role")}
    return Event("presence", data | {"online": online, "chatId": chat_id})


def _believable() -> timedelta:
    return timedelta(seconds=PRESENCE_SECONDS)
