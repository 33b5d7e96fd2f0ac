"""Presence: the agents who are connected to any process, and the chats that they have open.

Each process stores a heartbeat with its connected agents every few seconds. An agent is online if a
heartbeat of the last seconds contains them, so the agents of a killed process go offline.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta

from bson import ObjectId

from chatapi.domain import clock
from chatapi.domain.documents import Person
from chatapi.domain.runtime import PerApp
from chatapi.realtime.hub import Event, hub
from chatapi.store import presence

PRESENCE_TTL = timedelta(seconds=9)

Place = tuple[ObjectId, ObjectId | None]  # a user, and a chat they look at


class Presence:
    """The agents of this process, and the presence that was published to its listeners.

    process -- the name under which an app of this process stores its agents.
    """

    def __init__(self) -> None:
        self.process = uuid.uuid4().hex
        self._local: dict[Place, Person] = {}
        self._published: dict[ObjectId, tuple[Person, set[ObjectId]]] = {}

    def online_agents(self) -> Iterator[Event]:
        """Yield the presence of the agents who are online, as published last."""
        for person, places in list(self._published.values()):
            yield _event(person, online=True, chat_id=_newest(places))

    def viewers_of(self, chat_id: ObjectId) -> Iterator[Event]:
        """Yield the presence of the agents who have a chat open, as published last."""
        for person, places in list(self._published.values()):
            if chat_id in places:
                yield _event(person, online=True, chat_id=chat_id)

    def update(self, local: dict[Place, Person], *, is_due: bool, has_listeners: bool) -> None:
        """Say who is connected here, and tell who has come and gone anywhere.

        is_due -- whether a heartbeat is due although no agent connected. has_listeners -- whether
        this process has listeners. Raises PyMongoError.
        """
        came, left = local.keys() - self._local.keys(), self._local.keys() - local.keys()
        if left and not is_due:
            # A page that is reloaded must not appear offline, so departures are delayed.
            local = local | {place: self._local[place] for place in left}
            left = set()
        if local and (is_due or came):
            presence.heartbeat(self.process, list(local.values()))
        elif left and not local:
            presence.clear(self.process)
        self._local = local
        if came or left:
            presence.emit("presence")
        if has_listeners:
            self._publish_changes()

    @property
    def is_empty(self) -> bool:
        """Return whether no agent is connected and the heartbeat was cleared."""
        return not self._local

    def reset(self) -> None:
        """Forget the published presence, when there is no listener."""
        self._published = {}

    def _publish_changes(self) -> None:
        now_here = {
            person["userId"]: (person, places)
            for person, places in _by_user(presence.online_since(clock.now() - PRESENCE_TTL))
        }
        before, self._published = self._published, now_here
        for user_id in before.keys() | now_here.keys():
            person, places = now_here.get(user_id) or (before[user_id][0], set())
            was_in = before[user_id][1] if user_id in before else set()
            online = user_id in now_here
            # A listener of a chat and the inbox gets the agent's current chat last.
            for chat_id in was_in - places:
                hub.current.publish_presence(_event(person, online=online, chat_id=None), chat_id)
            for chat_id in places - was_in:
                hub.current.publish_presence(_event(person, online=True, chat_id=chat_id), chat_id)
            if was_in != places or online != (user_id in before):
                event = _event(person, online=online, chat_id=_newest(places))
                hub.current.publish_presence(event, None)


def _by_user(people: list[Person]) -> Iterator[tuple[Person, set[ObjectId]]]:
    """Yield each agent once, with the chats that they have open."""
    places: dict[ObjectId, set[ObjectId]] = {}
    persons = {}
    for person in people:
        persons[person["userId"]] = person
        places.setdefault(person["userId"], set()).update(
            [person["chatId"]] if person["chatId"] else []
        )
    for user_id, person in persons.items():
        yield person, places[user_id]


def _newest(places: set[ObjectId]) -> ObjectId | None:
    """Return the newest chat, for where only one is shown."""
    return max(places, default=None)


def _event(person: Person, *, online: bool, chat_id: ObjectId | None) -> Event:
    data = {name: person[name] for name in ("userId", "name", "role")}
    return Event("presence", data | {"online": online, "chatId": chat_id})


presence_tracker = PerApp(Presence)
