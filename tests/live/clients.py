"""People who use a running server over HTTP, also while it is being killed."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
import urllib.error
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from bson import ObjectId
from pymongo import MongoClient

from chatapi.domain import runtime
from tests.conftest import PASSWORD
from tests.servers import AppServer

Result = TypeVar("Result")
Answer = tuple[int, dict[str, str], Any]
# What a client sees of a server that was killed while it answered.
CUT_OFF = (urllib.error.URLError, http.client.HTTPException, OSError)

_numbers = itertools.count(1)


@dataclass
class Client:
    """Somebody who is signed in."""

    server: AppServer
    token: str
    id: str

    def call(self, method: str, path: str, json: object = None, **options: Any) -> Answer:
        """Send a request; refusals are answers too."""
        return self.server.request(method, path, self.token, json, **options)

    def open_chat(self, subject: str = "Help") -> str:
        """Open a chat and return its id."""
        status, _, chat = self.call("POST", "/api/chat", {"subject": subject})
        assert status == 201, chat
        return str(chat["_id"])

    def send(self, chat_id: str, text: str, key: str | None = None) -> Answer:
        """Send a message."""
        body = {"content": text, "clientMessageId": key}
        return self.call("POST", f"/api/chat/{chat_id}/messages", body)

    def patch(self, chat_id: str, **body: Any) -> Answer:
        """Change a chat."""
        return self.call("PATCH", f"/api/chat/{chat_id}", body)

    def insist(self, attempt: Callable[[], Answer], seconds: float = 30) -> tuple[Answer, int]:
        """Repeat a request until it is answered; return the answer and the attempts it took.

        A connection that breaks and a 5xx leave open whether it was done: that is what the
        clientMessageId is for.
        """
        end = time.monotonic() + seconds
        for number in itertools.count(1):
            try:
                answer = attempt()
                if answer[0] < 500:
                    return answer, number
            except CUT_OFF as error:
                answer = (0, {}, repr(error))
            assert time.monotonic() < end, f"no answer in {seconds} s, but {answer}"
            time.sleep(0.05)
        raise AssertionError


def register(server: AppServer, name: str = "User") -> Client:
    """Make an account and sign in."""
    who = {"name": name, "email": f"live{next(_numbers)}@example.org", "password": PASSWORD}
    status, _, answer = server.request("POST", "/api/auth/register", json=who)
    assert status == 201, answer
    return Client(server, answer["token"], answer["user"]["_id"])


def register_agent(server: AppServer, name: str = "Agent") -> Client:
    """Make an agent's account and sign in."""
    who = register(server, name)
    client: MongoClient[dict[str, Any]] = MongoClient(server.environment["MONGO_URI"])
    with client:
        # Before the first request with the session: no worker knows it yet.
        users = client.get_default_database()["users"]
        users.update_one({"_id": ObjectId(who.id)}, {"$set": {"role": "admin"}})
    return who


def at_once(actions: Sequence[Callable[[], Result]]) -> list[Result]:
    """Do everything at the same moment, each in a thread; return what came of it, in order."""
    start = threading.Barrier(len(actions))

    def work(action: Callable[[], Result]) -> Result:
        start.wait(timeout=30)
        return action()

    with ThreadPoolExecutor(len(actions), initializer=runtime.current().enter) as pool:
        return list(pool.map(work, actions))
