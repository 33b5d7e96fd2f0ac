"""The invariants of the data, with many clients at once on two worker processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Any

import pytest
from pymongo.database import Database

from chatapi.store.database import Document
from tests.consistency import assert_chat_is_consistent
from tests.live.clients import Answer, Client, at_once, register, register_agent
from tests.servers import AppServer, DatabaseServer, start_app

SENDERS = 16


@pytest.fixture(scope="module")
def two_workers(
    database_server: DatabaseServer, _prepared_database: Database[Document]
) -> Iterator[AppServer]:
    """gunicorn with two worker processes."""
    with start_app(database_server.uri, 2, {"RATELIMIT_ENABLED": "false"}) as server:
        assert len(server.worker_pids()) == 2
        yield server


@pytest.fixture
def user(two_workers: AppServer, live_database: Database[Document]) -> Client:
    """A user, on an empty database."""
    return register(two_workers)


@pytest.fixture
def agent(two_workers: AppServer, live_database: Database[Document]) -> Client:
    """A support agent."""
    return register_agent(two_workers)


@pytest.fixture
def chat_id(user: Client) -> str:
    """An open chat of the user."""
    return user.open_chat()


def statuses(answers: list[Answer]) -> Counter[int]:
    return Counter(status for status, _, _ in answers)


def together(answers: list[list[Answer]]) -> list[Answer]:
    return list(chain.from_iterable(answers))


def chat_of(database: Database[Document], who: Client) -> Document:
    (chat,) = [row for row in database["chatrooms"].find() if str(row["userId"]) == who.id]
    return chat


def test_16_senders_at_once_each_have_their_messages_in_the_history_once(
    live_database: Database[Document], user: Client, agent: Client, chat_id: str
) -> None:
    def speak(number: int) -> list[Answer]:
        who = user if number % 2 else agent
        return [
            who.send(chat_id, f"{number}.{count}", f"key {number}.{count}") for count in range(4)
        ]

    answers = at_once([partial(speak, number) for number in range(SENDERS)])
    acknowledged: dict[str, Any] = {}
    for sender in answers:
        seqs = [message["seq"] for _, _, message in sender]
        assert [status for status, _, _ in sender] == [201] * 4
        assert seqs == sorted(seqs)
        acknowledged |= {message["_id"]: message for _, _, message in sender}
    history = assert_chat_is_consistent(live_database, chat_id)
    assert len(history) == 4 * SENDERS
    for row in history:
        message = acknowledged[str(row["_id"])]
        assert (message["seq"], message["content"]) == (row["seq"], row["content"])
    _, _, shown = agent.call("GET", f"/api/chat/{chat_id}/messages?limit=200")
    assert [message["_id"] for message in shown] == [str(row["_id"]) for row in history]
    assert user.call("GET", "/api/chat")[1]["x-unread-total"] == str(2 * SENDERS)


def test_the_same_message_sent_8_times_at_once_is_one(
    live_database: Database[Document], user: Client, chat_id: str
) -> None:
    for round_ in range(3):
        answers = at_once([partial(user.send, chat_id, "Hello", f"key {round_}")] * 8)
        assert statuses(answers) == {201: 1, 200: 7}
        assert len({message["_id"] for _, _, message in answers}) == 1
        assert len(assert_chat_is_consistent(live_database, chat_id)) == round_ + 1


def test_the_same_creation_sent_8_times_at_once_is_one_chat(
    live_database: Database[Document], user: Client
) -> None:
    body = {"subject": "Help", "message": "Hello", "clientMessageId": "key"}
    answers = at_once([lambda: user.call("POST", "/api/chat", body)] * 8)
    assert statuses(answers) == {201: 1, 200: 7}
    assert len({chat["_id"] for _, _, chat in answers}) == 1
    assert len({chat["messages"][0]["_id"] for _, _, chat in answers}) == 1
    assert live_database["messages"].count_documents({}) == 1
    assert_chat_is_consistent(live_database, chat_of(live_database, user)["_id"])


def test_the_same_patch_sent_8_times_at_once_is_applied_once(
    live_database: Database[Document], user: Client, agent: Client, chat_id: str
) -> None:
    body = {"message": "Goodbye", "clientMessageId": "key", "status": "closed", "priority": "high"}
    answers = at_once([lambda: agent.patch(chat_id, **body)] * 8)
    assert statuses(answers) == {200: 8}
    assert len({chat["messages"][0]["_id"] for _, _, chat in answers}) == 1
    assert {(chat["status"], chat["priority"]) for _, _, chat in answers} == {("closed", "high")}
    assert len(assert_chat_is_consistent(live_database, chat_id)) == 1


def test_nothing_is_added_behind_a_closing_that_races_16_senders(
    live_database: Database[Document], user: Client, agent: Client
) -> None:
    for round_ in range(3):
        who = register(user.server)
        chat_id = who.open_chat()
        closing: list[Callable[[], Answer]] = [partial(agent.patch, chat_id, status="closed")]
        sending = [
            partial((who if number % 2 else agent).send, chat_id, f"{number}")
            for number in range(SENDERS)
        ]
        # Each round closes a little later.
        actions = sending[: round_ * 4] + closing + sending[round_ * 4 :]
        answers = at_once(actions)
        status, _, closed = answers.pop(round_ * 4)
        assert (status, closed["status"]) == (200, "closed")
        history = assert_chat_is_consistent(live_database, chat_id)
        assert len(history) == closed["lastSeq"]
        sent = [message["_id"] for status, _, message in answers if status == 201]
        assert sorted(sent) == sorted(str(row["_id"]) for row in history)
        refused = [problem["code"] for status, _, problem in answers if status != 201]
        assert refused == ["chat_closed"] * (SENDERS - len(sent))


def test_a_chat_that_is_closed_and_opened_among_senders_takes_messages_only_while_open(
    live_database: Database[Document], user: Client, agent: Client, chat_id: str
) -> None:
    versions: list[tuple[int, str]] = []

    def close_and_open() -> list[Answer]:
        for status in ("closed", "active", "archived", "pending") * 2:
            answer = agent.patch(chat_id, status=status)
            versions.append((answer[2]["lastSeq"], status))
        return []

    def speak(number: int) -> list[Answer]:
        who = user if number % 2 else agent
        return [who.send(chat_id, f"{number}.{count}") for count in range(5)]

    def act(number: int) -> list[Answer]:
        return speak(number) if number else close_and_open()

    answers = together(at_once([partial(act, number) for number in range(SENDERS + 1)]))
    history = assert_chat_is_consistent(live_database, chat_id)
    sent = {message["_id"] for status, _, message in answers if status == 201}
    assert sent == {str(row["_id"]) for row in history}
    assert statuses(answers)[409] == len(answers) - len(sent)
    # Between a closing and the opening that follows nothing was added: the epoch, which the
    # opening counts up, changes in the history exactly where the chat was closed.
    closed_at = [last for last, status in versions if status in {"closed", "archived"}]
    for epoch, last in enumerate(closed_at):
        assert all((row["epoch"] <= epoch) == (row["seq"] <= last) for row in history)


def test_16_answers_that_each_open_a_closed_chat_are_all_in_the_history(
    live_database: Database[Document], user: Client, agent: Client, chat_id: str
) -> None:
    for round_ in range(3):
        agent.patch(chat_id, status="closed")
        actions = [
            partial(agent.patch, chat_id, message=f"{round_}.{number}", status="active", read=True)
            for number in range(SENDERS)
        ]
        answers = at_once(actions)
        assert statuses(answers) == {200: SENDERS}
        history = assert_chat_is_consistent(live_database, chat_id)
        assert len(history) == SENDERS * (round_ + 1)
        texts = {row["content"]: row["seq"] for row in history}
        for number, (_, _, chat) in enumerate(answers):
            assert texts[f"{round_}.{number}"] == chat["messages"][0]["seq"]
        now = chat_of(live_database, user)
        assert (now["status"], now["readSeq"]["admin"]) == ("active", len(history))


def test_16_creations_at_once_open_one_chat(
    live_database: Database[Document], user: Client
) -> None:
    body = {"subject": "Help", "message": "Hello"}
    answers = at_once([lambda: user.call("POST", "/api/chat", body)] * 16)
    assert statuses(answers) == {201: 1, 409: 15}
    (made,) = [chat for status, _, chat in answers if status == 201]
    problems = [problem for status, _, problem in answers if status == 409]
    assert {(p["code"], p["chatId"]) for p in problems} == {("chat_open", made["_id"])}
    assert chat_of(live_database, user)["isOpen"]
    assert live_database["messages"].count_documents({}) == 1
    assert_chat_is_consistent(live_database, made["_id"])


def test_reopenings_that_race_creations_leave_one_open_chat(
    live_database: Database[Document], user: Client, agent: Client
) -> None:
    closed = []
    for _ in range(3):
        chat_id = user.open_chat()
        agent.patch(chat_id, status="closed")
        closed.append(chat_id)
    actions: list[Callable[[], Answer]] = [
        *(partial(agent.patch, chat_id, status="active") for chat_id in closed),
        *[lambda: user.call("POST", "/api/chat", {"subject": "Another"})] * 3,
    ]
    answers = at_once(actions)
    assert statuses(answers)[409] == 5
    (open_chat,) = live_database["chatrooms"].find({"isOpen": True})
    problems = [problem for status, _, problem in answers if status == 409]
    assert {(p["code"], p["chatId"]) for p in problems} == {("chat_open", str(open_chat["_id"]))}
    for chat in live_database["chatrooms"].find():
        assert_chat_is_consistent(live_database, chat["_id"])


def test_reading_that_races_sending_leaves_the_unread_numbers_right(
    live_database: Database[Document], user: Client, agent: Client, chat_id: str
) -> None:
    def read(who: Client) -> list[Answer]:
        answers = []
        for _ in range(6):
            last = who.call("GET", f"/api/chat/{chat_id}?messages=0")[2]["lastSeq"]
            answers.append(who.call("POST", f"/api/chat/{chat_id}/read", {"seq": last // 2}))
            answers.append(who.call("POST", f"/api/chat/{chat_id}/read", {"seq": last}))
        return answers

    def speak(who: Client) -> list[Answer]:
        return [who.send(chat_id, f"{count}") for count in range(8)]

    actions = [partial(act, who) for who in (user, agent) for act in (speak, speak, read)]
    answers = together(at_once(actions))
    assert set(statuses(answers)) == {201, 204}
    assert len(assert_chat_is_consistent(live_database, chat_id)) == 32


def test_deleting_messages_and_renaming_people_among_senders_loses_nothing(
    live_database: Database[Document], user: Client, agent: Client, chat_id: str
) -> None:
    user.send(chat_id, "first")

    def redact() -> list[Answer]:
        answers = []
        for _ in range(6):
            last = agent.call("GET", f"/api/chat/{chat_id}?messages=0")[2]["lastSeq"]
            answers.append(agent.call("DELETE", f"/api/chat/{chat_id}/messages/{last}"))
        return answers

    def rename() -> list[Answer]:
        path = f"/api/admin/users/{user.id}"
        return [agent.call("PATCH", path, {"name": f"Name {count}"}) for count in range(6)]

    def speak(who: Client) -> list[Answer]:
        return [who.send(chat_id, f"{count}") for count in range(8)]

    answers = together(at_once([redact, rename, partial(speak, user), partial(speak, agent)]))
    assert set(statuses(answers)) == {200, 201, 204}
    history = assert_chat_is_consistent(live_database, chat_id)
    assert len(history) == 17
    assert agent.call("GET", f"/api/chat/{chat_id}")[2]["userName"] == "Name 5"


def test_a_chat_deleted_among_senders_is_gone_altogether(
    live_database: Database[Document], user: Client, agent: Client, chat_id: str
) -> None:
    def speak(who: Client) -> list[Answer]:
        return [who.send(chat_id, f"{count}") for count in range(4)]

    def delete() -> list[Answer]:
        return [agent.call("DELETE", f"/api/chat/{chat_id}")]

    answers = together(at_once([*[partial(speak, user), partial(speak, agent)] * 3, delete]))
    assert set(statuses(answers)) <= {201, 204, 404}
    for name in ("chatrooms", "messages", "deletions"):
        assert live_database[name].count_documents({}) == 0, name


def test_two_agents_who_demote_each_other_at_once_leave_one(
    live_database: Database[Document], two_workers: AppServer
) -> None:
    for _ in range(3):
        live_database["users"].delete_many({})
        one, two = register_agent(two_workers), register_agent(two_workers)
        at_once(
            [
                partial(one.call, "PATCH", f"/api/admin/users/{two.id}", {"role": "user"}),
                partial(two.call, "PATCH", f"/api/admin/users/{one.id}", {"role": "user"}),
            ]
        )
        assert live_database["users"].count_documents({"role": "admin"}) >= 1


def test_the_same_address_registered_8_times_at_once_is_one_account(
    live_database: Database[Document], two_workers: AppServer
) -> None:
    body: dict[str, Any] = {"name": "Ana", "email": "Ana@Example.org", "password": "a password"}
    answers = at_once([lambda: two_workers.request("POST", "/api/auth/register", json=body)] * 8)
    assert statuses(answers) == {201: 1, 409: 7}
    assert live_database["users"].count_documents({"email": "ana@example.org"}) == 1
