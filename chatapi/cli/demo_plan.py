"""The plan of the demo's conversations: between whom and when.

Nothing here touches the database. `plan` is the same for the same moment, on every machine,
so a screenshot can be taken again.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from chatapi.cli import demo_people
from chatapi.cli.demo_details import Details
from chatapi.cli.demo_people import People, Person, read_data
from chatapi.domain.enums import PRIORITIES, Priority

DAYS = 30
CLOSED_CHATS = 100
OPEN_CHATS = 48
LONG_CHAT_MESSAGES = 1500
THE_LONG_CHAT = "the long chat"

_PRIORITY_WEIGHTS = (15, 60, 18, 7)


@dataclass(frozen=True)
class PlannedMessage:
    """One message. `speaker` is "user", "admin" (who the chat is assigned to) or "other"."""

    at: datetime
    speaker: str
    text: str


@dataclass(frozen=True)
class PlannedChat:
    """A planned chat: `owner`, `agent` and `other` are e-mails.

    read_by_agents, read_by_user -- the seq up to which each side has read.
    ended -- when it got its status, for a chat that is not open.
    """

    owner: str
    subject: str
    category: str
    priority: Priority
    lines: tuple[PlannedMessage, ...]
    status: str
    agent: str | None
    other: str
    read_by_agents: int
    read_by_user: int
    ended: datetime | None = None


def plan(now: datetime) -> list[PlannedChat]:
    """Return the demo's chats, the long one and then the others by their first message.

    Each owner has at most one open chat, and none of their chats begins before the one
    before it has ended. No time lies after `now`.
    """
    planner = _Planner(now, demo_people.people())
    chats = [*planner.closed_chats(), *planner.open_chats()]
    return [planner.long_chat(), *sorted(chats, key=lambda chat: chat.lines[0].at)]


class _Planner:
    """Assigns dialogues to users and fills in the details."""

    def __init__(self, now: datetime, everybody: People) -> None:
        self.now = now
        self.random = random.Random(2026)  # noqa: S311 - the same demo everywhere
        self.people = everybody
        self.details = Details(self.random, now)
        self.customers = [
            person for person in (*everybody.users, *everybody.guests) if person.keeps is None
        ]
        self.free_from = dict.fromkeys(
            (person.email for person in self.customers), now - timedelta(days=DAYS + 1)
        )
        self.had: set[tuple[str, str]] = set()
        self.deck = self._deal(read_data("demo_dialogues.json"))

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
        """Return the one chat that lasts a month: the logbook of a pilot."""
        found = read_data("demo_long_chat.json")
        owner = next(person for person in self.people.users if person.keeps == THE_LONG_CHAT)
        agent = self.people.agents[0]
        details = self.details.of_chat(owner, agent)
        spoken = [line.format(**details) for line in found["opening"]]
        while len(spoken) < LONG_CHAT_MESSAGES:
            exchange = self.random.choice(found["exchanges"])
            details = self.details.measurements(found["plants"])
            spoken += [line.format(**details) for line in exchange]
        del spoken[LONG_CHAT_MESSAGES:]
        begin = self.now - timedelta(days=DAYS - 1)
        step = (self.now - timedelta(minutes=2) - begin) / len(spoken)
        lines = []
        for number, line in enumerate(spoken):
            speaker, text = _split(line)
            at = begin + step * number + step * self.random.random() * 0.8
            lines.append(PlannedMessage(at, speaker, text))
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
        self, dialogue: dict[str, Any], begin: datetime, only_emails: set[str] | None = None
    ) -> Person:
        """Choose a customer who writes the dialogue's language and has no open chat by then."""
        language = dialogue.get("lang")
        speakers = [
            person
            for person in self.customers
            if (only_emails is None or person.email in only_emails)
            and (language in person.languages if language else not person.languages)
        ]
        # Customers who write another language also write English, if no others are left.
        everybody = [p for p in self.customers if only_emails is None or p.email in only_emails]
        for candidates in (speakers, everybody):
            free = [p for p in candidates if self.free_from[p.email] <= begin]
            fresh = [p for p in free if (p.email, dialogue["subject"]) not in self.had]
            if fresh:
                owner = self.random.choice(fresh)
                self.had.add((owner.email, dialogue["subject"]))
                return owner
        raise ValueError("The demo has too few people for its chats.")

    def _kept(self, spoken: list[str]) -> int:
        """Return the number of messages of an open chat; often no agent has replied yet."""
        if self.random.random() < 0.3:
            return next(n for n, line in enumerate(spoken) if not line.startswith("user: "))
        return self.random.randint(1, len(spoken))

    def _fill(self, dialogue: dict[str, Any], owner: Person, kept: int) -> PlannedChat:
        """Return a chat with its details filled in; the times are still to come."""
        language = dialogue.get("lang")
        agents = [a for a in self.people.agents if not language or language in a.languages]
        agent = self.random.choice(agents or self.people.agents)
        other = self.random.choice([a for a in self.people.agents if a is not agent])
        details = self.details.of_chat(owner, agent)
        lines = [
            PlannedMessage(self.now, *_split(line.format(**details)))
            for line in dialogue["messages"][:kept]
        ]
        answered = any(line.speaker != "user" for line in lines)
        assigned = self.random.random() < (0.95 if answered else 0.25)
        return PlannedChat(
            owner=owner.email,
            subject=dialogue["subject"].format(**details),
            category=dialogue["category"],
            priority=dialogue.get("priority")
            or self.random.choices(PRIORITIES, _PRIORITY_WEIGHTS)[0],
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


def _split(line: str) -> tuple[str, str]:
    speaker, _, text = line.partition(": ")
    return speaker, text
