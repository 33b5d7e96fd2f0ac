"""What the demo shows: people and conversations of a made-up shop for indoor gardens.

Nothing here touches the database. `plan` is the same for the same moment, on every machine,
so a screenshot can be taken again.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

DAYS = 30
CLOSED_CHATS = 100
OPEN_CHATS = 48
LONG_CHAT_MESSAGES = 1500
THE_LONG_CHAT = "the long chat"

_DATA = Path(__file__).parent / "data"
_CITIES = [
    "Basel",
    "Bergen",
    "Cork",
    "Gdańsk",
    "Ghent",
    "Izmir",
    "Leeds",
    "Lyon",
    "Porto",
    "Tampere",
    "Trieste",
    "Utrecht",
    "Valencia",
]
_PLANTERS = ("Fernhill One", "Fernhill Mini", "Fernhill Trio", "Fernhill Shelf")
_WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
_STREETS = ("Kanalweg 12", "14 Orchard Lane", "Rua das Flores 8", "Plaza Mayor 3", "Torvet 21")
_PRIORITIES = ("low", "medium", "high", "urgent")
_PRIORITY_WEIGHTS = (15, 60, 18, 7)


@dataclass(frozen=True)
class Person:
    """Somebody in the demo. `languages` are those besides English that they write."""

    name: str
    email: str
    called: str
    languages: tuple[str, ...] = ()
    keeps: str | None = None


@dataclass(frozen=True)
class People:
    admin: Person
    agents: tuple[Person, ...]
    users: tuple[Person, ...]
    guests: tuple[Person, ...]


@dataclass(frozen=True)
class Line:
    """One message. `speaker` is "user", "admin" (who the chat is assigned to) or "other"."""

    at: datetime
    speaker: str
    text: str


@dataclass(frozen=True)
class PlannedChat:
    """A chat as it shall be: `owner`, `agent` and `other` are e-mails.

    read_by_agents, read_by_user -- the seq up to which each side has read.
    ended -- when it got its status, for a chat that is not open.
    """

    owner: str
    subject: str
    category: str
    priority: str
    lines: tuple[Line, ...]
    status: str
    agent: str | None
    other: str
    read_by_agents: int
    read_by_user: int
    ended: datetime | None = None


def people() -> People:
    """Return everybody in the demo."""
    found = _read("demo_people.json")
    return People(
        admin=_person(found["admin"]),
        agents=tuple(_person(row) for row in found["agents"]),
        users=tuple(_person(row) for row in found["users"]),
        guests=tuple(_person(row) for row in found["guests"]),
    )


def plan(now: datetime) -> list[PlannedChat]:
    """Return the demo's chats, the long one and then the others by their first message.

    Each owner has at most one open chat, and none of their chats begins before the one
    before it has ended. No time lies after `now`.
    """
    planner = _Planner(now, people())
    chats = [*planner.closed_chats(), *planner.open_chats()]
    return [planner.long_chat(), *sorted(chats, key=lambda chat: chat.lines[0].at)]


class _Planner:
    """Deals dialogues out to people and fills in the details."""

    def __init__(self, now: datetime, everybody: People) -> None:
        self.now = now
        self.random = random.Random(2026)  # noqa: S311 - the same demo everywhere
        self.people = everybody
        self.customers = [
            person for person in (*everybody.users, *everybody.guests) if person.keeps is None
        ]
        self.free_from = dict.fromkeys(
            (person.email for person in self.customers), now - timedelta(days=DAYS + 1)
        )
        self.had: set[tuple[str, str]] = set()
        self.deck = self._deal(_read("demo_dialogues.json"))

    def _deal(self, dialogues: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield every dialogue once before any comes a second time."""
        while True:
            shuffled = list(dialogues)
            self.random.shuffle(shuffled)
            yield from shuffled

    def closed_chats(self) -> Iterator[PlannedChat]:
        begins = sorted(self._working_hour(3, DAYS) for _ in range(CLOSED_CHATS))
        for begin in begins:
            dialogue = next(self.deck)
            owner = self._owner(dialogue, begin)
            chat = self._fill(dialogue, owner, len(dialogue["messages"]))
            times = self._times_from(begin, chat)
            ended = times[-1] + timedelta(minutes=self.random.randint(3, 400))
            status = "closed"
            if ended < self.now - timedelta(days=12) and self.random.random() < 0.55:
                status = "archived"
                ended += timedelta(days=self.random.randint(5, 8))
            self.free_from[owner.email] = ended + timedelta(hours=1)
            yield self._timed(chat, times, status, ended)

    def open_chats(self) -> Iterator[PlannedChat]:
        waiting = {person.email for person in self.customers}
        for number in range(OPEN_CHATS):
            # The first ones were written to minutes ago, the last ones days ago.
            last = self.now - timedelta(minutes=1 + self.random.random() * 1.35 * number**2)
            dialogue = next(self.deck)
            owner = self._owner(dialogue, last - timedelta(hours=20), waiting)
            waiting.discard(owner.email)
            kept = self._kept(dialogue["messages"])
            chat = self._fill(dialogue, owner, kept)
            times = self._times_until(last, chat, self.free_from[owner.email])
            pending = 0.6 if chat.lines[-1].speaker != "user" else 0.15
            status = "pending" if self.random.random() < pending else "active"
            yield self._timed(chat, times, status, None)

    def long_chat(self) -> PlannedChat:
        """Return the one chat that goes on for a month: the logbook of a pilot."""
        found = _read("demo_long_chat.json")
        owner = next(person for person in self.people.users if person.keeps == THE_LONG_CHAT)
        agent = self.people.agents[0]
        details = self._details(owner, agent)
        spoken = [line.format(**details) for line in found["opening"]]
        while len(spoken) < LONG_CHAT_MESSAGES:
            exchange = self.random.choice(found["exchanges"])
            details = self._measurements(found["plants"])
            spoken += [line.format(**details) for line in exchange]
        del spoken[LONG_CHAT_MESSAGES:]
        begin = self.now - timedelta(days=DAYS - 1)
        step = (self.now - timedelta(minutes=2) - begin) / len(spoken)
        lines = []
        for number, line in enumerate(spoken):
            speaker, text = _split(line)
            at = begin + step * number + step * self.random.random() * 0.8
            lines.append(Line(at, speaker, text))
        return PlannedChat(
            owner=owner.email,
            subject=found["subject"],
            category=found["category"],
            priority=found["priority"],
            lines=tuple(lines),
            status="active",
            agent=agent.email,
            other=self.people.agents[1].email,
            read_by_agents=len(lines) - 4,
            read_by_user=len(lines),
        )

    def _owner(
        self, dialogue: dict[str, Any], begin: datetime, among: set[str] | None = None
    ) -> Person:
        """Choose somebody who writes the dialogue's language and is free by then."""
        language = dialogue.get("lang")
        speakers = [
            person
            for person in self.customers
            if (among is None or person.email in among)
            and (language in person.languages if language else not person.languages)
        ]
        # Those who write another language write English, too, when nobody else is left.
        everybody = [p for p in self.customers if among is None or p.email in among]
        for candidates in (speakers, everybody):
            free = [p for p in candidates if self.free_from[p.email] <= begin]
            fresh = [p for p in free if (p.email, dialogue["subject"]) not in self.had]
            if fresh:
                owner = self.random.choice(fresh)
                self.had.add((owner.email, dialogue["subject"]))
                return owner
        raise ValueError("The demo has too few people for its chats.")

    def _kept(self, spoken: list[str]) -> int:
        """Return how far a chat that is still open has come: often nobody has answered yet."""
        if self.random.random() < 0.3:
            return next(n for n, line in enumerate(spoken) if not line.startswith("user: "))
        return self.random.randint(1, len(spoken))

    def _fill(self, dialogue: dict[str, Any], owner: Person, kept: int) -> PlannedChat:
        """Return a chat with its details filled in; the times are still to come."""
        language = dialogue.get("lang")
        agents = [a for a in self.people.agents if not language or language in a.languages]
        agent = self.random.choice(agents or self.people.agents)
        other = self.random.choice([a for a in self.people.agents if a is not agent])
        details = self._details(owner, agent)
        lines = [
            Line(self.now, *_split(line.format(**details))) for line in dialogue["messages"][:kept]
        ]
        answered = any(line.speaker != "user" for line in lines)
        assigned = self.random.random() < (0.95 if answered else 0.25)
        return PlannedChat(
            owner=owner.email,
            subject=dialogue["subject"].format(**details),
            category=dialogue["category"],
            priority=dialogue.get("priority")
            or self.random.choices(_PRIORITIES, _PRIORITY_WEIGHTS)[0],
            lines=tuple(lines),
            status="active",
            agent=agent.email if assigned else None,
            other=other.email,
            read_by_agents=0,
            read_by_user=0,
        )

    def _timed(
        self, chat: PlannedChat, times: Sequence[datetime], status: str, ended: datetime | None
    ) -> PlannedChat:
        """Return the chat with its times, its status, and how far each side has read."""
        lines = tuple(replace(line, at=at) for line, at in zip(chat.lines, times, strict=True))
        last = len(lines)
        by_user = lines[-1].speaker == "user"
        run = next(
            (n for n, line in enumerate(reversed(lines)) if (line.speaker == "user") != by_user),
            last,
        )
        unseen = self.random.random() < (0.08 if ended else 0.6)
        read_by_last_speaker, read_by_other = last, last - run if unseen else last
        return replace(
            chat,
            lines=lines,
            status=status,
            ended=ended,
            read_by_user=read_by_last_speaker if by_user else read_by_other,
            read_by_agents=read_by_other if by_user else read_by_last_speaker,
        )

    def _working_hour(self, newest: int, oldest: int) -> datetime:
        """Return a moment between so many days ago, at a time of day when people write."""
        day = self.now - timedelta(days=self.random.uniform(newest, oldest - 1))
        hour = min(22, max(6, round(self.random.gauss(13.5, 3.5))))
        return day.replace(
            hour=hour, minute=self.random.randint(0, 59), second=self.random.randint(0, 59)
        )

    def _gaps(self, chat: PlannedChat) -> list[timedelta]:
        """Return how long it takes from each message to the next."""
        gaps = []
        for before, line in zip(chat.lines, chat.lines[1:], strict=False):
            if before.speaker == line.speaker:
                seconds = self.random.uniform(8, 90)
            elif before is chat.lines[0]:
                seconds = self.random.uniform(60, 1500)
            else:
                seconds = self.random.uniform(25, 420)
            if self.random.random() < 0.07:
                seconds += self.random.uniform(1, 4) * 3600
            gaps.append(timedelta(seconds=seconds))
        return gaps

    def _times_from(self, begin: datetime, chat: PlannedChat) -> list[datetime]:
        times = [begin]
        for gap in self._gaps(chat):
            times.append(times[-1] + gap)
        return times

    def _times_until(self, last: datetime, chat: PlannedChat, earliest: datetime) -> list[datetime]:
        gaps = self._gaps(chat)
        room, needed = last - earliest, sum(gaps, timedelta())
        if needed > room:
            gaps = [gap * (room / needed) for gap in gaps]
        times = [last]
        for gap in reversed(gaps):
            times.append(times[-1] - gap)
        return times[::-1]

    def _details(self, owner: Person, agent: Person) -> dict[str, Any]:
        number = self.random.randint
        return {
            "name": owner.called,
            "email": owner.email,
            "agent": agent.called,
            "order": f"FH-{number(100000, 999999)}",
            "invoice": f"{self.now.year}-{number(10000, 99999)}",
            "tracking": f"FX{number(10**8, 10**9 - 1)}NL",
            "serial": f"{number(2, 9)}K{number(10, 99)}-{number(1000, 9999)}",
            "version": f"{number(3, 5)}.{number(0, 12)}.{number(0, 9)}",
            "amount": f"€{number(9, 249)}.{self.random.choice(('00', '50', '90', '95'))}",
            "count": number(12, 40),
            "product": self.random.choice(_PLANTERS),
            "city": self.random.choice(_CITIES),
            "street": self.random.choice(_STREETS),
            "day": self.random.choice(_WEEKDAYS),
        }

    def _measurements(self, plants: Sequence[str]) -> dict[str, Any]:
        number, exact = self.random.randint, self.random.uniform
        return {
            "shelf": f"{self.random.choice('ABCD')}{number(1, 6)}",
            "plant": self.random.choice(plants),
            "ph": f"{exact(5.6, 6.7):.1f}",
            "ec": f"{exact(1.1, 2.3):.2f}",
            "temp": f"{exact(17, 25):.1f}",
            "percent": number(31, 92),
            "small": number(2, 19),
            "litres": number(3, 38),
            "watt": number(4, 12) * 10,
            "grams": number(110, 990),
            "grams2": number(110, 990),
            "grams3": number(40, 300),
            "kwh": f"{exact(3, 7):.1f}",
            "count": number(6, 40),
            "batch": f"{self.random.choice('KLMNP')}-{number(10, 99)}",
            "time": f"{number(6, 21):02d}:{number(0, 59):02d}",
            "version": f"2.{number(0, 9)}.{number(0, 9)}",
            "serial": f"{number(2, 9)}K{number(10, 99)}-{number(1000, 9999)}",
            "day": self.random.choice(_WEEKDAYS),
            "db": number(28, 37),
        }


def _split(line: str) -> tuple[str, str]:
    speaker, _, text = line.partition(": ")
    return speaker, text


def _person(row: dict[str, Any]) -> Person:
    languages = [row["language"]] if "language" in row else row.get("languages", [])
    return Person(
        name=row["name"],
        email=row["email"],
        called=row.get("called") or row["name"].split()[0],
        languages=tuple(languages),
        keeps=row.get("keeps"),
    )


def _read(name: str) -> Any:
    return json.loads((_DATA / name).read_text(encoding="utf-8"))
