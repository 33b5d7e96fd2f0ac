"""Streams: what somebody may hear, from the first snapshot to the last event.

A feed joins the hub first, then reads, and then drops what it has told already; whatever
is missing between two messages it reads from the history. So a client gets every message
once and in order, whatever the hub did. A feed never tells what a GET would refuse: it is
let in through the same door, and a caretaker ends it when its session ends.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

import structlog
from bson import ObjectId
from pymongo.errors import PyMongoError

from chatapi import clock, errors
from chatapi.realtime.hub import Event, Listener, hub
from chatapi.realtime.tail import tail
from chatapi.services import messages
from chatapi.services.access import access_chat
from chatapi.services.accounts import Session
from chatapi.store import messages as stored_messages
from chatapi.store import presence, sessions
from chatapi.store.database import Document

log = structlog.get_logger("chat.streams")

HEARTBEAT_SECONDS = 15.0
CATCH_UP_PAGE = 200
CARE_SECONDS = 3.0
PRESENCE_SECONDS = 12.0
PROCESS = uuid.uuid4().hex[:12]


@dataclass
class Caps:
    """How many streams one account and one address may have open in one process."""

    account: int = 30
    address: int = 300


caps = Caps()
feeds: set[Feed] = set()
_lock = threading.Lock()


class Feed:
    """One connection's streams. Close it, or use it in a `with` block.

    Raises TooManyRequests when the account or the address has too many already.
    """

    def __init__(self, session: Session, address: str) -> None:
        self.session, self.address = session, address
        self.listener = Listener()
        self._told: dict[ObjectId, _Told] = {}
        self._inbox = False
        self.is_finished = False
        with _lock:
            accounts_open = Counter(feed.session.user_id for feed in feeds)
            addresses_open = Counter(feed.address for feed in feeds)
            if (
                accounts_open[session.user_id] >= caps.account
                or addresses_open[address] >= caps.address
            ):
                raise errors.TooManyRequests("Too many streams are open.", retryAfter=5)
            feeds.add(self)
        caretaker.ensure_running()

    def subscribe(self, chat_id: object, after: int | None = None) -> Iterator[Event]:
        """Join a chat; yield its state, who looks at it, and every message after a seq.

        after -- None: only what is written from now on. Raises ChatNotFound, NotYourChat.
        """
        key = access_chat(self.session, chat_id)["_id"]
        hub.join_chat(key, self.listener)
        try:
            chat = access_chat(self.session, key)
        except errors.ChatError:
            hub.leave_chat(key, self.listener)
            raise
        hub.begin(chat)
        told = self._told[key] = _Told(chat["version"], chat["lastSeq"] if after is None else after)
        return self._opening(chat, told)

    def _opening(self, chat: Document, told: _Told) -> Iterator[Event]:
        yield Event("chat", chat)
        yield from self._until(chat, told)
        for beat in presence.looking_at(chat["_id"], clock.now() - _believable()):
            yield _presence(beat, online=True, chat_id=chat["_id"])
        self.beat(chat["_id"])

    def unsubscribe(self, chat_id: ObjectId) -> None:
        """Leave a chat."""
        hub.leave_chat(chat_id, self.listener)
        if self._told.pop(chat_id, None) is not None and self.session.is_admin:
            _quietly(presence.leave, [self._key(chat_id)])

    def subscribe_inbox(self) -> Iterator[Event]:
        """Join the caller's inbox: an agent's is every chat. Yields who is there, to agents."""
        owner = None if self.session.is_admin else self.session.user_id
        hub.join_inbox(owner, self.listener)
        self._inbox = True
        if self.session.is_admin:
            self.beat(None)
            for beat in presence.here(clock.now() - _believable()):
                yield _presence(beat, online=True, chat_id=beat["chatId"])

    def next(self, timeout: float = HEARTBEAT_SECONDS) -> Iterator[Event]:
        """Wait for the next event and yield it with what is missing before it, if anything.

        Yields nothing when the time has passed, or when the event was told before. The
        last event is `end`.
        """
        event = self.listener.get(timeout)
        if event is not None:
            yield from self.guarded(self._tell(event))

    def guarded(self, events: Iterator[Event]) -> Iterator[Event]:
        """Yield events; when the database goes away in between, the last one is `end`."""
        try:
            for event in events:
                self.is_finished = event.name == "end"
                yield event
        except PyMongoError as error:
            log.warning("stream_interrupted", exc_info=error)
            self.listener.close("restarting", 2)
            self.is_finished = True
            if self.listener.end is not None:
                yield self.listener.end

    def _tell(self, event: Event) -> Iterator[Event]:
        if event.name == "message":
            told = self._told.get(event.data["message"]["chatId"])
            if told is None or event.seq is None or event.seq <= told.seq:
                return
            if event.seq > told.seq + 1:
                yield from self._until(event.data["chat"], told, event.seq - 1)
            told.seq = event.seq
            yield event
        elif event.name == "chat":
            told = self._told.get(event.data["_id"])
            if told is not None:
                if event.data["version"] <= told.version:
                    return
                yield from self._until(event.data, told)
                told.version = event.data["version"]
            yield event
        else:
            yield event
            if event.name == "deleted" and event.data.get("seq") is None:
                self.unsubscribe(event.data["chatId"])

    def _until(self, chat: Document, told: _Told, last: int | None = None) -> Iterator[Event]:
        """Yield what the history holds beyond what was told, up to a seq."""
        last = chat["lastSeq"] if last is None else last
        while told.seq < last:
            upper = min(told.seq + CATCH_UP_PAGE, last)
            for row in stored_messages.between(chat["_id"], told.seq + 1, upper):
                yield Event("message", {"chat": chat, "message": row}, row["seq"])
            told.seq = upper

    @property
    def listens(self) -> bool:
        """Tell whether it is subscribed to anything."""
        return bool(self._told or self._inbox)

    def looks_at(self) -> list[ObjectId | None]:
        """Return what its presence says: the chats it is subscribed to, or None for none."""
        return [*self._told] or [None]

    def beat(self, chat_id: ObjectId | None) -> None:
        """Say that an agent is here, and which chat they look at."""
        if self.session.is_admin:
            _quietly(presence.beat, self._key(chat_id), beat_of(self.session, chat_id))

    def _key(self, chat_id: ObjectId | None) -> str:
        return f"{PROCESS}:{self.session.user_id}:{chat_id or ''}"

    def close(self) -> None:
        """Leave everything."""
        with _lock:
            feeds.discard(self)
            others = [feed for feed in feeds if feed.session.user_id == self.session.user_id]
        for chat_id in list(self._told):
            hub.leave_chat(chat_id, self.listener)
        if self._inbox:
            hub.leave_inbox(None if self.session.is_admin else self.session.user_id, self.listener)
        if self.session.is_admin:
            kept = {chat_id for feed in others for chat_id in feed.looks_at()}
            gone = [self._key(chat_id) for chat_id in self.looks_at() if chat_id not in kept]
            _quietly(presence.leave, gone)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass
class _Told:
    """How far a client has been told of a chat."""

    version: int
    seq: int


def beat_of(session: Session, chat_id: ObjectId | None) -> Document:
    """Return the presence document of somebody who is here now."""
    now = clock.now()
    return {
        "userId": session.user_id,
        "name": session.name,
        "role": session.role,
        "chatId": chat_id,
        "seenAt": now,
        "expiresAt": now + timedelta(seconds=presence.SIGNAL_SECONDS),
    }


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
    with Feed(session, address) as feed:
        arrived = any(event.name == "message" for event in feed.subscribe(chat_id, after))
        while not arrived and (left := end - time.monotonic()) > 0:
            for event in feed.next(left):
                if event.name == "end":
                    if event.data["code"] == "session_ended":
                        raise errors.SessionExpired
                    left = 0
                arrived = arrived or event.name == "message"
            if feed.is_finished:
                break
    return messages.history(session, chat_id, after=after, limit=limit)


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
    caretaker.stop()
    with _lock:
        open_feeds = list(feeds)
    for number, feed in enumerate(open_feeds):
        # Spread over two seconds, so that they do not all come back in one moment.
        feed.listener.close("restarting", 0.2 + 2 * number / len(open_feeds))


def state() -> dict[str, Any]:
    """Return how real time does in this process, for whoever watches."""
    return {"streams": len(feeds), "tail": tail.state()}


class Caretaker:
    """Every few seconds: ends the feeds of sessions that are over, and keeps presence."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._here: dict[tuple[ObjectId, ObjectId | None], Document] = {}

    def ensure_running(self) -> None:
        """Start if nobody takes care yet."""
        with _lock:
            if self._thread is None or not self._thread.is_alive():
                self._stopped.clear()
                self._thread = threading.Thread(target=self._run, name="caretaker", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Stop; for a process that ends."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(CARE_SECONDS):
            with _lock:
                open_feeds = list(feeds)
                if not open_feeds:
                    self._thread = None
                    self._here = {}
                    return
            try:
                end_the_unauthorised(open_feeds)
                self._keep_presence(open_feeds)
            except Exception as error:
                log.warning("caretaker_interrupted", exc_info=error)

    def _keep_presence(self, open_feeds: list[Feed]) -> None:
        for feed in open_feeds:
            for chat_id in feed.looks_at():
                feed.beat(chat_id)
        now_here = {
            (beat["userId"], beat["chatId"]): beat
            for beat in presence.here(clock.now() - _believable())
        }
        online = {user_id for user_id, _ in now_here}
        for key in now_here.keys() - self._here.keys():
            hub.present(_presence(now_here[key], online=True, chat_id=key[1]), key[1])
        for key in self._here.keys() - now_here.keys():
            gone = _presence(self._here[key], online=key[0] in online, chat_id=None)
            hub.present(gone, key[1])
        self._here = now_here


caretaker = Caretaker()


def end_the_unauthorised(open_feeds: list[Feed]) -> None:
    """End the feeds whose session is over, or whose user may not do the same any more."""
    roles = sessions.live_roles({feed.session.id for feed in open_feeds}, clock.now())
    for feed in open_feeds:
        role = roles.get(feed.session.id)
        if role is None:
            feed.listener.close("session_ended", 0)
        elif role != feed.session.role:
            feed.listener.close("forbidden", 1)


def _presence(beat: Document, *, online: bool, chat_id: ObjectId | None) -> Event:
    data = {name: beat[name] for name in ("userId", "name", "role")}
    return Event("presence", data | {"online": online, "chatId": chat_id})


def _believable() -> timedelta:
    return timedelta(seconds=PRESENCE_SECONDS)


def _quietly(work: Any, *arguments: Any) -> None:
    """Do what nobody must fail for."""
    try:
        work(*arguments)
    except PyMongoError as error:
        log.info("presence_not_kept", exc_info=error)
