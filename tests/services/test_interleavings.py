"""The commit protocol in every order of its database calls, up to a number of switches.

What `explore` cannot reach with two or three switches, nobody has thought of yet; the live
tests then add real threads, processes and kills.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import pytest
from pymongo.database import Database

from chatapi.domain import errors
from chatapi.domain.documents import Chat, ShownChat
from chatapi.domain.enums import Status
from chatapi.services import chats, messages, sessions, users
from chatapi.services.sessions import Session
from chatapi.store import chats as stored_chats
from chatapi.store.database import Document
from tests.consistency import assert_chat_is_consistent
from tests.documents import preview_of
from tests.services.conftest import new_session
from tests.services.schedule import Operation, Run, explore, pause_before_store_calls


@pytest.fixture(autouse=True, params=["one process", "processes that know little"])
def _switching(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let operations switch at store calls, in one process or each in one of its own.

    A process remembers chats as it last saw them. Here the others saw them when they were new.
    """
    if request.param != "one process":
        remembered: dict[Any, Chat] = {}
        insert = stored_chats.insert

        def remember(chat: Chat, terms: Sequence[str]) -> None:
            insert(chat, terms)
            remembered[chat["_id"]] = deepcopy(chat)

        monkeypatch.setattr(stored_chats, "insert", remember)
        monkeypatch.setattr(stored_chats, "last_seen", remembered.get)
    pause_before_store_calls(monkeypatch)


class World:
    """One user with one chat, and an agent."""

    def __init__(self, database: Database[Document]) -> None:
        self.database = database

    def begin(self, said: int = 0) -> None:
        """Start afresh with so many messages; the indexes stay."""
        for name in ("chatrooms", "chat_terms", "messages", "deletions"):
            self.database[name].delete_many({})
        self.user, self.agent = new_session("user"), new_session("admin")
        self.chat, _, _ = chats.create(self.user, "Help")
        self.id = self.chat["_id"]
        for number in range(said):
            messages.send(self.user, self.id, f"before {number}")

    def send(self, who: Session, text: str, key: str | None = None) -> Operation:
        return lambda: messages.send(who, self.id, text, key)

    def update(self, **changes: Any) -> Operation:
        return lambda: chats.update(self.agent, self.id, **changes)

    def history(self) -> list[Document]:
        return assert_chat_is_consistent(self.database, self.id)

    def now(self) -> ShownChat:
        chat, _ = chats.get(self.agent, self.id)
        return chat

    def sent(self, text: str) -> list[int]:
        """Return where in the history a text stands."""
        return [row["seq"] for row in self.history() if row["content"] == text]


def acknowledged(result: Any) -> Document | None:
    """Return the message that a send was answered with, None if it was refused or killed."""
    return result[0] if isinstance(result, tuple) else None


def test_two_senders_are_both_in_the_history_once(database: Database[Document]) -> None:
    here = World(database)

    def scenario() -> list[Operation]:
        here.begin()
        return [here.send(here.user, "a"), here.send(here.agent, "b")]

    def check(run: Run) -> None:
        for text, result in zip("ab", run.results, strict=True):
            message, created = result
            assert created
            assert here.sent(text) == [message["seq"]]
        assert len(here.history()) == 2

    assert explore(scenario, check, switches=3) > 4


def test_a_sender_killed_anywhere_stops_nobody_and_its_retry_stands_once(
    database: Database[Document],
) -> None:
    here = World(database)

    def scenario() -> list[Operation]:
        here.begin()
        return [here.send(here.user, "a", "key"), here.send(here.agent, "b")]

    def check(run: Run) -> None:
        here.history()
        if not run.killed[0]:
            assert here.sent("a") == [run.results[0][0]["seq"]]
        if not run.killed[1]:
            assert here.sent("b") == [run.results[1][0]["seq"]]
        again, _ = messages.send(here.user, here.id, "a", "key")
        assert here.sent("a") == [again["seq"]]
        after, created = messages.send(here.agent, here.id, "c")
        assert created
        assert here.sent("c") == [after["seq"]]

    assert explore(scenario, check, switches=2, kills=2) > 4


def test_the_same_key_three_times_at_once_is_one_message(database: Database[Document]) -> None:
    here = World(database)

    def scenario() -> list[Operation]:
        here.begin()
        return [here.send(here.user, "a", "key") for _ in range(3)]

    def check(run: Run) -> None:
        found = here.history()
        assert len(found) == 1
        assert {result[0]["_id"] for result in run.results} == {found[0]["_id"]}
        assert sum(created for _, created in run.results) <= 1

    assert explore(scenario, check, switches=2) > 4


def test_closing_against_sends_lets_nothing_in_afterwards(database: Database[Document]) -> None:
    here = World(database)

    def scenario() -> list[Operation]:
        here.begin()
        return [
            here.send(here.user, "a"),
            here.update(status="closed"),
            here.send(here.agent, "b"),
        ]

    def check(run: Run) -> None:
        closed, _ = run.results[1]
        found = here.history()
        assert len(found) == closed["lastSeq"]
        for text, result in (("a", run.results[0]), ("b", run.results[2])):
            if isinstance(result, errors.ChatClosed):
                assert here.sent(text) == []
            else:
                assert here.sent(text) == [result[0]["seq"]]

    assert explore(scenario, check, switches=2) > 4


def test_closing_and_reopening_against_sends_voids_what_was_under_way(
    database: Database[Document],
) -> None:
    here = World(database)
    closed_at: list[int] = []

    def close_and_reopen() -> Any:
        closed, _ = here.update(status="closed")()
        closed_at[:] = [closed["lastSeq"]]
        return here.update(status="active")()

    def scenario() -> list[Operation]:
        here.begin()
        return [here.send(here.user, "a", "key"), close_and_reopen, here.send(here.agent, "b")]

    def check(run: Run) -> None:
        found = here.history()
        for row in found:
            # What was written before the closing is not let in after the reopening.
            assert row["epoch"] == (0 if row["seq"] <= closed_at[0] else 1)
        for text, result in (("a", run.results[0]), ("b", run.results[2])):
            message = acknowledged(result)
            assert here.sent(text) == ([message["seq"]] if message else [])

    assert explore(scenario, check, switches=2) > 100


def test_a_sender_killed_around_a_closing_never_comes_back(database: Database[Document]) -> None:
    here = World(database)
    closed_at: list[int] = []

    def close_and_reopen() -> Any:
        closed, _ = here.update(status="closed")()
        closed_at[:] = [closed["lastSeq"]]
        return here.update(status="active")()

    def scenario() -> list[Operation]:
        closed_at.clear()
        here.begin()
        return [here.send(here.user, "a", "key"), close_and_reopen]

    def check(run: Run) -> None:
        if run.killed[1]:
            here.update(status="closed")()
            closed_at[:] = [here.now()["lastSeq"]]
            here.update(status="active")()
        after, _ = messages.send(here.agent, here.id, "b")
        assert here.sent("b") == [after["seq"]]
        again, _ = messages.send(here.user, here.id, "a", "key")
        assert here.sent("a") == [again["seq"]]
        for row in here.history():
            if closed_at and row["seq"] <= closed_at[0]:
                assert row["epoch"] == 0

    assert explore(scenario, check, switches=2, kills=1) > 4


def test_parallel_creations_leave_one_open_chat(database: Database[Document]) -> None:
    owner = new_session("user")

    def scenario() -> list[Operation]:
        database["chatrooms"].delete_many({})
        database["messages"].delete_many({})
        return [partial(chats.create, owner, "Help", message=f"m{number}") for number in range(3)]

    def check(run: Run) -> None:
        made = [result for result in run.results if isinstance(result, tuple)]
        refused = [result for result in run.results if isinstance(result, errors.ChatOpen)]
        assert (len(made), len(refused)) == (1, 2)
        chat, first, created = made[0]
        assert created
        assert {refusal.data["chatId"] for refusal in refused} == {str(chat["_id"])}
        history = assert_chat_is_consistent(database, chat["_id"])
        assert [row["_id"] for row in history] == [first[0]["_id"]]
        assert database["messages"].count_documents({}) == 1

    assert explore(scenario, check, switches=2) > 4


def test_the_same_creation_retried_at_once_is_one_chat(database: Database[Document]) -> None:
    owner = new_session("user")

    def scenario() -> list[Operation]:
        database["chatrooms"].delete_many({})
        database["messages"].delete_many({})
        return [
            lambda: chats.create(owner, "Help", message="m", client_message_id="key")
            for _ in range(3)
        ]

    def check(run: Run) -> None:
        assert sum(created for _, _, created in run.results) == 1
        assert len({chat["_id"] for chat, _, _ in run.results}) == 1
        assert len({first[0]["_id"] for _, first, _ in run.results}) == 1
        assert_chat_is_consistent(database, run.results[0][0]["_id"])
        assert database["messages"].count_documents({}) == 1

    assert explore(scenario, check, switches=2) > 4


def test_reopening_against_a_creation_leaves_one_open_chat(database: Database[Document]) -> None:
    here = World(database)

    def scenario() -> list[Operation]:
        here.begin()
        here.update(status="closed")()
        return [here.update(status="active"), lambda: chats.create(here.user, "Another")]

    def check(run: Run) -> None:
        refused = [result for result in run.results if isinstance(result, errors.ChatOpen)]
        made = [result for result in run.results if isinstance(result, tuple)]
        assert (len(made), len(refused)) == (1, 1)
        assert refused[0].data["chatId"] == str(made[0][0]["_id"])
        here.history()

    assert explore(scenario, check, switches=3) > 4


def test_closing_against_a_creation_is_never_an_answer_without_a_chat(
    database: Database[Document],
) -> None:
    here = World(database)

    def scenario() -> list[Operation]:
        here.begin()
        return [lambda: chats.create(here.user, "Another"), here.update(status="closed")]

    def check(run: Run) -> None:
        result = run.results[0]
        if isinstance(result, errors.ChatOpen):
            assert result.data["chatId"] == str(here.id)
        else:
            assert isinstance(result, tuple), result
        here.history()

    assert explore(scenario, check, switches=3) > 4


def test_a_message_with_a_change_is_applied_whole_in_every_order(
    database: Database[Document],
) -> None:
    here = World(database)

    def scenario() -> list[Operation]:
        here.begin()
        return [
            here.update(message="bye", status="closed", priority="high"),
            here.send(here.user, "a"),
        ]

    def check(run: Run) -> None:
        chat, added = run.results[0]
        now = here.now()
        assert (now["status"], now["priority"]) == ("closed", "high")
        found = here.history()
        # The chat closed with this message: nothing stands behind it.
        assert found[-1]["_id"] == added[0]["_id"]
        assert chat["lastSeq"] == found[-1]["seq"]

    assert explore(scenario, check, switches=3) > 4


def test_a_message_with_a_change_is_not_applied_by_halves_when_killed(
    database: Database[Document],
) -> None:
    here = World(database)

    def scenario() -> list[Operation]:
        here.begin()
        return [
            here.update(message="bye", client_message_id="key", priority="high"),
            here.send(here.user, "a"),
        ]

    def check(run: Run) -> None:
        assert (here.now()["priority"] == "high") == (here.sent("bye") != [])
        # The retry of a call that was cut off does all of it.
        here.update(message="bye", client_message_id="key", priority="high")()
        assert here.now()["priority"] == "high"
        assert len(here.sent("bye")) == 1

    assert explore(scenario, check, switches=2, kills=2) > 4


def test_an_open_status_with_a_message_never_opens_what_was_closed_meanwhile(
    database: Database[Document],
) -> None:
    here = World(database)

    def scenario() -> list[Operation]:
        here.begin()
        return [
            here.update(message="wait", status="pending"),
            here.send(here.user, "a"),
            here.update(status="closed"),
            lambda: chats.create(here.user, "Another"),
        ]

    def check(run: Run) -> None:
        closed, _ = run.results[2]
        # Open in the end only when it was found closed and opened by this very message.
        opened = [seq for seq in here.sent("wait") if seq > closed["lastSeq"]]
        assert here.now()["isOpen"] == (opened != [])
        assert (here.sent("wait") != []) == isinstance(run.results[0], tuple)

    assert explore(scenario, check, switches=2) > 4


@pytest.mark.parametrize(
    "changes",
    [
        {"message": "here", "client_message_id": "key"},
        {"message": "bye", "client_message_id": "key", "status": "closed"},
        {"priority": "high"},
    ],
)
def test_a_read_mark_comes_with_the_message_or_the_change_it_was_sent_with(
    database: Database[Document], changes: dict[str, Any]
) -> None:
    here = World(database)

    def scenario() -> list[Operation]:
        here.begin(said=2)
        return [
            here.update(**changes, read=True),
            here.send(here.user, "a"),
            lambda: messages.mark_read(here.user, here.id, 1),
        ]

    def check(run: Run) -> None:
        here.history()
        now = here.now()
        place = here.sent(changes["message"])[0:1] if "message" in changes else [2]
        done = place != [] if "message" in changes else now["priority"] == "high"
        assert done or run.killed[0]
        # What was there is read if the rest was done, and else it is not.
        assert (now["readSeq"]["admin"] >= max(place, default=1)) == done
        if not run.killed[2]:
            assert now["readSeq"]["user"] == 1

    assert explore(scenario, check, switches=2, kills=1) > 20


@pytest.mark.parametrize("status", ["closed", "archived"])
def test_an_opening_with_a_message_is_not_applied_by_halves_when_killed(
    database: Database[Document], status: Status
) -> None:
    here = World(database)

    def scenario() -> list[Operation]:
        here.begin(said=1)
        here.update(status=status)()
        return [
            here.update(
                message="again",
                client_message_id="key",
                status="active",
                priority="high",
                read=True,
            ),
            here.update(status="archived" if status == "closed" else "closed"),
        ]

    def check(run: Run) -> None:
        now = here.now()
        done = here.sent("again") != []
        assert done or run.killed[0]
        assert done == (now["priority"] == "high") == (now["readSeq"]["admin"] == 2)
        assert done or not now["isOpen"]
        # Whoever opens it meanwhile does not meet what a killed call has left.
        if not done:
            here.update(status="pending")()
            messages.send(here.user, here.id, "first")
            assert here.sent("again") == []
            assert here.now()["priority"] == "medium"
        here.update(message="again", client_message_id="key", status="active", priority="high")()
        assert len(here.sent("again")) == 1
        assert here.now()["priority"] == "high"

    assert explore(scenario, check, switches=2, kills=1) > 10


def test_two_openings_with_a_message_are_both_in_the_history(
    database: Database[Document],
) -> None:
    here = World(database)

    def scenario() -> list[Operation]:
        here.begin(said=1)
        here.update(status="closed")()
        return [
            here.update(message="a", status="active"),
            here.update(message="b", status="pending"),
        ]

    def check(run: Run) -> None:
        for text, result in zip("ab", run.results, strict=True):
            assert here.sent(text) == [result[1][0]["seq"]]
        assert len(here.history()) == 3
        last = here.history()[-1]["content"]
        assert here.now()["status"] == {"a": "active", "b": "pending"}[last]

    assert explore(scenario, check, switches=3) > 20


def test_an_opening_with_a_message_against_a_creation_is_applied_or_refused_whole(
    database: Database[Document],
) -> None:
    here = World(database)

    def scenario() -> list[Operation]:
        here.begin(said=1)
        here.update(status="closed")()
        return [
            here.update(message="again", status="active", priority="high"),
            lambda: chats.create(here.user, "Another", message="Hello"),
        ]

    def check(run: Run) -> None:
        refused = [result for result in run.results if isinstance(result, errors.ChatOpen)]
        made = [result for result in run.results if isinstance(result, tuple)]
        assert (len(made), len(refused)) == (1, 1)
        assert refused[0].data["chatId"] == str(made[0][0]["_id"])
        opened = isinstance(run.results[0], tuple)
        assert (here.sent("again") == [2]) == (here.now()["priority"] == "high") == opened
        assert here.now()["isOpen"] == opened
        assert database["messages"].count_documents({}) == 2

    assert explore(scenario, check, switches=3) > 20


def test_an_opening_among_sends_and_closings_keeps_the_history_whole(
    database: Database[Document],
) -> None:
    here = World(database)

    def scenario() -> list[Operation]:
        here.begin(said=1)
        here.update(status="closed")()
        return [
            here.update(message="again", client_message_id="key", status="active"),
            here.send(here.user, "a", "key"),
            here.update(status="archived"),
        ]

    def check(run: Run) -> None:
        here.history()
        for text, result in (("again", run.results[0]), ("a", run.results[1])):
            if isinstance(result, errors.ChatClosed):
                assert here.sent(text) == []
            elif isinstance(result, tuple):
                assert len(here.sent(text)) == 1
        here.update(status="pending")()
        after, _ = messages.send(here.user, here.id, "b")
        assert here.sent("b") == [after["seq"]]
        assert here.history()[-1]["content"] == "b"

    assert explore(scenario, check, switches=2, kills=1) > 100


def test_deleting_a_chat_against_a_send_leaves_nothing_behind(
    database: Database[Document],
) -> None:
    here = World(database)

    def scenario() -> list[Operation]:
        here.begin(said=1)
        return [here.send(here.user, "a"), lambda: chats.delete(here.agent, here.id)]

    def check(run: Run) -> None:
        sent = run.results[0]
        assert isinstance(sent, (tuple, errors.ChatNotFound)), sent
        for name in ("chatrooms", "chat_terms", "messages", "deletions"):
            assert database[name].count_documents({}) == 0, name

    assert explore(scenario, check, switches=3) > 4


def test_a_deletion_killed_anywhere_is_finished_later(database: Database[Document]) -> None:
    here = World(database)

    def scenario() -> list[Operation]:
        here.begin(said=2)
        return [lambda: chats.delete(here.agent, here.id)]

    def check(run: Run) -> None:
        begun = database["deletions"].count_documents({})
        assert chats.finish_deletions() == begun
        gone = database["chatrooms"].count_documents({}) == 0
        assert gone or run.killed[0]
        if gone:
            for name in ("chat_terms", "messages"):
                assert database[name].count_documents({}) == 0, name
        else:
            assert len(here.history()) == 2
        assert database["deletions"].count_documents({}) == 0

    assert explore(scenario, check, switches=1, kills=1) > 4


def test_reading_against_sends_keeps_the_unread_numbers_right(
    database: Database[Document],
) -> None:
    here = World(database)

    def scenario() -> list[Operation]:
        here.begin(said=2)
        return [
            lambda: messages.mark_read(here.agent, here.id, 1),
            here.send(here.user, "a"),
            lambda: messages.mark_read(here.agent, here.id, 2),
        ]

    def check(run: Run) -> None:
        here.history()
        now = here.now()
        assert (now["readSeq"]["admin"], now["unread"]["admin"]) == (2, 1)

    assert explore(scenario, check, switches=2) > 4


def test_a_tombstone_of_the_last_message_against_a_send_keeps_the_preview_right(
    database: Database[Document],
) -> None:
    here = World(database)

    def scenario() -> list[Operation]:
        here.begin(said=1)
        return [lambda: messages.delete(here.agent, here.id, 1), here.send(here.user, "a")]

    def check(run: Run) -> None:
        found = here.history()
        assert [row["content"] for row in found] == [messages.TOMBSTONE, "a"]

    assert explore(scenario, check, switches=3) > 4


@pytest.mark.parametrize("seq", [1, 2])
def test_a_message_is_deleted_for_everybody_or_nobody_wherever_that_is_killed(
    database: Database[Document], seq: int
) -> None:
    here = World(database)
    etags: list[str] = []

    def scenario() -> list[Operation]:
        here.begin(said=2)
        etags[:] = [chats.etag(here.user, here.now())]
        return [lambda: messages.delete(here.agent, here.id, seq)]

    def check(run: Run) -> None:
        text = f"before {seq - 1}"
        chat, page = chats.get(here.user, here.id)
        shown = text in [row["content"] for row in page]
        # The list, a poll and the history agree about it at every moment.
        assert shown == (page[seq - 1]["content"] != messages.TOMBSTONE)
        assert shown == (page[seq - 1].get("deletedAt") is None)
        assert shown == (chats.etag(here.user, chat) == etags[0])
        if seq == 2:
            assert shown == (preview_of(chat) == text)
        assert run.killed[0] or not shown
        here.history()
        begun = database["deletions"].count_documents({})
        assert chats.finish_deletions() == begun
        # What has begun is brought to its end: the text is nowhere any more.
        stored = repr([list(database[name].find()) for name in ("chatrooms", "messages")])
        assert (text in stored) == (shown and not begun)
        assert here.now().get("pendingRedactions", []) == []
        assert database["deletions"].count_documents({}) == 0
        here.history()

    assert explore(scenario, check, switches=1, kills=1) > 5


def test_a_message_that_two_delete_at_once_is_deleted_though_one_is_killed(
    database: Database[Document],
) -> None:
    here = World(database)

    def scenario() -> list[Operation]:
        here.begin(said=2)
        return [
            lambda: messages.delete(here.agent, here.id, 2),
            lambda: messages.delete(here.agent, here.id, 2),
        ]

    def check(run: Run) -> None:
        chats.finish_deletions()
        assert [row["content"] for row in here.history()] == ["before 0", messages.TOMBSTONE]
        assert here.now()["pendingRedactions"] == []
        assert database["deletions"].count_documents({}) == 0

    assert explore(scenario, check, switches=2, kills=1) > 100


@pytest.mark.parametrize("read", [1, 2])
def test_a_message_deleted_while_it_is_read_and_answered_is_never_unread(
    database: Database[Document], read: int
) -> None:
    here = World(database)

    def scenario() -> list[Operation]:
        here.begin(said=2)
        return [
            lambda: messages.delete(here.agent, here.id, 2),
            lambda: messages.mark_read(here.agent, here.id, read),
            here.send(here.user, "a"),
        ]

    def check(run: Run) -> None:
        here.history()
        chats.finish_deletions()
        found = here.history()
        if not any(run.killed):
            assert here.now()["unreadCount"] == 1
        messages.mark_read(here.agent, here.id, len(found))
        assert here.now()["unreadCount"] == 0
        here.history()

    assert explore(scenario, check, switches=1, kills=1) > 10


def test_an_answer_that_reads_against_a_deletion_leaves_nothing_unread(
    database: Database[Document],
) -> None:
    here = World(database)

    def scenario() -> list[Operation]:
        here.begin(said=2)
        return [
            lambda: messages.delete(here.agent, here.id, 2),
            here.update(message="bye", read=True),
            lambda: messages.delete(here.agent, here.id, 1),
        ]

    def check(run: Run) -> None:
        here.history()
        chats.finish_deletions()
        here.history()
        if not run.killed[1]:
            assert here.now()["unreadCount"] == 0

    assert explore(scenario, check, switches=1, kills=1) > 10


def test_deleting_a_message_against_its_chat_leaves_nothing_behind(
    database: Database[Document],
) -> None:
    here = World(database)

    def scenario() -> list[Operation]:
        here.begin(said=2)
        return [
            lambda: messages.delete(here.agent, here.id, 2),
            lambda: chats.delete(here.agent, here.id),
        ]

    def check(run: Run) -> None:
        chats.finish_deletions()
        for name in ("chatrooms", "chat_terms", "messages", "deletions"):
            left = database[name].count_documents({})
            assert left == 0 or (run.killed[1] and name != "deletions"), name

    assert explore(scenario, check, switches=2, kills=1) > 20


def test_agents_who_demote_each_other_at_once_leave_one(database: Database[Document]) -> None:
    agents: list[Session] = []

    def scenario() -> list[Operation]:
        database["users"].delete_many({})
        made = [users.create_user(f"{n}", f"{n}@example.org", None, "admin") for n in range(3)]
        agents[:] = [sessions.session_for(user) for user in made]
        return [
            partial(users.update_user, agents[one], agents[other].user_id, {"role": "user"})
            for one, other in ((0, 1), (1, 2), (2, 0))
        ]

    def check(run: Run) -> None:
        refused = [result for result in run.results if isinstance(result, errors.LastAdmin)]
        left = database["users"].count_documents({"role": "admin"})
        assert left == len(refused) >= 1

    assert explore(scenario, check, switches=2) > 4
