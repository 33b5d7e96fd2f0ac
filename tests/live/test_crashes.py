"""`kill -9` of a worker, of the whole web server and of the database, under a stream of sends.

Clients do what the API tells them to: what is not acknowledged is sent again with the same
clientMessageId. Afterwards everything acknowledged is in the history exactly once, every chat
agrees with its history, and sending goes on.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from chatapi.store.database import Document
from tests.consistency import assert_all_chats_are_consistent, assert_chat_is_consistent
from tests.live.clients import CUT_OFF, Client, register, register_agent
from tests.servers import AppServer, DatabaseServer, start_app
from tests.waiting import eventually

pytestmark = pytest.mark.long

Kill = Callable[[AppServer, DatabaseServer], None]


class Conversation:
    """A chat into which its user and an agent write without a pause, each in a thread."""

    def __init__(self, user: Client, agent: Client) -> None:
        self.chat_id = user.open_chat()
        self.acknowledged: dict[str, int] = {}
        self.repeated = 0
        self.read_to = 0
        self.failed: list[BaseException] = []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._speak, args=(who, name))
            for who, name in ((user, "user"), (agent, "agent"))
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def go_on(self, count: int) -> None:
        """Wait until so many messages are acknowledged, however slow the machine is."""
        end = time.monotonic() + 60
        while len(self.acknowledged) < count:
            assert time.monotonic() < end, self.failed
            time.sleep(0.05)

    def stop(self) -> None:
        """Let the last message of each be acknowledged, and stop."""
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
        assert not self.failed, self.failed

    def _speak(self, who: Client, name: str) -> None:
        try:
            count = 0
            while not self._stop.is_set():
                count += 1
                self._say(who, f"{name} {count}", patch=name == "agent" and count % 3 == 0)
        except BaseException as error:  # noqa: BLE001 - `stop` reports it
            self.failed.append(error)

    def _say(self, who: Client, text: str, patch: bool) -> None:
        def attempt() -> Any:
            if patch:
                # All in the same write as the message.
                changes = {"priority": random.choice(["low", "high"]), "read": True}
                return who.patch(self.chat_id, message=text, clientMessageId=text, **changes)
            return who.send(self.chat_id, text, text)

        (status, _, answer), attempts = who.insist(attempt)
        assert status in {200, 201}, (status, answer)
        message = answer["messages"][0] if patch else answer
        assert message["content"] == text
        self.acknowledged[text] = message["seq"]
        self.repeated += attempts > 1
        if patch:
            self.read_to = message["seq"]

    def check(self, database: Database[Document]) -> None:
        """Compare the history with what was acknowledged."""
        history = assert_chat_is_consistent(database, self.chat_id)
        texts = [row["content"] for row in history]
        assert len(set(texts)) == len(texts), "a message stands twice"
        stored = {row["content"]: row["seq"] for row in history}
        assert stored == self.acknowledged
        chat = database["chatrooms"].find_one({"_id": history[0]["chatId"]})
        assert chat is not None
        assert chat["readSeq"]["admin"] == self.read_to


@contextmanager
def talking(server: AppServer, database: DatabaseServer) -> Iterator[list[Conversation]]:
    """Let three users and their agents talk during the block; check everything behind it."""
    agents = [register_agent(server) for _ in range(2)]
    conversations = [Conversation(register(server), agents[number % 2]) for number in range(3)]
    for conversation in conversations:
        conversation.start()
    try:
        yield conversations
    finally:
        for conversation in conversations:
            conversation.stop()
    client: MongoClient[dict[str, Any]] = MongoClient(database.uri, tz_aware=True)
    with client:
        for conversation in conversations:
            conversation.check(client.get_default_database())
            assert len(conversation.acknowledged) > 10
        # Something was really cut off.
        assert sum(conversation.repeated for conversation in conversations) > 0
        agent, chat_id = agents[0], conversations[0].chat_id
        assert agent.send(chat_id, "and on it goes")[0] == 201
        assert_all_chats_are_consistent(client.get_default_database())


def kill_a_worker(server: AppServer, database: DatabaseServer) -> None:
    os.kill(random.choice(server.worker_pids()), signal.SIGKILL)
    eventually(lambda: len(server.worker_pids()) >= server.workers, 20)


def kill_the_web_server(server: AppServer, database: DatabaseServer) -> None:
    server.kill()
    server.start()


def kill_the_database(server: AppServer, database: DatabaseServer) -> None:
    database.kill()
    database.start()


def kill_everything(server: AppServer, database: DatabaseServer) -> None:
    server.kill()
    database.kill()
    database.start()
    server.start()


@pytest.mark.parametrize(
    ("kill", "rounds"),
    [
        (kill_a_worker, 8),
        (kill_the_web_server, 4),
        (kill_the_database, 8),
        (kill_everything, 2),
    ],
)
def test_a_kill_at_any_moment_loses_and_doubles_nothing(
    own_database: DatabaseServer, kill: Kill, rounds: int
) -> None:
    settings = {"RATELIMIT_ENABLED": "false", "DATABASE_TIMEOUT_MS": "1500"}
    with (
        start_app(own_database.uri, 2, settings) as server,
        talking(server, own_database) as conversations,
    ):
        for _ in range(rounds):
            time.sleep(random.uniform(0.2, 0.9))
            kill(server, own_database)
        for conversation in conversations:
            conversation.go_on(11)


def test_a_message_cut_off_by_a_kill_of_its_worker_does_not_block_the_chat(
    own_server: AppServer, own_database: DatabaseServer
) -> None:
    user, agent = register(own_server), register_agent(own_server)
    chat_id = user.open_chat()
    client: MongoClient[dict[str, Any]] = MongoClient(own_database.uri, tz_aware=True)
    cut_off = 0
    with client:
        database = client.get_default_database()
        for number in range(9):
            # At every offset of the few milliseconds that a send takes.
            pid = own_server.worker_pids()[0]
            killer = threading.Timer(number * 0.001, os.kill, (pid, signal.SIGKILL))
            killer.start()
            try:
                user.send(chat_id, f"{number}", f"{number}")
            except CUT_OFF:
                cut_off += 1
            killer.join()
            (status, _, _), _ = agent.insist(partial(agent.send, chat_id, f"and {number}"))
            assert status == 201
            assert_chat_is_consistent(database, chat_id)
            again = partial(user.send, chat_id, f"{number}", f"{number}")
            (status, _, _), _ = user.insist(again)
            assert status in {200, 201}
        history = assert_chat_is_consistent(database, chat_id)
    assert [row["content"] for row in history if row["side"] == "user"] == [
        f"{n}" for n in range(9)
    ]
    assert cut_off > 0


def killed_in_the_middle(
    own_server: AppServer, database: Database[Document], delete: Callable[[], Any]
) -> bool:
    """Kill the web server when a deletion has begun; tell whether it was cut off."""
    done = threading.Event()

    def kill() -> None:
        while database["deletions"].find_one() is None and not done.is_set():
            pass
        own_server.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with suppress(*CUT_OFF):
        delete()
    done.set()
    killer.join()
    return database["deletions"].count_documents({}) > 0


@pytest.mark.parametrize("what", ["the chat", "its last message"])
def test_a_deletion_cut_off_by_a_kill_is_finished_at_the_next_start(
    own_server: AppServer, own_database: DatabaseServer, what: str
) -> None:
    user, agent = register(own_server), register_agent(own_server)
    client: MongoClient[dict[str, Any]] = MongoClient(own_database.uri, tz_aware=True)
    cut_off = 0
    with client:
        database = client.get_default_database()
        for number in range(10):
            chat_id = user.open_chat()
            texts = [f"text {number}.{count}" for count in range(20)]
            for text in texts:
                user.send(chat_id, text)
            path = f"/api/chat/{chat_id}" + ("/messages/20" if what != "the chat" else "")
            delete = partial(agent.call, "DELETE", path)
            cut_off += killed_in_the_middle(own_server, database, delete)
            own_server.start()
            if what != "the chat":
                # Before that, the preview and the history agree whether it is deleted.
                (_, _, chat), _ = user.insist(partial(user.call, "GET", f"/api/chat/{chat_id}"))
                assert chat["lastMessage"]["content"] == chat["messages"][-1]["content"]
            own_server._flask("init-db")  # as every start of the product does
            assert database["deletions"].count_documents({}) == 0
            assert_all_chats_are_consistent(database)
            stored = repr([*database["chatrooms"].find(), *database["messages"].find()])
            gone = texts if what == "the chat" else texts[-1:]
            assert not [text for text in gone if text in stored]
            agent.call("DELETE", f"/api/chat/{chat_id}")
            if cut_off >= 2:
                break
    assert cut_off >= 2
